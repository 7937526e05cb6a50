"""Push, pull and copy against a real registry: what arrives is the same image, and only what lacks is moved."""

from __future__ import annotations

import gzip
import json
import os
import random
import uuid
from pathlib import Path

import pytest

from corten.errors import FormatError, NotInRegistry, RegistryError, StoreError, UsageError
from corten.events import Event, Note, ignore
from corten.oci import media
from corten.oci.descriptor import Descriptor, Index, Manifest
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.oci.reference import Reference
from corten.registry.client import DigestMismatch, Patience, Repository, open_repository, settings_from
from corten.registry.copy import copy
from corten.registry.pull import ensure_layers, pull
from corten.registry.push import PushOptions, push
from corten.registry.referrers import put_referrer
from corten.registry.remote import offered_layers
from corten.store.check import check
from corten.store.disk import remove_tree
from corten.store.export import save_archive
from corten.store.images import Image
from corten.store.loading import load
from corten.store.prune import prune
from corten.store.store import Store
from corten.store.sync import sync
from corten.values import replace
from support.embedded import serving
from support.faults import Answer, FaultProxy
from support.images import AMD64, ARM64, make_image, tree_of
from support.registries import distribution

SETTINGS = settings_from(os.environ)
PATIENT = replace(SETTINGS, patience=Patience(pause=0.01))
BASE = {"etc/os": b"some system\n" * 500, "bin/tool": bytes(range(256)) * 40}
CODE = {"app/main.py": b"print(1)\n"}
NOISE = random.Random(7).randbytes(18 << 20)


def place(address: str, tag: str = "1") -> Reference:
    """A repository that nobody has used."""
    return Reference.parse(f"{address}/test/{uuid.uuid4().hex}:{tag}")


def pushed(store: Store, images: list[Image], reference: Reference, *options: str) -> Digest:
    return push(images, reference, store, SETTINGS, ignore, PushOptions(*options)).digest  # type: ignore[arg-type]


def uploaded(proxy: FaultProxy) -> int:
    """Bytes of blobs that were sent through the proxy."""
    return proxy.sent("PUT|PATCH|POST", "/blobs/")


@pytest.mark.parametrize(
    ("compression", "form"),
    [("gzip", "oci"), ("zstd", "oci"), ("raw", "oci"), ("gzip", "docker"), ("raw", "docker")],
)
def test_an_image_arrives_as_it_left(
    proxy: FaultProxy, store: Store, elsewhere: Store, compression: str, form: str
) -> None:
    image = make_image(store, "iris", [BASE, CODE], keys=True)
    reference = place(proxy.address)
    digest = pushed(store, [image], reference, compression, form)
    fetched = open_repository(reference, SETTINGS).manifest(reference.target)
    assert (fetched.digest, fetched.media_type) == (
        digest,
        media.MANIFEST if form == "oci" else media.DOCKER_MANIFEST,
    )
    manifest = Manifest.decode(fetched.data)
    assert {layer.media_type for layer in manifest.layers} == {media.LAYERS[form, compression]}
    arrived = pull(reference, [AMD64], elsewhere, SETTINGS, ignore).images[0]
    assert arrived.id == image.id
    if form == "oci":
        assert arrived.digest == image.digest, "annotations made the way, too"
    assert arrived.name == str(reference)
    assert [tree_of(elsewhere, item) for item in arrived.config.diff_ids] == [
        tree_of(store, item) for item in image.config.diff_ids
    ]
    repo_digest = f"{reference.name}@{digest}"
    assert repo_digest in store.repo_digests.of(image.id)
    assert elsewhere.repo_digests.find(repo_digest) == (image.id,)


def test_a_second_push_packs_and_sends_nothing(proxy: FaultProxy, store: Store) -> None:
    image = make_image(store, "iris", [BASE, CODE])
    reference = place(proxy.address)
    first = pushed(store, [image], reference)
    proxy.clear()
    assert pushed(store, [image], reference) == first
    assert uploaded(proxy) == 0
    assert not proxy.asked("HEAD"), "what the manifest there lists needs no question"


