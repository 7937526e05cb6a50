"""The arguments of `run` and its like that ask for GPUs and other devices of vendors."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from corten.runtime.cdi.choose import Gpus


def add_gpu_arguments(parser: argparse.ArgumentParser) -> None:
    """`--gpus` and `--cdi-spec-dir`."""
    parser.add_argument(
        "--gpus", metavar="all|N|NAMES", help="GPUs: all, so many, or by index, UUID or MIG device, as in 0,1"
    )
    parser.add_argument(
        "--cdi-spec-dir",
        action="append",
        default=[],
        metavar="DIR",
        help="where vendors describe their devices (default: /etc/cdi and /var/run/cdi)",
    )


def gpus_of(arguments: argparse.Namespace) -> Gpus | None:
    """The GPUs that `--gpus` spells. Raises UsageError."""
    if arguments.gpus is None:
        return None
    from corten.runtime.cdi.choose import parse_gpus

    return parse_gpus(arguments.gpus)


def split_devices(texts: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The values of `--device`: full CDI names, and paths of device nodes."""
    if not any("=" in text for text in texts):
        return (), tuple(texts)
    from corten.runtime.cdi.parse import is_qualified

    vendors = tuple(text for text in texts if is_qualified(text))
    return vendors, tuple(text for text in texts if text not in vendors)
