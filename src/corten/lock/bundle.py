"""`corten lock --download DIR`: every file that a lock names in one directory, from which a build needs no network.

Wheels lie in `wheels/`, Debian packages in `debs/`, under their own names. `indexes/` has the signed indexes of Debian that
list those packages: a build from the directory verifies them again. The directory may be copied, and made again over
itself: what is there and right is not written again, what is not of this lock stays.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from corten.errors import FetchError, StoreError
from corten.events import Observer, TaskAdvanced, TaskFinished, TaskStarted
from corten.lock.model import DebianBase, Lock
from corten.packages.debian.authentication import FOLDER, Authentication
from corten.packages.debian.lists import Lists
from corten.packages.debian.mirrors import Mirrors, locate
from corten.packages.fetch import fetch_debs, fetch_wheels
from corten.packages.files import STRICT, Accepted, Deb, Wheel
from corten.packages.indexes import Indexes
from corten.store.store import Store
from corten.values import dataclass


@dataclass(frozen=True, slots=True)
class Bundle:
    """What lies in a directory: how many files of the lock, and their bytes together with those of the signed indexes."""

    wheels: int
    debs: int
    size: int


def files_of(lock: Lock) -> tuple[tuple[Wheel, ...], tuple[Deb, ...]]:
    """Every wheel and every Debian package that `lock` names, for all platforms and compilers, each once."""
    wheels: dict[str, Wheel] = {}
    debs: dict[str, Deb] = {}
    for part in lock.platforms:
        wheels |= {wheel.sha256: wheel for wheel in (*part.wheels, *part.serving)}
        if isinstance(part.base, DebianBase):
            debs |= {deb.sha256: deb for deb in part.base.debs}
        debs |= {deb.sha256: deb for deb in part.system}
    for compiler in lock.compilers.values():
        debs |= {deb.sha256: deb for deb in compiler}
    return tuple(wheels.values()), tuple(debs.values())


def download(
    lock: Lock,
    directory: Path,
    store: Store,
    indexes: Indexes,
    mirrors: Mirrors,
    observe: Observer,
    accepted: Accepted = STRICT,
) -> Bundle:
    """Put every file of `lock` into `directory`. Raises FetchError, HashMismatch, SignatureError (a package is not Debian's),
    StoreError (the disk is full)."""
    wheels, debs = files_of(lock)
    places = fetch_wheels(store, wheels, indexes, observe)
    proofs = 0
    if debs:
        authentication = Authentication(store, lock.suites, [mirrors.lists], mirrors, observe, accepted)
        proofs = _put_indexes(authentication.gather(debs), directory)
        places |= fetch_debs(store, debs, lambda deb: locate(store, deb, mirrors.sources), observe)
    total = sum(wheel.size for wheel in wheels) + sum(deb.size for deb in debs)
    observe(TaskStarted("copy", f"files into {directory}", total))
    kinds: tuple[tuple[str, Sequence[Wheel | Deb]], ...] = (("wheels", wheels), ("debs", debs))
    for kind, items in kinds:
        taken: set[str] = set()
        for item in items:
            folder = directory / kind / item.sha256 if item.file in taken else directory / kind
            taken.add(item.file)
            _put(places[item.sha256], folder / item.file, item.sha256)
            observe(TaskAdvanced("copy", f"files into {directory}", item.size))
    observe(TaskFinished("copy", f"files into {directory}"))
    return Bundle(len(wheels), len(debs), total + proofs)


def _put_indexes(used: Sequence[tuple[Lists, Path, str]], directory: Path) -> int:
    """Put the signed indexes into `directory`. Returns their bytes."""
    size = 0
    for lists, folder, architecture in used:
        target = directory / FOLDER / folder.relative_to(lists.root)
        found = lists.packages(folder, architecture)
        if found is None:
            raise FetchError("a fetched index has vanished from the store", hint="run the command again")
        for source in (folder / "InRelease", found):
            _put(source, target / source.name, _sha256(source))
            size += source.stat().st_size
    return size


def _put(source: Path, target: Path, sha256: str) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        if target.is_file() and target.stat().st_size == source.stat().st_size and _sha256(target) == sha256:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"'{target}' cannot be written: {(error.strerror or str(error)).lower()}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
