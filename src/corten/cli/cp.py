"""`corten cp`: files into a container, or out of it."""

from __future__ import annotations

import argparse
import os
import sys

from corten.cli.context import Context
from corten.errors import UsageError
from corten.events import Warned

EXAMPLES = """\
examples:
  corten cp train:/out/model.pt .     out of a container, also one that has ended
  corten cp config.yaml iris:/tmp/    into one; it belongs to the container's user
  corten cp data/. iris:/data         what is in the folder, not the folder itself
  corten cp train:/out - | tar tv     as a tar archive; 'corten cp - train:/out < FILE.tar' unpacks one

As docker has it: into the target where that is a folder, else under that name. Folders are copied with all that is in them; links
stay links."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "source", help="PATH, or NAME:PATH in a container; - for a tar archive from standard input"
    )
    parser.add_argument(
        "target", help="PATH, or NAME:PATH in a container; - for a tar archive to standard output"
    )
    parser.add_argument(
        "-a",
        "--archive",
        action="store_true",
        help="keep whose everything is, by number (out of it: as root)",
    )
    parser.add_argument(
        "-L", "--follow-link", action="store_true", help="follow a link that is named: so it is without, too"
    )


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Copy."""
    from corten.runtime.copying import copy_in, copy_out, tar_in, tar_out

    source, target = _place(arguments.source), _place(arguments.target)
    if (source[0] is None) == (target[0] is None):
        raise UsageError("one of the two is a place in a container", hint="as in: corten cp NAME:/path .")
    keep = arguments.archive
    left_out: tuple[str, ...] = ()
    if source[0] is not None and target[1] == "-":
        if os.isatty(1):
            raise UsageError(
                "standard output is a terminal, and an archive is no text",
                hint="as in: … - | tar x, or > FILE",
            )
        left_out = tar_out(context.store, source[0], source[1], sys.stdout.buffer)
    elif source[0] is not None:
        if keep and os.geteuid() != 0:
            raise UsageError(
                "only root can keep whose the files were", hint="leave -a out: they become yours"
            )
        left_out = copy_out(context.store, source[0], source[1], target[1], keep=keep)
    elif target[0] is not None and source[1] == "-":
        left_out = tar_in(context.store, target[0], sys.stdin.buffer, target[1], keep=keep)
    elif target[0] is not None:
        left_out = copy_in(context.store, target[0], source[1], target[1], keep=keep)
    if left_out:
        names = ", ".join(left_out[:8]) + (" …" if len(left_out) > 8 else "")
        context.observe(
            Warned(
                f"left out, as sockets and devices are: {names}", "the programs that use them make them anew"
            )
        )
    return 0


def _place(text: str) -> tuple[str | None, str]:
    """NAME and PATH of `NAME:PATH`; a path of this machine that holds a colon is written with a slash before it."""
    name, colon, path = text.partition(":")
    if colon and "/" not in name and name not in ("", ".", ".."):
        return name, path or "/"
    return None, text
