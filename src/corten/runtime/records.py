"""What a container is, on the disk: written once when it is made, and read tolerantly.

containers/<name>/state.json   a `Record`; what changes during a container's life is in files of its own:
containers/<name>/inside       process 1 of its namespace (processes.py)
containers/<name>/started      appears when its program has started
containers/<name>/exit/<name>  the exit code, when it has ended by itself
containers/<name>/output.log   what it printed, when it is detached

Each is written whole or not at all, so whatever is killed at any instant, the files and the lock tell what happened.
"""

from __future__ import annotations

import json
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar

from corten.errors import RuntimeFailure
from corten.oci.digest import Digest
from corten.runtime.options import RunOptions
from corten.store.disk import boot_identity, write_atomically
from corten.values import asdict, dataclass, is_dataclass

VERSION = 1
Kind = Literal["foreground", "shim", "conmon"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Restart:
    """When a container that ended is started again. `most` bounds how often in a row; None: always again."""

    policy: Literal["no", "on-failure", "always"] = "no"
    most: int | None = None


NEVER = Restart()


@dataclass(frozen=True, slots=True)
class Health:
    """How a container is asked whether it is well (seconds). `command` is executed inside; exit code 0 means well."""

    command: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0


@dataclass(frozen=True, slots=True)
class Record:
    """A container. Times are seconds since the epoch. `kind` says who watches it; `boot` during which uptime of the machine
    it was started; `remove` that nothing of it is kept after its end, `ends_with_stop` that `stop` removes it.
    `uid` is its user's on the machine; `ports` are those that it publishes, as `Port` shows them."""

    name: str
    image: str
    id: str
    layers: tuple[str, ...]
    created: float
    started: float
    kind: Kind
    uid: int
    boot: str
    command: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    remove: bool = False
    ends_with_stop: bool = False
    url: str | None = None
    restarts: int = 0
    restart: Restart = NEVER
    health: Health | None = None
    timeout: int | None = None
    terminal: bool = False
    stdin: bool = False
    stop_signal: str | None = None
    stop_timeout: float | None = None
    ports: tuple[str, ...] = ()

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """Its layers from bottom to top. Raises FormatError."""
        return tuple(Digest.parse(item) for item in self.layers)

    @property
    def is_kept(self) -> bool:
        """Whether its end is to be read later: not that of one in the foreground, or of one that removes itself."""
        return self.kind != "foreground" and not self.remove


def new(**values: Any) -> Record:
    """A record of a container that starts during this uptime of the machine."""
    return Record(boot=boot_identity(), **values)


def write(directory: Path, record: Record, options: RunOptions) -> None:
    """Put `record` into a container's directory, with the options that start it again. Only its owner may read it: it
    holds the environment."""
    document = {"version": VERSION, **asdict(record), "options": asdict(options)}
    write_atomically(directory / "state.json", json.dumps(document).encode(), 0o600)


def read(directory: Path) -> Record | None:
    """The record in a container's directory; None where that is missing or damaged. Fields of a later version are
    passed over, missing ones get their default."""
    try:
        document = json.loads((directory / "state.json").read_bytes())
        document.setdefault("name", directory.name)
        return decode(Record, document)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def read_options(directory: Path) -> RunOptions:
    """The options that a container was started with. Raises RuntimeFailure where another version of Corten wrote them
    in a way that cannot be understood."""
    try:
        document = json.loads((directory / "state.json").read_bytes())
        return decode(RunOptions, document["options"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RuntimeFailure(
            f"the options of '{directory.name}' cannot be read",
            hint="remove it with 'corten rm', and run it again",
        ) from error


def raw_options(directory: Path) -> dict[str, Any]:
    """The options as they are written down; empty where they cannot be read."""
    try:
        options = json.loads((directory / "state.json").read_bytes())["options"]
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return options if isinstance(options, dict) else {}


def decode(kind: type[T], document: Any) -> T:
    """The value of the type `kind` that `asdict` and JSON made `document` of. Raises ValueError, TypeError."""
    return typing.cast(T, _decode(kind, document))


def _decode(kind: Any, document: Any, strict: bool = False) -> Any:
    if is_dataclass(kind):
        known = _hints(kind)
        if not isinstance(document, dict) or (strict and set(document) - set(known)):
            raise ValueError(f"not a {kind}")
        return typing.cast(Any, kind)(
            **{name: _decode(known[name], value) for name, value in document.items() if name in known}
        )
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _decode_union(arguments, document)
    if origin is tuple:
        if not isinstance(document, list):
            raise ValueError("not a list")
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_decode(arguments[0], item) for item in document)
        return tuple(_decode(part, item) for part, item in zip(arguments, document, strict=True))
    if origin is Literal:
        if document not in arguments:
            raise ValueError(f"not one of {arguments}")
        return document
    if kind is float and type(document) in (int, float):
        return float(document)
    if kind in (str, int, bool) and type(document) is kind:
        return document
    if kind is type(None) and document is None:
        return None
    raise ValueError(f"not a {kind}")


def _decode_union(kinds: tuple[Any, ...], document: Any) -> Any:
    for kind in kinds:
        try:
            return _decode(kind, document, strict=True)
        except (ValueError, TypeError, KeyError):
            continue
    raise ValueError("of no known kind")


_KNOWN: dict[Any, dict[str, Any]] = {}


def _hints(kind: Any) -> dict[str, Any]:
    """The types of a dataclass's fields, looked up once: `ps` reads a hundred of them."""
    if kind not in _KNOWN:
        names: dict[str, Any] = {}
        if kind is RunOptions:
            from corten.runtime import mounts, privileges
            from corten.runtime.cdi.choose import Gpus
            from corten.runtime.network.ports import Port

            names = {**vars(mounts), **vars(privileges), "Gpus": Gpus, "Port": Port}
        _KNOWN[kind] = typing.get_type_hints(kind, localns=names)
    return _KNOWN[kind]
