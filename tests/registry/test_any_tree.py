"""Any tree of files survives being packed, pushed, pulled and unpacked."""

from __future__ import annotations

import itertools
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from corten.events import ignore
from corten.oci import media
from corten.oci.config import ImageConfig
from corten.oci.descriptor import Descriptor, Manifest
from corten.oci.reference import Reference
from corten.registry.client import settings_from
from corten.registry.pull import pull
from corten.registry.push import PushOptions, push
from corten.store.store import Store
from support.images import AMD64
from support.properties import thorough

SETTINGS = settings_from(os.environ)
NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=40
).filter(
    lambda name: name not in (".", "..") and not name.startswith(".wh.") and len(name.encode()) <= 255
) | st.sampled_from(["x" * 120, "é" * 60, "a b", "-", "a.py", "\\", "\n"])
FILES = st.tuples(st.just("file"), st.binary(max_size=3000) | st.just(bytes(70_000)), st.booleans())
LINKS = st.tuples(
    st.just("link"),
    st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=150),
    st.just(False),
)
FOLDERS = st.tuples(st.just("folder"), st.none(), st.booleans())
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=5).map(tuple), FILES | LINKS | FOLDERS, max_size=12
)
NUMBERS = itertools.count()


def plant(tree: Path, wanted: dict[tuple[str, ...], tuple[str, object, bool]]) -> None:
    """Make `wanted` below `tree`, leaving out what lies below something that is no folder, or is too long a path."""
    for parts, (kind, content, flag) in sorted(wanted.items()):
        place = tree.joinpath(*parts)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if kind == "folder":
                place.mkdir(exist_ok=True)
                if flag:
                    place.chmod(0o1777)
            elif kind == "link":
                place.symlink_to(str(content))
            else:
                assert isinstance(content, bytes)
                place.write_bytes(content)
                place.chmod(0o755 if flag else 0o644)
        except OSError:
            continue


def seen(tree: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for place in tree.rglob("*"):
        status = place.lstat()
        content: object = None
        if place.is_symlink():
            content = os.readlink(place)
        elif place.is_file():
            content = place.read_bytes()
        mode = None if place.is_symlink() else stat.S_IMODE(status.st_mode)
        found[str(place.relative_to(tree))] = (stat.S_IFMT(status.st_mode), mode, content)
    return found


@pytest.mark.parametrize("compression", ["gzip", "zstd", "raw"])
@thorough(25, 6, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(wanted=TREES)
def test_any_tree_survives(
    registry: str, tmp_path: Path, compression: str, wanted: dict[tuple[str, ...], tuple[str, object, bool]]
) -> None:
    place = tmp_path / str(next(NUMBERS))
    here, there = Store(place / "here"), Store(place / "there")
    with here.temporary_directory() as directory:
        (directory / "fs").mkdir()
        plant(directory / "fs", wanted)
        layer = here.layers.commit(directory, None)
    config = ImageConfig(AMD64, (layer.diff_id,)).encode()
    manifest = Manifest(
        Descriptor(media.CONFIG, here.blobs.put(config), len(config)),
        (Descriptor(media.LAYER, layer.diff_id, layer.size),),
    )
    here.images.set("any", AMD64, here.blobs.put(manifest.encode()))
    reference = Reference.parse(f"{registry}/any/{compression}:tree")
    options = PushOptions(compression)  # type: ignore[arg-type]
    push([here.images.get("any", AMD64)], reference, here, SETTINGS, ignore, options)
    pulled = pull(reference, [AMD64], there, SETTINGS, ignore).images[0]
    assert pulled.id == manifest.config.digest
    assert seen(there.layers.tree(layer.diff_id)) == seen(here.layers.tree(layer.diff_id))
    assert b"".join(there.layers.stream(layer.diff_id)) == b"".join(here.layers.stream(layer.diff_id))
    assert not (there.layers.directory / layer.diff_id.hex / "recipe").exists(), "it is kept as if made there"
