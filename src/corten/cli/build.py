"""`corten build`: a project's folder becomes an image."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from corten.cli.context import Context
from corten.cli.terminal import size_text
from corten.oci.platform import Platform

EXAMPLES = """\
examples:
  corten build                               the project in this folder
  corten build ./iris --name team/iris:1.0
  corten build --platform linux/arm64        for another processor, without emulation
  corten build --locked --json               in CI: fail if corten.lock is missing or stale
  corten build --offline ./bundle            from a folder made by 'corten lock --download'"""


_MOST_JOBS = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "path", nargs="?", type=Path, default=Path(), help="the project's folder (default: this one)"
    )
    parser.add_argument("--name", help="the image's name (default: the project's)")
    parser.add_argument(
        "--platform", help="linux/amd64, linux/arm64 or both with a comma (default: this machine's)"
    )
    parser.add_argument("--locked", action="store_true", help="fail if corten.lock is missing or stale")
    parser.add_argument(
        "--offline", type=Path, metavar="DIR", help="take files from DIR only, not from the network"
    )
    parser.add_argument(
        "--jobs", type=_jobs, default=0, metavar="N", help="processes that compile (default: all cores)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Build, then say what was made."""
    named = arguments.platform.split(",") if arguments.platform is not None else []
    platforms = tuple(dict.fromkeys(Platform.parse(item) for item in named))
    results = context.build_all(
        arguments.path,
        platforms=platforms,
        locked=arguments.locked,
        offline=arguments.offline,
        name=arguments.name,
        jobs=arguments.jobs,
    )
    documents = []
    for built in results:
        image = built.image
        reused = sum(layer.reused for layer in built.layers)
        new = sum(layer.size for layer in built.layers if not layer.reused)
        platform = "" if image.config.platform == Platform.host() else f" {image.config.platform}"
        context.terminal.say(
            f"{context.terminal.styled(image.name, '1')}{platform} {image.id.short}: "
            f"{size_text(image.size)} in {len(built.layers)} layers, {reused} reused, {size_text(new)} new, "
            f"{built.seconds:.1f} s"
        )
        documents.append(
            {
                "image": image.name,
                "id": image.id,
                "digest": image.digest,
                "platform": str(image.config.platform),
                "size": image.size,
                "layers": [
                    {"digest": layer.digest, "size": layer.size, "reused": layer.reused, "title": layer.title}
                    for layer in built.layers
                ],
                "seconds": round(built.seconds, 3),
            }
        )
    if arguments.json:
        context.terminal.print(json.dumps(documents[0] if len(documents) == 1 else documents, indent=2))
    else:
        context.terminal.print("\n".join(str(document["digest"]) for document in documents))
    return 0


def _jobs(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:5]) <= _MOST_JOBS:
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a number from 1 to {_MOST_JOBS}")
    return int(text)
