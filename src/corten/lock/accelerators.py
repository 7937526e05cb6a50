"""Whether packages for GPUs are wanted, where the project does not say it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from corten.packages.cpu_builds import asks_for_gpu, is_cuda
from corten.packages.files import Wheel
from corten.packages.wheels import PREFER_CPU

_DEVICES = ("dev/nvidiactl", "dev/nvidia0", "dev/kfd", "dev/dxg", "proc/driver/nvidia/version")


def has_gpu(root: str = "/") -> bool:
    """Whether this machine has a GPU that programs compute on (NVIDIA's, AMD's, or Windows' under WSL)."""
    return any(os.path.exists(os.path.join(root, device)) for device in _DEVICES)


def builds(written: str, lines: Sequence[str], before: Sequence[Wheel], machine_has_gpu: bool) -> str:
    """Which builds to resolve: `gpu` as it is `written`, and what `auto` and `any` mean. What the last lock has (`before`) stays."""
    if written != "auto" or machine_has_gpu or asks_for_gpu(lines) or is_cuda(wheel.name for wheel in before):
        return written
    return PREFER_CPU
