"""Where no namespace may be made: the demo inside `docker run` with its default privileges and seccomp profile, as root and as a
plain user; and with each engine by name on this machine, where every verb works or says why it cannot."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.command import Corten, link_files
from support.commander import Commander, start, until
from support.engines import Docker
from support.plain_user import ROOT, interpreter

pytestmark = pytest.mark.e2e

DEMO = """
import json, os, subprocess, sys, urllib.request

def corten(*arguments, code=0):
    done = subprocess.run([sys.executable, "-P", "-m", "corten", *arguments], capture_output=True, text=True)
    print(f"$ corten {' '.join(arguments)}\\n{done.stdout}{done.stderr}", file=sys.stderr)
    assert done.returncode == code, done.returncode
    return done

assert "Seccomp:\\t2" in open("/proc/self/status").read()
assert subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode != 0
trained = corten("run", "-v", ".:/app", ".", "--", "python", "train.py")
assert "PRoot is used" in trained.stderr
assert "PRoot is used" not in corten("run", ".", "--", "true").stderr
assert os.path.exists("model.joblib")
assert os.stat("model.joblib").st_uid == os.getuid()
predict = "import joblib; print(joblib.load('model.joblib'))"
assert "RandomForest" in corten("run", "-v", ".:/app", ".", "--", "python", "-c", predict).stdout
assert "cannot honour" in corten("run", "--memory", "1g", ".", "--", "true", code=125).stderr
assert "cannot honour --network none" in corten("run", "--network", "none", ".", "--", "true", code=125).stderr
assert "proot: is used" in corten("doctor").stdout
assert corten("run", ".", "--", "sh", "-c", "exit 7", code=7)
url = corten("up", "--detach", "--port", "0").stdout.strip()
name = next(row["name"] for row in json.loads(corten("ps", "--json").stdout) if row["url"] == url)
flower = {"sepal_length": 6.3, "sepal_width": 2.9, "petal_length": 5.6, "petal_width": 1.8}
for _ in range(20):
    request = urllib.request.Request(url + "/predict", json.dumps(flower).encode(), {"Content-Type": "application/json"})
    assert json.load(urllib.request.urlopen(request, timeout=30))["species"] == "virginica"
assert "ready after" in corten("logs", name).stdout
corten("stop", name)
assert json.loads(corten("ps", "--all", "--json").stdout) == []
# The C library's way to start a shell would take Python with it.
started = "import os, subprocess; os.system('true'); print(subprocess.run(['true']).returncode, [str(n) for n in range(200000)][-1])"
assert corten("run", ".", "--", "python", "-c", started).stdout == "0 199999\\n"
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
def test_the_demo_inside_docker(docker: Docker, prepared: Path, tmp_path: Path, uid: int) -> None:
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


@pytest.mark.parametrize("engine", ["bwrap", "proot"])
def test_the_demo_by_name(corten: Corten, prepared: Path, tmp_path: Path, engine: str) -> None:
    root = tmp_path / f"iris-{engine}"
    shutil.copytree(prepared / "iris", root)
    named = corten.at(corten.home, CORTEN_ENGINE=engine)
    named("run", "-v", f"{root}:/app", root, "--", "python", "train.py")
    url = named("up", root, "--detach", "--port", "0").stdout.strip()
    name = next(row["name"] for row in json.loads(named("ps", "--json").stdout) if row["url"] == url)
    try:
        flower = '{"sepal_length": 6.3, "sepal_width": 2.9, "petal_length": 5.6, "petal_width": 1.8}'
        asked = ["curl", "-fsS", f"{url}/predict", "-H", "Content-Type: application/json", "-d", flower]
        got = subprocess.run(asked, capture_output=True, text=True, check=True)
        assert json.loads(got.stdout)["species"] == "virginica"
    finally:
        named("stop", name)


@pytest.mark.parametrize("engine", ["bwrap", "proot"])
def test_a_life_without_an_oci_engine(command: Commander, engine: str) -> None:
    command = command.with_variables(CORTEN_ENGINE=engine)
    command("run", "runner", "--", "true")
    script = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: exit(9))\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('usr1', flush=True))\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(1)"
    )
    start(command, "life-any", "python", "-c", script)
    until(lambda: "ready" in command("logs", "life-any").stdout)
    assert command.list()["life-any"]["status"] == "running"
    (used,) = json.loads(command("stats", "--no-stream", "--json", "life-any").stdout)
    assert used["pids"] >= 1
    assert used["memory"] > 1 << 20
    assert json.loads(command("inspect", "life-any").stdout)["name"] == "life-any"
    command("kill", "--signal", "USR1", "life-any")
    until(lambda: "usr1" in command("logs", "life-any").stdout)
    reasons = {
        ("exec", "life-any", "--", "true"): "nothing can be started beside its program",
        ("attach", "life-any"): "has nothing to attach to",
        ("cp", "life-any:/etc/hostname", "got"): "its files cannot be reached",
        ("cp", "/etc/hostname", "life-any:/tmp/got"): "its files cannot be reached",
        ("run", "-d", "-t", "runner", "--", "true"): "cannot honour -t",
        ("run", "-d", "-i", "runner", "--", "true"): "cannot honour -i",
        ("run", "-d", "--timeout", "9", "runner", "--", "true"): "cannot honour --timeout",
        ("run", "-d", "--health-cmd", "true", "runner", "--", "true"): "cannot honour --health-cmd",
    }
    for words, reason in reasons.items():
        said = command(*words, code=None)
        assert said.returncode in (1, 125), words
        assert reason in said.stderr.splitlines()[0], words
        assert said.stderr.splitlines()[1].startswith("hint: "), words
        assert len(said.stderr.splitlines()) == 2, words
    command("stop", "life-any")
    assert command.list()["life-any"]["exit_code"] == 9
    assert command("wait", "life-any").stdout == "9\n"
    assert "its files cannot be reached" in command("cp", "life-any:/etc/hostname", "got", code=1).stderr
    command("restart", "life-any")
    until(lambda: command("logs", "life-any").stdout.count("ready") == 2)
    command("rm", "--force", "life-any")
    start(command, "life-off", "true", options=("--rm",))
    until(lambda: "life-off" not in command.list())


