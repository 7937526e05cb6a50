"""What a CDI file leaves open about device nodes, looked up on this machine."""

from __future__ import annotations

import os
import stat

from corten.errors import RuntimeFailure
from corten.runtime.cdi.model import DeviceNode, Edits
from corten.values import replace


def completed(edits: Edits) -> Edits:
    """The same with type, numbers and mode of every device node. Raises RuntimeFailure where a node, a mount's source or
    a hook's program is not there: a specification may be written before they exist, and be older than them."""
    for mount in edits.mounts:
        if mount.host_path.startswith("/") and not os.path.exists(mount.host_path):
            raise _stale(mount.host_path, "the source of a mount")
    for hook in edits.hooks:
        if not os.access(hook.path, os.X_OK):
            raise _stale(hook.path, "the program of a hook")
    return replace(edits, devices=tuple(_complete(node) for node in edits.devices))


def _complete(node: DeviceNode) -> DeviceNode:
    enough = node.kind is not None and (node.major or node.kind == "p")
    try:
        status = os.lstat(node.host_path)
    except OSError as error:
        if enough:
            return node
        raise _stale(node.host_path, "a device node") from error
    mode = node.mode if node.mode is not None else stat.S_IMODE(status.st_mode)
    if enough:
        return replace(node, mode=mode)
    kind = {stat.S_IFBLK: "b", stat.S_IFCHR: "c", stat.S_IFIFO: "p"}.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        raise RuntimeFailure(f"'{node.host_path}' is not a device node", hint="generate the CDI file anew")
    if (node.kind or kind) not in ((kind, "u") if kind == "c" else (kind,)):
        raise RuntimeFailure(
            f"'{node.host_path}' is of type '{kind}', and its CDI file says '{node.kind}'",
            hint="generate the CDI file anew",
        )
    numbers = (None, None) if kind == "p" else (os.major(status.st_rdev), os.minor(status.st_rdev))
    return replace(node, kind=node.kind or kind, major=numbers[0], minor=numbers[1], mode=mode)


def _stale(path: str, what: str) -> RuntimeFailure:
    return RuntimeFailure(
        f"a CDI file names '{path}', {what}, which is not there",
        hint="generate the file anew, for NVIDIA with 'nvidia-ctk cdi generate', and load the driver",
    )
