"""Pushes, pulls and copies of what is unusual: odd indexes and manifests, layers in several forms, registries that are narrow."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from corten.errors import CortenError, FormatError, NotInRegistry, RegistryError, UsageError
from corten.events import Event, TaskFinished, TaskStarted, ignore
from corten.oci import media
from corten.oci.config import canonical_json
from corten.oci.descriptor import Manifest
from corten.oci.digest import Digest
from corten.oci.reference import Reference
from corten.registry.client import Repository, open_repository, settings_from
from corten.registry.copy import copy
from corten.registry.credentials import Credential
from corten.registry.placing import QUESTIONS
from corten.registry.pull import ensure_layers, pull
from corten.registry.push import PushOptions, push
from corten.registry.remote import offered_layers
from corten.registry.settings import Patience
from corten.store.images import Image
from corten.store.store import Store
from support.command import Corten
from support.faults import Action, Answer, Corrupt, Delay, FaultProxy, Stall
from support.images import AMD64, ARM64, make_image
from support.registries import Tokened

SETTINGS = dataclasses.replace(
    settings_from(os.environ), patience=Patience(attempts=3, pause=0.01, longest=2.0, window=5.0)
)
BASE = {"etc/os": b"some system\n" * 500, "bin/tool": bytes(range(256)) * 40}
CODE = {"app/main.py": b"print(1)\n"}
NOISE = os.urandom(18 << 20)


def place(address: str, tag: str = "1") -> Reference:
    return Reference.parse(f"{address}/corners/{uuid.uuid4().hex}:{tag}")


def pushed(store: Store, images: list[Image], reference: Reference, *options: str) -> Digest:
    return push(images, reference, store, SETTINGS, ignore, PushOptions(*options)).digest  # type: ignore[arg-type]


def layers_at(reference: Reference) -> list[str]:
    return [
        layer.media_type
        for layer in Manifest.decode(
            open_repository(reference, SETTINGS).manifest(reference.target).data
        ).layers
    ]


def absent(store: Store, elsewhere: Store, image: Image, reference: Reference) -> Image:
    """`image` in another store, without its layers."""
    offered_layers(reference, AMD64, elsewhere, SETTINGS, ignore)
    for name in (image.id, image.digest):
        elsewhere.blobs.put(store.blobs.read(name))
    elsewhere.images.set("iris", AMD64, image.digest)
    return elsewhere.images.get("iris", AMD64)


def test_noise_is_sent_once_however_it_is_asked_for(proxy: FaultProxy, store: Store) -> None:
    image = make_image(store, "w", [{"w.bin": NOISE}])
    reference = place(proxy.address)
    pushed(store, [image], reference)
    proxy.clear()
    for compression, form in (("raw", "oci"), ("gzip", "oci"), ("raw", "docker"), ("gzip", "oci")):
        pushed(store, [image], reference, compression, form)
        assert proxy.sent("PUT|PATCH|POST", "/blobs/") == 0, (compression, form)


def test_an_absent_layer_gets_a_form_that_was_asked_for(
    registry: str, store: Store, elsewhere: Store
) -> None:
    image = make_image(store, "iris", [BASE, CODE], keys=True)
    reference = place(registry)
    pushed(store, [image], reference, "zstd")
    there = absent(store, elsewhere, image, reference)
    target = place(registry)
    pushed(elsewhere, [there], target, "gzip")
    assert set(layers_at(target)) == {media.LAYER_GZIP}
    target = place(registry)
    elsewhere2 = Store(elsewhere.root.parent / "third")
    there = absent(store, elsewhere2, image, reference)
    pushed(elsewhere2, [there], target, "gzip", "docker")
    assert set(layers_at(target)) == {media.DOCKER_LAYER_GZIP}


def test_a_tag_that_moves_while_it_is_pulled(proxy: FaultProxy, store: Store, elsewhere: Store) -> None:
    """What is pulled is known by the digest that it was pulled by, whatever the tag leads to at the end."""
    reference = place(proxy.address)
    old, new = make_image(store, "old", [BASE]), make_image(store, "new", [CODE])
    digest = pushed(store, [old], reference)

    def moved(event: Event) -> None:
        if isinstance(event, TaskFinished):
            pushed(store, [new], reference)

    assert pull(reference, [AMD64], elsewhere, SETTINGS, moved).images[0].id == old.id
    assert elsewhere.repo_digests.of(old.id) == (f"{reference.name}@{digest}",)


def index_of(repository: Repository, tag: str, entries: list[dict[str, Any]]) -> None:
    data = canonical_json({"schemaVersion": 2, "mediaType": media.INDEX, "manifests": entries})
    repository.put_manifest(tag, data, media.INDEX)


def entry(repository: Repository, target: str, platform: dict[str, str] | None) -> dict[str, Any]:
    fetched = repository.manifest(target)
    found = {"mediaType": fetched.media_type, "digest": fetched.digest, "size": len(fetched.data)}
    return found if platform is None else {**found, "platform": platform}


def put_document(repository: Repository, data: bytes) -> dict[str, Any]:
    digest = Digest.of(data)
    repository.push_blob(lambda: iter([data]), digest=digest, size=len(data))
    return {"digest": digest, "size": len(data)}


def test_an_index_of_buildkit_with_other_architectures(registry: str, store: Store, elsewhere: Store) -> None:
    reference = place(registry)
    image = make_image(store, "iris", [BASE])
    pushed(store, [image], reference)
    repository = open_repository(reference, SETTINGS)
    config = json.loads(store.blobs.read(image.id))
    manifest = json.loads(repository.manifest("1").data)
    for arch in ("riscv64", "unknown"):
        about = put_document(repository, canonical_json({**config, "architecture": arch}))
        changed = {**manifest, "config": {**manifest["config"], **about}}
        repository.put_manifest(arch, canonical_json(changed), media.MANIFEST)
    index_of(
        repository,
        "1",
        [
            entry(repository, "riscv64", {"os": "linux", "architecture": "riscv64"}),
            entry(repository, "unknown", {"os": "unknown", "architecture": "unknown"}),
            entry(repository, "1", {"os": "linux", "architecture": "amd64", "variant": "v1"}),
        ],
    )
    assert pull(reference, None, elsewhere, SETTINGS, ignore).images[0].id == image.id
    with pytest.raises(NotInRegistry) as caught:
        pull(reference, [ARM64], elsewhere, SETTINGS, ignore)
    assert "riscv64" in (caught.value.hint or "")
    assert "unknown" not in (caught.value.hint or "")
    nested = canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": media.INDEX,
            "manifests": [entry(repository, "1", None)],
        }
    )
    repository.put_manifest("nested", nested, media.INDEX)
    third = Store(elsewhere.root.parent / "third")
    assert (
        pull(dataclasses.replace(reference, tag="nested"), [AMD64], third, SETTINGS, ignore).images[0].id
        == image.id
    )
    with pytest.raises(FormatError):
        pull(dataclasses.replace(reference, tag="riscv64"), [AMD64], third, SETTINGS, ignore)
    copy(reference, place(registry), None, SETTINGS, ignore)


def test_an_index_that_does_not_tell_platforms(registry: str, store: Store, elsewhere: Store) -> None:
    reference = place(registry)
    image = make_image(store, "iris", [BASE])
    pushed(store, [image], reference)
    repository = open_repository(reference, SETTINGS)
    index_of(repository, "index", [entry(repository, "1", None)])
    plain = dataclasses.replace(reference, tag="index")
    assert pull(plain, [AMD64], elsewhere, SETTINGS, ignore).images[0].id == image.id


def test_indexes_in_indexes_without_end(registry: str, store: Store, elsewhere: Store) -> None:
    reference = place(registry)
    pushed(store, [make_image(store, "iris", [BASE])], reference)
    repository = open_repository(reference, SETTINGS)
    target = "1"
    for _ in range(400):
        data = canonical_json(
            {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": [entry(repository, target, None)]}
        )
        target = str(repository.put_manifest(str(Digest.of(data)), data, media.INDEX))
    with pytest.raises(FormatError):
        copy(
            dataclasses.replace(reference, tag=None, digest=Digest.parse(target)),
            place(registry),
            None,
            SETTINGS,
            ignore,
        )


def test_an_empty_layer_a_double_one_and_none(registry: str, store: Store, elsewhere: Store) -> None:
    image = make_image(store, "iris", [BASE, {"x/.e": b""}, CODE, {"x/.e": b""}, BASE])
    reference = place(registry)
    for compression in ("gzip", "zstd", "raw"):
        pushed(store, [image], reference, compression)
        there = Store(elsewhere.root.parent / compression)
        got = pull(reference, [AMD64], there, SETTINGS, ignore)
        assert (got.images[0].id, got.reused) == (image.id, 0)
    none = make_image(store, "none", [])
    pushed(store, [none], place(registry))
    target = place(registry)
    pushed(store, [none], target)
    assert pull(target, [AMD64], elsewhere, SETTINGS, ignore).images[0].id == none.id


def test_zero_bytes_are_a_blob(registry: str) -> None:
    repository = open_repository(place(registry), SETTINGS)
    assert repository.push_blob(lambda: iter([]), digest=Digest.of(b""), size=0) == (Digest.of(b""), 0)
    assert repository.push_blob(lambda: iter([])) == (Digest.of(b""), 0)
    assert b"".join(repository.pull_blob(Digest.of(b""), 0)) == b""


def test_a_harmless_looking_change_of_a_blob(proxy: FaultProxy, store: Store, elsewhere: Store) -> None:
    """The time in gzip's header is in no layer, but in the blob's digest."""
    reference = place(proxy.address)
    image = make_image(store, "iris", [BASE])
    pushed(store, [image], reference)
    layer = Manifest.decode(open_repository(reference, SETTINGS).manifest("1").data).layers[0]
    proxy.on("GET", layer.digest, Corrupt(5), times=None)
    with pytest.raises(CortenError):
        pull(reference, [AMD64], elsewhere, SETTINGS, ignore)


def test_a_name_that_cannot_be_kept_here_is_refused_at_once(
    proxy: FaultProxy, store: Store, elsewhere: Store
) -> None:
    long = Reference.parse(f"{proxy.address}/" + "/".join(["a" * 60] * 3) + ":" + "t" * 100)
    pushed(store, [make_image(store, "iris", [BASE])], long)
    proxy.clear()
    with pytest.raises(UsageError):
        pull(long, [AMD64], elsewhere, SETTINGS, ignore)
    assert not proxy.asked()
    assert pull(long, [AMD64], elsewhere, SETTINGS, ignore, name="short:1").images[0].name == "short:1"


def test_a_registry_that_is_gone_is_given_up_once(proxy: FaultProxy, store: Store) -> None:
    image = make_image(store, "iris", [BASE, CODE])
    reference = place(proxy.address)
    pushed(store, [image], reference)
    changed = make_image(store, "iris", [BASE, {"app/main.py": b"print(2)\n"}])
    proxy.clear()
    proxy.on("PUT", "/manifests/", Answer(503), times=None)
    with pytest.raises(CortenError):
        pushed(store, [changed], reference)
    assert len(proxy.asked("PUT", "/manifests/")) == SETTINGS.patience.attempts


def test_a_manifest_that_is_refused_for_a_blob_is_tried_again(proxy: FaultProxy, store: Store) -> None:
    """Distribution writes what it knows of a blob in place: beside another push of the same blob it may read half of it."""
    image = make_image(store, "iris", [BASE, CODE])
    reference = place(proxy.address)
    half = Answer(400, body=b'{"errors": [{"code": "DIGEST_INVALID"}, {"code": "MANIFEST_BLOB_UNKNOWN"}]}')
    proxy.on("PUT", "/manifests/", half)
    proxy.on("HEAD", "/blobs/", Answer(400))
    pushed(store, [image], reference)
    assert open_repository(reference, SETTINGS).has_manifest("1")
    proxy.clear()
    proxy.on("PUT", "/manifests/", half, times=None)
    with pytest.raises(RegistryError, match="400"):
        pushed(store, [image], reference)


def test_a_failure_does_not_wait_for_the_pauses_of_others(
    proxy: FaultProxy, store: Store, elsewhere: Store
) -> None:
    reference = place(proxy.address)
    pushed(store, [make_image(store, "iris", [BASE, CODE])], reference)
    patient = dataclasses.replace(SETTINGS, patience=Patience(attempts=5, pause=0.01, longest=600.0))
    busy = Answer(429, headers={"Retry-After": "300"})
    base, _ = Manifest.decode(open_repository(reference, SETTINGS).manifest("1").data).layers
    proxy.on("GET", base.digest, busy, times=None)

    class Failed(Exception):
        pass

    def told(event: Event) -> None:
        if isinstance(event, TaskFinished):
            raise Failed

    with pytest.raises(Failed):
        pull(reference, [AMD64], elsewhere, patient, told)


def test_what_cannot_be_taken_is_named(registry: str, store: Store, elsewhere: Store) -> None:
    reference = place(registry)
    image = make_image(store, "iris", [BASE])
    pushed(store, [image], reference)
    repository = open_repository(reference, SETTINGS)
    manifest = json.loads(repository.manifest("1").data)
    config = json.loads(store.blobs.read(image.id))
    wrong = {**config, "rootfs": {"type": "layers", "diff_ids": [f"sha256:{0:064}"]}}
    for tag, changed in (("config", {**config, "config": [1]}), ("layer", wrong)):
        about = put_document(repository, canonical_json(changed))
        data = canonical_json({**manifest, "config": {**manifest["config"], **about}})
        repository.put_manifest(tag, data, media.MANIFEST)
        with pytest.raises(FormatError, match=reference.name):
            pull(dataclasses.replace(reference, tag=tag), [AMD64], elsewhere, SETTINGS, ignore)


def test_zstd_in_a_manifest_of_docker(registry: str, store: Store, elsewhere: Store) -> None:
    """BuildKit makes such images."""
    reference = place(registry)
    image = make_image(store, "iris", [BASE])
    pushed(store, [image], reference, "zstd")
    repository = open_repository(reference, SETTINGS)
    manifest = Manifest.decode(repository.manifest("1").data)
    layers = tuple(dataclasses.replace(item, media_type=media.DOCKER_LAYER_ZSTD) for item in manifest.layers)
    config = dataclasses.replace(manifest.config, media_type=media.DOCKER_CONFIG)
    changed = Manifest(config, layers, media_type=media.DOCKER_MANIFEST)
    repository.put_manifest("1", changed.encode(), media.DOCKER_MANIFEST)
    assert pull(reference, [AMD64], elsewhere, SETTINGS, ignore).images[0].id == image.id


def test_an_image_is_pushed_by_its_digest_elsewhere(registry: str, store: Store) -> None:
    corten = Corten(store.root)
    images = [
        make_image(store, "iris", [BASE, {"a": text}], to) for text, to in ((b"1", AMD64), (b"2", ARM64))
    ]
    first, second = place(registry), place(registry)
    digest = pushed(store, images, first)
    assert corten("push", f"{first.name}@{digest}", str(second)).stdout == f"{second.name}@{digest}\n"
    told = corten("push", f"{first.name}@{images[0].id}", str(second), code=1).stderr
    assert "there is no image" in told


def test_many_push_the_same_at_once(registry: str, store: Store) -> None:
    make_image(store, "iris", [BASE, CODE, {"x": b"x"}])
    corten = Corten(store.root)
    reference = place(registry)
    processes = [
        subprocess.Popen(corten.command("push", "-q", "iris", str(reference)), env=corten.variables())
        for _ in range(4)
    ]
    assert [process.wait(60) for process in processes] == [0] * 4


def test_layers_are_told_apart(registry: str, store: Store) -> None:
    images = [
        make_image(store, "iris", [BASE, {"a": text}], to) for text, to in ((b"1", AMD64), (b"2", ARM64))
    ]
    told: list[Event] = []
    push(images, place(registry), store, SETTINGS, told.append, PushOptions())
    names = [event.name for event in told if isinstance(event, TaskStarted)]
    assert len(set(names)) == len(names) == 3


def test_questions_are_few(proxy: FaultProxy, store: Store, elsewhere: Store) -> None:
    """Over a long way every request counts: two for a small layer, one for a mount or one that is there."""
    image = make_image(store, "many", [{f"f{n}": b"x" * (1000 + n)} for n in range(12)], keys=True)
    reference, second = place(proxy.address), place(proxy.address)

    def asked() -> int:
        number = len(proxy.asked())
        proxy.clear()
        return number

    pushed(store, [image], reference)
    assert asked() == 1 + 1 + 2 * 12 + 3 + 1, "API, old manifest, layers, configuration, manifest"
    pushed(store, [image], dataclasses.replace(reference, tag="2"))
    assert asked() == 1 + 1 + 12 + 1 + 1
    pushed(store, [image], second)
    assert asked() == 1 + 1 + 12 + 3 + 1
    pull(reference, [AMD64], elsewhere, SETTINGS, ignore)
    assert asked() == 1 + 1 + 1 + 12
    copy(reference, place(proxy.address), None, SETTINGS, ignore)
    assert asked() == 1 + 1 + 13 + 1
    third = Store(elsewhere.root.parent / "third")
    absent(store, third, image, reference)
    proxy.clear()
    ensure_layers(third, image.config.diff_ids, SETTINGS, ignore)
    assert asked() == 1 + 12


def test_a_registry_without_mounts_is_asked_for_few(proxy: FaultProxy, store: Store) -> None:
    image = make_image(store, "many", [{f"f{n}": b"y" * (1000 + n)} for n in range(40)])
    for _ in range(2):
        pushed(store, [image], place(proxy.address))
    proxy.clear()
    proxy.on("POST", "mount=", Answer(405), times=None)
    result = push([image], place(proxy.address), store, SETTINGS, ignore, PushOptions())
    assert result.layers["sent"] == 40
    assert len(proxy.asked("POST", "mount=")) <= 2 * (2 + QUESTIONS)


def test_a_push_says_from_the_start_that_it_is_one(registry_with_token: Tokened, store: Store) -> None:
    """Some registries refuse those who only want to read even a look at a repository that does not exist yet."""
    known = Credential(registry_with_token.user, registry_with_token.password)
    settings = dataclasses.replace(SETTINGS, credentials=_Always(known))
    image = make_image(store, "iris", [BASE, CODE])
    push([image], place(registry_with_token.address), store, settings, ignore, PushOptions())
    for diff_id in image.config.diff_ids:
        for form in store.encodings.known(diff_id):
            for name in form.repositories:
                store.encodings.forget_place(diff_id, form.digest, name)
    registry_with_token.tokens.asked.clear()
    push([image], place(registry_with_token.address), store, settings, ignore, PushOptions())
    assert [item.scopes[0].rpartition(":")[2] for item in registry_with_token.tokens.asked] == ["pull,push"]


@dataclasses.dataclass(frozen=True)
class _Always:
    credential: Credential

    def find(self, name: str) -> Credential:
        return self.credential


@pytest.mark.parametrize(
    ("verb", "step", "fault"),
    [
        ("pull", ("GET", "/blobs/"), Stall(2000, 120.0)),
        ("pull", ("GET", "/blobs/"), Answer(429, headers={"Retry-After": "50"})),
        ("pull", ("GET", "/manifests/"), Delay(120.0)),
        ("push", ("PUT", "/blobs/"), Delay(120.0)),
        ("push", ("POST", "/blobs/"), Answer(503, headers={"Retry-After": "50"})),
        ("copy", ("GET", "/blobs/"), Stall(2000, 120.0)),
    ],
)
def test_an_interrupt_ends_it(
    proxy: FaultProxy, store: Store, tmp_path: Path, verb: str, step: tuple[str, str], fault: Action
) -> None:
    image = make_image(store, "iris", [{"noise": NOISE[:2_000_000]}, BASE])
    reference = place(proxy.address)
    if verb != "push":
        pushed(store, [image], reference)
    proxy.log.clear()
    proxy.on(*step, fault, times=None)
    corten = Corten(store.root if verb == "push" else tmp_path / "there")
    words = {"push": ("iris", str(reference)), "pull": (str(reference),)}
    process = subprocess.Popen(
        corten.command(verb, *words.get(verb, (str(reference), str(place(proxy.target))))),
        env=corten.variables(),
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not [item for item in proxy.asked(*step) if item.action is fault]:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in told) == (130, False), told
    assert "interrupted" in told
