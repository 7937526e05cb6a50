"""Saving: one stream that every reader takes, equal bytes for equal images, and nothing half-written."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from corten.errors import FormatError, ImageNotFound, UsageError
from corten.events import ignore
from corten.oci import media
from corten.oci.descriptor import Manifest
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.store.export import save_archive, save_layout
from corten.store.images import Image
from corten.store.store import Store
from support.images import AMD64, add_image, add_layer

ARM64 = Platform("linux", "arm64")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "home")


@pytest.fixture
def image(store: Store) -> Image:
    add_image(store, "iris:1", add_layer(store, "a"), add_layer(store, "b"), add_layer(store, "a"))
    return store.images.get("iris:1")


def saved(store: Store, *images: Image, **options: object) -> bytes:
    out = io.BytesIO()
    save_archive(store, images, out, ignore, **options)  # type: ignore[arg-type]
    return out.getvalue()


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    return {item.name: item for item in tarfile.open(fileobj=io.BytesIO(data))}


def read(data: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        file = archive.extractfile(name)
        assert file
        return file.read()


@pytest.mark.parametrize("options", [{}, {"docker": True}, {"compression": "gzip"}, {"compression": "zstd"}])
def test_equal_images_give_equal_bytes(
    store: Store, image: Image, tmp_path: Path, options: dict[str, object]
) -> None:
    other = Store.open(tmp_path / "other")
    add_image(other, "iris:1", add_layer(other, "a"), add_layer(other, "b"), add_layer(other, "a"))
    first = saved(store, image, **options)
    assert first == saved(store, image, **options) == saved(other, other.images.get("iris:1"), **options)
    for item in members(first).values():
        assert (item.uid, item.gid, item.uname, item.gname, item.mtime) == (0, 0, "", "", 315532800)


def test_every_blob_is_its_digest(store: Store, image: Image) -> None:
    data = saved(store, image)
    names = [name for name, item in members(data).items() if item.isfile() and name.startswith("blobs/")]
    assert [Digest.of(read(data, name)).hex for name in names] == [name.rpartition("/")[2] for name in names]
    (entry,) = json.loads(read(data, "index.json"))["manifests"]
    assert entry["digest"] == image.digest
    assert entry["annotations"] == {
        "org.opencontainers.image.ref.name": "1",
        "io.containerd.image.name": "docker.io/library/iris:1",
        "dev.corten.image.name": "iris:1",
    }
    (listed,) = json.loads(read(data, "manifest.json"))
    assert listed["RepoTags"] == ["iris:1"]
    assert listed["Config"] == f"blobs/sha256/{image.id.hex}"
    assert listed["Layers"] == [f"blobs/sha256/{diff_id.hex}" for diff_id in image.config.diff_ids]
    # Who reads the stream learns first what comes.
    assert list(members(data))[:3] == ["oci-layout", "index.json", "manifest.json"]


def test_docker_s_own_form(store: Store, image: Image) -> None:
    data = saved(store, image, docker=True)
    (listed,) = json.loads(read(data, "manifest.json"))
    assert Digest.of(read(data, listed["Config"])) == image.id
    assert [Digest.of(read(data, layer)) for layer in listed["Layers"]] == list(image.config.diff_ids)
    found = members(data)
    # The layer that comes twice is written once.
    assert sorted(found[layer].issym() for layer in listed["Layers"]) == [False, False, True]
    top = listed["Layers"][-1].partition("/")[0]
    assert json.loads(read(data, "repositories")) == {"iris": {"1": top}}
    parents = {}
    for layer in listed["Layers"]:
        about = json.loads(read(data, f"{layer.partition('/')[0]}/json"))
        parents[about["id"]] = about.get("parent")
    identifiers = [layer.partition("/")[0] for layer in listed["Layers"]]
    assert parents == dict(zip(identifiers, [None, *identifiers], strict=False))


def test_platforms_are_one_index(store: Store, image: Image) -> None:
    add_image(store, "iris:1", image.config.diff_ids[0], platform=ARM64)
    images = list(store.images.platforms("iris:1").values())
    data = saved(store, *images)
    (entry,) = json.loads(read(data, "index.json"))["manifests"]
    assert entry["mediaType"] == media.INDEX
    index = json.loads(read(data, f"blobs/sha256/{entry['digest'][7:]}"))
    assert [item["digest"] for item in index["manifests"]] == [item.digest for item in images]
    # docker's manifest has one image for a name, the same wherever it is written.
    (listed,) = json.loads(read(data, "manifest.json"))
    assert listed["Config"].endswith(images[0].id.hex)
    assert images[0].config.platform == AMD64


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_layers_are_packed_once_and_remembered(store: Store, image: Image, compression: str) -> None:
    events: list[object] = []
    for _ in range(2):
        out = io.BytesIO()
        save_archive(store, [image], out, events.append, compression=compression)  # type: ignore[arg-type]
    assert sum("hash" in str(event) and "Finished" in str(event) for event in events) == 2
    (entry,) = json.loads(read(out.getvalue(), "index.json"))["manifests"]
    manifest = Manifest.decode(read(out.getvalue(), f"blobs/sha256/{entry['digest'][7:]}"))
    assert [layer.media_type for layer in manifest.layers] == [f"{media.LAYER}+{compression}"] * 3
    sizes = [layer.annotations[media.LAYER_SIZE] for layer in manifest.layers]
    assert sizes == [str(store.layers.get(diff_id).size) for diff_id in image.config.diff_ids]
    assert manifest.config.digest == image.id


def test_a_changed_layer_is_noticed(store: Store, image: Image, tmp_path: Path) -> None:
    path = store.layers.tree(image.config.diff_ids[0]) / "etc/a"
    path.write_text("b" * 100)
    with pytest.raises(FormatError, match="was changed"):
        saved(store, image)
    with pytest.raises(FormatError, match="was changed"):
        save_layout(store, [image], tmp_path / "layout", ignore)
    assert not (tmp_path / "layout/index.json").exists()


def test_a_layout_grows(store: Store, image: Image, tmp_path: Path) -> None:
    """Names beside each other, platforms beside each other, and a new image in the place of an old one."""
    add_image(store, "rose:1", image.config.diff_ids[0])
    target = tmp_path / "layout"
    assert save_layout(store, [image], target, ignore) == ["1"]
    # The tag is taken by another image, so this one goes by its whole name.
    assert save_layout(store, [store.images.get("rose:1")], target, ignore) == ["rose:1"]
    add_image(store, "iris:1", image.config.diff_ids[0], platform=ARM64)
    save_layout(store, [store.images.get("iris:1", ARM64)], target, ignore)
    assert sorted(references(target)) == ["1", "1", "rose:1"]
    add_image(store, "iris:1", image.config.diff_ids[1])
    save_layout(store, list(store.images.platforms("iris:1").values()), target, ignore)
    assert sorted(references(target)) == ["1", "rose:1"]
    said = subprocess.run(
        ["skopeo", "inspect", f"oci:{target}:rose:1"], capture_output=True, check=True
    ).stdout
    assert json.loads(said)["Digest"] == store.images.get("rose:1").digest


def references(layout: Path) -> list[str]:
    index = json.loads((layout / "index.json").read_text())
    return [item["annotations"]["org.opencontainers.image.ref.name"] for item in index["manifests"]]


def test_two_that_add_to_one_layout_lose_no_name(store: Store, image: Image, tmp_path: Path) -> None:
    """Adding is reading the list and writing it: the second waits for the first, also where both begin the folder."""
    names = [f"iris:{number}" for number in range(2, 8)]
    for name in names:
        store.images.alias("iris:1", name)
    target = tmp_path / "layout"
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: save_layout(store, [store.images.get(name)], target, ignore), names))
    listed = json.loads((target / "index.json").read_text())["manifests"]
    assert sorted(item["annotations"][media.REF_NAME] for item in listed) == [
        name.partition(":")[2] for name in names
    ]


def test_a_folder_of_something_else_is_left_alone(store: Store, image: Image, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="neither"):
        save_layout(store, [image], tmp_path, ignore)


@pytest.mark.parametrize("compression", ["raw", "zstd"])
def test_memory_does_not_grow_with_the_image(store: Store, tmp_path: Path, compression: str) -> None:
    with store.temporary_directory() as directory:
        (directory / "fs").mkdir()
        with open(directory / "fs/weights", "wb") as file:
            file.truncate(200 << 20)
        layer = store.layers.commit(directory, None).diff_id
    add_image(store, "large:1", layer)
    with open("/dev/null", "wb") as out:
        tracemalloc.start()
        save_archive(store, [store.images.get("large:1")], out, ignore, compression=compression)  # type: ignore[arg-type]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 64 << 20


def test_other_names(store: Store, image: Image) -> None:
    """A name with all its platforms, or one image by its ID."""
    add_image(store, "iris:1", image.config.diff_ids[0], platform=ARM64)
    assert store.images.alias("iris:1", "team/iris") == "team/iris:latest"
    assert store.images.platforms("team/iris").keys() == {AMD64, ARM64}
    assert store.images.get("team/iris").id == image.id
    store.images.alias(image.id, "single")
    assert store.images.platforms("single").keys() == {AMD64}
    store.images.alias(store.images.get("iris:1", ARM64).id.hex[:12], "single")
    assert store.images.platforms("single").keys() == {AMD64, ARM64}
    # A name is replaced as a whole: platforms of what it was would be another image.
    add_image(store, "rose:1", image.config.diff_ids[1])
    store.images.alias("rose:1", "single")
    assert store.images.platforms("single").keys() == {AMD64}
    with pytest.raises(ImageNotFound):
        store.images.alias("nothing", "new")
    with pytest.raises(UsageError):
        store.images.alias("iris:1", "Not/A Name")
