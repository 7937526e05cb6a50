"""`corten doctor`: what this machine can do, and what a project is, with what to do about what is missing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from corten.cli.context import Context
from corten.errors import CortenError

if TYPE_CHECKING:
    from corten.runtime.doctor import Finding

EXAMPLES = """\
examples:
  corten doctor
  corten doctor train                 and whether the CUDA of an image works with this machine's driver and GPUs
  corten doctor .                     the project in this folder: what would run, which files are used, what is missing
  corten doctor --json

exit code: 0 when containers can be built and run here, 1 when something that they (or the image, or the project) need is
missing"""

_SIGNS = {"ok": ("✓", "32"), "limited": ("!", "33"), "missing": ("✗", "31")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "image",
        nargs="?",
        metavar="IMAGE|FOLDER",
        help="compare this image's CUDA with the driver and the devices here; or explain the project in this folder",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Examine the machine and print what was found."""
    from corten.runtime.doctor import examine

    folder = _folder(arguments.image, context) if arguments.image else None
    if folder is not None:
        from corten.cli.explaining import explain

        return _tell(explain(folder, context), arguments, context)
    findings = [
        *(_image(arguments.image, context) if arguments.image else ()),
        *examine(context.store),
        *_sources(),
    ]
    return _tell(findings, arguments, context)


def _tell(findings: Sequence[Finding], arguments: argparse.Namespace, context: Context) -> int:
    missing = any(finding.verdict == "missing" for finding in findings)
    if arguments.json:
        rows = [
            {"subject": item.subject, "verdict": item.verdict, "says": item.says, "mend": item.mend}
            for item in findings
        ]
        context.terminal.print(json.dumps({"ok": not missing, "findings": rows}, indent=2))
        return int(missing)
    for finding in findings:
        context.terminal.print(f"{finding.subject}: {finding.says}", _SIGNS[finding.verdict])
        if finding.mend and finding.verdict != "ok":
            context.terminal.print(f"    {finding.mend}")
    return int(missing)


def _folder(text: str, context: Context) -> Path | None:
    """The folder that is meant: `text` looks like a path, or exists while no such image does."""
    from corten.cli.run import is_folder

    path = Path(text).expanduser()
    return path if is_folder(text, context) else None


def _image(name: str, context: Context) -> list[Finding]:
    """How an image that is here goes with this machine's GPUs. Raises ImageNotFound."""
    from corten.cli.finding import local_image
    from corten.runtime.cuda_facts import examine_image

    return examine_image(local_image(name, context), context.store)


def _sources() -> list[Finding]:
    """Whether Debian's mirrors and the package indexes are configured. Nothing is asked over the network."""
    from corten.packages.debian.sources import read_sources
    from corten.packages.indexes import read_indexes
    from corten.runtime.doctor import Finding

    findings = []
    try:
        sources = read_sources()
        count = len({*sources.of("debian"), *sources.of("debian-security")})
        findings.append(Finding("Debian mirrors", "ok", f"{count} configured ({sources.origin})"))
    except CortenError as error:
        findings.append(Finding("Debian mirrors", "missing", error.message, error.hint))
    try:
        read_indexes(Path.cwd())
        findings.append(Finding("Python indexes", "ok", "configured"))
    except CortenError as error:
        findings.append(Finding("Python indexes", "missing", error.message, error.hint))
    return findings
