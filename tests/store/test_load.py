"""Loading: what every writer writes is understood, and what is damaged or hostile is refused with nothing half-loaded."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from corten.errors import CortenError, FormatError, UsageError
from corten.events import Event, Note, ignore
from corten.oci import media
from corten.oci.archive import Archive
from corten.oci.config import ImageConfig
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.store.export import save_archive, save_layout
from corten.store.images import Image
from corten.store.loading import load
from corten.store.store import Store
from support.images import AMD64, add_image, add_layer
from support.properties import thorough

ARM64 = Platform("linux", "arm64")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "home")


@pytest.fixture
def source(tmp_path: Path) -> Store:
    """Another store, with images to save."""
    source = Store.open(tmp_path / "source")
    add_image(source, "iris:1", add_layer(source, "a"), add_layer(source, "b"))
    return source


def taken(store: Store, path: Path, **options: object) -> list[Image]:
    if path.is_dir():
        return load(store, path, str(path), ignore, **options)  # type: ignore[arg-type]
    with open(path, "rb") as file:
        return load(store, file, str(path), ignore, **options)  # type: ignore[arg-type]


def refused(store: Store, path: Path, match: str) -> None:
    """It is refused for that reason, and nothing of it is visible."""
    with pytest.raises(CortenError, match=match):
        taken(store, path)
    assert store.images.all() == []
    assert not (store.root / "blobs").exists()
    assert list((store.root / "tmp").iterdir() if (store.root / "tmp").exists() else []) == []


def tar_of(path: Path, files: dict[str, bytes | str]) -> Path:
    """A tar file of `files`; a text is the target of a symbolic link."""
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def feed(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as pipe:
        pipe.write(data)


def layer_of(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def config_of(*layers: bytes, platform: Platform | None = AMD64) -> bytes:
    document = json.loads(
        ImageConfig(platform or AMD64, tuple(Digest.of(layer) for layer in layers)).encode()
    )
    if platform is None:
        del document["os"], document["architecture"]
    return json.dumps({**document, "docker_version": "20.10.24"}, indent=1).encode()


def docker_files(layers: Iterable[bytes], names: list[str] | None = None) -> dict[str, bytes | str]:
    """What `docker save` before version 25 writes; a layer that comes again is a link."""
    layers = list(layers)
    config = config_of(*layers)
    name = f"{Digest.of(config).hex}.json"
    files: dict[str, bytes | str] = {name: config}
    first: dict[bytes, str] = {}
    for number, layer in enumerate(layers):
        files[f"{number}/layer.tar"] = f"../{first[layer]}" if layer in first else layer
        first.setdefault(layer, f"{number}/layer.tar")
    places = [f"{number}/layer.tar" for number in range(len(layers))]
    listed = [{"Config": name, "RepoTags": names, "Layers": places}]
    return {**files, "manifest.json": json.dumps(listed).encode()}


def layout_files(
    layers: list[tuple[bytes, str]],
    plain: list[bytes],
    annotations: dict[str, str],
    *,
    manifest_type: str = media.MANIFEST,
    config_type: str = media.CONFIG,
    platform: Platform | None = AMD64,
) -> dict[str, bytes | str]:
    """An OCI layout of one image whose layers are `plain` when they are unpacked."""
    files: dict[str, bytes | str] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def blob(data: bytes, media_type: str) -> dict[str, object]:
        files[f"blobs/sha256/{Digest.of(data).hex}"] = data
        return {"mediaType": media_type, "digest": str(Digest.of(data)), "size": len(data)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": blob(config_of(*plain, platform=platform), config_type),
        "layers": [blob(data, media_type) for data, media_type in layers],
    }
    entry = {**blob(json.dumps(manifest).encode(), manifest_type), "annotations": annotations}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    return files


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("piped", [False, True])
def test_what_was_saved_is_loaded(
    store: Store, source: Store, tmp_path: Path, pack: Callable[[bytes], bytes], docker: bool, piped: bool
) -> None:
    image = source.images.get("iris:1")
    buffer = io.BytesIO()
    save_archive(source, [image], buffer, ignore, docker=docker)
    path = tmp_path / "saved.tar"
    path.write_bytes(pack(buffer.getvalue()))
    if piped:
        reading, writing = os.pipe()
        thread = threading.Thread(target=feed, args=(writing, path.read_bytes()))
        thread.start()
        with os.fdopen(reading, "rb") as file:
            (loaded,) = load(store, file, "standard input", ignore)
        thread.join()
    else:
        (loaded,) = taken(store, path)
    assert (loaded.name, loaded.id, loaded.digest) == ("iris:1", image.id, image.digest)
    assert store.layers.tree(image.config.diff_ids[0]).joinpath("etc/a").read_text() == "a" * 100
    assert list((store.root / "tmp").iterdir()) == []
    assert [again.digest for again in taken(store, path)] == [image.digest]


@pytest.mark.parametrize("compression", ["raw", "gzip", "zstd"])
def test_layouts_and_platforms(store: Store, source: Store, tmp_path: Path, compression: str) -> None:
    layer = source.images.get("iris:1").config.diff_ids[0]
    add_image(source, "iris:1", layer, platform=ARM64)
    images = list(source.images.platforms("iris:1").values())
    save_layout(source, images, tmp_path / "layout", ignore, compression)  # type: ignore[arg-type]
    notes: list[Event] = []
    (only,) = load(store, tmp_path / "layout", "layout", notes.append, platforms=[ARM64])
    assert only.config.platform == ARM64
    assert any("linux/amd64" in str(note) for note in notes)
    loaded = taken(store, tmp_path / "layout")
    assert {image.id for image in loaded} == {image.id for image in images}
    assert [image.digest for image in loaded] == [image.digest for image in images]
    assert list(store.images.platforms("iris:1")) == [AMD64, ARM64]


def test_an_index_may_list_what_the_layout_lacks(store: Store, source: Store, tmp_path: Path) -> None:
    """Who saves one platform of an index keeps the index, and BuildKit's statements are no images."""
    add_image(source, "iris:1", source.images.get("iris:1").config.diff_ids[0], platform=ARM64)
    platforms = source.images.platforms("iris:1")
    save_layout(source, list(platforms.values()), tmp_path / "layout", ignore)
    (tmp_path / "layout/blobs/sha256" / platforms[ARM64].digest.hex).unlink()
    assert [image.config.platform for image in taken(store, tmp_path / "layout")] == [AMD64]
    with pytest.raises(UsageError, match="no image for linux/arm64"):
        taken(store, tmp_path / "layout", platforms=[ARM64])


