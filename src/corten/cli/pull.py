"""`corten pull`: an image comes from a registry."""

from __future__ import annotations

import argparse
import json
import os

from corten.cli.context import Context
from corten.cli.finding import add_insecure
from corten.cli.terminal import size_text
from corten.oci.platform import Platform
from corten.oci.reference import Reference

EXAMPLES = """\
examples:
  corten pull registry.example/team/iris:1.0
  corten pull registry.example/team/iris:1.0 --name iris
  corten pull registry.example/team/iris@sha256:…         exactly this one
  corten pull registry.example/team/iris --platform all

Only layers that are not here are fetched."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("reference", metavar="REF", help="HOST/NAME:TAG or HOST/NAME@DIGEST")
    parser.add_argument("--name", help="what to call it here (default: its reference)")
    parser.add_argument(
        "--platform",
        action="append",
        default=[],
        metavar="PLATFORM|all",
        help="which platforms of it (default: this machine's)",
    )
    add_insecure(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Pull, and print the image's name here."""
    from corten.registry.client import settings_from
    from corten.registry.pull import pull
    from corten.store.images import full_name
    from corten.store.sync import sync_later

    asked = [part for text in arguments.platform for part in text.split(",")]
    platforms = None if "all" in asked else [Platform.parse(text) for text in asked] or [Platform.host()]
    pulled = pull(
        Reference.parse(arguments.reference),
        platforms,
        context.store,
        settings_from(os.environ, arguments.insecure, context.observe),
        context.observe,
        name=full_name(arguments.name) if arguments.name else None,
    )
    sync_later(context.store)
    name = pulled.images[0].name
    if arguments.json:
        document = {
            "name": name,
            "fetched": pulled.fetched,
            "reused": pulled.reused,
            "images": [
                {
                    "id": image.id,
                    "digest": image.digest,
                    "platform": str(image.config.platform),
                    "repo_digests": context.store.repo_digests.of(image.id),
                }
                for image in pulled.images
            ],
        }
        context.terminal.print(json.dumps(document, indent=2))
        return 0
    reused = f"; {_layers(pulled.reused)} here" if pulled.reused else ""
    context.terminal.say(f"pulled {arguments.reference}: {size_text(pulled.fetched)}{reused}")
    context.terminal.print(name)
    return 0


def _layers(number: int) -> str:
    return "1 layer was" if number == 1 else f"{number} layers were"
