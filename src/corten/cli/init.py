"""`corten init`: write down what was found in a project, or start one."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from corten.cli.context import Context
from corten.errors import ProjectError
from corten.events import Warned

if TYPE_CHECKING:
    from corten.project.model import Project

EXAMPLES = """\
examples:
  corten init
  corten init --dry-run services/iris
  corten init --example hello && cd hello && corten up"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "path", nargs="?", default=".", type=Path, help="the project's folder (default: this one)"
    )
    parser.add_argument(
        "--example", action="store_true", help="start a small project in an empty or new folder"
    )
    parser.add_argument("--force", action="store_true", help="replace the [tool.corten] table that is there")
    parser.add_argument("--dry-run", action="store_true", help="print the table and write nothing")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Write the table, say what was found and what to do next."""
    if arguments.example:
        _start(arguments.path)
        context.terminal.say("wrote predict.py and pyproject.toml")
        context.terminal.say(f"next: corten up {arguments.path}")
        context.terminal.print(str(arguments.path / "pyproject.toml"))
        return 0
    from corten.project.files import scan
    from corten.project.load import find
    from corten.project.needed import DERIVED
    from corten.project.writing import insert, render, requirements

    project = find(arguments.path)
    files = scan(project, context.store.root)
    for note in project.notes:
        context.terminal.say(f"found: {note}")
    if project.unmet is not None:
        context.observe(Warned(project.unmet.message, project.unmet.hint))
    for weight in files.weights:
        context.terminal.say(f"found: weights '{weight.path}'")
    for place in files.stores:
        context.terminal.say(f"left out: '{place}', which is a store of Corten")
    table = render(project, files)
    listed = requirements(project, _locked(project))
    names = ", ".join(line for line in listed.splitlines() if not line.startswith("#"))
    if arguments.dry_run:
        if listed:
            context.terminal.say(f"would write requirements.txt: {names}")
        context.terminal.print(table.rstrip("\n"))
        return 0
    path = project.root / "pyproject.toml"
    before = path.read_bytes().decode() if path.exists() else ""
    _write(path, insert(before, table, force=arguments.force))
    if listed:
        _write(project.root / "requirements.txt", listed)
        context.terminal.say(f"wrote requirements.txt: {names}")
    for item in project.implied:
        if item.reason != DERIVED:
            context.terminal.say(f"add {item.requirement} to the dependencies: {item.reason}")
    where = "" if arguments.path == Path() else f" {arguments.path}"
    context.terminal.say(
        f"next: corten up{where}" if project.entry else f"next: corten run {arguments.path} -- COMMAND"
    )
    context.terminal.print(str(arguments.path / "pyproject.toml"))
    return 0


def _locked(project: Project) -> dict[str, str]:
    """The versions that the project's lock has for this machine, where it has one that belongs to it."""
    from corten.errors import CortenError
    from corten.lock.format import LOCK_NAME, read_lock
    from corten.lock.inputs import inputs_digest

    try:
        lock = read_lock(project.root / LOCK_NAME)
        if lock.project != inputs_digest(project):
            return {}
    except CortenError:
        return {}
    return {wheel.name: wheel.version for wheel in lock.platforms[0].wheels}


def _start(folder: Path) -> None:
    from corten.project.load import normal_name
    from corten.project.writing import EXAMPLE_FILES

    if folder.is_dir() and any(not entry.name.startswith(".") for entry in os.scandir(folder)):
        raise ProjectError(f"'{folder}' is not empty", hint="name a new folder: corten init --example NAME")
    folder.mkdir(parents=True, exist_ok=True)
    name = normal_name(folder.resolve().name)
    for file, text in EXAMPLE_FILES.items():
        _write(folder / file, text.replace("{name}", name))


def _write(path: Path, text: str) -> None:
    """Replace the file at once, so that no crash leaves half of it; what a link leads to is written, not the link."""
    target = Path(os.path.realpath(path))
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(text.encode())
        os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0o22)
    os.umask(mask)
    return mask