def test_docker_s_archives(store: Store, tmp_path: Path) -> None:
    layers = [layer_of("a", b"1"), layer_of("b", b"2"), layer_of("a", b"1")]
    files = docker_files(layers, ["iris:1", "team/iris:latest"])
    one, two = taken(store, tar_of(tmp_path / "docker.tar", files))
    config = next(data for name, data in files.items() if name.endswith(".json") and isinstance(data, bytes))
    assert (one.name, two.name) == ("iris:1", "team/iris:latest")
    assert one.id == two.id == Digest.of(config)
    assert store.blobs.read(one.id) == config
    assert one.config.diff_ids == tuple(map(Digest.of, layers))
    assert b"".join(store.layers.stream(Digest.of(layers[0]))) == layers[0]
    # docker takes layers that are packed, and so do we.
    packed = docker_files([layers[1]], ["packed:1"])
    packed["0/layer.tar"] = gzip.compress(layers[1])
    assert taken(store, tar_of(tmp_path / "packed.tar", packed))[0].name == "packed:1"


def test_docker_s_media_types(store: Store, tmp_path: Path) -> None:
    plain = layer_of("a", b"1")
    files = layout_files(
        [(gzip.compress(plain), media.DOCKER_LAYER_GZIP)],
        [plain],
        {media.CONTAINERD_NAME: "docker.io/library/iris:1"},
        manifest_type=media.DOCKER_MANIFEST,
        config_type=media.DOCKER_CONFIG,
    )
    (image,) = taken(store, tar_of(tmp_path / "x.tar", files))
    assert image.name == "iris:1"


