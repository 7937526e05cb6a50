"""What locking needs, all of it real and the test's own: an index, a signed Debian archive behind a mirror, a store and a project."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corten.errors import CortenError
from corten.events import Event, Note, Warned
from corten.lock.format import decode, encode
from corten.lock.model import Lock
from corten.lock.resolve import lock_project
from corten.oci.platform import Platform
from corten.packages.debian.archive import DebianArchive
from corten.project.load import load
from corten.project.model import Project
from corten.store.store import Store
from debian_parts import NOW, Archive, Mirror, public, quick_http, signing_key, sources
from debian_parts import serving as mirroring
from support.index import publish
from support.web import Web, serving
from support.wheels import make_wheel

BASE = [
    *(
        "base-files",
        "ca-certificates",
        "libc-bin",
        "libgomp1",
        "libstdc++6",
        "media-types",
        "netbase",
        "tzdata",
    ),
    *("bash", "coreutils", "dash", "debianutils", "findutils", "grep", "gzip", "hostname", "sed", "tar"),
    *("python3-distutils", "python3-lib2to3"),
]
PYTHON = ("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib")
ARCHITECTURES = ("amd64", "arm64")
HERE = Platform.host().architecture
(OTHER,) = {*ARCHITECTURES} - {HERE}


class World:
    """An index, a Debian mirror, a store and a project."""

    def __init__(self, web: Web, mirror: Mirror, archive: Archive, root: Path) -> None:
        self.web, self.archive, self.root = web, archive, root
        self.mirror, self.asked = mirror.url, mirror.requests
        self.pool = root / "pool"
        self.folder = root / "project"
        self.folder.mkdir()
        (root / "home").mkdir()
        self.store = Store(root / "store")
        self.environment = {
            "HOME": str(root / "home"),
            "PATH": os.environ["PATH"],
            "PIP_CONFIG_FILE": os.devnull,
            "UV_DEFAULT_INDEX": f"{web.url}/simple",
            "UV_HTTP_RETRIES": "0",
        }
        self.events: list[Event] = []
        for name in ("alpha", "beta", "granian"):
            self.make(name, "2.8.0" if name == "granian" else "1.0")

    def make(self, name: str, version: str = "1.0", *requires: str, tag: str = "py3-none-any") -> None:
        make_wheel(self.pool, name, version, requires=requires, tag=tag)
        publish(self.web, self.pool)

    def write(self, file: str, text: str) -> Path:
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def debian(self) -> DebianArchive:
        return DebianArchive(
            self.store, sources(self.mirror), quick_http(), keys=[public(signing_key())], now=NOW
        )

    def lock(self, project: Project | None = None, previous: Lock | None = None, **options: object) -> Lock:
        made = lock_project(
            project or load(self.folder),
            self.store,
            previous=previous,
            observe=self.events.append,
            environment=self.environment,
            debian=self.debian(),
            **options,  # type: ignore[arg-type]
        )
        assert decode(encode(made).encode()) == made
        assert self.web.url not in encode(made)
        assert str(self.root) not in encode(made)
        return made

    def fails(self, kind: type[CortenError], **options: object) -> CortenError:
        with pytest.raises(kind) as caught:
            self.lock(**options)  # type: ignore[arg-type]
        assert caught.value.hint
        return caught.value


@contextmanager
def lock_world(tmp_path: Path) -> Iterator[World]:
    archive = Archive(tmp_path / "mirror")
    for architecture in ARCHITECTURES:
        for name in BASE:
            archive.add(name, architecture=architecture)
        for name in PYTHON:
            needs = {} if name.startswith("lib") else {"depends": "libpython3.11-minimal"}
            archive.add(name, "3.11.2-6", architecture=architecture, **needs)
        archive.add("libgl1", "1.6", depends="libglx0", architecture=architecture)
        archive.add("libglx0", "1.6", architecture=architecture)
    archive.publish()
    with serving() as web, mirroring(tmp_path / "mirror") as mirror:
        yield World(web, mirror, archive, tmp_path)


def said(world: World) -> list[str]:
    return [event.message for event in world.events if isinstance(event, Note | Warned)]
