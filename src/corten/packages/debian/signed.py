"""What a store remembers of Debian's signed indexes: the packages that one of them listed, and the newest date of each suite.

    debian/signed               one line for each package: suite, name, version, architecture, size, sha256
    debian/newest/<archive>,<codename>   the Date of the newest Release that was seen

A package is remembered when an index listed it whose signature was verified on this machine, so that a build of a lock that was
made here asks nobody. Dates only move forward: with an older Release a mirror could hide security updates.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from corten.packages.debian.index import Package
from corten.packages.files import Deb
from corten.store.disk import explained, private_directory, write_atomically
from corten.store.store import Store

Identity = tuple[str, str, str, int, str]
"""What makes two descriptions the same package: name, version, architecture, size, sha256. Not its place: between archives
a file moves, and remains the same."""


def identity(package: Deb | Package) -> Identity:
    """See `Identity`."""
    return package.name, package.version, package.architecture, package.size, package.sha256


class Signed:
    """The records of one store. Shared by threads and processes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._directory = store.root / "debian"

    def missing(self, suites: Iterable[str], debs: Iterable[Deb]) -> list[Deb]:
        """Those of `debs` that no signed index of `suites` is known to list."""
        known = set().union(*(self._known.get(suite, set()) for suite in suites))
        return [deb for deb in debs if identity(deb) not in known]

    def add(self, suite: str, packages: Iterable[Deb | Package]) -> None:
        """Remember that a signed index of `suite` lists `packages`."""
        found = {identity(package) for package in packages}
        if found <= self._known.get(suite, set()):
            return
        with self._store.lock("debian-signed"), explained(self._store.root):
            known = self._read()
            known.setdefault(suite, set()).update(found)
            lines = [
                f"{name} {' '.join(map(str, item))}\n"
                for name in sorted(known)
                for item in sorted(known[name])
            ]
            private_directory(self._directory)
            write_atomically(self._directory / "signed", "".join(lines).encode())
        self.__dict__["_known"] = known

    @cached_property
    def _known(self) -> dict[str, set[Identity]]:
        return self._read()

    def _read(self) -> dict[str, set[Identity]]:
        known: dict[str, set[Identity]] = {}
        try:
            text = (self._directory / "signed").read_text("utf-8", "replace")
        except OSError:
            return known
        for line in text.splitlines():
            # What a crash or a disk has spoiled matches no package, which is then looked for again.
            words = line.split(" ")
            if len(words) == 6 and words[4].isdigit() and len(words[4]) < 16:
                suite, name, version, architecture, size, sha256 = words
                known.setdefault(suite, set()).add((name, version, architecture, int(size), sha256))
        return known

    def newest(self, archive: str, codename: str) -> str | None:
        """The Date of the newest Release of `codename` that was seen here (ISO 8601, UTC)."""
        try:
            return (self._directory / "newest" / f"{archive},{codename}").read_text().strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def saw(self, archive: str, codename: str, date: str) -> None:
        """Remember the Date of a verified Release, unless a newer one was seen."""
        if date <= (self.newest(archive, codename) or ""):
            return
        with self._store.lock("debian-signed"), explained(self._store.root):
            if date > (self.newest(archive, codename) or ""):
                path = self._directory / "newest" / f"{archive},{codename}"
                private_directory(path.parent)
                write_atomically(path, f"{date}\n".encode())