@pytest.mark.parametrize(
    ("annotations", "options", "name"),
    [
        ({media.REF_NAME: "1.0"}, {}, "greeter:1.0"),
        ({}, {}, "greeter:latest"),
        ({}, {"name": "mine"}, "mine:latest"),
        ({media.REF_NAME: "localhost/iris:2"}, {}, "localhost/iris:2"),
        ({media.REF_NAME: "1.0", media.CONTAINERD_NAME: "docker.io/team/iris:1.0"}, {}, "team/iris:1.0"),
        ({media.REF_NAME: "1.0", media.IMAGE_NAME: "iris:3"}, {"name": "other:4"}, "other:4"),
    ],
)
def test_names(
    store: Store, tmp_path: Path, annotations: dict[str, str], options: dict[str, str], name: str
) -> None:
    plain = layer_of("a", b"1")
    path = tar_of(tmp_path / "greeter.tar", layout_files([(plain, media.LAYER)], [plain], annotations))
    assert [image.name for image in taken(store, path, **options)] == [name]
    files = path.rename(tmp_path / "No Name!.tar")
    if name.startswith("greeter"):
        with pytest.raises(UsageError, match="no name") as error:
            taken(Store.open(tmp_path / "other"), files)
        assert "--name" in str(error.value.hint)


def test_a_loaded_name_stands_for_what_was_loaded_alone(store: Store, source: Store, tmp_path: Path) -> None:
    """Other platforms of it could be an older version, and a push would publish a mix."""
    said: list[Event] = []
    path = tmp_path / "iris.tar"
    with open(path, "wb") as file:
        save_archive(source, [source.images.get("iris:1")], file, ignore)
    add_image(store, "iris:1", add_layer(store, "old"), platform=ARM64)
    with open(path, "rb") as archive:
        (image,) = load(store, archive, str(path), said.append)
    assert store.images.platforms("iris:1") == {AMD64: image}
    assert [event.message for event in said if isinstance(event, Note)] == [
        "'iris:1' stands for what was loaded now, and no longer for another image for linux/arm64"
    ]


def test_a_name_that_moves_is_told(store: Store, tmp_path: Path) -> None:
    notes: list[Event] = []
    for text in (b"1", b"2"):
        path = tar_of(tmp_path / "x.tar", docker_files([layer_of("a", text)], ["iris:1"]))
        before = [image.id.short for image in store.images.all()]
        with open(path, "rb") as file:
            load(store, file, "x.tar", notes.append)
    assert [event.message for event in notes if isinstance(event, Note)] == [
        f"'iris:1' was '{before[0]}' until now"
    ]


def change(path: Path, edit: Callable[[dict[str, bytes | str]], None]) -> Path:
    """The archive at `path` with its files edited."""
    with tarfile.open(path) as archive:
        files: dict[str, bytes | str] = {}
        for member in archive:
            data = archive.extractfile(member)
            if data:
                files[member.name] = data.read()
    edit(files)
    return tar_of(path, files)


PLAIN = layer_of("a", b"1")
LAYER = f"blobs/sha256/{Digest.of(PLAIN).hex}"


def broken_layer(files: dict[str, bytes | str]) -> None:
    files[LAYER] = bytes(len(PLAIN))


def no_layer(files: dict[str, bytes | str]) -> None:
    del files[LAYER]


def longer_layer(files: dict[str, bytes | str]) -> None:
    files[LAYER] = PLAIN + bytes(512)


def link_out(files: dict[str, bytes | str]) -> None:
    files[LAYER] = "../../../../etc/passwd"


def link_out_absolute(files: dict[str, bytes | str]) -> None:
    files[LAYER] = "/etc/passwd"


def link_to_itself(files: dict[str, bytes | str]) -> None:
    files[LAYER] = Path(LAYER).name


def member_outside(files: dict[str, bytes | str]) -> None:
    files["../outside"] = b""


def huge_document(files: dict[str, bytes | str]) -> None:
    files["index.json"] = b" " * (9 << 20)