def test_a_changed_layer_is_all_that_moves(proxy: FaultProxy, store: Store, elsewhere: Store) -> None:
    reference = place(proxy.address)
    pushed(store, [make_image(store, "iris", [BASE, CODE])], reference)
    pull(reference, [AMD64], elsewhere, SETTINGS, ignore)
    changed = make_image(store, "iris", [BASE, {"app/main.py": b"print(2)\n"}])
    proxy.clear()
    pushed(store, [changed], reference)
    assert 0 < uploaded(proxy) < 2000
    done = pull(reference, [AMD64], elsewhere, SETTINGS, ignore)
    assert (done.images[0].id, done.reused) == (changed.id, 1)
    assert done.fetched < 1000


def test_another_repository_of_the_registry_gets_it_by_mounts(proxy: FaultProxy, store: Store) -> None:
    image = make_image(store, "iris", [BASE, CODE])
    pushed(store, [image], place(proxy.address))
    proxy.clear()
    second = place(proxy.address)
    result = push([image], second, store, SETTINGS, ignore, PushOptions())
    assert result.layers == {"sent": 0, "mounted": 2, "there": 0}
    config = len(store.blobs.read(image.id))
    assert uploaded(proxy) == config
    assert open_repository(second, SETTINGS).has_blob(image.id)


def test_a_forgotten_repository_is_asked_and_filled_again(
    proxy: FaultProxy, store: Store, tmp_path: Path
) -> None:
    image = make_image(store, "iris", [BASE, CODE])
    (tmp_path / "a").mkdir()
    with distribution(tmp_path / "a") as address:
        reference = place(address)
        pushed(store, [image], reference)
    (tmp_path / "b").mkdir()
    with distribution(tmp_path / "b") as other, FaultProxy(other) as proxy:
        # Another registry, at an address that the store believes to hold everything.
        moved = Reference.parse(f"{proxy.address}/{reference.repository}:1")
        for diff_id in image.config.diff_ids:
            for form in store.encodings.known(diff_id):
                store.encodings.add(diff_id, type(form)(**{**_fields(form), "repositories": (moved.name,)}))
        pushed(store, [image], moved)
        assert open_repository(moved, SETTINGS).has_manifest("1")


def _fields(form: object) -> dict[str, object]:
    return {name: getattr(form, name) for name in form.__dataclass_fields__}  # type: ignore[attr-defined]


def test_noise_is_not_compressed(proxy: FaultProxy, store: Store, elsewhere: Store) -> None:
    image = make_image(store, "weights", [{"models/w.bin": NOISE}, CODE])
    reference = place(proxy.address)
    pushed(store, [image], reference)
    manifest = Manifest.decode(open_repository(reference, SETTINGS).manifest("1").data)
    assert [layer.media_type for layer in manifest.layers] == [media.LAYER, media.LAYER_GZIP]
    assert manifest.layers[0].digest == image.config.diff_ids[0]
    assert pull(reference, [AMD64], elsewhere, SETTINGS, ignore).images[0].id == image.id
    # Docker's format is for those who read nothing but gzip.
    docker = place(proxy.address)
    pushed(store, [image], docker, "gzip", "docker")
    manifest = Manifest.decode(open_repository(docker, SETTINGS).manifest("1").data)
    assert {layer.media_type for layer in manifest.layers} == {media.DOCKER_LAYER_GZIP}


def test_several_platforms_are_an_index(proxy: FaultProxy, store: Store, elsewhere: Store) -> None:
    images = [make_image(store, "iris", [BASE, {"arch": name}], platform) for name, platform in _PLATFORMS]
    reference = place(proxy.address)
    digest = pushed(store, images, reference)
    fetched = open_repository(reference, SETTINGS).manifest("1")
    assert (fetched.digest, fetched.media_type) == (digest, media.INDEX)
    listed = {tuple(sorted((item.platform or {}).items())) for item in Index.decode(fetched.data).manifests}
    assert listed == {
        (("architecture", "amd64"), ("os", "linux")),
        (("architecture", "arm64"), ("os", "linux"), ("variant", "v8")),
    }
    assert pull(reference, [ARM64], elsewhere, SETTINGS, ignore).images[0].id == images[1].id
    done = pull(reference, None, elsewhere, SETTINGS, ignore)
    assert {image.id for image in done.images} == {image.id for image in images}
    assert set(elsewhere.images.platforms(str(reference))) == {AMD64, ARM64}


_PLATFORMS = ((b"x", AMD64), (b"a", ARM64))


