"""An image does not depend on the files of the machine that builds it: with hostile ones at the places that packages link to,
without this machine's Python, and on a machine that is no Debian, the same lock gives the same image."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.command import Corten, link_files
from support.wheels import make_wheel

PROJECTS = {
    "default": "",
    "trixie": 'base = "debian:trixie"\n',
    "system": 'system = ["python3-six"]\n',
}

_SCRIPT = """
hostile=$1; hide=$2; shift 2
for place in /etc/python3 /etc/python3.11 /etc/python3.13; do
    if [ -d $place ]; then mount --bind "$hostile" $place; fi
done
# A place that this machine does not have can be made only over a directory that is there: /etc as a whole, then.
if [ ! -d /etc/python3.13 ]; then
    work=$(mktemp -d); mount -t tmpfs none $work; mkdir $work/up $work/work
    mount -t overlay none -o lowerdir=/etc,upperdir=$work/up,workdir=$work/work /etc
    cp -r "$hostile" /etc/python3.13
    rm -rf /etc/debian_version /etc/os-release
    echo 'ID=strange' >/etc/os-release
fi
if [ -n "$hide" ]; then
    for place in /usr/lib/python3*; do mount -t tmpfs none $place; cp "$hostile/sitecustomize.py" $place; done
fi
exec "$@"
"""


@pytest.mark.e2e
@pytest.mark.parametrize("name", PROJECTS)
def test_an_image_does_not_depend_on_this_machines_files(name: str, corten: Corten, tmp_path: Path) -> None:
    root = tmp_path / name
    root.mkdir()
    (root / "main.py").write_text("print(1)\n")
    (root / "pyproject.toml").write_text(f'[tool.corten]\nname = "host-{name}"\n{PROJECTS[name]}')
    if name == "default":
        make_wheel(root / "wheels", "demo", files={"demo.py": "x = {'a', 'b'}\n"})
        (root / "requirements.txt").write_text("--no-index\n--find-links wheels\ndemo\n")
    expected = corten.build(root)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    link_files(corten.home, home, names=("files", "caches"))
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    (hostile / "sitecustomize.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    other = Corten(home)
    command = [
        "unshare",
        "--mount",
        "sh",
        "-ec",
        _SCRIPT,
        "sh",
        str(hostile),
        "" if sys.base_prefix == "/usr" else "hide",
        *other.command("build", root, "--json", "--locked"),
    ]
    done = subprocess.run(command, env=other.variables(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    built = json.loads(done.stdout)
    assert built["digest"] == expected["digest"]
    assert built["image"].rpartition(":")[2] == expected["image"].rpartition(":")[2]
    assert not (tmp_path / "ran").exists()
