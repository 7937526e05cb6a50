"""Pushes and pulls through a proxy that cuts, delays, corrupts and refuses at every step: each ends right or with a clear
error, nothing corrupt is ever visible, and what arrived whole is not moved again."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.errors import CortenError
from corten.events import ignore
from corten.oci.descriptor import Manifest
from corten.oci.reference import Reference
from corten.registry.client import open_repository, settings_from
from corten.registry.pull import pull
from corten.registry.push import PushOptions, push
from corten.registry.settings import Patience
from corten.store.images import Image
from corten.store.store import Store
from support.command import Corten
from support.faults import (
    Action,
    Answer,
    Corrupt,
    CutRequest,
    CutResponse,
    Delay,
    Drop,
    FaultProxy,
    Garbage,
    Lose,
    Throttle,
)
from support.images import AMD64, make_image, tree_of

SETTINGS = dataclasses.replace(
    settings_from(os.environ), patience=Patience(attempts=4, pause=0.01, longest=2.0, window=5.0)
)
# Noise does not compress, so bodies are long enough to be cut in the middle. A small layer is sent at once, a larger one
# as a stream.
LAYERS = [
    {f"file-{number}": random.Random(10 * layer + number).randbytes(size) for number in range(4)}
    for layer, size in enumerate((12_000, 280_000, 290_000))
]

FAULTS: dict[str, Action] = {
    "dropped": Drop(),
    "lost": Lose(),
    "cut": CutResponse(100),
    "cut while sending": CutRequest(2000),
    "500": Answer(500),
    "503": Answer(503, headers={"Retry-After": "0"}),
    "429": Answer(429, headers={"Retry-After": "0"}),
    "garbage": Garbage(),
    "slow": Delay(0.2),
}
PUSH_STEPS = [
    ("HEAD|GET", ""),
    ("POST", "/blobs/"),
    ("PATCH", "/blobs/"),
    ("PUT", "/blobs/"),
    ("PUT", "/manifests/"),
]
PULL_STEPS = [("GET", "/manifests/"), ("GET", "/blobs/")]


@pytest.fixture
def image(store: Store) -> Image:
    return make_image(store, "iris", LAYERS)


@pytest.fixture
def reference(proxy: FaultProxy) -> Reference:
    return Reference.parse(f"{proxy.address}/faults/{uuid.uuid4().hex}:1")


def sound(reference: Reference, image: Image, target: Path) -> bool:
    """Whether the registry has the whole image."""
    store = Store(target)
    return pull(reference, [AMD64], store, SETTINGS, ignore).images[0].id == image.id


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", PUSH_STEPS, ids=lambda step: f"{step[0]} {step[1]}")
def test_a_push_survives_one_fault_at_any_step(
    proxy: FaultProxy,
    store: Store,
    image: Image,
    reference: Reference,
    tmp_path: Path,
    fault: str,
    step: tuple[str, str],
) -> None:
    rule = proxy.on(*step, FAULTS[fault])
    push([image], reference, store, SETTINGS, ignore, PushOptions())
    proxy.rules.remove(rule)
    assert sound(reference, image, tmp_path / "there")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", PULL_STEPS, ids=lambda step: f"{step[0]} {step[1]}")
def test_a_pull_survives_one_fault_at_any_step(
    proxy: FaultProxy,
    store: Store,
    image: Image,
    reference: Reference,
    tmp_path: Path,
    fault: str,
    step: tuple[str, str],
) -> None:
    push([image], reference, store, SETTINGS, ignore, PushOptions())
    proxy.on(*step, FAULTS[fault])
    there = Store(tmp_path / "there")
    pulled = pull(reference, [AMD64], there, SETTINGS, ignore).images[0]
    assert pulled.id == image.id
    assert [tree_of(there, item) for item in pulled.config.diff_ids] == [
        tree_of(store, item) for item in image.config.diff_ids
    ]


@pytest.mark.parametrize("step", PUSH_STEPS[1:], ids=lambda step: f"{step[0]} {step[1]}")
@pytest.mark.parametrize("fault", ["dropped", "500", "429", "garbage"])
def test_a_push_that_cannot_succeed_says_so_and_is_taken_up_again(
    proxy: FaultProxy,
    store: Store,
    image: Image,
    reference: Reference,
    tmp_path: Path,
    fault: str,
    step: tuple[str, str],
) -> None:
    proxy.on(*step, FAULTS[fault], times=None)
    with pytest.raises(CortenError) as caught:
        push([image], reference, store, SETTINGS, ignore, PushOptions())
    assert proxy.address in caught.value.message
    arrived = {item.path for item in proxy.asked("PUT", "/blobs/") if item.status == 201}
    proxy.clear()
    push([image], reference, store, SETTINGS, ignore, PushOptions())
    again = [item for item in proxy.asked("PUT", "/blobs/") if item.status == 201]
    assert len(arrived) + len(again) == 4, "three layers and a configuration, each sent whole once"
    assert sound(reference, image, tmp_path / "there")


@pytest.mark.parametrize("fault", ["dropped", "500", "429", "garbage", "corrupt", "cut"])
def test_a_pull_that_cannot_succeed_leaves_nothing_but_whole_layers(
    proxy: FaultProxy, store: Store, image: Image, reference: Reference, tmp_path: Path, fault: str
) -> None:
    push([image], reference, store, SETTINGS, ignore, PushOptions())
    manifest = open_repository(reference, SETTINGS).manifest("1")
    action: Action = {"corrupt": Corrupt(3000), "cut": CutResponse(0)}.get(fault) or FAULTS[fault]
    blobs = _layer_digests(manifest.data)
    proxy.on("GET", blobs[1], action, times=None)
    there = Store(tmp_path / "there")
    with pytest.raises(CortenError) as caught:
        pull(reference, [AMD64], there, SETTINGS, ignore)
    assert proxy.address in caught.value.message
    assert there.images.all() == []
    assert image.config.diff_ids[1] not in there.layers.all()
    assert not list((there.root / "tmp").iterdir())
    whole = set(there.layers.all())
    proxy.clear()
    pulled = pull(reference, [AMD64], there, SETTINGS, ignore)
    assert pulled.images[0].id == image.id
    assert pulled.reused == len(whole)
    asked = {item.path.rpartition("/")[2] for item in proxy.asked("GET", "/blobs/")}
    kept = {blob for blob, diff_id in zip(blobs, image.config.diff_ids, strict=True) if diff_id in whole}
    assert not asked & kept


def _layer_digests(manifest: bytes) -> list[str]:
    return [layer.digest for layer in Manifest.decode(manifest).layers]


def test_a_blob_that_is_damaged_once_is_asked_for_again(
    proxy: FaultProxy, store: Store, image: Image, reference: Reference, tmp_path: Path
) -> None:
    push([image], reference, store, SETTINGS, ignore, PushOptions())
    for number in range(3):
        proxy.on("GET", "/blobs/", Corrupt(1000 + number), nth=2 + number)
    assert sound(reference, image, tmp_path / "there")


def test_a_body_that_is_damaged_on_its_way_up_is_noticed(
    proxy: FaultProxy, store: Store, image: Image, reference: Reference, tmp_path: Path
) -> None:
    proxy.on("PATCH", "/blobs/", Corrupt(1000, sent=True))
    push([image], reference, store, SETTINGS, ignore, PushOptions())
    assert sound(reference, image, tmp_path / "there")


def test_a_cut_download_goes_on_where_it_stopped(
    proxy: FaultProxy, store: Store, image: Image, reference: Reference, tmp_path: Path
) -> None:
    push([image], reference, store, SETTINGS, ignore, PushOptions())
    blobs = _layer_digests(open_repository(reference, SETTINGS).manifest("1").data)
    for blob in blobs:
        proxy.on("GET", blob, CutResponse(8000))
    proxy.log.clear()
    assert sound(reference, image, tmp_path / "there")
    listed = Manifest.decode(open_repository(reference, SETTINGS).manifest("1").data)
    total = sum(layer.size for layer in listed.layers)
    assert proxy.received("GET", "/blobs/") < total * 1.2 + 20_000


def _killed_when(process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def _started(home: Path, *arguments: str) -> subprocess.Popen[bytes]:
    corten = Corten(home)
    return subprocess.Popen(
        corten.command(*arguments),
        env=corten.variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_killed_while_pulling(
    proxy: FaultProxy, store: Store, image: Image, reference: Reference, tmp_path: Path
) -> None:
    push([image], reference, store, SETTINGS, ignore, PushOptions())
    blobs = _layer_digests(open_repository(reference, SETTINGS).manifest("1").data)
    proxy.on("GET", blobs[0], Throttle(4000), times=None)
    there = Store(tmp_path / "there")
    process = _started(there.root, "pull", str(reference))
    _killed_when(process, lambda: len(there.layers.all()) == 2)
    assert there.images.all() == []
    proxy.clear()
    pulled = pull(reference, [AMD64], there, SETTINGS, ignore)
    assert (pulled.images[0].id, pulled.reused) == (image.id, 2)
    assert [name for name in os.listdir(there.root / "tmp") if not name.endswith(".lock")] == []


def test_killed_while_pushing(
    proxy: FaultProxy, store: Store, image: Image, reference: Reference, tmp_path: Path
) -> None:
    proxy.on("PATCH", "/blobs/", Throttle(4000), times=1)
    process = _started(store.root, "push", image.name, str(reference))
    _killed_when(
        process, lambda: sum(len(store.encodings.known(item)) for item in image.config.diff_ids) == 2
    )
    assert open_repository(reference, SETTINGS).has_manifest("1") is None
    proxy.clear()
    result = push([image], reference, store, SETTINGS, ignore, PushOptions())
    assert result.layers == {"sent": 1, "mounted": 0, "there": 2}
    assert sound(reference, image, tmp_path / "there")


def test_two_pull_the_same_image(
    proxy: FaultProxy, store: Store, image: Image, reference: Reference, tmp_path: Path
) -> None:
    push([image], reference, store, SETTINGS, ignore, PushOptions())
    proxy.log.clear()
    proxy.on("GET", "/blobs/", Delay(0.3), times=None)
    there = tmp_path / "there"
    both = [_started(there, "pull", str(reference)) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    blobs = _layer_digests(open_repository(reference, SETTINGS).manifest("1").data)
    fetched = [item.path.rpartition("/")[2] for item in proxy.asked("GET", "/blobs/")]
    assert sorted(name for name in fetched if name in blobs) == sorted(blobs), "each layer once"
    assert Store(there).images.get(str(reference)).id == image.id