def deep_document(files: dict[str, bytes | str]) -> None:
    files["index.json"] = b"[" * 100_000


def other_config(files: dict[str, bytes | str]) -> None:
    for name, data in files.items():
        if isinstance(data, bytes) and b"diff_ids" in data:
            files[name] = data.replace(b"20.10.24", b"20.10.25")


def hostile_name(files: dict[str, bytes | str]) -> None:
    index = json.loads(files["index.json"])
    index["manifests"][0]["annotations"] = {media.IMAGE_NAME: "../../etc/x"}
    files["index.json"] = json.dumps(index).encode()


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (broken_layer, "cannot be taken"),
        (longer_layer, "cannot be taken"),
        (no_layer, "lacks its layer"),
        (link_out, "leads out"),
        (link_out_absolute, "leads out"),
        (link_to_itself, "lacks its layer"),
        (member_outside, "leads out"),
        (huge_document, "too large"),
        (deep_document, "not JSON"),
        (other_config, "damaged"),
        (hostile_name, "not an image name"),
    ],
)
def test_hostile_layouts(
    store: Store, tmp_path: Path, edit: Callable[[dict[str, bytes | str]], None], match: str
) -> None:
    files = layout_files([(PLAIN, media.LAYER)], [PLAIN], {media.IMAGE_NAME: "iris:1"})
    path = tar_of(tmp_path / "x.tar", files)
    refused(store, change(path, edit), match)


@pytest.mark.parametrize(
    ("manifest", "match"),
    [
        (b"null", "not a list"),
        (b"[[]]", "not a list"),
        (b"[{}]", "no configuration"),
        (b'[{"Config": "../../etc/passwd", "Layers": []}]', "has no"),
        (b'[{"Config": "config", "Layers": ["gone"]}]', "lacks its layer"),
        (b'[{"Config": "config", "Layers": [7]}]', "not a list of names"),
        (b'[{"Config": "config", "Layers": []}]', "0 layers"),
        (b"{", "not JSON"),
        (b" " * (9 << 20), "too large"),
    ],
    ids=range(9),
)
def test_hostile_docker_archives(store: Store, tmp_path: Path, manifest: bytes, match: str) -> None:
    path = tar_of(tmp_path / "x.tar", {"manifest.json": manifest, "config": config_of(PLAIN), "layer": PLAIN})
    refused(store, path, match)


def test_a_layer_that_is_another(store: Store, tmp_path: Path) -> None:
    """Each blob is what its name says, and still not the layer that the configuration names."""
    other = layer_of("a", b"2")
    files = layout_files([(other, media.LAYER)], [PLAIN], {media.IMAGE_NAME: "iris:1"})
    refused(store, tar_of(tmp_path / "x.tar", files), "should be")
    files = docker_files([PLAIN], ["iris:1"])
    files["0/layer.tar"] = other
    refused(store, tar_of(tmp_path / "y.tar", files), "should be")


def test_a_blob_that_is_not_its_digest(store: Store, tmp_path: Path) -> None:
    """It unpacks to the right layer, and is still not the blob that the manifest names."""
    packed = gzip.compress(PLAIN, mtime=0)
    files = layout_files([(packed, media.LAYER_GZIP)], [PLAIN], {media.IMAGE_NAME: "iris:1"})
    files[f"blobs/sha256/{Digest.of(packed).hex}"] = gzip.compress(PLAIN, mtime=1)
    refused(store, tar_of(tmp_path / "x.tar", files), "not those that its digest names")
    docker = docker_files([PLAIN], ["iris:1"])
    listed = json.loads(docker["manifest.json"])
    listed[0]["Layers"] = [f"blobs/sha256/{Digest.of(b'other').hex}"]
    docker[listed[0]["Layers"][0]] = docker.pop("0/layer.tar")
    docker["manifest.json"] = json.dumps(listed).encode()
    refused(store, tar_of(tmp_path / "y.tar", docker), "not those that its digest names")


