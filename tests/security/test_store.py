"""The store keeps what it holds from other users of the machine, and takes nothing for a layer that is not one."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from corten.errors import FormatError
from corten.oci import tar
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.registry.server.contents import Contents
from corten.store.encodings import Encoding
from corten.store.merged import copy_tree, merged
from corten.store.store import Store
from corten.store.sync import sync
from support.images import add_image, add_layer, make_layer

NOBODY = 65534


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Everything is made under this umask."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def fill(store: Store) -> None:
    """Something of every kind that a store holds."""
    with store.lock("store", shared=True):
        layer = add_layer(store, "a", "key")
        add_image(store, "iris", layer)
        store.encodings.add(layer, Encoding("gzip", Digest.of(b"x"), 1))
        store.repo_digests.note(layer, "host/path@sha256:0")
        incoming = store.files.incoming("0" * 64, "wheel")
        incoming.write_bytes(b"wheel")
        store.files.add(incoming, "0" * 64, "wheel")
        other = store.root.parent / "given.deb"
        other.write_bytes(b"deb")
        store.files.add(other, "1" * 64, "deb")
        store.cache_directory("engine")
        merged(store, [layer], "linked").release()
        contents = Contents(store.root / "registry")
        with contents.serving():
            contents.blobs.put(b"blob")
    sync(store)


@pytest.mark.parametrize("umask", [0o000, 0o077], indirect=True)
def test_others_neither_read_nor_write_the_store_whatever_the_umask(
    umask: int, open_directory: Path, request: pytest.FixtureRequest
) -> None:
    place = open_directory / f"store-{umask:o}"
    place.mkdir(mode=0o755)
    os.chmod(place, 0o755)
    request.addfinalizer(lambda: shutil.rmtree(place))
    store = Store.open(place / "missing" / "home")
    fill(store)
    wrong = []
    for parent, directories, files in os.walk(store.root):
        if parent.endswith("/fs"):
            directories.clear()  # modes there are those of the image
            continue
        for name in (*directories, *files):
            path = Path(parent, name)
            mode = path.lstat().st_mode
            if mode & 0o022 or (mode & 0o077 and not (name == "fs" or "merged" in str(path))):
                wrong.append(f"{stat.filemode(mode)} {path}")
    assert wrong == []
    if os.geteuid() == 0:
        seen = subprocess.run(
            ["find", store.root], capture_output=True, text=True, user=NOBODY, group=NOBODY, check=False
        )
        assert seen.returncode != 0
        assert len(seen.stdout.splitlines()) <= 1


def test_what_a_temporary_directory_holds_is_private(tmp_path: Path) -> None:
    """Sources and build folders lie there."""
    with Store.open(tmp_path / "home").temporary_directory() as directory:
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_an_open_store_is_closed_at_the_next_use(tmp_path: Path) -> None:
    """A store that was made under another umask before."""
    store = Store.open(tmp_path / "home")
    add_image(store, "iris", add_layer(store, "a"))
    for path in (store.root, *store.root.iterdir()):
        if path.is_dir():
            path.chmod(0o777)
    with Store.open(store.root).lock("store", shared=True):
        pass
    assert stat.S_IMODE(store.root.stat().st_mode) == 0o755
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.root.iterdir() if path.is_dir()}
    assert set(modes.values()) == {0o700}, modes


def test_a_link_in_the_store_keeps_the_mode_of_what_it_leads_to(tmp_path: Path) -> None:
    """Users put parts of a store on another disk so; and in a store that others could write to, they could have made one."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o777)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "files").symlink_to(elsewhere)
    with Store.open(tmp_path / "home").lock("store"):
        pass
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o777


def test_a_shared_directory_as_home_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with Store.open(tmp_path).lock("store"):
        pass
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777
    assert stat.S_IMODE((tmp_path / "locks").stat().st_mode) == 0o700