def test_a_pulled_name_stands_for_one_image_and_keeps_only_platforms_of_its_index(
    registry: str, store: Store, elsewhere: Store
) -> None:
    """A push of the name would publish a mix of two versions otherwise."""
    said: list[Event] = []
    reference = place(registry)
    old = [make_image(store, "iris", [BASE, {"arch": name}], platform) for name, platform in _PLATFORMS]
    pushed(store, old, reference)
    pull(reference, [AMD64], elsewhere, SETTINGS, said.append)
    pull(reference, [ARM64], elsewhere, SETTINGS, said.append)
    kept = elsewhere.images.platforms(str(reference))
    assert {platform: image.id for platform, image in kept.items()} == {AMD64: old[0].id, ARM64: old[1].id}
    new = make_image(store, "iris", [BASE, CODE], AMD64)
    pushed(store, [new], reference)
    pull(reference, [AMD64], elsewhere, SETTINGS, said.append)
    assert [image.id for image in elsewhere.images.platforms(str(reference)).values()] == [new.id]
    (note,) = (event for event in said if isinstance(event, Note))
    assert note.message == (
        f"'{reference}' stands for what was pulled now, and no longer for another image for linux/arm64 "
        "(--platform all pulls every platform)"
    )


def test_a_platform_that_is_not_there(proxy: FaultProxy, store: Store, elsewhere: Store) -> None:
    reference = place(proxy.address)
    pushed(store, [make_image(store, "iris", [BASE])], reference)
    with pytest.raises(NotInRegistry) as caught:
        pull(reference, [ARM64], elsewhere, SETTINGS, ignore)
    assert "linux/arm64" in caught.value.message
    assert "linux/amd64" in (caught.value.hint or "")
    assert elsewhere.images.all() == []


def test_a_tag_that_is_not_there(registry: str, elsewhere: Store) -> None:
    with pytest.raises(NotInRegistry):
        pull(place(registry), [AMD64], elsewhere, SETTINGS, ignore)


def test_a_push_needs_a_tag(registry: str, store: Store) -> None:
    image = make_image(store, "iris", [BASE])
    with pytest.raises(UsageError):
        pushed(store, [image], place(registry).at(image.digest))
    with pytest.raises(UsageError, match="zstd"):
        PushOptions("zstd", "docker")


def test_by_digest(registry: str, store: Store, elsewhere: Store) -> None:
    image = make_image(store, "iris", [BASE])
    reference = place(registry)
    digest = pushed(store, [image], reference)
    arrived = pull(reference.at(digest), [AMD64], elsewhere, SETTINGS, ignore).images[0]
    assert (arrived.id, arrived.name) == (image.id, f"{reference.name}:sha256-{digest.short}")


def test_a_configuration_that_does_not_fit(registry: str, store: Store, elsewhere: Store) -> None:
    """Layers and diff IDs that do not agree are refused before anything is fetched, and when they are fetched."""
    image = make_image(store, "iris", [BASE, CODE])
    reference = place(registry)
    pushed(store, [image], reference)
    repository = open_repository(reference, SETTINGS)
    manifest = Manifest.decode(repository.manifest("1").data)
    fewer = Manifest(manifest.config, manifest.layers[:1])
    repository.put_manifest("fewer", fewer.encode(), media.MANIFEST)
    swapped = Manifest(manifest.config, manifest.layers[::-1])
    repository.put_manifest("swapped", swapped.encode(), media.MANIFEST)
    for tag in ("fewer", "swapped"):
        wrong = Reference(reference.registry, reference.repository, tag)
        with pytest.raises(FormatError):
            pull(wrong, [AMD64], elsewhere, SETTINGS, ignore)
    assert elsewhere.images.all() == []
    assert elsewhere.layers.all() == []


