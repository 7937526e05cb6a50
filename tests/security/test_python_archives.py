"""An archive of a Python is hostile until it is unpacked: it comes from a mirror, and a lock comes from anywhere."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from corten.build.plan import compiler_identity, package_layers
from corten.build.standalone import place_python
from corten.errors import FetchError, FormatError, StoreError
from corten.lock.format import decode, encode
from corten.lock.model import DebianBase, Lock
from corten.oci.bound import Bound
from corten.packages.files import PythonArchive
from corten.packages.pythons import Pythons, Wish
from corten.store.store import Store
from support.locks import sample_lock
from support.pythons import Entries, Releases, packed, tiny

PATH = "20240224/cpython-3.10.4+20240224-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"
ARCHIVE = PythonArchive(PATH, 39_000_000, "ab" * 32)


def locked(archive: PythonArchive = ARCHIVE) -> Lock:
    lock = sample_lock(platforms=1)
    part = lock.platforms[0]
    assert isinstance(part.base, DebianBase)
    base = replace(part.base, python=archive.version, interpreter=archive)
    return replace(lock, platforms=(replace(part, base=base, serving=()),), serving=None)


def refused(tmp_path: Path, entries: Entries, match: str, bound: Bound | None = None) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    file, tree = tmp_path / "archive", tmp_path / "tree"
    file.write_bytes(packed({**tiny("3.10"), **entries}))
    tree.mkdir()
    with pytest.raises(FormatError, match=match) as caught:
        place_python(file, ARCHIVE, tree, None, *([bound] if bound else []))
    assert ARCHIVE.file in caught.value.message
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ({"python/../../outside/x": b"x"}, "leads out"),
        ({"/etc/passwd": b"x"}, "not in its folder"),
        ({"pythons/x": b"x"}, "not in its folder"),
        ({"python/lib/x": "../../../outside"}, "leads out"),
        ({"python/lib/x": "/etc/passwd"}, "leads out"),
        ({"python/share/d": "../lib", "python/share/d/x": b"x"}, "at a path that is not allowed"),
        ({"python/bin/python3.10/x": b"x"}, "at a path that is not allowed"),
    ],
)
def test_an_archive_of_a_python_leads_nowhere(tmp_path: Path, entries: Entries, match: str) -> None:
    refused(tmp_path, entries, match)


@pytest.mark.parametrize("flag", [tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_an_archive_of_a_python_has_no_devices(tmp_path: Path, flag: bytes) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        item = tarfile.TarInfo("python/lib/x")
        item.type = flag
        archive.addfile(item)
    file, tree = tmp_path / "archive", tmp_path / "tree"
    file.write_bytes(gzip.compress(buffer.getvalue()))
    tree.mkdir()
    with pytest.raises(FormatError, match="neither a file nor a link"):
        place_python(file, ARCHIVE, tree)


def test_an_archive_of_a_python_is_no_bomb(tmp_path: Path) -> None:
    refused(tmp_path, {"python/lib/zeros": bytes(8 << 20)}, "bomb", Bound(1 << 40, 1 << 20, 10))


def linking(file: Path, data: bytes, links: int) -> None:
    """An archive of one file, and hard links to it."""
    with tarfile.open(file, "w:gz") as archive:
        item = tarfile.TarInfo("python/lib/x")
        item.size = len(data)
        archive.addfile(item, io.BytesIO(data))
        for number in range(links):
            item = tarfile.TarInfo(f"python/lib/{number}")
            item.type, item.linkname = tarfile.LNKTYPE, "python/lib/x"
            archive.addfile(item)


def test_hard_links_of_an_archive_of_a_python_are_no_bomb(tmp_path: Path) -> None:
    file, tree = tmp_path / "archive", tmp_path / "tree"
    linking(file, os.urandom(1 << 17), 100)
    tree.mkdir()
    with pytest.raises(FormatError, match="bomb"):
        place_python(file, ARCHIVE, tree, None, Bound(1 << 40, 1 << 20, 10))
    assert sum(path.stat().st_size for path in tree.rglob("*") if path.is_file()) < 2 << 20


def test_hard_links_of_an_archive_of_a_python_take_no_space_that_is_to_stay_free(tmp_path: Path) -> None:
    file, tree, spent = tmp_path / "archive", tmp_path / "tree", list[int]()

    def spend(amount: int) -> None:
        spent.append(amount)
        if sum(spent) > 20_000:
            raise StoreError("full", hint="make room")

    linking(file, os.urandom(1 << 13), 100)
    tree.mkdir()
    with pytest.raises(StoreError):
        place_python(file, ARCHIVE, tree, spend)
    assert spent == [1 << 13] * 3


def test_uv_refuses_an_archive_with_another_hash(tmp_path: Path) -> None:
    releases = Releases(tmp_path / "releases")
    releases.add("3.10.4", packed(tiny("3.10")), sha256="0" * 64)
    store = Store(tmp_path / "store")
    environment = {"HOME": str(tmp_path), "UV_PYTHON_DOWNLOADS_JSON_URL": releases.url}
    with pytest.raises(FetchError, match=r"Python 3\.10 cannot be had") as caught:
        Pythons(store, environment, lambda event: None).find(Wish("3.10"), ["amd64"])
    assert 'base = "python:3.10-slim"' in (caught.value.hint or "")
    assert not [path for path in (store.root / "files").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "path",
    [
        "20240224/../x/cpython-3.10.4+20240224-x86_64-unknown-linux-gnu-install_only.tar.gz",
        "https://host.example/cpython-3.10.4+20240224-x86_64-unknown-linux-gnu-install_only.tar.gz",
        PATH.replace("x86_64", "aarch64"),
        PATH.replace("20240224/", "20250224/"),
        PATH.replace("3.10.4", "3.10.5"),
    ],
)
def test_a_lock_names_no_other_place_than_that_of_a_release(path: str) -> None:
    text = encode(locked())
    assert decode(text.encode()) == locked()
    with pytest.raises(FormatError):
        decode(text.replace(PATH, path).encode())


def test_layers_that_a_named_python_compiled_are_shared_with_no_other() -> None:
    """The archive is known by its hash alone: whoever writes a lock can name one of their own."""
    ours, theirs = locked(), locked(replace(ARCHIVE, sha256="cd" * 32))
    keys = [{layer.key for layer in package_layers(lock.platforms[0], None)} for lock in (ours, theirs)]
    # The base and the empty environment hold nothing that this Python made.
    assert len(keys[0] & keys[1]) == 2 + len(ours.platforms[0].system[:1])
    other = replace(ours, interpreters={"arm64": replace(ARCHIVE, path=PATH.replace("x86_64", "aarch64"))})
    crossed = other.compiled_on(other.platforms[0], "arm64")
    assert compiler_identity(crossed) != compiler_identity(ours.platforms[0])
    assert other.compiled_on(other.platforms[0], "amd64") == ours.platforms[0]