def test_one_bad_image_of_two_keeps_both_away(store: Store, tmp_path: Path) -> None:
    good, bad = docker_files([PLAIN], ["good:1"]), docker_files([layer_of("b", b"2")], ["bad:1"])
    listed = json.loads(good["manifest.json"]) + json.loads(bad["manifest.json"])
    listed[1]["Layers"] = ["bad"]
    files = {**good, **bad, "bad": PLAIN, "manifest.json": json.dumps(listed).encode()}
    refused(store, tar_of(tmp_path / "x.tar", files), "should be")


def test_layers_with_another_media_type_than_bytes_and_no_platform(store: Store, tmp_path: Path) -> None:
    """What docker, containerd and podman take, and some tools write."""
    layers = [(PLAIN, media.LAYER_GZIP), (gzip.compress(layer_of("b", b"2")), media.LAYER_ZSTD)]
    plain = [PLAIN, layer_of("b", b"2")]
    files = layout_files(layers, plain, {media.IMAGE_NAME: "iris:1"}, platform=None)
    notes: list[object] = []
    with open(tar_of(tmp_path / "x.tar", files), "rb") as file:
        (image,) = load(store, file, "x", notes.append)
    assert image.config.platform == Platform.host()
    assert [note.message for note in notes if isinstance(note, Note)] == [
        f"'iris:1' does not say its platform, and is taken for {Platform.host()}"
    ]
    assert (store.layers.tree(image.config.diff_ids[1]) / "b").read_bytes() == b"2"


def test_a_layer_that_umoci_inserted(store: Store, tmp_path: Path) -> None:
    """Its tar ends with the file's last byte."""
    (tmp_path / "greeting").write_text("hi\n")
    for command in (
        "init --layout oci",
        "new --image oci:a",
        "insert --rootless --image oci:a greeting /greeting",
    ):
        subprocess.run(["umoci", *command.split()], cwd=tmp_path, check=True, capture_output=True)
    (image,) = load(store, tmp_path / "oci", "oci", ignore, name="greeter")
    assert (store.layers.tree(image.config.diff_ids[0]) / "greeting").read_text() == "hi\n"


def test_artifacts_and_foreign_layers_are_refused_with_a_reason(store: Store, tmp_path: Path) -> None:
    files = layout_files([(PLAIN, "application/vnd.cncf.model.weight.v1.raw")], [PLAIN], {})
    refused(store, tar_of(tmp_path / "a.tar", files), "which is not tar")
    files = layout_files(
        [(PLAIN, media.LAYER)], [PLAIN], {}, config_type="application/vnd.cncf.model.config.v1+json"
    )
    refused(store, tar_of(tmp_path / "b.tar", files), "artifact")
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    files = layout_files([(gzip.compress(PLAIN), foreign)], [PLAIN], {})
    refused(store, tar_of(tmp_path / "c.tar", files), "may not be distributed")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "not a tar file"),
        (b"hello" * 1000, "not a tar file"),
        (bytes(10240), "neither an OCI archive"),
        (gzip.compress(b"hello" * 1000), "not a tar file"),
        (gzip.compress(bytes(20480))[:-4], "ends early"),
        (b"\xfd7zXZ\0" + bytes(100), "another program"),
    ],
    ids=range(6),
)
def test_what_is_no_archive(store: Store, tmp_path: Path, data: bytes, match: str) -> None:
    (tmp_path / "x").write_bytes(data)
    refused(store, tmp_path / "x", match)


def test_a_cut_archive(store: Store, tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "x.tar", docker_files([PLAIN], ["iris:1"])).read_bytes()
    for length in range(512, len(whole) - 10240, 512):
        (tmp_path / "cut.tar").write_bytes(whole[:length])
        refused(store, tmp_path / "cut.tar", "cut.tar")