def test_absent_layers(registry: str, store: Store, elsewhere: Store, tmp_path: Path) -> None:
    """An image whose layers are known but not here is mounted, passed on to another registry, and fetched when needed."""
    image = make_image(store, "iris", [BASE, CODE], keys=True)
    reference = place(registry)
    pushed(store, [image], reference)
    offered = offered_layers(reference, AMD64, elsewhere, SETTINGS, ignore)
    assert {item.diff_id: item.size for item in offered.values()} == {
        item: store.layers.get(item).size for item in image.config.diff_ids
    }
    for name in (image.id, image.digest):
        elsewhere.blobs.put(store.blobs.read(name))
    elsewhere.images.set("iris", AMD64, image.digest)
    absent = elsewhere.images.get("iris", AMD64)
    result = push([absent], place(registry), elsewhere, SETTINGS, ignore, PushOptions())
    assert result.layers == {"sent": 0, "mounted": 2, "there": 0}
    (tmp_path / "other").mkdir()
    with distribution(tmp_path / "other") as address:
        result = push([absent], place(address), elsewhere, SETTINGS, ignore, PushOptions())
        assert result.layers == {"sent": 2, "mounted": 0, "there": 0}
    assert elsewhere.layers.all() == [], "nothing of it was kept"
    ensure_layers(elsewhere, image.config.diff_ids, SETTINGS, ignore)
    assert tree_of(elsewhere, image.config.diff_ids[1]) == tree_of(store, image.config.diff_ids[1])
    with pytest.raises(StoreError, match="no registry is known"):
        ensure_layers(elsewhere, [Digest.of(b"nowhere")], SETTINGS, ignore)


def test_what_a_registry_says_of_a_layer_is_not_believed_for_one_that_is_here(
    registry: str, store: Store, elsewhere: Store
) -> None:
    """A hostile image may call any blob a layer of ours. What we push must still be ours."""
    image = make_image(store, "iris", [BASE], keys=True)
    hostile = place(registry)
    pushed(elsewhere, [make_image(elsewhere, "other", [CODE])], hostile)
    repository = open_repository(hostile, SETTINGS)
    other = Manifest.decode(repository.manifest("1").data)
    config = store.blobs.read(image.id)
    repository.push_blob(lambda: iter([config]), digest=image.id, size=len(config))
    lie = Manifest(
        Descriptor(media.CONFIG, image.id, len(config)),
        (
            Descriptor(
                media.LAYER_GZIP, other.layers[0].digest, other.layers[0].size, {media.LAYER_SIZE: "5"}
            ),
        ),
    )
    repository.put_manifest("lie", lie.encode(), media.MANIFEST)
    offered_layers(Reference(hostile.registry, hostile.repository, "lie"), AMD64, store, SETTINGS, ignore)
    honest = Reference(hostile.registry, hostile.repository, "honest")
    pushed(store, [image], honest)
    fresh = Store(elsewhere.root.parent / "fresh")
    assert pull(honest, [AMD64], fresh, SETTINGS, ignore).images[0].id == image.id


def test_a_pull_takes_what_docker_and_podman_take_and_never_passes_a_wrong_type_on(
    registry: str, store: Store, elsewhere: Store
) -> None:
    """A layer whose media type is not true, and a configuration without a platform."""
    image = make_image(store, "iris", [BASE])
    reference = place(registry)
    pushed(store, [image], reference, "zstd")
    repository = open_repository(reference, SETTINGS)
    there = Manifest.decode(repository.manifest("1").data)
    document = json.loads(store.blobs.read(image.id))
    del document["os"], document["architecture"]
    config = json.dumps(document).encode()
    repository.push_blob(lambda: iter([config]))
    layer = Descriptor(media.LAYER_GZIP, there.layers[0].digest, there.layers[0].size)
    odd = Manifest(Descriptor(media.CONFIG, Digest.of(config), len(config)), (layer,))
    repository.put_manifest("odd", odd.encode(), media.MANIFEST)
    notes: list[str] = []
    where = Reference(reference.registry, reference.repository, "odd")
    for _ in range(2):  # the second time it is here, and only the registry's word is heard
        arrived = pull(where, None, elsewhere, SETTINGS, lambda event: notes.append(str(event))).images[0]
    assert arrived.config.platform == Platform.host()
    assert tree_of(elsewhere, arrived.config.diff_ids[0]) == tree_of(store, image.config.diff_ids[0])
    assert any("does not say its platform" in note for note in notes)
    pushed(elsewhere, [arrived], Reference(reference.registry, reference.repository, "again"), "gzip")
    again = Manifest.decode(repository.manifest("again").data).layers[0]
    data = b"".join(repository.pull_blob(again.digest, again.size))
    assert (again.media_type, data[:2]) == (media.LAYER_GZIP, b"\x1f\x8b")


