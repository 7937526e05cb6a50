"""`corten inspect`: an image's configuration and layers."""

from __future__ import annotations

import argparse
import json

from corten.cli.context import Context

EXAMPLES = """\
examples:
  corten inspect iris
  corten inspect iris --format config"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("image", help="name, ID or digest")
    parser.add_argument(
        "--format", choices=["summary", "config", "manifest"], default="summary", help="what to print (JSON)"
    )
    parser.add_argument("--json", action="store_true", help="JSON, which it always is")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Print one JSON document."""
    store = context.store
    image = store.images.get(arguments.image)
    config = json.loads(image.config.encode())
    if arguments.format == "config":
        document = config
    elif arguments.format == "manifest":
        document = json.loads(store.blobs.read(image.digest))
    else:
        document = {
            "name": image.name,
            "id": image.id,
            "digest": image.digest,
            "platform": str(image.config.platform),
            "size": image.size,
            "created": image.config.created,
            "config": config["config"],
            "layers": [
                {"digest": diff_id, "size": store.layers.get(diff_id).size, "title": _title(entry)}
                for diff_id, entry in zip(image.config.diff_ids, image.config.layer_history, strict=True)
            ],
        }
    context.terminal.print(json.dumps(document, indent=2))
    return 0


def _title(entry: dict[str, object]) -> str:
    return str(entry.get("created_by", "")).removeprefix("corten: ")
