"""`corten copy`: from one registry to another, without this machine's store."""

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
  corten copy registry.example/team/iris:1.0 registry.example.com/prod/iris:1.0
  corten copy registry.example/team/iris:1.0 registry.example/prod/iris:1.0      mounted, nothing is moved
  corten copy localhost:5000/iris registry.example/iris --referrers              with its signatures and SBOMs

Everything is copied byte for byte, so digests stay. Blobs are streamed through this machine, and none is kept."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("source", metavar="SRC", help="HOST/NAME:TAG or HOST/NAME@DIGEST")
    parser.add_argument("target", metavar="DST", help="HOST/NAME:TAG")
    parser.add_argument(
        "--platform",
        metavar="PLATFORM",
        help="only the image for this platform (default: all that there are)",
    )
    parser.add_argument(
        "--referrers", action="store_true", help="also what refers to it: signatures, SBOMs, attestations"
    )
    add_insecure(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Copy, and print the target by digest."""
    from corten.registry.client import settings_from
    from corten.registry.copy import copy

    target = Reference.parse(arguments.target)
    copied = copy(
        Reference.parse(arguments.source),
        target,
        [Platform.parse(arguments.platform)] if arguments.platform else None,
        settings_from(os.environ, arguments.insecure, context.observe),
        context.observe,
        referrers=arguments.referrers,
    )
    place = f"{target.name}@{copied.digest}"
    if arguments.json:
        document = {
            "reference": str(target),
            "digest": copied.digest,
            "repo_digest": place,
            "sent": copied.sent,
            "blobs": copied.blobs,
        }
        context.terminal.print(json.dumps(document, indent=2))
        return 0
    mounted = f", {copied.blobs['mounted']} mounted" if copied.blobs["mounted"] else ""
    there = f", {copied.blobs['there']} were there" if copied.blobs["there"] else ""
    context.terminal.say(f"copied to {target}: {size_text(copied.sent)}{mounted}{there}")
    context.terminal.print(place)
    return 0
