"""The store is private whatever the umask, and containers of every kind of user reach what they need in it."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import Corten, link_files
from support.runner import Plain

pytestmark = pytest.mark.e2e

UMASKS = [0o000, 0o077]
_LOOK = "import os; open('/data/x', 'w').write('x'); print(os.getuid(), open('/app/main.py').read(), end='')"


def open_to_others(home: Path) -> list[str]:
    """What others may write to in a store, but for the trees of images, what volumes and containers hold, and uv's lock files:
    uv opens them to everybody whatever the umask, and nobody else can enter the directory of caches."""
    wrong = []
    caches = home / "caches"
    assert not caches.exists() or not caches.stat().st_mode & 0o077
    for parent, directories, files in os.walk(home):
        if Path(parent).name in ("fs", "upper", "data") or Path(parent).parent.name == "merged":
            directories.clear()
            continue
        for name in (*directories, *files):
            path = Path(parent, name)
            mode = path.lstat().st_mode
            if path.suffix == ".lock" and path.is_relative_to(caches / "uv"):
                continue
            if mode & 0o022 and not stat.S_ISLNK(mode) and name not in ("fs", "upper", "data"):
                wrong.append(f"{stat.filemode(mode)} {path}")
    return wrong


@pytest.mark.parametrize("umask", UMASKS)
def test_root_builds_and_runs_under_any_umask(
    umask: int, corten: Corten, runner: str, project: Callable[..., Path], tmp_path: Path
) -> None:
    """The packages' layers are there; the project's are made under the umask."""
    victim = corten.at(tmp_path / "victim")
    victim.home.mkdir()
    link_files(corten.home, victim.home, names=("layers", "keys", "caches"))
    # The shared store may be one that an earlier version has made.
    # Its folders alone: its files are linked, those of layers among them.
    folders = ["find", victim.home / "caches", "-type", "d", "-exec", "chmod", "go-w", "{}", "+"]
    subprocess.run(folders, check=True)
    root = project({"main.py": f"print('main', {umask})\n"})
    victim("build", root, "--name", "mine", umask=umask)
    shown = victim("run", "-v", "data:/data", "mine", "--", "python3", "-c", _LOOK, umask=umask)
    assert shown.stdout == f"65532 print('main', {umask})\n"
    assert open_to_others(victim.home) == []
    assert not victim.home.stat().st_mode & 0o022
    assert victim("store", "check", "--quick").stdout == ""


@pytest.mark.parametrize("umask", UMASKS)
def test_a_plain_user_runs_under_any_umask(umask: int, plain_runner: Plain) -> None:
    """With subordinate IDs the container's user is another one than the store's."""
    done = subprocess.run(
        plain_runner.command("run", "-v", f"data{umask}:/data", "runner", "--", "python3", "-c", _LOOK),
        capture_output=True,
        text=True,
        check=False,
        cwd=plain_runner.home,
        stdin=subprocess.DEVNULL,
        umask=umask,
    )
    assert done.stdout.endswith("print('main')\n"), done.stderr
    assert open_to_others(plain_runner.home / "store") == []
    assert plain_runner("store", "check").returncode == 0


def test_a_container_cannot_write_to_a_layer(corten: Corten, runner: str) -> None:
    """Root in it, with a writable root, changes its own copy."""
    script = "open('/app/main.py', 'w').write('evil')\nopen('/usr/evil', 'w').close()\nprint(open('/app/main.py').read())"
    shown = corten("run", "-u", "0", "--read-write", runner, "--", "python3", "-c", script)
    assert shown.stdout == "evil\n"
    assert corten("run", runner, "--", "cat", "/app/main.py").stdout == "print('main')\n"
    assert corten("store", "check", "--quick").stdout == ""


def test_a_store_in_the_project_is_empty_in_its_shell(
    corten: Corten, runner: str, project: Callable[..., Path]
) -> None:
    """The project is mounted writable there, and the store is not."""
    root = project({"main.py": "print('main')\n"})
    (root / ".home").mkdir()
    link_files(corten.home, root / ".home", names=("layers", "keys", "caches"))
    inside = corten.at(root / ".home")
    script = "ls -A /app /app/.home; touch /app/.home/x || touch /app/written"
    shown = inside("shell", root, "--", "sh", "-c", script)
    assert "layers" not in shown.stdout
    assert shown.stderr.count("'.home' is Corten's store") == 1
    assert shown.stderr.count("left out: '.home'") == 1
    assert (root / "written").exists()
    assert (root / ".home" / "layers").is_dir()
