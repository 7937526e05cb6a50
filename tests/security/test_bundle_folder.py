"""`corten lock --download` into a folder in which somebody else has put links, pipes and files: nothing is written through a link, and
no file of somebody else is overwritten."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from corten.errors import StoreError
from corten.events import ignore
from corten.lock.bundle import download
from corten.lock.bundle_folder import BundleFolder
from corten.lock.bundled_base import download_base
from corten.lock.format import LOCK_NAME, write_lock
from corten.lock.inputs import inputs_digest
from corten.lock.model import ImageBase, Lock, PlatformLock
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.packages.debian.mirrors import Mirrors
from corten.packages.fetch import fetch_wheels
from corten.packages.indexes import Indexes, read_indexes
from corten.project.load import load
from corten.registry.client import settings_from
from corten.store.store import Store
from support.command import Corten
from support.wheels import make_wheel

BASE = ImageBase("team/base:1", Digest.of(b"base"), "3.11.2", "/usr/bin/python3.11")
NAME = "demo-1.0-py3-none-any.whl"


class Downloading:
    """A lock with a wheel, a folder to download into, and another one with a file of somebody else."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root / "store")
        wheel = make_wheel(root / "pool", "demo")
        self.wheel = (root / "pool" / NAME).read_bytes()
        part = PlatformLock(Platform("linux", "amd64"), BASE, wheels=(wheel,))
        self.lock = Lock("0.1.0", Digest.of(b"inputs"), (part,))
        self.folder, self.outside = root / "bundle", root / "outside"
        self.folder.mkdir()
        self.outside.mkdir()
        self.precious = self.outside / "precious"
        self.precious.write_text("precious")
        self.root = root

    def indexes(self) -> Indexes:
        environment = {"HOME": str(self.root), "PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull}
        return read_indexes(
            None, {**environment, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.root / "pool")}
        )

    def __call__(self) -> None:
        mirrors = Mirrors.__new__(Mirrors)  # a lock without Debian packages asks no mirror
        download(self.lock, self.folder, self.store, self.indexes(), mirrors, ignore)

    def untouched(self) -> bool:
        return [path.name for path in self.outside.iterdir()] == ["precious"] and (
            self.precious.read_text() == "precious"
        )


@pytest.fixture
def downloading(tmp_path: Path) -> Downloading:
    return Downloading(tmp_path)


def test_a_folder_of_ones_own_may_be_filled_again(downloading: Downloading) -> None:
    downloading()
    place = downloading.folder / "wheels" / NAME
    assert place.read_bytes() == downloading.wheel
    before = place.stat()
    downloading()
    assert place.stat() == before
    assert [path.name for path in place.parent.iterdir()] == [NAME]


@pytest.mark.parametrize(
    "planted", ["link to a file", "link to nothing", "link to a device", "pipe", "folder"]
)
def test_nothing_is_written_through_what_is_in_a_files_place(downloading: Downloading, planted: str) -> None:
    place = downloading.folder / "wheels" / NAME
    place.parent.mkdir()
    match planted:
        case "pipe":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
        case "link to a device":
            place.symlink_to("/dev/full")
        case "link to nothing":
            place.symlink_to(downloading.outside / "new")
        case _:
            place.symlink_to(downloading.precious)
    before = os.lstat(place)
    with pytest.raises(StoreError, match="something else is in its place") as caught:
        downloading()
    assert "links in it are not followed" in (caught.value.hint or "")
    assert downloading.untouched()
    assert os.path.samestat(os.lstat(place), before)
    assert [path.name for path in place.parent.iterdir()] == [NAME]


def test_no_folder_that_is_a_link_is_written_to(downloading: Downloading) -> None:
    (downloading.folder / "wheels").symlink_to(downloading.outside)
    with pytest.raises(StoreError, match="something else is in its place"):
        downloading()
    assert downloading.untouched()


def test_a_file_of_somebody_else_stays_and_the_wheel_lies_beside_it(downloading: Downloading) -> None:
    place = downloading.folder / "wheels" / NAME
    place.parent.mkdir()
    place.write_text("of somebody else")
    downloading()
    assert place.read_text() == "of somebody else"
    (wheel,) = downloading.lock.platforms[0].wheels
    assert (place.parent / wheel.sha256 / NAME).read_bytes() == downloading.wheel
    # A build from the folder finds it there.
    apart = Store(downloading.root / "apart")
    assert fetch_wheels(apart, [wheel], downloading.indexes(), ignore, offline=downloading.folder)
    (place.parent / wheel.sha256 / NAME).write_text("damaged")
    with pytest.raises(StoreError, match="is not overwritten"):
        downloading()


def test_a_layout_of_something_else_is_not_overwritten(downloading: Downloading) -> None:
    index = downloading.folder / "base" / "index.json"
    index.parent.mkdir()
    manifest = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": Digest.of(b"x"),
        "size": 1,
        "annotations": {"org.opencontainers.image.ref.name": "1.0"},
    }
    for text in (json.dumps({"schemaVersion": 2, "manifests": [manifest]}), "not an index"):
        index.write_text(text)
        with pytest.raises(StoreError, match="is an OCI layout of something else"):
            download_base(
                downloading.lock, "localhost:1/team/base:1", downloading.folder, settings_from({}), ignore
            )
        assert index.read_text() == text
        assert [path.name for path in index.parent.iterdir()] == ["index.json"]


def test_a_transfer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def pieces():  # type: ignore[no-untyped-def]
        yield b"a beginning"
        raise ValueError("cut")

    with BundleFolder(tmp_path / "bundle") as folder:
        with pytest.raises(ValueError, match="cut"):
            folder.receive("base/blobs/sha256/layer", pieces())
        assert list((tmp_path / "bundle/base/blobs/sha256").iterdir()) == []
        assert folder.hash("base/blobs/sha256/layer") is None


def test_a_folder_of_the_project_that_leads_out_of_it_is_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "project", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "main.py").write_text("print(1)\n")
    (root / "bundle").symlink_to(outside)
    project = load(root)
    part = PlatformLock(Platform.host(), BASE)
    lock = Lock("0.1.0", inputs_digest(project), (replace(part, wheels=()),))
    write_lock(root / LOCK_NAME, lock)
    done = Corten(tmp_path / "home")("lock", root, "--check", "--download", root / "bundle", code=2)
    assert "leads out of the project by a link" in done.stderr
    assert list(outside.iterdir()) == []