def test_prune_forgets_packed_forms(registry: str, store: Store) -> None:
    image = make_image(store, "iris", [BASE])
    pushed(store, [image], place(registry))
    assert store.encodings.known(image.config.diff_ids[0])
    prune(store)
    assert store.encodings.known(image.config.diff_ids[0])
    store.images.remove("iris")
    prune(store)
    assert not store.encodings.known(image.config.diff_ids[0])
    assert store.repo_digests.of(image.id) == ()


def test_copy_keeps_every_digest(registry: str, proxy: FaultProxy, store: Store, tmp_path: Path) -> None:
    images = [make_image(store, "iris", [BASE, {"arch": name}], platform) for name, platform in _PLATFORMS]
    source = place(registry)
    digest = pushed(store, images, source)
    repository = open_repository(source, SETTINGS)
    signature = _signature(repository, digest)
    within = place(registry)
    copied = copy(source, within, None, SETTINGS, ignore)
    assert (copied.digest, copied.sent) == (digest, 0)
    assert copied.blobs["mounted"] == 5
    (tmp_path / "other").mkdir()
    with distribution(tmp_path / "other") as address:
        target = place(address)
        copied = copy(source, target, None, SETTINGS, ignore, referrers=True)
        assert (copied.digest, copied.blobs["sent"]) == (digest, 7)
        there = open_repository(target, SETTINGS)
        assert there.manifest("1").digest == digest
        assert there.manifest(signature).digest == signature
        assert [item.digest for item in there.referrers(digest)] == [signature]
        one = Reference(target.registry, target.repository, "arm")
        assert copy(source, one, [ARM64], SETTINGS, ignore).digest == there.manifest("arm").digest


def test_copy_with_referrers_takes_the_tags_of_cosign(registry: str, store: Store) -> None:
    source, target = place(registry), place(registry)
    digest = pushed(store, [make_image(store, "iris", [BASE])], source)
    repository = open_repository(source, SETTINGS)
    tags = [f"sha256-{digest.hex}.{ending}" for ending in ("sig", "att", "sbom")]
    for tag in tags:
        payload = tag.encode()
        for data in (b"{}", payload):
            repository.push_blob(lambda data=data: iter([data]), digest=Digest.of(data), size=len(data))
        layer = Descriptor(
            "application/vnd.dev.cosign.simplesigning.v1+json", Digest.of(payload), len(payload)
        )
        manifest = Manifest(Descriptor(media.CONFIG, Digest.of(b"{}"), 2), (layer,))
        repository.put_manifest(tag, manifest.encode(), media.MANIFEST)
    copy(source, target, None, SETTINGS, ignore)
    there = open_repository(target, SETTINGS)
    assert list(there.tags()) == ["1"]
    copy(source, target, None, SETTINGS, ignore, referrers=True)
    assert sorted(there.tags()) == sorted(["1", *tags])
    for tag in tags:
        layer = Manifest.decode(there.manifest(tag).data).layers[0]
        assert there.read_blob(layer.digest, layer.size, 1000) == tag.encode()


def test_a_registry_that_refuses_oci_s_manifests_leads_to_the_other_format(
    proxy: FaultProxy, store: Store
) -> None:
    image, reference = make_image(store, "iris", [BASE]), place(proxy.address)
    body = b'{"errors": [{"code": "MANIFEST_INVALID", "message": "manifest invalid"}]}'
    for status in (400, 415):
        proxy.clear()
        proxy.on("PUT", "/manifests/", Answer(status, {}, body), times=None)
        with pytest.raises(RegistryError) as caught:
            push([image], reference, store, PATIENT, ignore, PushOptions("zstd"))
        if status == 400:
            assert "--format docker --compression gzip" in str(caught.value.hint)
    proxy.clear()
    missing = b'{"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown"}]}'
    proxy.on("PUT", "/manifests/", Answer(400, {}, missing), times=None)
    with pytest.raises(RegistryError) as caught:
        push([image], reference, store, PATIENT, ignore, PushOptions())
    assert "--format" not in str(caught.value.hint)


