"""`corten lock --download DIR`: every file that a lock names in one directory, from which a build needs no network.

Wheels lie in `wheels/`, Debian packages in `debs/`, archives of a Python in `pythons/`, under their own names, files of models of a hub in `hub/` under their sha256. `indexes/` has the signed indexes of Debian that
list those packages: a build from the directory verifies them again. The directory may be copied, and made again over
itself: what is there and right is not written again, what is not of this lock stays. A file whose name is taken by another one lies
in a folder called by its sha256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from corten.errors import FetchError
from corten.events import Observer, TaskAdvanced, TaskFinished, TaskStarted
from corten.lock.bundle_folder import BundleFolder
from corten.lock.model import DebianBase, Lock
from corten.packages.debian.authentication import FOLDER, Authentication
from corten.packages.debian.lists import Lists
from corten.packages.debian.mirrors import Mirrors, locate
from corten.packages.fetch import fetch_debs, fetch_wheels
from corten.packages.files import STRICT, Accepted, Deb, PythonArchive, Wheel
from corten.packages.hub import fetch_models
from corten.packages.indexes import Indexes
from corten.packages.pythons import fetch_pythons
from corten.project.hub import parse
from corten.store.store import Store
from corten.values import dataclass


@dataclass(frozen=True, slots=True)
class Bundle:
    """What lies in a directory: how many files of the lock, and their bytes together with those of the signed indexes."""

    wheels: int
    debs: int
    size: int
    pythons: int = 0


def files_of(lock: Lock) -> tuple[tuple[Wheel, ...], tuple[Deb, ...]]:
    """Every wheel and every Debian package that `lock` names, for all platforms and compilers, each once."""
    wheels: dict[str, Wheel] = {}
    debs: dict[str, Deb] = {}
    for part in lock.platforms:
        wheels |= {wheel.sha256: wheel for wheel in (*part.wheels, *part.serving)}
        if isinstance(part.base, DebianBase):
            debs |= {deb.sha256: deb for deb in part.base.debs}
        debs |= {deb.sha256: deb for deb in (*part.system, *part.tools)}
    for compiler in lock.compilers.values():
        debs |= {deb.sha256: deb for deb in compiler}
    return tuple(wheels.values()), tuple(debs.values())


def archives_of(lock: Lock) -> tuple[PythonArchive, ...]:
    """Every archive of a Python that `lock` names, each once."""
    found = [part.base.interpreter for part in lock.platforms if isinstance(part.base, DebianBase)]
    return tuple({item.sha256: item for item in (*found, *lock.interpreters.values()) if item}.values())


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
    StoreError (the disk is full, or
    something is in a file's place)."""
    wheels, debs = files_of(lock)
    places = fetch_wheels(store, wheels, indexes, observe)
    proofs = 0
    if debs:
        authentication = Authentication(store, lock.suites, [mirrors.lists], mirrors, observe, accepted)
        proofs = _put_indexes(authentication.gather(debs), directory)
        places |= fetch_debs(store, debs, lambda deb: locate(store, deb, mirrors.sources), observe)
    archives = archives_of(lock)
    places |= fetch_pythons(store, archives, indexes.environment, observe)
    models = {file.sha256: file for model in lock.models for file in model.files}
    fetch_models(store, [(parse(model.name)[0], model) for model in lock.models], observe)
    total = sum(wheel.size for wheel in wheels) + sum(deb.size for deb in debs)
    total += sum(file.size for file in models.values()) + sum(archive.size for archive in archives)
    observe(TaskStarted("copy", f"files into {directory}", total))
    kinds: tuple[tuple[str, Sequence[Wheel | Deb | PythonArchive]], ...] = (
        ("wheels", wheels),
        ("debs", debs),
        ("pythons", archives),
    )
    with BundleFolder(directory) as folder:
        for kind, items in kinds:
            for item in items:
                # The name may be another file's: of this lock, of an older one, or of somebody else.
                place = f"{kind}/{item.file}"
                if folder.hash(place) not in (None, item.sha256):
                    place = f"{kind}/{item.sha256}/{item.file}"
                folder.copy(places[item.sha256], place, item.sha256)
                observe(TaskAdvanced("copy", f"files into {directory}", item.size))
        for sha256, file in models.items():
            source = store.files.path(sha256, "hub")
            assert source is not None  # it was fetched for this
            folder.copy(source, f"hub/{sha256}", sha256)
            observe(TaskAdvanced("copy", f"files into {directory}", file.size))
    observe(TaskFinished("copy", f"files into {directory}"))
    return Bundle(len(wheels), len(debs), total + proofs, len(archives))


def _put_indexes(used: Sequence[tuple[Lists, Path, str]], directory: Path) -> int:
    """Put the signed indexes into `directory`. Returns their bytes."""
    size = 0
    with BundleFolder(directory) as target:
        for lists, folder, architecture in used:
            found = lists.packages(folder, architecture)
            if found is None:
                raise FetchError("a fetched index has vanished from the store", hint="run the command again")
            for source in (folder / "InRelease", found):
                place = f"{FOLDER}/{folder.relative_to(lists.root)}/{source.name}"
                target.copy(source, place, _sha256(source))
                size += source.stat().st_size
    return size


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
