"""Pages of the documentation, followed as a reader would.

Blocks marked `sh` run in order, in one folder called `project` for each page, and must all succeed. `<!-- file: NAME` with
a text up to `-->` puts a file there first; without a text it is the Python block before it. `<!-- shows: TEXT -->`: the commands
print that text. An example's README runs in a copy of the example. Ports 8000 (`up`) and 5000 (`registry`) are replaced by free
ones.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.command import Corten

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^<!-- file: (\S+)(?:\n(.*?))?\s*-->$", re.MULTILINE | re.DOTALL)
SHOWS = re.compile(r"^<!-- shows: (.*) -->$", re.MULTILINE)


@dataclass(frozen=True)
class Followed:
    """The folder in which a page was followed, where its service answers if it has started one, and what was printed."""

    folder: Path
    url: str
    said: str


def shell_blocks(page: Path) -> list[str]:
    return [text for language, text in BLOCK.findall(page.read_text()) if language == "sh"]


def has_commands(page: Path) -> bool:
    return bool(shell_blocks(page))


def copy_example(name: str, place: Path) -> Path:
    """A copy below `place`, so that nothing is written beside the example."""
    ignored = shutil.ignore_patterns("*.joblib", "corten.lock", "checkpoints", "__pycache__")
    return Path(shutil.copytree(ROOT / "examples" / name, place / name, ignore=ignored))


@contextmanager
def followed(page: Path, place: Path, corten: Corten, ending: tuple[str, ...]) -> Iterator[Followed]:
    """A page that has been followed in a folder below `place`. What it has started goes on until the block ends: then the
    command gets the words `ending`."""
    if page.is_relative_to(ROOT / "examples"):
        folder = copy_example(page.parent.name, place)
    else:
        folder = place / "project"
        folder.mkdir()
    for found in FILE.finditer(page.read_text()):
        name, text = found.groups()
        if text is None:
            before = page.read_text()[: found.start()]
            text = [body for language, body in BLOCK.findall(before) if language == "python"][-1]
        (folder / name).write_text(text)
    with socket.socket() as probe, socket.socket() as other:
        probe.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, registry_port = probe.getsockname()[1], other.getsockname()[1]
    programs = place / "bin"
    programs.mkdir()
    _programs(programs, port, registry_port)
    script = "set -euxo pipefail\n" + "\n".join(shell_blocks(page))
    for shown_port, free in ((8000, port), (5000, registry_port)):
        script = script.replace(f"localhost:{shown_port}", f"localhost:{free}")
    variables = corten.variables()
    variables |= {"PATH": f"{programs}:{variables['PATH']}", "URL": f"http://localhost:{port}/predict"}
    variables.pop("VIRTUAL_ENV", None)
    try:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr
        for text in SHOWS.findall(page.read_text()):
            assert text in done.stdout
        yield Followed(folder, f"http://127.0.0.1:{port}", done.stdout)
    finally:
        corten(*ending, code=None)


def _programs(folder: Path, port: int, registry_port: int) -> None:
    """What a page calls `corten` and `python`."""
    (folder / "corten").write_text(
        f"""#!/bin/sh
[ "$1" != up ] || [ "${{2:-}}" = --update ] || set -- "$@" --port {port}
[ "$1" != registry ] || set -- "$@" --port {registry_port}
exec {sys.executable} -P -m corten "$@"
"""
    )
    (folder / "corten").chmod(0o755)
    (folder / "python").symlink_to(sys.executable)
