"""Where no namespace may be made: training and commands inside `docker run` with its default privileges and seccomp profile, as root
and as a plain user; and with each engine by name on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.command import Corten, link_files
from support.engines import Docker
from support.plain_user import ROOT, interpreter

pytestmark = pytest.mark.e2e

DEMO = """
import os, subprocess, sys

def corten(*arguments, code=0):
    done = subprocess.run([sys.executable, "-P", "-m", "corten", *arguments], capture_output=True, text=True)
    print(f"$ corten {' '.join(arguments)}\\n{done.stdout}{done.stderr}", file=sys.stderr)
    assert done.returncode == code, done.returncode
    return done

assert "Seccomp:\\t2" in open("/proc/self/status").read()
assert subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode != 0
trained = corten("run", ".", "-v", ".:/app", "--", "python", "train.py")
assert "PRoot is used" in trained.stderr
assert "PRoot is used" not in corten("run", ".", "--", "true").stderr
assert os.path.exists("model.joblib")
assert os.stat("model.joblib").st_uid == os.getuid()
predict = "import joblib; print(joblib.load('model.joblib'))"
assert "RandomForest" in corten("run", ".", "-v", ".:/app", "--", "python", "-c", predict).stdout
assert "cannot honour" in corten("run", ".", "--memory", "1g", "--", "true", code=125).stderr
assert "cannot honour --network none" in corten("run", ".", "--network", "none", "--", "true", code=125).stderr
assert "proot: is used" in corten("doctor").stdout
assert corten("run", ".", "--", "sh", "-c", "exit 7", code=7)
left = [name for name in os.listdir("/proc") if name.isdigit() and b"proot" in open(f"/proc/{name}/cmdline", "rb").read().split(b"\\0")[0]]
assert left == [], left
"""


@pytest.fixture(scope="module")
def prepared(corten: Corten, open_directory: Path) -> Iterator[Path]:
    """A locked copy of the iris example, and a store that has its files and layers' sources but no layer."""
    place = open_directory / "anywhere"
    ignore = shutil.ignore_patterns("*.joblib", "corten.lock", "__pycache__")
    shutil.copytree(ROOT / "examples" / "iris", place / "iris", ignore=ignore)
    corten("run", place / "iris", "--", "true", timeout=900)
    (place / "store").mkdir()
    link_files(corten.home, place / "store")
    shutil.copytree(
        corten.home / "caches",
        place / "store" / "caches",
        ignore=shutil.ignore_patterns("merged", "engine"),
        symlinks=True,
    )
    yield place
    shutil.rmtree(place)


@pytest.mark.parametrize("uid", [0, 1000], ids=["root", "plain user"])
def test_training_inside_docker(docker: Docker, prepared: Path, tmp_path: Path, uid: int) -> None:
    place = prepared.parent / f"docker-{uid}"
    shutil.copytree(prepared, place, symlinks=True)
    (place / "demo.py").write_text(DEMO)
    (place / "tmp").mkdir()
    subprocess.run(["chown", "-R", f"{uid}:{uid}", place], check=True)
    (place / "tmp").chmod(0o1777)
    subprocess.run(
        [*docker.command, "import", "-", "nothing"], input=bytes(10240), check=True, capture_output=True
    )
    shown = [path for path in ("/usr", "/etc", "/lib", "/lib64", "/bin", "/sbin") if os.path.exists(path)]
    shown += [str(ROOT), sysconfig.get_path("purelib")]
    python, variables = interpreter()
    variables |= {
        "CORTEN_HOME": str(place / "store"),
        "HOME": str(place),
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
    }
    options = ["--rm", "--network", "host", "--user", f"{uid}:{uid}", "--workdir", str(place / "iris")]
    for path in shown:
        options += ["--volume", f"{path}:{path}:ro"]
    options += ["--volume", f"{place}:{place}", "--volume", f"{place}/tmp:/tmp"]
    for name, value in variables.items():
        options += ["--env", f"{name}={value}"]
    try:
        done = subprocess.run(
            [*docker.command, "run", *options, "nothing", *python, str(place / "demo.py")],
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr[-6000:]
    finally:
        shutil.rmtree(place)


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("engine", ["bwrap", "proot"])
def test_a_web_server_by_name(corten: Corten, project: Callable[..., Path], engine: str) -> None:
    """A command's port, with an engine that is asked for."""
    root = project(
        {
            "pyproject.toml": '[project]\nname = "web"\nversion = "1"\n[tool.corten]\ncommand = ["python", "main.py"]\n',
            "main.py": "import http.server, os\n"
            "http.server.ThreadingHTTPServer(('', int(os.environ['PORT'])), http.server.SimpleHTTPRequestHandler).serve_forever()\n",
        },
        f"web-{engine}",
    )
    url = corten("up", root, "--detach", "--port", "0", "--engine", engine).stdout.strip()
    try:
        got = subprocess.run(["curl", "-fsS", f"{url}/main.py"], capture_output=True, text=True, check=True)
        assert "serve_forever" in got.stdout
    finally:
        names = [row["name"] for row in json.loads(corten("ps", "--json").stdout) if row["url"] == url]
        corten("stop", names[0])