def member(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize(
    ("infos", "match"),
    [
        ([member("a"), member("./a")], "twice"),
        ([member("a"), member("a", type=tarfile.SYMTYPE, linkname="b")], "twice"),
        ([member("/a")], "leads out"),
        ([member("a/../../b")], "leads out"),
        ([member("a", type=tarfile.LNKTYPE, linkname="../b")], "leads out"),
        ([member("a", type=tarfile.CHRTYPE)], "neither a file"),
        ([member("a", type=tarfile.FIFOTYPE)], "neither a file"),
        ([member("a", type=tarfile.GNUTYPE_SPARSE)], "neither a file"),
        ([member("a", pax_headers={"GNU.sparse.major": "1"})], "sparse"),
        ([member("a", pax_headers={"comment": "x" * (1 << 20)})], "extension header"),
        ([member("a", size=10**6)], "ends early"),
        ([member("a", size=2**70)], "ends early|damaged"),
        ([member(f"{number}") for number in range(20_001)], "more than"),
    ],
    ids=range(13),
)
def test_hostile_tar_files(tmp_path: Path, infos: list[tarfile.TarInfo], match: str) -> None:
    parts = [
        info.tobuf(tarfile.PAX_FORMAT) if info.pax_headers else info.tobuf(tarfile.GNU_FORMAT)
        for info in infos
    ]
    data = b"".join(parts) + bytes(1024)
    (tmp_path / "x.tar").write_bytes(data)
    with open(tmp_path / "x.tar", "rb") as file, pytest.raises(FormatError, match=match):
        Archive(file, "x.tar")


def test_long_names_and_links_inside(tmp_path: Path) -> None:
    name = "d/" * 60 + "file"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "x.tar", "w", format=form) as archive:
            archive.addfile(member("d", type=tarfile.DIRTYPE))
            archive.addfile(member(f"./{name}", size=3), io.BytesIO(b"abc"))
            archive.addfile(member("e/link", type=tarfile.SYMTYPE, linkname=f"../{name}"))
            archive.addfile(member("hard", type=tarfile.LNKTYPE, linkname=name))
        with open(tmp_path / "x.tar", "rb") as file:
            found = Archive(file, "x.tar")
            assert [found.open(path).read() for path in (name, "e/link", "hard")] == [b"abc"] * 3
            assert not found.has("d")
            with pytest.raises(FileNotFoundError):
                found.open("x")


def test_a_layout_reads_nothing_outside(store: Store, tmp_path: Path) -> None:
    """A folder's documents may be links and pipes; what they lead to is not taken, and nobody waits for it."""
    files = layout_files([(PLAIN, media.LAYER)], [PLAIN], {media.IMAGE_NAME: "iris:1"})
    for name, data in files.items():
        (tmp_path / "layout" / name).parent.mkdir(parents=True, exist_ok=True)
        assert isinstance(data, bytes)
        (tmp_path / "layout" / name).write_bytes(data)
    layer = tmp_path / "layout" / LAYER
    layer.unlink()
    os.mkfifo(layer)
    refused(store, tmp_path / "layout", "lacks its layer")
    layer.unlink()
    layer.symlink_to("/etc/passwd")
    refused(store, tmp_path / "layout", "cannot be taken")


@thorough(150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    docker=st.booleans(),
    edits=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=12)), max_size=4
    ),
)
def test_any_damage_is_an_error_or_harmless(
    store: Store, tmp_path: Path, docker: bool, edits: list[tuple[float, bytes]]
) -> None:
    """Bytes that change give a clear refusal, or change nothing that counts."""
    layers = [PLAIN, layer_of("b", b"2" * 600)]
    files = (
        docker_files(layers, ["iris:1"])
        if docker
        else layout_files([(layer, media.LAYER) for layer in layers], layers, {media.IMAGE_NAME: "iris:1"})
    )
    path = tar_of(tmp_path / "x.tar", files)
    data = bytearray(path.read_bytes())
    used = len(data) - 8192
    for place, piece in edits:
        data[int(place * used) : int(place * used) + len(piece)] = piece
    path.write_bytes(data)
    known = {Digest.of(layer) for layer in layers}
    try:
        images = taken(store, path)
    except CortenError:
        return
    for image in images:
        assert set(image.config.diff_ids) <= known
        for diff_id in image.config.diff_ids:
            assert Digest.of(b"".join(store.layers.stream(diff_id))) == diff_id
