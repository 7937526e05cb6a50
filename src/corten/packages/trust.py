"""What a project may name: files inside its own folder, and hosts that this machine's user knows.

A project comes from elsewhere. What it names beyond that (a file outside its folder, a host for the user's credentials, an
address of this machine) counts only when the user's own configuration names it too, or when the user has confirmed it: by a
flag, by `CORTEN_TRUST_INDEX` or `CORTEN_TRUST_PATH`, or by answering once. Confirmations are remembered for each project in
`trusted/` of the store. Imported by every build, so it imports little.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from corten.errors import NotConfirmed, StoreError, UsageError
from corten.lazy import regex
from corten.values import dataclass

Origin = tuple[str, str]
"""Scheme, and host with its port unless that is the scheme's own: what credentials are bound to."""

_HOST = regex(r"(?:(https?)://)?([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(?::([0-9]{1,5}))?/?")


@dataclass(frozen=True, slots=True)
class Trust:
    """What the user has confirmed for one project. Paths are absolute and without links."""

    origins: frozenset[Origin] = frozenset()
    paths: frozenset[str] = frozenset()

    def reaches(self, path: str) -> bool:
        """Whether `path`, which is absolute and without links, is or lies below a confirmed path."""
        return any(within(path, place) for place in self.paths)


def within(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies below it; both absolute and without links."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def read_trust(root: Path, environment: Mapping[str, str]) -> Trust:
    """What is confirmed for the project at `root`. Raises UsageError for a variable that names no host."""
    origins: set[Origin] = set()
    for text in environment.get("CORTEN_TRUST_INDEX", "").split():
        origins.update(origins_of(text))
    paths = {
        os.path.realpath(item) for item in environment.get("CORTEN_TRUST_PATH", "").split(os.pathsep) if item
    }
    kept = _kept(_file(root, environment))
    return Trust(kept.origins | origins, kept.paths | paths)


def remember(
    root: Path, environment: Mapping[str, str], *, indexes: Iterable[str] = (), paths: Iterable[str] = ()
) -> None:
    """Confirm `indexes` (hosts, or addresses of which only scheme, host and port count) and `paths` for the project at
    `root`, from now on. Raises UsageError, StoreError."""
    import json

    from corten.store.disk import private_directory, write_atomically

    file = _file(root, environment)
    kept = _kept(file)
    found = set(kept.origins)
    for text in indexes:
        found.update(origins_of(text))
    document = {
        "project": str(root),
        "indexes": sorted(found),
        "paths": sorted({*kept.paths, *(os.path.realpath(item) for item in paths)}),
    }
    try:
        private_directory(file.parent)
        write_atomically(file, (json.dumps(document, indent=2) + "\n").encode(), durable=True)
    except OSError as error:
        raise StoreError(f"'{file}' cannot be written: {(error.strerror or str(error)).lower()}") from error


def origins_of(text: str) -> list[Origin]:
    """The origins that a confirmation names: `https://host:port`, or a host (and port), which means https, and on this
    machine itself http too. Raises UsageError."""
    scheme, separator, rest = text.strip().partition("://")
    host = (rest if separator else scheme).split("/")[0].rpartition("@")[2].lower()
    match = _HOST.fullmatch(f"{scheme.lower()}://{host}" if separator else host)
    if match is None:
        raise UsageError(f"'{text}' is not a host", hint="write HOST, HOST:PORT or https://HOST:PORT")
    port = match[3]
    if separator:
        schemes: tuple[str, ...] = (scheme.lower(),)
    else:
        from corten.network.reserved import is_loopback

        schemes = ("https", "http") if is_loopback(match[2]) else ("https",)
    own = {"https": "443", "http": "80"}
    return [(name, f"{match[2]}:{port}" if port and port != own[name] else match[2]) for name in schemes]


class Boundary:
    """Which paths the project at `root` may name: those in its folder, those that `trust` names, and `known` ones, which
    the user's own configuration names."""

    def __init__(self, root: Path, trust: Trust, known: Iterable[str] = ()) -> None:
        self._root = root
        self._inside = os.path.realpath(root)
        self._trust = trust
        self._known = tuple(os.path.realpath(item) for item in known)

    def also(self, place: Path) -> Boundary:
        """This one, in which files below `place` may be read as well: what Corten itself put there."""
        return Boundary(self._root, self._trust, (*self._known, str(place)))

    @property
    def allowed(self) -> list[str]:
        """The paths outside the project that its user has confirmed."""
        return sorted(self._trust.paths)

    def permitted(self, path: Path, named_by: str) -> Path:
        """`path` without links, when it may be read. Raises NotConfirmed; what is there is not looked at."""
        try:
            real = os.path.realpath(path)
        except ValueError:  # a null character in it
            return path
        if within(real, self._inside) or self._trust.reaches(real):
            return Path(real)
        if any(within(real, place) for place in self._known):
            return Path(real)
        lexical = os.path.normpath(os.path.abspath(path))
        if within(lexical, self._inside) or within(lexical, str(self._root)):
            shown = os.path.relpath(lexical, self._root)
            message = f"'{shown}' is a link that leads out of the project"
        else:
            message = f"{named_by} names '{real}', which is outside the project"
        raise NotConfirmed(
            message, self._root, "path", real, f"{message}. Read it for this project, now and later?"
        )


def _file(root: Path, environment: Mapping[str, str]) -> Path:
    """Where confirmations for a project are kept: in the store that `environment` chooses."""
    home = environment.get("CORTEN_HOME")
    data = environment.get("XDG_DATA_HOME") or os.path.join(
        environment.get("HOME") or os.path.expanduser("~"), ".local/share"
    )
    store = Path(home) if home else Path(data) / "corten"
    return store.absolute() / "trusted" / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:32]}.json"


def _kept(file: Path) -> Trust:
    try:
        data = file.read_bytes()
    except OSError:  # nothing was confirmed, as for most projects
        return Trust()
    import json

    try:
        document = json.loads(data)
        origins = [(str(scheme), str(host)) for scheme, host in document["indexes"]]
        return Trust(frozenset(origins), frozenset(str(path) for path in document["paths"]))
    except (ValueError, KeyError, TypeError):
        return Trust()
