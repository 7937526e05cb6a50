"""The arguments of `run` and `up` that ask for GPUs and other devices of vendors."""

from __future__ import annotations

import argparse
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
