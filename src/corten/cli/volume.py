"""`corten volume`: folders of the store that outlive containers."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from corten.cli.context import Context
from corten.cli.each import each
from corten.cli.terminal import table
from corten.errors import UsageError

if TYPE_CHECKING:
    from corten.runtime.volumes import Found

EXAMPLES = """\
examples:
  corten volume create data --label team=vision
  corten run -v data:/data . -- python train.py   which also makes a volume that is not there yet
  corten volume ls --filter label=team
  corten volume inspect data
  corten volume rm data
  corten volume prune --force                     those that no container names"""

WORDS_ANYWHERE = True
"""`main` lets names stand before and after options."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.usage = "corten volume create|ls|inspect|rm|prune [NAME …] [OPTIONS]"
    parser.add_argument("action", choices=("create", "ls", "inspect", "rm", "prune"), help="what to do")
    parser.add_argument("volumes", nargs="*", default=[], metavar="NAME", help="volumes' names")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="create: a label")
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="label=KEY[=VALUE]",
        help="ls: only those with the label",
    )
    parser.add_argument("-f", "--force", action="store_true", help="prune: without asking")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Do what the action says."""
    from corten.runtime.mounts import parse_volume_name

    names = [parse_volume_name(name) for name in arguments.volumes]
    if arguments.action in ("create", "inspect", "rm") and not names:
        raise UsageError(
            f"'corten volume {arguments.action}' needs a name", hint=f"corten volume {arguments.action} NAME"
        )
    if arguments.action in ("ls", "prune") and names:
        raise UsageError(
            f"'corten volume {arguments.action}' takes no names", hint="'corten volume rm' takes them"
        )
    for flag, values, action in (
        ("--label", arguments.label, "create"),
        ("--filter", arguments.filter, "ls"),
    ):
        if values and arguments.action != action:
            raise UsageError(f"{flag} goes with 'corten volume {action}'", hint="leave it out here")
    return _ACTIONS[arguments.action](names, arguments, context)


def _create(names: list[str], arguments: argparse.Namespace, context: Context) -> int:
    from corten.runtime import volumes

    labels = [_label(text) for text in arguments.label]
    made = [volumes.create(context.store, name, labels) for name in names]
    _show(made, arguments, context)
    return 0


def _ls(names: list[str], arguments: argparse.Namespace, context: Context) -> int:
    from corten.runtime import volumes

    wanted = [_filter(text) for text in arguments.filter]
    found = [volume for volume in volumes.list_volumes(context.store) if _fits(volume, wanted)]
    if arguments.json:
        context.terminal.print(json.dumps([_document(volume) for volume in found], indent=2))
    elif arguments.quiet:
        for volume in found:
            context.terminal.print(volume.name)
    elif found:
        rows = [
            [volume.name, _time(volume.created), ", ".join(volume.used_by) or "-", _labels(volume)]
            for volume in found
        ]
        context.terminal.print(table(rows, ["NAME", "CREATED", "USED BY", "LABELS"]))
    else:
        context.terminal.say("there are no volumes")
    return 0


def _inspect(names: list[str], arguments: argparse.Namespace, context: Context) -> int:
    from corten.runtime import volumes

    found = [volumes.find(context.store, name) for name in names]
    context.terminal.print(json.dumps([_document(volume) for volume in found], indent=2))
    return 0


def _rm(names: list[str], arguments: argparse.Namespace, context: Context) -> int:
    from corten.runtime import inventory, volumes
    from corten.runtime.identity import current_identity

    inventory.sweep(context.store)
    removed = []

    def act(name: str) -> None:
        volumes.remove(context.store, name, current_identity())
        removed.append(name)
        if not arguments.json:
            context.terminal.print(name)

    code = each(names, act, context)
    if arguments.json:
        context.terminal.print(json.dumps({"removed": removed}))
    return code


def _prune(names: list[str], arguments: argparse.Namespace, context: Context) -> int:
    from corten.runtime import inventory, volumes
    from corten.runtime.identity import current_identity

    inventory.sweep(context.store)
    unused = [volume.name for volume in volumes.list_volumes(context.store) if not volume.used_by]
    if unused and not arguments.force and not _agreed(unused, context):
        return 1
    removed = volumes.prune(context.store, current_identity())
    if arguments.json:
        context.terminal.print(json.dumps({"removed": removed}))
    else:
        for name in removed:
            context.terminal.print(name)
        context.terminal.say(f"removed {len(removed)} volumes")
    return 0


def _agreed(names: list[str], context: Context) -> bool:
    """Whether the person at the terminal wants the volumes and all that is in them gone."""
    if not sys.stdin.isatty():
        raise UsageError(
            f"no container names {', '.join(names[:8])}: what is in them would be lost",
            hint="add --force to delete them",
        )
    context.terminal.close()
    context.terminal.say(f"delete {', '.join(names)} and all that is in them? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


_ACTIONS = {"create": _create, "ls": _ls, "inspect": _inspect, "rm": _rm, "prune": _prune}


def _show(found: list[Found], arguments: argparse.Namespace, context: Context) -> None:
    if arguments.json:
        context.terminal.print(json.dumps([_document(volume) for volume in found], indent=2))
    else:
        for volume in found:
            context.terminal.print(volume.name)


def _document(volume: Found) -> dict[str, object]:
    return {
        "name": volume.name,
        "created": _time(volume.created),
        "path": str(volume.path),
        "labels": dict(volume.labels),
        "used_by": list(volume.used_by),
    }


def _label(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if not key or len(text) > 4096 or not text.isprintable():
        raise UsageError(f"'{text[:80]}' is not a label", hint="write it as KEY=VALUE")
    return key, value


def _filter(text: str) -> tuple[str, str | None]:
    kind, _, rest = text.partition("=")
    if kind != "label" or not rest:
        raise UsageError(f"'{text[:80]}' is not a filter", hint="write label=KEY or label=KEY=VALUE")
    key, equals, value = rest.partition("=")
    return key, value if equals else None


def _fits(volume: Found, wanted: list[tuple[str, str | None]]) -> bool:
    labels = dict(volume.labels)
    return all(key in labels and value in (None, labels[key]) for key, value in wanted)


def _labels(volume: Found) -> str:
    return ", ".join(f"{key}={value}" if value else key for key, value in volume.labels)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
