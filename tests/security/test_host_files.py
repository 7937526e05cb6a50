"""An image does not depend on the files of the machine that builds it: with hostile ones at the places that packages link to,
without them and without this machine's Python, and on a machine that is no Debian, the same lock gives the same image.

The long tests build bench's set S (scikit-learn, pandas, FastAPI); a small wheel stands for it in the others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.command import Corten, link_files
from support.wheels import make_wheel

SET_S = Path(__file__).resolve().parents[2] / "bench" / "sets" / "S.txt"

PROJECTS = {
    "default": "",
    "trixie": 'base = "debian:trixie"\n',
    "system": 'system = ["python3-six"]\n',
    "S": "",
}

_SCRIPT = """
mode=$1; hostile=$2; hide=$3; shift 3
# A place that this machine does not have can be made only over a directory that is there: /etc as a whole, then.
work=$(mktemp -d); mount -t tmpfs none $work; mkdir $work/up $work/work
mount -t overlay none -o lowerdir=/etc,upperdir=$work/up,workdir=$work/work /etc
rm -rf /etc/python3* /etc/debian_version /etc/os-release
echo 'ID=strange' >/etc/os-release
if [ $mode = hostile ]; then
    for place in /etc/python3 /etc/python3.11 /etc/python3.13; do cp -r "$hostile" $place; done
fi
if [ -n "$hide" ]; then
    for place in /usr/lib/python3*; do
        mount -t tmpfs none $place
        if [ $mode = hostile ]; then cp "$hostile/sitecustomize.py" $place; fi
    done
fi
exec "$@"
"""


def built_elsewhere(corten: Corten, root: Path, tmp_path: Path, mode: str) -> dict[str, str]:
    """What `build --json` says on a machine like this one, but for its files: `hostile` ones, or `without` them. Nothing but
    fetched files is there before."""
    home, hostile = tmp_path / f"home-{mode}", tmp_path / f"files-{mode}"
    home.mkdir(mode=0o700)
    link_files(corten.home, home, names=("files", "caches"))
    hostile.mkdir()
    (hostile / "sitecustomize.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    other = Corten(home)
    command = [
        *("unshare", "--mount", "sh", "-ec", _SCRIPT, "sh", mode, str(hostile)),
        "" if sys.base_prefix == "/usr" else "hide",
        *other.command("build", root, "--json", "--locked"),
    ]
    done = subprocess.run(command, env=other.variables(), capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()
    found = json.loads(done.stdout)
    assert not [layer["title"] for layer in found["layers"] if layer["reused"]]
    return {key: found[key] for key in ("id", "digest")}


def project(tmp_path: Path, name: str) -> Path:
    root = tmp_path / name
    root.mkdir()
    (root / "main.py").write_text("print(1)\n")
    (root / "pyproject.toml").write_text(f'[tool.corten]\nname = "host-{name.lower()}"\n{PROJECTS[name]}')
    if name == "default":
        make_wheel(root / "wheels", "demo", files={"demo.py": "x = {'a', 'b'}\n"})
        (root / "requirements.txt").write_text("--no-index\n--find-links wheels\ndemo\n")
    if name == "S":
        (root / "requirements.txt").write_text(SET_S.read_text("utf-8"))
    return root


@pytest.mark.e2e
@pytest.mark.parametrize("name", [name for name in PROJECTS if name != "S"])
def test_an_image_does_not_depend_on_this_machines_files(name: str, corten: Corten, tmp_path: Path) -> None:
    root = project(tmp_path, name)
    expected = corten.build(root)
    assert built_elsewhere(corten, root, tmp_path, "hostile").items() <= expected.items()


@pytest.mark.e2e
@pytest.mark.parametrize("name", [name for name in PROJECTS if name != "default"])
def test_no_image_depends_on_files_that_are_hostile_or_missing(
    name: str, corten: Corten, tmp_path: Path
) -> None:
    root = project(tmp_path, name)
    expected = corten.build(root)
    modes = ("hostile", "without") if name == "S" else ("without",)
    for mode in modes:
        assert built_elsewhere(corten, root, tmp_path, mode).items() <= expected.items()
