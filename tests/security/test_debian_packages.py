"""Debian packages of a hostile lock, bundle, mirror or cache."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from corten.errors import FetchError
from corten.events import ignore
from corten.packages.fetch import fetch_debs, fetch_wheels
from corten.packages.files import Deb, Wheel
from corten.packages.indexes import read_indexes
from corten.store.prune import prune
from corten.store.store import Store
from debian_parts import deb_of, make_deb


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def test_a_file_fetched_as_a_wheel_is_never_used_as_a_debian_package(store: Store, tmp_path: Path) -> None:
    data = make_deb("python3.11-minimal", "3.11.2-6")
    sha256 = hashlib.sha256(data).hexdigest()
    bundle = tmp_path / "bundle"
    (bundle / "wheels").mkdir(parents=True)
    (bundle / "wheels" / "evil-1-py3-none-any.whl").write_bytes(data)
    indexes = read_indexes(tmp_path, {"HOME": str(tmp_path), "PATH": os.environ["PATH"]})
    wheel = Wheel("evil", "1", "evil-1-py3-none-any.whl", len(data), sha256)
    deb = deb_of("python3.11-minimal", "3.11.2-6", data)

    def nowhere(_: Deb) -> list[str]:
        return []

    assert fetch_wheels(store, [wheel], indexes, ignore, offline=bundle)
    with pytest.raises(FetchError):
        fetch_debs(store, [deb], nowhere, ignore)
    with pytest.raises(FetchError):
        fetch_debs(store, [deb], nowhere, ignore, offline=bundle)
    # The reverse: what came as a Debian package is no wheel.
    (bundle / "debs").mkdir()
    (bundle / "debs" / deb.file).write_bytes(data)
    assert fetch_debs(store, [deb], nowhere, ignore, offline=bundle)
    (bundle / "wheels" / wheel.file).unlink()
    other = Store.open(tmp_path / "other")
    assert fetch_debs(other, [deb], nowhere, ignore, offline=bundle)
    with pytest.raises(FetchError):
        fetch_wheels(other, [wheel], indexes, ignore, offline=bundle)


def test_files_of_a_store_that_did_not_keep_kinds_apart_are_not_used(store: Store, tmp_path: Path) -> None:
    data = make_deb("libc6")
    deb = deb_of("libc6", "1.0-1", data)
    old = store.root / "files" / deb.sha256[:2] / deb.sha256
    old.parent.mkdir(parents=True)
    old.write_bytes(data)
    with pytest.raises(FetchError):
        fetch_debs(store, [deb], lambda _: [], ignore)
    assert prune(store).files == 1
    assert not old.exists()