def test_a_committed_layer_is_read_only_for_its_owner(tmp_path: Path) -> None:
    """Root is not bound by modes: the bits themselves are what is checked."""
    store = Store.open(tmp_path / "home")
    diff_id = add_layer(store, "a")
    sync(store)
    place = store.layers.directory / diff_id.hex
    assert (place / "synced").exists()
    assert stat.S_IMODE(place.stat().st_mode) == 0o500
    for path in place.iterdir():
        if path.name != "fs":
            assert stat.S_IMODE(path.stat().st_mode) == 0o400, path


@pytest.mark.parametrize(
    "left",
    [
        ("synced",),
        ("synced", "layer.json"),
        ("synced", "layer.json", "entries"),
        ("synced", "layer.json", "fs"),
        ("synced", "entries", "fs"),
        ("synced", "empty layer.json", "entries", "fs"),
        ("synced", "layer.json", "entries", "fs is a file"),
        ("synced", "layer.json", "entries", "fs is a link"),
        (),
    ],
    ids=lambda left: " ".join(left) or "nothing",
)
def test_a_part_of_a_layer_is_no_layer_and_makes_way(left: tuple[str, ...], tmp_path: Path) -> None:
    store = Store.open(tmp_path / "home")
    diff_id = add_layer(store, "a", "key")
    stream = b"".join(store.layers.stream(diff_id))
    for again in ("commit", "receive"):
        place = store.layers.directory / diff_id.hex
        kept = {name.split()[-1] if name.startswith("empty") else name.split()[0] for name in left}
        place.chmod(0o700)
        (place / "synced").touch()
        for path in place.iterdir():
            if path.name not in kept or "is a" in " ".join(left):
                if path.name == "fs":
                    shutil.rmtree(path)
                elif path.name not in kept:
                    path.unlink()
        if "empty layer.json" in left:
            (place / "layer.json").write_bytes(b"")
        if "fs is a file" in left:
            (place / "fs").touch()
        if "fs is a link" in left:
            (place / "fs").symlink_to("/")
        assert not store.layers.has(diff_id)
        assert store.layers.find("key") is None
        if again == "commit":
            assert add_layer(store, "a", "key") == diff_id
        else:
            with store.temporary_directory() as directory:
                store.layers.receive(directory, [stream], diff_id)
        assert store.layers.find("key") == diff_id
        assert b"".join(store.layers.stream(diff_id)) == stream


@pytest.mark.parametrize("kind", ["file", "link", "empty directory"])
def test_what_lies_in_the_place_of_a_layer_makes_way(kind: str, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "home")
    diff_id = add_layer(Store.open(tmp_path / "other"), "a")
    store.layers.directory.mkdir(parents=True)
    place = store.layers.directory / diff_id.hex
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o755)
    (kept / "synced").touch()
    if kind == "file":
        place.touch()
    elif kind == "link":
        place.symlink_to(kept)
    else:
        place.mkdir()
    assert not store.layers.has(diff_id)
    assert add_layer(store, "a") == diff_id
    assert store.layers.has(diff_id)
    assert [path.name for path in kept.iterdir()] == ["synced"]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o755


SWAP = """
import os, sys, time
place, target = sys.argv[1:]
print(flush=True)
number = 0
while os.getppid() == int(os.environ["PARENT"]):
    os.rename(place, place + "-aside")
    os.symlink(target, place)
    number += 1
    time.sleep(number % 7 * 1e-4)
    os.unlink(place)
    os.rename(place + "-aside", place)
    time.sleep(number % 5 * 1e-4)
"""


@contextmanager
def swapping(directory: Path, target: Path) -> Iterator[None]:
    """Another program replaces a directory by a link and back, as fast as it goes."""
    command = [sys.executable, "-S", "-c", SWAP, directory, target]
    environment = {**os.environ, "PARENT": str(os.getpid())}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def test_settling_a_tree_follows_no_link_that_appears_meanwhile(tmp_path: Path) -> None:
    """A program that shares the tree swaps a directory by a link while its modes are set and its files are read."""
    outside = tmp_path / "outside"
    outside.mkdir()
    for number in range(50):
        (outside / f"secret-{number}").write_text("secret")
        (outside / f"secret-{number}").chmod(0o600)
    tree = tmp_path / "tree"
    inner = tree / "a" / "inner"
    inner.mkdir(parents=True)
    for number in range(50):
        (inner / f"file-{number}").write_text("harmless")
    with swapping(inner, outside):
        for _ in range(80):
            for path in outside.iterdir():
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
            try:
                entries = tar.settle(tree)
                data = b"".join(tar.stream(entries, tree))
            except FormatError:
                continue
            assert b"secret" not in data
            assert not [entry for entry in entries if "secret" in entry.path]


