"""What layers do together: wheels side by side, weights, builds beside each other, builds that end early."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corten.build.plan import LAYER_BUDGET
from corten.oci.digest import Digest
from corten.store.store import Store
from support.command import Corten
from support.wheels import make_wheel

pytestmark = pytest.mark.e2e

SITE = "opt/venv/lib/python3.11/site-packages"
Make = Callable[..., Path]


def needing(names: list[str]) -> dict[str, str]:
    """A project that needs these wheels of the folder beside it."""
    lines = ["--no-index", "--find-links ../wheels", *(f"{name}==1.0" for name in names)]
    return {"requirements.txt": "\n".join(lines), "main.py": "print(1)\n"}


def topmost(home: Path, built: dict[str, Any], path: str) -> Path:
    """The file that a container sees at `path`."""
    trees = [Store.open(home).layers.tree(Digest.parse(layer["digest"])) for layer in built["layers"]]
    return next(tree / path for tree in reversed(trees) if os.path.lexists(tree / path))


def inside(home: Path, built: dict[str, Any], *command: str) -> str:
    """What `command` prints in the image's layers, mounted by the kernel as a run mounts them."""
    trees = [Store.open(home).layers.tree(Digest.parse(layer["digest"])) for layer in built["layers"]]
    script = 'mount -t overlay none -o "lowerdir=$1" /mnt && shift && exec chroot /mnt "$@"'
    lower = ":".join(os.path.relpath(tree, home / "layers") for tree in reversed(trees))
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", lower, *command],
        cwd=home / "layers",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_changed_line_of_code_needs_nothing_that_makes_packages(corten: Corten, project: Make) -> None:
    """Importing what unpacks wheels and Debian packages takes longer than to compile a line."""
    root = project({"main.py": "print(1)\n"})
    before = corten.build(root)
    (root / "main.py").write_text(f"print({os.urandom(8).hex()!r})\n")  # that nobody has a layer of
    heavy = "installer zipfile logging dataclasses inspect corten.build.make corten.build.workshop corten.packages.debian.deb"
    script = (
        "import sys; from corten.cli.main import run\n"
        "try: run(['build', '--json', sys.argv[1]])\n"
        "finally: print([name for name in sys.argv[2:] if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, root, *heavy.split()],
        env=corten.variables(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "[]"
    after = json.loads(done.stdout)
    assert [layer["title"] for layer in after["layers"] if not layer["reused"]] == ["code"]
    assert after["id"] != before["id"]


def test_a_container_starts_without_what_is_slow_to_import(corten: Corten, runner: str) -> None:
    """OpenSSL, for one, takes as long as a third of the command."""
    heavy = "_hashlib _ssl dataclasses inspect tomllib urllib3 subprocess logging bz2 lzma corten.project corten.lock"
    script = (
        "import sys; from corten.cli.main import run\n"
        "try: run(['run', '--rm', sys.argv[1], '--', 'true'])\n"
        "finally: print([name for name in sys.argv[2:] if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, runner, *heavy.split()],
        env=corten.variables(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_wheels_in_layers_of_their_own_make_one_environment(
    corten: Corten, project: Make, tmp_path: Path
) -> None:
    """Two parts of a namespace package, a .pth file that leads to a third, and an entry point that uses them all."""
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "part-a", files={"space/a.py": "value = 1\n"})
    make_wheel(wheels, "part-b", files={"space/inner/b.py": "value = 2\n"})
    make_wheel(wheels, "part-c", files={"part_c.pth": "elsewhere\n", "elsewhere/c.py": "value = 3\n"})
    make_wheel(
        wheels,
        "whole",
        files={
            "whole.py": "from space import a\nfrom space.inner import b\nimport c\n"
            "def main():\n    print(a.value, b.value, c.value)\n"
        },
        entry_points="[console_scripts]\nwhole = whole:main\n",
    )
    built = corten.build(project(needing(["part-a", "part-b", "part-c", "whole"])))
    assert inside(corten.home, built, "/opt/venv/bin/whole") == "1 2 3\n"
    told = inside(
        corten.home,
        built,
        "/opt/venv/bin/python",
        "-c",
        "import whole, space.a, json; print(whole.__cached__, space.a.__cached__, json.__cached__)\n"
        "from importlib.metadata import distributions\n"
        "print(sorted(item.name for item in distributions()))\n",
    )
    cached, names = told.splitlines()
    assert all(topmost(corten.home, built, path.lstrip("/")).is_file() for path in cached.split())
    assert names == "['part-a', 'part-b', 'part-c', 'whole']"


def test_wheels_that_contradict_each_other(corten: Corten, project: Make, tmp_path: Path) -> None:
    """The last by name wins and it is said; with `strict` it is an error. Equal bytes are fine. A hundred wheels beside
    them, which share layers then, change nothing."""
    wheels = tmp_path / "wheels"
    make_wheel(
        wheels, "zeta", files={"shared.py": "who = 'zeta'\n", "same.py": "", "f.py": "", "place": "a file"}
    )
    make_wheel(
        wheels, "alpha", files={"shared.py": "who = 'alpha'\n", "same.py": "", "place/x": "", "f.py": "1"}
    )
    both = ["zeta", "alpha"]
    root = project(needing(both))
    said = corten("build", root, "--json")
    assert "'alpha' and 'zeta' both write" in said.stderr
    assert "(and 2 more)" in said.stderr
    assert "'zeta' wins" in said.stderr
    few = json.loads(said.stdout)
    assert topmost(corten.home, few, f"{SITE}/shared.py").read_text() == "who = 'zeta'\n"
    assert topmost(corten.home, few, f"{SITE}/place").is_file()
    assert (
        inside(corten.home, few, "/opt/venv/bin/python", "-c", "import shared; print(shared.who)") == "zeta\n"
    )
    (root / "pyproject.toml").write_text("[tool.corten]\nstrict = true\n")
    strict = corten("build", root, code=1)
    assert strict.stderr.splitlines()[-1].startswith("hint: keep one of the two")

    many = [f"small-{number}" for number in range(LAYER_BUDGET + 10)]
    for name in many:
        make_wheel(wheels, name)
    crowd = corten.build(project(needing([*both, *many]), "crowd"))
    assert len(crowd["layers"]) <= LAYER_BUDGET
    assert topmost(corten.home, crowd, f"{SITE}/shared.py").read_text() == "who = 'zeta'\n"
    assert topmost(corten.home, crowd, f"{SITE}/place").is_file()
    for name in many:
        module = name.replace("-", "_")
        assert topmost(corten.home, crowd, f"{SITE}/{module}.py").is_file()
        assert topmost(corten.home, crowd, f"{SITE}/__pycache__/{module}.cpython-311.pyc").is_file()


def test_bytecode_of_the_environment_and_of_the_project(
    corten: Corten, project: Make, tmp_path: Path
) -> None:
    make_wheel(
        tmp_path / "wheels", "demo", files={"demo/a.py": "x = 1\n", "demo/template.py": "{% if x %}\n"}
    )
    root = project({**needing(["demo"]), "pkg/broken.py": "def\n", "tool.py": "x = 1\n"})
    built = corten.build(root)
    flags = {
        path: int.from_bytes(topmost(corten.home, built, path).read_bytes()[4:8], "little")
        for path in (f"{SITE}/demo/__pycache__/a.cpython-311.pyc", "app/__pycache__/tool.cpython-311.pyc")
    }
    assert list(flags.values()) == [0b01, 0b11]
    trees = [Store.open(corten.home).layers.tree(Digest.parse(layer["digest"])) for layer in built["layers"]]
    for path in (
        f"{SITE}/demo/__pycache__/template.cpython-311.pyc",
        "app/pkg/__pycache__/broken.cpython-311.pyc",
    ):
        assert not any((tree / path).exists() for tree in trees)


def test_two_builds_of_one_project_at_once(corten: Corten, project: Make, tmp_path: Path) -> None:
    """Neither waits for the whole of the other, no layer is made twice, and both are the same image."""
    names = [f"pair-{number}-{os.getpid()}-{time.time_ns()}" for number in range(6)]
    for name in names:
        module = name.replace("-", "_")
        files = {f"{module}/m{number}.py": f"x = {number}, '{name}'\n" * 50 for number in range(60)}
        make_wheel(tmp_path / "wheels", name, files=files)
    root = project(needing(names))
    builds = [
        subprocess.Popen(
            corten.command("build", root, "--json"),
            env=corten.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    done = [build.communicate(timeout=120) for build in builds]
    assert [build.returncode for build in builds] == [0, 0], done
    one, other = (json.loads(out) for out, _ in done)
    assert one["digest"] == other["digest"]
    made = [layer["title"] for built in (one, other) for layer in built["layers"] if not layer["reused"]]
    packages = [title for title in made if title.startswith("pair-")]
    assert sorted(packages) == sorted(f"{name} 1.0" for name in names)


def test_weights(corten: Corten, project: Make, tmp_path: Path) -> None:
    """At /models, with a link where the project has them; hashed once; memory stays flat; what is missing is said."""
    root = project(
        {"main.py": "", "pyproject.toml": '[tool.corten]\nmodels = ["weights/big.bin", "small.onnx"]\n'}
    )
    missing = corten("build", root, code=1)
    assert "error: the model 'weights/big.bin' does not exist\nhint: make it first" in missing.stderr
    (root / "weights").mkdir()
    with open(root / "weights/big.bin", "wb") as file:
        file.truncate(1 << 29)
        file.write(os.urandom(32))
    # What is smaller than 1 kB could be a pointer of Git LFS, and is looked at.
    (root / "small.onnx").write_bytes(os.urandom(2000))
    time.sleep(0.1)
    # Through a small process: a child's peak counts what its parent was when it forked, and this one is large by now.
    measure = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:])\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    command = [sys.executable, "-c", measure, *corten.command("build", root, "--json")]
    done = subprocess.run(command, env=corten.variables(), capture_output=True, text=True, check=True)
    built = json.loads(done.stdout)
    assert int(done.stderr.split()[-1]) < 200 << 10, "kilobytes"
    link = topmost(corten.home, built, "app/weights/big.bin")
    assert os.readlink(link) == "/models/weights/big.bin"
    stored = topmost(corten.home, built, "models/weights/big.bin")
    assert (stored.stat().st_size, stored.stat().st_blocks * 512 < 1 << 20) == (1 << 29, True)
    assert inside(
        corten.home, built, "/usr/bin/python3.11", "-c", "print(open('/app/small.onnx', 'rb').read().hex())"
    ) == ((root / "small.onnx").read_bytes().hex() + "\n")
    trace = tmp_path / "trace"
    again = subprocess.run(
        ["strace", "-f", "-e", "trace=openat,open", "-o", trace, *corten.command("build", root, "--json")],
        env=corten.variables(),
        capture_output=True,
        check=True,
    )
    assert json.loads(again.stdout)["digest"] == built["digest"]
    assert all(layer["reused"] for layer in json.loads(again.stdout)["layers"])
    assert "corten.lock" in trace.read_text()
    assert not [name for name in ("big.bin", "small.onnx") if name in trace.read_text()]


def test_links_of_the_project(corten: Corten, project: Make) -> None:
    root = project({"main.py": "", "data/a.txt": "a"})
    (root / "link.txt").symlink_to("data/a.txt")
    (root / "data/up").symlink_to("../main.py")
    built = corten.build(root)
    assert os.readlink(topmost(corten.home, built, "app/link.txt")) == "data/a.txt"
    assert os.readlink(topmost(corten.home, built, "app/data/up")) == "../main.py"
    (root / "out").symlink_to("/etc/passwd")
    refused = corten("build", root, code=2)
    assert "'out'" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_interrupted_build_leaves_nothing(
    corten: Corten, base_home: Path, project: Make, tmp_path: Path
) -> None:
    """Ctrl-C while a wheel is compiled: exit code 130 at once, no leftovers, no traceback; the next build works."""
    files = {f"slow/m{number}.py": "x = [" + "(1, 2), " * 2000 + f"{number}]\n" for number in range(300)}
    make_wheel(tmp_path / "wheels", "slow", files=files)
    root = project(needing(["slow"]))
    own = corten.at(tmp_path / "home")
    subprocess.run(["cp", "-al", base_home, own.home], check=True)
    own("lock", root)
    process = subprocess.Popen(
        own.command("build", root),
        env=own.variables(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not list(own.home.glob(f"tmp/layer-*/fs/{SITE}/slow/__pycache__/*")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    asked = time.monotonic()
    said = process.communicate(timeout=60)[1]
    assert time.monotonic() - asked < 30
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "interrupted"
    assert "Traceback" not in said
    assert list((own.home / "tmp").iterdir()) == []
    assert subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, check=False).stdout == b""
    (own.home / "tmp/layer-of-a-killed-process/fs").mkdir(parents=True)
    assert not own.build(root)["layers"][-1]["reused"]
    assert list((own.home / "tmp").iterdir()) == []


@pytest.mark.parametrize("megabytes", [3, 8, 14])
def test_a_full_disk(corten: Corten, base_home: Path, project: Make, tmp_path: Path, megabytes: int) -> None:
    """While fetching, while placing or while compiling: one sentence, a hint, nothing left; with room it works."""
    files: dict[str, bytes | str] = {
        f"large/m{number}.py": f"x = '{'1' * 33_000}'\n" for number in range(150)
    }
    make_wheel(tmp_path / "wheels", "large", files={**files, "large/data.bin": os.urandom(5_000_000)})
    root = project(needing(["large"]))
    own = corten.at(tmp_path / "disk" / "home")
    corten("lock", root)
    script = """
        set -e
        size=$(du -sm "$1" | cut -f1)
        mount -t tmpfs -o size=$((size + $3))m none "$2"
        cp -a "$1" "$2/home"
        shift 3
        "$@" && echo built || echo failed $?
        [ ! -d "$CORTEN_HOME/tmp" ] || ls -A "$CORTEN_HOME/tmp"
        mount -o remount,size=1g "$CORTEN_HOME/.."
        "$@" -q
    """
    (tmp_path / "disk").mkdir()
    done = subprocess.run(
        [
            "unshare",
            "-m",
            "bash",
            "-c",
            script,
            "sh",
            base_home,
            tmp_path / "disk",
            str(megabytes),
            *own.command("build", root, "--locked"),
        ],
        env=own.variables(),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "failed 1", done.stdout + done.stderr
    assert len(lines) == 2, f"not a digest, or something in tmp: {done.stdout}{done.stderr}"
    assert lines[1].startswith("sha256:")
    errors = [line for line in done.stderr.splitlines() if line.startswith(("error", "hint"))]
    assert len(errors) == 2
    assert "is full" in errors[0]
    assert "Traceback" not in done.stderr


def test_a_folder_that_may_not_be_written(corten: Corten, project: Make, tmp_path: Path) -> None:
    """The lock has no place: the message says which, and a lock that is there already is enough."""
    root = project({"main.py": ""})
    script = 'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; shift; exec "$@"'
    command = ["unshare", "-m", "sh", "-c", script, "sh", root, *corten.command("build", root)]
    done = subprocess.run(command, env=corten.variables(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "corten.lock' cannot be written: read-only file system" in done.stderr
    corten("lock", root)
    done = subprocess.run(command, env=corten.variables(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_folder_with_an_odd_name(corten: Corten, project: Make, tmp_path: Path) -> None:
    """Spaces, Unicode, and bytes that are no text at all."""
    root = project({"main.py": "print(1)\n"})
    corten("lock", root)
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xc3 \xc3\xbc")
    shutil.copytree(root, odd)
    built = corten("build", odd, "--json", "--name", "odd")
    layers = [layer["digest"] for layer in json.loads(built.stdout)["layers"]]
    assert layers == [layer["digest"] for layer in corten.build(root, "--name", "plain")["layers"]]
