"""What CDI specifications say, as values. Field names are the specification's own, spelled as Python does."""

from __future__ import annotations

from corten.values import dataclass, fields


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A device node to be shown at `path` inside. `kind` is `b`, `c`, `u` or `p`; it, the numbers and the mode are the
    host's where they are None. `access` is what the device cgroup lets a container do: some of `rwm`, or nothing."""

    path: str
    host_path: str
    kind: str | None = None
    major: int | None = None
    minor: int | None = None
    mode: int | None = None
    access: str = "rwm"
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or folder of the host shown at `path` inside; `kind` and `options` as in the runtime specification."""

    host_path: str
    path: str
    kind: str | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hook:
    """A program of the host that the engine runs at the moment called `name`. `timeout` is in seconds."""

    name: str
    path: str
    arguments: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    timeout: int | None = None


@dataclass(frozen=True, slots=True)
class Edits:
    """What is to be done to a container (`containerEdits`). `notes` are things that were asked for and are not done."""

    environment: tuple[tuple[str, str], ...] = ()
    devices: tuple[DeviceNode, ...] = ()
    mounts: tuple[Mount, ...] = ()
    hooks: tuple[Hook, ...] = ()
    groups: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: Edits) -> Edits:
        """Both, these first."""
        return Edits(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))

    def __bool__(self) -> bool:
        return any(getattr(self, item.name) for item in fields(self))


@dataclass(frozen=True, slots=True)
class Device:
    """A device that can be asked for by `name`."""

    name: str
    edits: Edits


@dataclass(frozen=True, slots=True)
class Specification:
    """One file of a vendor. `kind` is `vendor.com/class`; `edits` are made once when any of its devices is asked for.
    `priority` grows with the place of its folder: of two devices of one name, that of the higher priority counts."""

    path: str
    priority: int
    kind: str
    devices: tuple[Device, ...]
    edits: Edits = Edits()


@dataclass(frozen=True, slots=True)
class Found:
    """The specifications of a machine; `broken` are files that could not be read, as (path, reason), and `directories`
    the places that were looked at."""

    specifications: tuple[Specification, ...]
    broken: tuple[tuple[str, str], ...] = ()
    directories: tuple[str, ...] = ()