def test_copying_a_tree_follows_no_link_that_appears_meanwhile(tmp_path: Path) -> None:
    """What runs under PRoot could write to the tree that the next copy is made from."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    inner = tmp_path / "tree" / "a" / "inner"
    inner.mkdir(parents=True)
    for number in range(20):
        (inner / f"file-{number}").write_text("harmless")
    with swapping(inner, outside):
        for number in range(80):
            target = tmp_path / f"copy-{number}"
            target.mkdir()
            with suppress(OSError):  # what it was told to copy is not there any more
                copy_tree(tmp_path / "tree", target)
            assert not list(target.rglob("secret"))


def test_a_changed_layer_streams_nothing_from_outside(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "home")
    (tmp_path / "secret").write_text("s" * 100)
    diff_id = make_layer(store, {"etc/a": b"a" * 100, "usr/b": b"b" * 100})
    tree = store.layers.tree(diff_id)
    (tree / "etc/a").unlink()
    (tree / "etc/a").symlink_to(tmp_path / "secret")
    with pytest.raises(FormatError, match="etc/a"):
        list(store.layers.stream(diff_id))
    (tree / "etc/a").unlink()
    (tree / "etc").rmdir()
    (tree / "etc").symlink_to(tmp_path)
    with pytest.raises(FormatError, match="etc/a"):
        list(store.layers.stream(diff_id))


def test_a_fetched_file_from_before_a_power_loss_counts_only_when_it_is_whole(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "home")
    sha256 = Digest.of(b"wheel").hex
    given = tmp_path / "given"
    given.write_bytes(b"wheel")
    place = store.files.add(given, sha256, "wheel")
    assert store.files.path(sha256, "wheel") == place
    store.files.started = place.stat().st_ctime_ns + 10**9  # the machine was switched on later
    assert store.files.path(sha256, "wheel") == place
    place.write_bytes(b"")
    store.files.started = place.stat().st_ctime_ns + 10**9
    assert store.files.path(sha256, "wheel") is None
    assert store.files.add(given, sha256, "wheel") == place
    assert place.read_bytes() == b"wheel"
    place.write_bytes(b"whe")
    store.files.started = place.stat().st_ctime_ns + 10**9
    incoming = store.files.incoming(sha256, "wheel")
    incoming.write_bytes(b"wheel")
    store.files.add(incoming, sha256, "wheel")
    assert place.read_bytes() == b"wheel"


def test_a_flush_vouches_for_fetched_files_until_then(tmp_path: Path) -> None:
    """They are not hashed again after a restart of the machine."""
    store = Store.open(tmp_path / "home")
    fill(store)
    place = store.files.path("0" * 64, "wheel")
    assert place is not None
    store.files.started = place.stat().st_ctime_ns + 10**9
    assert store.files.path("0" * 64, "wheel") == place, "its name is no hash of it, and it was not hashed"
    (store.files.directory / "synced").write_text("damaged")
    assert store.files.path("0" * 64, "wheel") is None


def test_a_platform_of_an_image_is_not_lost_with_a_damaged_name(tmp_path: Path) -> None:
    """A name whose file has no bytes any more is free."""
    store = Store.open(tmp_path / "home")
    layer = add_layer(store, "a")
    add_image(store, "iris", layer)
    next(store.images.directory.glob("*.json")).write_bytes(b"")
    assert store.images.all() == []
    digest = add_image(store, "iris", layer)
    assert store.images.get("iris", Platform("linux", "amd64")).digest == digest
