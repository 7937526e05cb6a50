"""`corten schema`: the JSON schema of `[tool.corten]`, for editors."""

from __future__ import annotations

import argparse
import json

from corten.cli.context import Context

EXAMPLES = """\
examples:
  corten schema > corten.schema.json
  corten schema --pyproject > pyproject.schema.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "--pyproject", action="store_true", help="a schema of the whole pyproject.toml instead of the table's"
    )


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Print the schema."""
    from corten.project.schema import pyproject_schema, table_schema

    schema = pyproject_schema() if arguments.pyproject else table_schema()
    context.terminal.print(json.dumps(schema, indent=2, ensure_ascii=False))
    return 0
