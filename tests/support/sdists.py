"""Sdists of the tests' own, and what builds them: the real builder in the real base of the shared store."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from corten.build.source_wheels import SourceWheels, Workplace
from corten.cli.building import _Supply
from corten.errors import ResolutionError
from corten.events import Event, ignore
from corten.lock.format import read_lock
from corten.lock.model import Lock, PlatformLock
from corten.oci.platform import Platform
from corten.packages.files import STRICT, Deb, Wheel
from corten.packages.sources import BuiltWheel, Recorded, Source
from corten.project.load import load
from corten.store.store import Store
from support.command import Corten

BACKEND = """
import os, zipfile

NAME, VERSION = {name!r}, {version!r}

def build_wheel(directory, config_settings=None, metadata_directory=None):
    hostile()
    stem = f"{{NAME}}-{{VERSION}}"
    info = f"{{stem}}.dist-info"
    files = contents()
    files[f"{{info}}/METADATA"] = f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n{requires}"
    files[f"{{info}}/WHEEL"] = "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files[f"{{info}}/RECORD"] = "".join(f"{{path}},,\\n" for path in [*files, f"{{info}}/RECORD"])
    with zipfile.ZipFile(os.path.join(directory, f"{{stem}}-py3-none-any.whl"), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(zipfile.ZipInfo(path), text)
    return f"{{stem}}-py3-none-any.whl"

def hostile():
    pass

def contents():
    return {{f"{{NAME}}.py": "x = 1\\n"}}

{more}
"""
BUILD_SYSTEM = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def sdist(folder: Path, name: str, version: str, files: Mapping[str, str]) -> Path:
    """An archive of `files`, as an index has it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for place, text in files.items():
            item = tarfile.TarInfo(f"{name}-{version}/{place}")
            item.size = len(text.encode())
            archive.addfile(item, io.BytesIO(text.encode()))
    return path


def backend(name: str, version: str = "1.0", more: str = "", requires: Sequence[str] = ()) -> dict[str, str]:
    """The files of a source with a build backend of its own, to which `more` belongs: Python that may define `hostile` and `contents`."""
    needed = "".join(f"Requires-Dist: {item}\\n" for item in requires)
    text = BACKEND.format(name=name, version=version, more=more, requires=needed)
    return {"pyproject.toml": BUILD_SYSTEM, "backend.py": text, "PKG-INFO": "Metadata-Version: 1.0\n"}


@dataclass
class Workbench:
    """A store with a base, and builders in it."""

    store: Store
    lock: Lock
    supply: _Supply
    folder: Path
    events: list[Event] = field(default_factory=list)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    known: dict[str, Wheel] = field(default_factory=dict)
    debs: tuple[Deb, ...] = ()

    @property
    def part(self) -> PlatformLock:
        return self.lock.for_platform(Platform.host())

    def resolve(self, lines: Sequence[str]) -> tuple[Wheel, ...]:
        self.asked.append(tuple(lines))
        unknown = [line for line in lines if line not in self.known]
        if unknown:
            raise ResolutionError(f"no index has a package '{unknown[0]}'")
        return tuple(self.known[line] for line in lines)

    def compilers(self) -> tuple[Deb, ...]:
        return self.debs

    def builder(self) -> SourceWheels:
        return SourceWheels(
            self.store, Workplace(self.part, self.resolve, self.supply, self.compilers), self.events.append
        )

    def source(self, name: str, files: Mapping[str, str], version: str = "1.0") -> Source:
        path = sdist(self.folder, name, version, files)
        return Source(name, version, sha256(path.read_bytes()).hexdigest(), path)

    def build(self, source: Source, recorded: Recorded | None = None) -> BuiltWheel:
        with self.store.lock("store", shared=True):
            return self.builder().build(source, recorded)


@pytest.fixture(scope="session")
def locked_base(corten: Corten, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Lock, _Supply]:
    """The shared store with the lock of a project without packages."""
    root = tmp_path_factory.mktemp("sdists") / "project"
    root.mkdir()
    (root / "main.py").write_text("print('main')\n")
    corten("lock", root)
    store, lock = Store(corten.home), read_lock(root / "corten.lock")
    return store, lock, _Supply(load(root), lock, store, ignore, None, STRICT)


@pytest.fixture
def workbench(locked_base: tuple[Store, Lock, _Supply], tmp_path: Path) -> Workbench:
    """A builder in the shared store."""
    return Workbench(*locked_base, tmp_path / "sdists")
