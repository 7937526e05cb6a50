"""`corten store`: look after the store itself, where images, layers and downloads lie."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from corten.cli.context import Context
from corten.cli.terminal import size_text

if TYPE_CHECKING:
    from corten.store.check import Checked, Finding

EXAMPLES = """\
examples:
  corten store check              hash everything again and name what is damaged
  corten store check --repair     and remove it, so that the next build or pull makes it again
  corten store check --quick      compare lists, sizes and modes only
  corten store check --json       for scripts; the exit code is 1 where something is damaged"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.usage = "corten store check [OPTIONS]"
    parser.add_argument("action", choices=("check",), help="what to do")
    parser.add_argument(
        "-r", "--repair", action="store_true", help="remove what is damaged and not used by a container"
    )
    parser.add_argument("--quick", action="store_true", help="do not hash layers and downloaded files")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Check the store. Returns 1 where something in it is damaged and was not removed."""
    from corten.store.check import check, repair

    store, terminal = context.store, context.terminal
    checked = check(store, context.observe, quick=arguments.quick)
    if arguments.repair:
        from corten.runtime import inventory
        from corten.supervise import services

        checked = repair(
            store,
            checked,
            lambda: inventory.layers_in_use(store) | services.layers_in_use(store),
            context.observe,
        )
    left = [finding for finding in checked.findings if not finding.removed]
    if arguments.json:
        document = {
            "store": str(store.root),
            "checked": checked.numbers,
            "bytes": checked.bytes,
            "incomplete": [str(diff_id) for diff_id in checked.incomplete],
            "findings": [_document(finding) for finding in checked.findings],
        }
        terminal.print(json.dumps(document))
        return 1 if left else 0
    for finding in checked.findings:
        terminal.print("\n".join(_lines(finding)))
    terminal.say(_summary(checked, str(store.root)))
    if checked.incomplete and not arguments.repair:
        terminal.say(
            f"{_count(len(checked.incomplete), 'leftover')} of incomplete layers, which count as absent:"
            " 'corten store check --repair' removes what is left"
        )
    if left:
        terminal.error(
            f"the store is damaged in {_count(len(left), 'place')}", _hint(checked, repaired=arguments.repair)
        )
    elif checked.findings:
        terminal.say(f"what was damaged is removed; {_remedy(checked)}")
    return 1 if left else 0


def _document(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "name": finding.name,
        "path": str(finding.path),
        "problem": finding.problem,
        "details": list(finding.details),
        "origin": list(finding.origin),
        "images": list(finding.images),
        "removed": finding.removed,
        "in_use": finding.in_use,
    }


def _lines(finding: Finding) -> list[str]:
    state = (
        ": removed" if finding.removed else ": kept, because a container uses it" if finding.in_use else ""
    )
    lines = [f"{finding.kind} {finding.name} {finding.problem}{state}"]
    if finding.origin:
        lines.append(f"  from: {', '.join(finding.origin)}")
    return lines + [f"  {text}" for text in finding.details]


def _summary(checked: Checked, root: str) -> str:
    if not any(checked.numbers.values()):
        return f"the store at '{root}' is empty: there is nothing to check"
    parts = [
        _count(number, kind.removesuffix("s").replace("-", " "))
        for kind, number in checked.numbers.items()
        if number
    ]
    return f"checked {', '.join(parts)}: {size_text(checked.bytes)} hashed"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _hint(checked: Checked, *, repaired: bool) -> str:
    left = [finding for finding in checked.findings if not finding.removed]
    if any(finding.in_use for finding in left):
        return "stop the containers that use the layers, and run 'corten store check --repair' again"
    if not repaired and any(finding.removable for finding in left):
        return "'corten store check --repair' removes what is damaged; the next build or pull makes it again"
    return f"{_remedy(checked)}, or forget them with 'corten rmi'"


def _remedy(checked: Checked) -> str:
    names = sorted({name for finding in checked.findings for name in finding.images})
    if not names:
        return "the next build or pull makes it again"
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"build or pull these images again: {', '.join(names[:8])}{more}"
