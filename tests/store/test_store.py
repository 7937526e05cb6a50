"""What the store promises about layers, names, locks and clean-up."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from corten.errors import FormatError, ImageNotFound, StoreError, UsageError
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.store.disk import explained
from corten.store.export import save_layout
from corten.store.locks import Busy, locked
from corten.store.prune import prune
from corten.store.store import Store
from corten.store.sync import sync
from support.images import AMD64, add_image, add_layer


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "home with space")


def test_a_layer_streams_back_to_its_diff_id(store: Store) -> None:
    diff_id = add_layer(store, "passwd", "key")
    assert store.layers.find("key") == diff_id
    assert store.layers.find("other key") is None
    assert Digest.of(b"".join(store.layers.stream(diff_id))) == diff_id
    assert store.layers.tree(diff_id).joinpath("etc/passwd").read_text() == "passwd" * 100


def test_modes_on_disk_are_those_of_the_stream(store: Store) -> None:
    """A layer made with a private umask is readable for the user that runs in the container."""
    old = os.umask(0o077)
    try:
        tree = store.layers.tree(add_layer(store, "a"))
    finally:
        os.umask(old)
    assert [path.stat().st_mode & 0o7777 for path in (tree, tree / "etc", tree / "etc/a")] == [
        0o755,
        0o755,
        0o644,
    ]


def test_equal_layers_are_one(store: Store) -> None:
    assert add_layer(store, "a", "first") == add_layer(store, "a", "second")
    assert len(store.layers.all()) == 1
    assert list((store.root / "tmp").iterdir()) == []


def test_many_commits_of_one_layer_at_once(store: Store) -> None:
    found: list[Digest] = []
    threads = [threading.Thread(target=lambda: found.append(add_layer(store, "same", "k"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_layer_from_before_a_power_loss_counts_only_when_synced(store: Store) -> None:
    diff_id = add_layer(store, "a", "k")
    about = store.layers.directory / diff_id.hex / "layer.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "boot": "an earlier one"}))
    assert store.layers.find("k") is None
    with pytest.raises(StoreError):
        store.layers.tree(diff_id)
    assert add_layer(store, "a", "k") == diff_id
    assert store.layers.find("k") == diff_id
    assert store.layers.unsynced() == [diff_id]
    store.layers.mark_synced([diff_id])
    about.write_text(json.dumps({**json.loads(about.read_text()), "boot": "an earlier one"}))
    assert store.layers.find("k") == diff_id


def test_a_flush_does_not_vouch_for_what_a_power_loss_left(store: Store) -> None:
    """Such a layer may be in pieces; that a later build flushes the disk does not make it whole."""
    broken, whole = add_layer(store, "a", "a"), add_layer(store, "b", "b")
    about = store.layers.directory / broken.hex / "layer.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "boot": "an earlier one"}))
    sync(store)
    assert store.layers.find("a") is None
    assert store.layers.find("b") == whole


def test_empty_files_after_a_power_loss_need_no_repair(store: Store) -> None:
    """A file that was renamed into place and not yet written has no bytes on many file systems."""
    diff_id = add_layer(store, "a", "k")
    digest = add_image(store, "iris", diff_id)
    add_image(store, "other", diff_id, platform=Platform("linux", "arm64"))
    for path in [*store.layers.keys.glob("*/*"), *store.images.directory.iterdir(), store.blobs.path(digest)]:
        path.write_bytes(b"")
    assert store.layers.find("k") is None
    assert store.images.all() == []
    prune(store)
    assert add_layer(store, "a", "k") == diff_id
    assert add_image(store, "iris", diff_id) == digest
    store.blobs.path(digest).write_bytes(b"")
    assert store.images.all() == []
    with pytest.raises(FormatError, match="damaged"):
        store.images.get("iris")
    add_image(store, "iris", diff_id)
    assert store.images.get("iris").digest == digest


def test_two_platforms_named_at_once_are_both_kept(store: Store) -> None:
    diff_id = add_layer(store, "a")
    digests = {
        name: add_image(store, f"seed-{name}", diff_id, platform=Platform("linux", name))
        for name in ("amd64", "arm64")
    }
    for turn in range(30):
        threads = [
            threading.Thread(
                target=store.images.set, args=(f"iris:{turn}", Platform("linux", name), Digest(digest))
            )
            for name, digest in digests.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name, digest in digests.items():
            assert store.images.get(f"iris:{turn}", Platform("linux", name)).digest == digest


def test_removing_by_id_keeps_the_other_platform(store: Store) -> None:
    diff_id = add_layer(store, "a")
    add_image(store, "iris", diff_id)
    other = add_image(store, "iris", diff_id, platform=Platform("linux", "arm64"))
    assert store.images.remove(store.images.get("iris", AMD64).id) == ["iris:latest"]
    assert [image.digest for image in store.images.all()] == [other]


def test_what_is_in_use_is_asked_when_nothing_can_start_any_more(store: Store) -> None:
    """A container that starts while prune waits for a build keeps its layers."""
    started: list[Digest] = []
    done = threading.Event()
    notes: list[object] = []
    with store.lock("store", shared=True):
        diff_id = add_layer(store, "a")
        thread = threading.Thread(
            target=lambda: (prune(store, lambda: started, observe=notes.append), done.set())
        )
        thread.start()
        assert not done.wait(0.2)
        started.append(diff_id)
    thread.join(5)
    assert store.layers.all() == [diff_id]
    assert "waiting for builds" in str(notes)


def test_what_is_not_ours_in_the_store_is_left_alone(store: Store) -> None:
    diff_id = add_layer(store, "a")
    (store.layers.directory / "lost+found").mkdir()
    (store.layers.directory / ".nfs0001").write_text("")
    prune(store, lambda: [diff_id])
    assert sync(store) == 1


@pytest.mark.parametrize("home", ["file", "file/below", "missing/" + "n" * 300, "loop/store"])
def test_a_home_that_cannot_be_a_folder_is_one_sentence(tmp_path: Path, home: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    store = Store.open(tmp_path / home)
    for write in (lambda: add_layer(store, "a"), lambda: prune(store), lambda: store.blobs.put(b"x")):
        with pytest.raises(StoreError) as failure:
            write()
        assert "CORTEN_HOME" in str(failure.value.hint)
    with pytest.raises(StoreError, match="cannot write"), store.lock("store"):
        pass


def test_names(store: Store) -> None:
    layer = add_layer(store, "a")
    digest = add_image(store, "team/iris", layer)
    image = store.images.get("team/iris:latest")
    assert (
        image
        == store.images.get("team/iris")
        == store.images.get(image.id)
        == store.images.get(image.id.hex[:8])
    )
    assert image.digest == digest
    assert image.size == store.layers.get(layer).size
    add_image(store, "team/iris", layer, platform=Platform("linux", "arm64"))
    assert store.images.get("team/iris", AMD64).digest == digest
    assert store.images.get("team/iris", Platform("linux", "arm64")).digest != digest
    assert store.images.remove("team/iris") == ["team/iris:latest"]
    assert store.images.all() == []


@pytest.mark.parametrize("name", ["Upper", "../etc", "a//b", "a:b:c", "", "ü", "a:ü", "a" * 230, "-x"])
def test_names_that_no_registry_would_take(store: Store, name: str) -> None:
    with pytest.raises(UsageError):
        store.images.set(name, AMD64, Digest.of(b""))


def test_an_unknown_name_says_what_is_known(store: Store) -> None:
    with pytest.raises(ImageNotFound, match="'nope'") as caught:
        store.images.get("nope")
    assert "corten build" in str(caught.value.hint)
    add_image(store, "iris", add_layer(store, "a"))
    with pytest.raises(ImageNotFound) as caught:
        store.images.get("nope")
    assert "iris:latest" in str(caught.value.hint)


def test_a_damaged_blob_is_noticed(store: Store) -> None:
    digest = store.blobs.put(b"data")
    store.blobs.path(digest).write_bytes(b"other")
    with pytest.raises(FormatError, match="damaged"):
        store.blobs.read(digest)


def test_prune_keeps_what_is_reached(store: Store) -> None:
    kept, used, lost = (
        add_layer(store, "kept", "1"),
        add_layer(store, "used", "2"),
        add_layer(store, "lost", "3"),
    )
    add_image(store, "iris", kept)
    store.blobs.put(b"nobody's")
    (store.root / "tmp" / "left-behind").mkdir()
    pruned = prune(store, lambda: [used])
    assert (pruned.layers, pruned.blobs) == (1, 1)
    assert store.layers.all() == sorted([kept, used])
    assert store.layers.find("3") is None
    assert not store.layers.has(lost)
    assert list((store.root / "tmp").iterdir()) == []
    assert store.images.get("iris").config.diff_ids == (kept,)


def test_prune_waits_for_a_build(store: Store) -> None:
    add_layer(store, "a")
    done = threading.Event()
    with store.lock("store", shared=True):
        thread = threading.Thread(target=lambda: (prune(store), done.set()))
        thread.start()
        assert not done.wait(0.3)
        assert len(store.layers.all()) == 1
    thread.join(5)
    assert store.layers.all() == []


def test_sweep_leaves_the_living_alone(store: Store) -> None:
    with store.temporary_directory() as mine:
        dead = subprocess.run(
            [
                sys.executable,
                "-c",
                "import os, signal, sys; from pathlib import Path; from corten.store.store import Store\n"
                "with Store.open(Path(sys.argv[1])).temporary_directory() as d: print(d, flush=True); os.kill(os.getpid(), 9)",
                str(store.root),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert Path(dead.stdout.strip()).is_dir()
        assert store.sweep() == 1
        assert mine.is_dir()
        assert not Path(dead.stdout.strip()).exists()


def test_locks_exclude(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        locked(lock, shared=True),
        locked(lock, shared=True),
        pytest.raises(Busy),
        locked(lock, blocking=False),
    ):
        pass
    with locked(tmp_path / "lock", blocking=False):
        pass


def test_a_store_that_may_not_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store.open(tmp_path / "file" / "below")
    with pytest.raises(StoreError, match="not a directory"):
        add_layer(store, "a")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_users_share_of_the_disk_that_is_full_is_told_as_a_full_disk(tmp_path: Path, code: int) -> None:
    with pytest.raises(StoreError, match=f"the disk of '{tmp_path}' is full"), explained(tmp_path):
        raise OSError(code, os.strerror(code), str(tmp_path / "file"))


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    """In a mount namespace of its own, with a file system of one megabyte."""
    script = (
        "import sys; from pathlib import Path; from corten.errors import StoreError; from corten.store.store import Store\n"
        "store = Store.open(Path(sys.argv[1]))\n"
        "try:\n"
        "    with store.temporary_directory() as d:\n"
        "        (d / 'fs').mkdir(); (d / 'fs' / 'big').write_bytes(bytes(700_000))\n"
        "        store.layers.commit(d, 'k')\n"
        "    store.blobs.put(bytes(900_000)); print('fits')\n"
        "except StoreError as error:\n"
        "    print(error.message, '|', error.hint, '|', list(store.blobs.directories[0].iterdir()))\n"
    )
    command = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -c "$3" "$1"'
    result = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command, "sh", str(tmp_path), sys.executable, script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert "is full | run 'corten prune'" in result.stdout, result.stderr
    assert result.stdout.rstrip().endswith("[]")


def test_an_oci_layout_is_what_skopeo_and_umoci_read(store: Store, tmp_path: Path) -> None:
    layers = add_layer(store, "a"), add_layer(store, "b")
    digest = add_image(store, "iris:1", *layers)
    target = tmp_path / "layout"
    save_layout(store, [store.images.get("iris:1")], target, lambda event: None)
    save_layout(store, [store.images.get("iris:1")], target, lambda event: None)
    said = subprocess.run(
        ["skopeo", "inspect", f"oci:{target}:1"], capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(said)["Digest"] == digest
    assert json.loads(said)["Layers"] == list(layers)
    subprocess.run(
        ["umoci", "unpack", "--rootless", "--image", f"{target}:1", str(tmp_path / "bundle")],
        capture_output=True,
        check=True,
    )
    assert (tmp_path / "bundle/rootfs/etc/b").read_text() == "b" * 100
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("")
    with pytest.raises(UsageError, match="neither"):
        save_layout(store, [store.images.get("iris:1")], tmp_path / "other", lambda event: None)


def test_an_index_lists_every_platform_of_a_name(store: Store) -> None:
    layer = add_layer(store, "a")
    arm, amd = Platform("linux", "arm64"), AMD64
    manifests = {platform: add_image(store, "both:1", layer, platform=platform) for platform in (arm, amd)}
    images = store.images.platforms("both:1")
    assert list(images) == [amd, arm]
    index = store.images.index(images.values())
    assert [item.digest for item in index.manifests] == [images[amd].digest, images[arm].digest]
    assert [item.platform for item in index.manifests] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux", "variant": "v8"},
    ]
    assert all(store.blobs.path(item.digest).stat().st_size == item.size for item in index.manifests)
    assert index.encode() == store.images.index(reversed(images.values())).encode()
    assert {image.digest for image in images.values()} == set(manifests.values())
    digest = Digest.of(index.encode())
    for name in (digest, digest.hex[:12]):
        assert store.images.platforms(name) == images
        assert store.images.get(name, arm) == images[arm]
    with pytest.raises(ImageNotFound):
        store.images.platforms("neither")
    with pytest.raises(ImageNotFound):
        store.images.get("0" * 12)


def test_sweep_takes_a_lock_whose_directory_was_never_made(store: Store) -> None:
    lock = store.root / "tmp" / "load-0123456789abcdef.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with locked(lock):
        store.sweep()
        assert lock.exists()
    store.sweep()
    assert not lock.exists()


def test_who_waited_for_a_lock_that_was_removed_holds_the_new_one(tmp_path: Path) -> None:
    lock, holds = tmp_path / "lock", threading.Event()

    def wait() -> None:
        with locked(lock):
            holds.set()
            done.wait(60)

    done = threading.Event()
    waiting = threading.Thread(target=wait)
    with locked(lock):
        waiting.start()
        time.sleep(0.1)  # it waits by now, or will see the new file anyway
        lock.unlink()
    assert holds.wait(60)
    with pytest.raises(Busy), locked(lock, blocking=False):
        pass
    done.set()
    waiting.join()
