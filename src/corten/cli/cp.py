"""`corten cp`: files into a container, or out of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from corten.cli.context import Context
from corten.errors import UsageError

EXAMPLES = """\
examples:
  corten cp train:/out/model.pt .     out of a container, also one that has ended
  corten cp config.yaml iris:/tmp/    into one; it belongs to the container's user

Folders are copied with all that is in them, into the target where that is a folder; links stay links."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("source", help="PATH, or NAME:PATH in a container")
    parser.add_argument("target", help="PATH, or NAME:PATH in a container")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Copy."""
    from corten.runtime.copying import copy_in, copy_out

    source, target = _place(arguments.source), _place(arguments.target)
    if (source[0] is None) == (target[0] is None):
        raise UsageError("one of the two is a place in a container", hint="as in: corten cp NAME:/path .")
    if "-" in (source[1], target[1]):
        inside = source[0] or target[0]
        raise UsageError(
            "'-' is no place: nothing is copied from standard input or to standard output",
            hint=f"corten exec {inside} -- tar c -C DIR .  and  corten exec -i {inside} -- tar x -C DIR; a file '-' is ./-",
        )
    if source[0] is not None:
        copy_out(context.store, source[0], source[1], Path(target[1]))
    elif target[0] is not None:
        copy_in(context.store, target[0], Path(source[1]), target[1])
    return 0


def _place(text: str) -> tuple[str | None, str]:
    """NAME and PATH of `NAME:PATH`; a path of this machine that holds a colon is written with a slash before it."""
    name, colon, path = text.partition(":")
    if colon and "/" not in name and name not in ("", ".", ".."):
        return name, path or "/"
    return None, text