@pytest.mark.parametrize("engine", ["bwrap", "proot"])
def test_a_terminal_without_an_oci_engine(command: Commander, engine: str) -> None:
    command = command.with_variables(CORTEN_ENGINE=engine)
    ours, theirs = pty.openpty()
    words = ("run", "-it", "runner", "--", "sh", "-c", "test -t 0 && read line && echo got $line; exit 5")
    process = subprocess.Popen(
        command.argv(*words), stdin=theirs, stdout=theirs, stderr=theirs, env=command.environment or None,
        cwd=command.folder, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, b"word\n")
    shown = b""
    with contextlib.suppress(OSError):  # Linux's way to say that nobody has the terminal any more
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    assert process.wait(60) == 5
    assert b"got word" in shown
    piped = command("run", "-i", "runner", "--", "cat", stdin=None, input="hello\n")
    assert piped.stdout == "hello\n"
    assert command("run", "--timeout", "1", "runner", "--", "sleep", "100", code=143)


@pytest.mark.parametrize("engine", ["bwrap", "proot"])
def test_a_network_that_the_project_wants_and_cannot_have(
    corten: Corten, project: Callable[..., Path], engine: str
) -> None:
    """Under bubblewrap it is refused, under PRoot, which isolates nothing, it is said once; what is asked for with an option is refused, and honoured where it can be."""
    image = f"lone-{os.urandom(3).hex()}"
    root = project(
        {
            "pyproject.toml": f'[project]\nname = "{image}"\nversion = "1"\n[tool.corten]\nnetwork = "private"\n',
            "main.py": "",
        },
        f"lone-{engine}",
    )
    named = corten.at(corten.home, CORTEN_ENGINE=engine)
    named("build", root)
    listing = ("--", "sh", "-c", "cat /proc/net/dev | wc -l")
    if engine == "bwrap":
        refused = named("run", root, *listing, code=125)
        assert "asks for a private network in its pyproject.toml" in refused.stderr
    else:
        first, second = (named("run", root, *listing) for _ in range(2))
        assert "wants a private network" in first.stderr
        assert "wants a private network" not in second.stderr
        with open("/proc/net/dev") as file:
            assert int(first.stdout) == len(file.readlines())
    assert (
        "cannot honour --network private"
        in named("run", "--network", "private", image, *listing, code=125).stderr
    )
    alone = named("run", "--network", "none", image, *listing, code=None)
    if engine == "bwrap":
        assert alone.stdout == "3\n"
    else:
        assert "cannot honour --network none" in alone.stderr
    named("rmi", image)


@pytest.mark.parametrize(
    ("engine", "network", "alone"),
    [
        ("auto", "none", True),
        ("auto", "host", False),
        ("bwrap", "none", True),
        ("bwrap", "host", False),
        ("proot", "host", False),
    ],
)
def test_a_web_server_by_name(
    corten: Corten, project: Callable[..., Path], engine: str, network: str, alone: bool
) -> None:
    """A command's port, with an engine that is asked for, in a network of its own or in this machine's."""
    root = project(
        {
            "pyproject.toml": '[project]\nname = "web"\nversion = "1"\n[tool.corten]\ncommand = ["python", "main.py"]\n',
            "main.py": "import http.server, os\n"
            "print('network', os.readlink('/proc/self/ns/net'), flush=True)\n"
            "http.server.ThreadingHTTPServer(('', int(os.environ['PORT'])), http.server.SimpleHTTPRequestHandler).serve_forever()\n",
        },
        f"web-{engine}-{network}",
    )
    how = ("--detach", "--port", "0", "--engine", engine, "--network", network)
    url = corten("up", root, *how).stdout.strip()
    try:
        got = subprocess.run(["curl", "-fsS", f"{url}/main.py"], capture_output=True, text=True, check=True)
        assert "serve_forever" in got.stdout
        name = next(row["name"] for row in json.loads(corten("ps", "--json").stdout) if row["url"] == url)
        log = corten("logs", name).stdout
        assert "network net:[" in log
        assert (f"network {os.readlink('/proc/self/ns/net')}" not in log) == alone
    finally:
        names = [row["name"] for row in json.loads(corten("ps", "--json").stdout) if row["url"] == url]
        corten("stop", names[0])
