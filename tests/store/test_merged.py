"""One tree from several layers: what overlays show, what a write cannot reach, and who keeps it alive."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corten.oci.digest import Digest
from corten.store.merged import Kind, copy_tree, merged, prune_merged
from corten.store.store import Store
from support.images import bare_layer


class Layers:
    """Layers that are directories in a store, with no more than their trees."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.digests: list[Digest] = []

    def add(self) -> Path:
        digest = Digest.of(str(len(self.digests)).encode())
        self.digests.append(digest)
        return bare_layer(self.store, digest)


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    made = Layers(Store(tmp_path / "store"))
    low, high = made.add(), made.add()
    for name in ("kept", "hidden/a", "opaque/low", "was-folder/x", "both/low"):
        place = low / name
        place.parent.mkdir(exist_ok=True)
        place.write_text("low")
    (low / "was-file").write_text("low")
    (low / "link").symlink_to("/etc/passwd")
    os.mknod(high / "hidden", 0o20000 | 0o600, os.makedev(0, 0))
    (high / "opaque").mkdir()
    os.setxattr(high / "opaque", "user.overlay.opaque", b"y")
    (high / "opaque" / "high").write_text("high")
    (high / "was-folder").write_text("high")
    (high / "was-file").mkdir()
    (high / "was-file" / "y").write_text("high")
    (high / "link").mkdir()
    (high / "link" / "z").write_text("high")
    (high / "both").mkdir()
    (high / "both" / "high").write_text("high")
    (high / "both").chmod(0o1777)
    os.link(high / "both" / "high", high / "again")
    return made


@pytest.mark.parametrize("kind", ["linked", "copied"])
def test_what_an_overlay_would_show(layers: Layers, kind: Kind) -> None:
    tree = merged(layers.store, layers.digests, kind).path
    found = sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if not path.is_dir())
    assert found == [
        "again",
        "both/high",
        "both/low",
        "kept",
        "link/z",
        "opaque/high",
        "was-file/y",
        "was-folder",
    ]
    assert (tree / "kept").read_text() == "low"
    assert merged(layers.store, layers.digests, kind).path == tree
    # Another order is another image, and the upper place of a layer that is there twice counts.
    again = [layers.digests[1], *layers.digests]
    assert sorted(os.listdir(merged(layers.store, again, kind).path)) == sorted(os.listdir(tree))


def test_a_linked_tree_costs_nothing_and_a_copied_one_shares_nothing(layers: Layers) -> None:
    original = layers.store.layers.tree(layers.digests[0]) / "kept"
    linked = merged(layers.store, layers.digests, "linked").path / "kept"
    copied = merged(layers.store, layers.digests, "copied").path / "kept"
    assert linked.stat().st_ino == original.stat().st_ino
    assert copied.stat().st_ino != original.stat().st_ino
    assert copied.stat().st_mode & 0o222 == 0
    assert copied.parent.stat().st_mode & 0o222 == 0
    assert copied.stat().st_mtime_ns == original.stat().st_mtime_ns


@pytest.mark.parametrize("how", ["write", "mode", "add", "remove", "time"])
def test_a_changed_copy_is_not_used_again(layers: Layers, how: str) -> None:
    used = merged(layers.store, layers.digests, "copied")
    place = used.path / "both"
    place.chmod(0o700)
    (place / "low").chmod(0o600)
    before = used.path
    if how == "write":
        (place / "low").write_text("evil")
    elif how == "add":
        (place / "new").write_text("evil")
    elif how == "remove":
        (place / "low").unlink()
    elif how == "time":
        os.utime(place / "low", (0, 0))
    # The first is used still: it stays, and the next one gets another.
    other = merged(layers.store, layers.digests, "copied")
    assert other.path != before
    assert before.exists()
    assert (other.path / "both" / "low").read_text() == "low"
    assert not (other.path / "both" / "new").exists()


def test_prune_leaves_what_is_used(layers: Layers) -> None:
    used, free = (
        merged(layers.store, layers.digests, "copied"),
        merged(layers.store, layers.digests, "linked"),
    )
    free.release()
    prune_merged(layers.store)
    assert used.path.exists()
    assert not free.path.exists()
    used.release()
    assert prune_merged(layers.store) > 0
    assert list((layers.store.root / "caches" / "merged").iterdir()) == []
    assert merged(layers.store, layers.digests, "copied").path.exists()


def test_a_private_copy_may_be_written(layers: Layers, tmp_path: Path) -> None:
    target = tmp_path / "own"
    target.mkdir()
    copy_tree(merged(layers.store, layers.digests, "copied").path, target)
    (target / "kept").write_text("changed")
    assert (layers.store.layers.tree(layers.digests[0]) / "kept").read_text() == "low"
    assert (target / "kept").stat().st_mode & 0o200