def test_sha512_everywhere(tmp_path: Path, store: Store, elsewhere: Store) -> None:
    """Blobs, configuration, diff IDs, manifest and tag by sha512: copied, pulled, verified, saved and loaded."""
    image = make_image(store, "iris", [BASE])
    plain = b"".join(store.layers.stream(image.config.diff_ids[0]))
    document = json.loads(store.blobs.read(image.id))
    document["rootfs"]["diff_ids"] = [Digest.of(plain, "sha512")]
    with serving(tmp_path / "one") as one, serving(tmp_path / "two") as two:
        source = Reference.parse(f"{one.address}/team/iris:1")
        repository = open_repository(source, SETTINGS)

        def described(data: bytes, kind: str) -> Descriptor:
            digest, _ = repository.push_blob(
                lambda: iter([data]), digest=Digest.of(data, "sha512"), size=len(data)
            )
            return Descriptor(kind, digest, len(data))

        config, layer = json.dumps(document).encode(), gzip.compress(plain)
        manifest = Manifest(described(config, media.CONFIG), (described(layer, media.LAYER_GZIP),)).encode()
        digest = repository.put_manifest("1", manifest, media.MANIFEST, "sha512")
        assert digest == Digest.of(manifest, "sha512")
        target = Reference.parse(f"{two.address}/team/iris:1")
        assert copy(source, target, None, SETTINGS, ignore, referrers=True).digest == digest
        there = open_repository(target, SETTINGS)
        assert (there.manifest("1").digest, there.has_manifest("1")) == (digest, digest)
        arrived = pull(target.at(digest), [AMD64], elsewhere, SETTINGS, ignore).images[0]
        (tmp_path / "two/blobs/sha512" / Digest.of(layer, "sha512").hex).write_bytes(layer[::-1])
        with pytest.raises(DigestMismatch):
            b"".join(there.pull_blob(Digest.of(layer, "sha512"), len(layer)))
    assert arrived.config.diff_ids == (Digest.of(plain, "sha512"),)
    assert tree_of(elsewhere, arrived.config.diff_ids[0]) == tree_of(store, image.config.diff_ids[0])
    assert elsewhere.repo_digests.of(arrived.id) == (f"{target.name}@{digest}",)
    assert check(elsewhere).findings == ()
    prune(elsewhere)
    with open(tmp_path / "saved.tar", "wb") as file:
        save_archive(elsewhere, [elsewhere.images.get(arrived.name)], file, ignore)
    third = Store(tmp_path / "third")
    with open(tmp_path / "saved.tar", "rb") as file:
        (loaded,) = load(third, file, "saved.tar", ignore)
    assert loaded.config.diff_ids == arrived.config.diff_ids
    assert check(third).findings == ()


def _signature(repository: Repository, subject: Digest) -> Digest:
    """An artifact that refers to `subject`, as signing tools leave them."""
    empty, payload = b"{}", b"signed"
    for data in (empty, payload):
        repository.push_blob(lambda data=data: iter([data]), digest=Digest.of(data), size=len(data))
    document = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "artifactType": "application/vnd.example.signature",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest.of(empty), "size": 2},
        "layers": [{"mediaType": "text/plain", "digest": Digest.of(payload), "size": len(payload)}],
        "subject": {"mediaType": media.INDEX, "digest": subject, "size": 1},
    }
    data = json.dumps(document).encode()
    return put_referrer(repository, data, media.MANIFEST)


@pytest.mark.parametrize("left", [("synced",), ("synced", "layer.json"), ("synced", "layer.json", "fs")])
def test_a_part_of_a_layer_does_not_stop_a_pull(
    registry: str, store: Store, elsewhere: Store, left: tuple[str, ...]
) -> None:
    """A folder with only the marker made every later pull fail."""
    image = make_image(store, "iris", [BASE, CODE])
    reference = place(registry)
    pushed(store, [image], reference)
    pull(reference, [AMD64], elsewhere, SETTINGS, ignore)
    sync(elsewhere)
    for diff_id in image.config.diff_ids:
        layer = elsewhere.layers.directory / diff_id.hex
        layer.chmod(0o700)
        for part in layer.iterdir():
            if part.name not in left:
                remove_tree(part)
    arrived = pull(reference, [AMD64], elsewhere, SETTINGS, ignore).images[0]
    assert [tree_of(elsewhere, item) for item in arrived.config.diff_ids] == [
        tree_of(store, item) for item in image.config.diff_ids
    ]
    assert check(elsewhere).findings == ()
