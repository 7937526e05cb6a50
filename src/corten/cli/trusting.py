"""What a project names and only its user can allow: flags that confirm it, and the question on a terminal."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from corten.cli.terminal import Terminal
from corten.errors import NotConfirmed, UsageError


def add_trust(parser: argparse.ArgumentParser) -> None:
    """The arguments of commands that lock and fetch."""
    parser.add_argument(
        "--trust-index",
        action="append",
        default=[],
        metavar="HOST",
        help="let this project send your credentials to HOST, HOST:PORT or https://HOST:PORT, and ask there for packages "
        "or its base where it is this machine; remembered; can be repeated",
    )
    parser.add_argument(
        "--trust-path",
        action="append",
        default=[],
        metavar="PATH",
        help="let this project read PATH, which is outside its folder, and what is below it; remembered; can be repeated",
    )


def remember_trust(arguments: argparse.Namespace) -> None:
    """Keep what the flags confirm for the project that the command is about. Raises UsageError for a path that is missing."""
    if not arguments.trust_index and not arguments.trust_path:
        return
    from corten.packages.trust import remember

    for path in arguments.trust_path:
        if not os.path.exists(path):
            raise UsageError(f"--trust-path names '{path}', which does not exist")
    root = Path(os.path.realpath(arguments.path))
    remember(root, os.environ, indexes=arguments.trust_index, paths=arguments.trust_path)


def confirmed(error: NotConfirmed, terminal: Terminal) -> bool:
    """Whether the user says yes to what `error` asks, which is then remembered. Without a terminal nobody is asked."""
    if sys.stdin is None or not sys.stdin.isatty() or sys.stderr is None or not sys.stderr.isatty():
        return False
    terminal.close()
    if not terminal.ask(error.question):
        return False
    from corten.packages.trust import remember

    places = {"indexes" if error.kind == "index" else "paths": [error.place]}
    remember(error.root, os.environ, **places)
    return True
