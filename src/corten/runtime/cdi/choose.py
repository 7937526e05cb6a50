"""What a caller asks for → the edits that give it, from the specifications of this machine: pure."""

from __future__ import annotations

from collections.abc import Sequence

from corten.errors import RuntimeFailure, UsageError
from corten.lazy import regex
from corten.runtime.cdi.model import Device, Edits, Found, Specification
from corten.runtime.cdi.parse import is_device_name, is_qualified
from corten.values import dataclass

NVIDIA_HINT = "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
_KINDS = ("nvidia.com/gpu", "amd.com/gpu", "intel.com/gpu")
_INTEL_VENDOR = "gpu.intel.com/"
"""Kinds of GPUs in the order in which they are preferred: NVIDIA's and AMD's container toolkits, Intel's generator
(`intel.com/gpu`) and Intel's resource drivers (classes of the vendor `gpu.intel.com`)."""

_COUNT = regex(r"[0-9]{1,4}")


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs that are asked for: all, so many, or those called `names`."""

    everything: bool = False
    count: int = 0
    names: tuple[str, ...] = ()


def parse_gpus(text: str) -> Gpus:
    """`all`, a number of them, or names with commas between: indexes (`0,1`, `device=0`), UUIDs, MIG devices (`0:1`,
    `MIG-…`), full CDI names. One number alone is a count, as docker has it. Raises UsageError."""
    wanted = _without_capabilities(text.strip().strip("'")).strip("\"'")
    if wanted == "all":
        return Gpus(everything=True)
    if wanted.startswith("count="):
        wanted = wanted[6:]
        if wanted == "all":
            return Gpus(everything=True)
    if _COUNT.fullmatch(wanted):
        if int(wanted) == 0:
            raise UsageError(
                "'--gpus 0' asks for no GPU", hint="leave --gpus out, or name the first: --gpus device=0"
            )
        return Gpus(count=int(wanted))
    names = tuple(part.strip() for part in wanted.removeprefix("device=").split(",") if part.strip())
    if not names or not all(is_qualified(name) or is_device_name(name) for name in names):
        raise UsageError(
            f"'{text[:80]}' names no GPUs", hint="write all, a number, or names: --gpus 0,1 or --gpus GPU-…"
        )
    return Gpus(names=tuple(dict.fromkeys(names)))


def _without_capabilities(text: str) -> str:
    """`text` without `capabilities=…` and `driver=nvidia`, which docker's form may have: a specification gives a device with all
    that it can do. Raises UsageError for another driver."""
    if "capabilities=" not in text and "driver=" not in text:
        return text
    import csv

    kept: list[str] = []
    inside = False
    for field in next(csv.reader([text])):
        key, equals, value = field.partition("=")
        if key == "driver" and value not in ("nvidia", "cdi", ""):
            raise UsageError(f"'{value[:40]}' is not a driver of GPUs", hint="leave driver=… out")
        # Capabilities have commas between, also where they are not quoted.
        inside = key == "capabilities" if equals else inside and field != "all" and not field.isdigit()
        if not inside and key != "driver":
            kept.append(field)
    return ",".join(kept)


def gpu_devices(gpus: Gpus, found: Found) -> tuple[str, ...]:
    """The full names of the devices that `gpus` means on this machine. Raises RuntimeFailure where it has none, not
    enough of them, or none of that name."""
    short = [name for name in gpus.names if not is_qualified(name)]
    if gpus.names and not short:
        return gpus.names
    kind = gpu_kind(found)
    if kind is None:
        broken = _broken(found)
        raise RuntimeFailure(
            f"no CDI specification of GPUs was found in {_places(found)}{broken}",
            hint=f"have the vendor's tool write one; for NVIDIA: {NVIDIA_HINT}",
        )
    names = [name for name in _names(found, kind) if name != "all"]
    if gpus.everything:
        return (f"{kind}=all",) if "all" in _names(found, kind) else tuple(f"{kind}={name}" for name in names)
    if gpus.count:
        # An index and a UUID may be two names of one device: those with indexes are counted where there are any.
        whole = sorted((name for name in names if name.isdigit()), key=int) or names
        if len(whole) < gpus.count:
            raise RuntimeFailure(
                f"{gpus.count} GPUs are asked for, and {len(whole)} are there", hint=_there_are(names)
            )
        return tuple(f"{kind}={name}" for name in whole[: gpus.count])
    return tuple(name if is_qualified(name) else f"{kind}={name}" for name in gpus.names)


def gpu_kind(found: Found) -> str | None:
    """The kind of GPU that this machine has a specification of, the most preferred one; None without any."""
    kinds = {item.kind for item in found.specifications}
    for kind in _KINDS:
        if kind in kinds:
            return kind
    return min((kind for kind in kinds if kind.startswith(_INTEL_VENDOR)), default=None)


def edits_for(names: Sequence[str], found: Found) -> Edits:
    """The edits for the devices with these full names: for each what its file asks for whoever uses it, once, and then
    its own. Raises RuntimeFailure for one that no file has, or that two files of one folder have."""
    edits = Edits()
    seen: set[str] = set()
    for name in dict.fromkeys(names):
        specification, device = _find(name, found)
        if specification.path not in seen:
            seen.add(specification.path)
            edits += specification.edits
        edits += device.edits
    return edits


def _find(full: str, found: Found) -> tuple[Specification, Device]:
    kind, _, name = full.partition("=")
    holders = [
        (item, device)
        for item in found.specifications
        if item.kind == kind
        for device in item.devices
        if device.name == name
    ]
    if not holders:
        _refuse(kind, name, found)
    highest = max(item.priority for item, _ in holders)
    first, *more = [pair for pair in holders if pair[0].priority == highest]
    if more:
        raise RuntimeFailure(
            f"the device '{full}' is defined twice, in '{first[0].path}' and '{more[0][0].path}'",
            hint="remove one of the two files",
        )
    return first


def _refuse(kind: str, name: str, found: Found) -> None:
    names = _names(found, kind)
    if not names:
        hint = f"generate it: {NVIDIA_HINT}" if kind.startswith("nvidia.com/") else None
        kinds = sorted({item.kind for item in found.specifications})
        raise RuntimeFailure(
            f"no CDI specification of '{kind}' was found in {_places(found)}{_broken(found)}",
            hint=hint or (f"there are: {', '.join(kinds[:8])}" if kinds else "install the vendor's CDI tool"),
        )
    raise RuntimeFailure(f"there is no device '{kind}={name}'", hint=_there_are(names))


def _names(found: Found, kind: str) -> list[str]:
    every = (device.name for item in found.specifications if item.kind == kind for device in item.devices)
    return list(dict.fromkeys(every))


def _there_are(names: Sequence[str]) -> str:
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"there are: {', '.join(names[:12])}{more}" if names else "there are none"


def _places(found: Found) -> str:
    return " or ".join(f"'{place}'" for place in found.directories)


def _broken(found: Found) -> str:
    return "".join(f"; '{path}' cannot be used: {reason}" for path, reason in found.broken[:3])
