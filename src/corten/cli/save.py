"""`corten save`: an image as an OCI layout on disk."""

from __future__ import annotations

import argparse
from pathlib import Path

from corten.cli.context import Context

EXAMPLES = """\
examples:
  corten save iris ./iris-layout
  skopeo inspect oci:./iris-layout:latest"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("image", help="name, ID or digest")
    parser.add_argument("directory", type=Path, help="a new folder, or an OCI layout to add to")
    parser.add_argument("--format", choices=["oci"], default="oci", help="the layout's format")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Write the image."""
    from corten.store.export import save_layout

    image = context.store.images.get(arguments.image)
    save_layout(context.store, image, arguments.directory, context.observe)
    context.terminal.print(f"{arguments.directory}:{image.name.rsplit(':', 1)[1]}")
    return 0
