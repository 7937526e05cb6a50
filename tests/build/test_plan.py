"""Which layers an image has: pure decisions, stable under the changes that people make every day."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.build.plan import (
    LAYER_BUDGET,
    OWN_LAYER,
    BaseLayer,
    BucketLayer,
    EnvironmentLayer,
    ServingLayer,
    SystemLayer,
    Weight,
    WheelLayer,
    compiler_identity,
    grouped,
    package_layers,
    weight_layers,
)
from corten.errors import BuildError
from corten.lock.model import DebianBase, PlatformLock
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.packages.files import Deb, Wheel


def deb(name: str, version: str = "1") -> Deb:
    digest = Digest.of(f"{name}{version}".encode()).hex
    return Deb(name, version, "amd64", "debian", f"pool/{name}.deb", 10, digest, "2026-01-01T00:00:00Z")


def wheel(name: str, size: int = 100) -> Wheel:
    return Wheel(name, "1", f"{name}-1-py3-none-any.whl", size, Digest.of(name.encode()).hex)


BASE = DebianBase("bookworm", "default", "3.11.2", (deb("libc6"), deb("python3.11-minimal", "3.11.2-6")))
PART = PlatformLock(
    Platform("linux", "amd64"),
    BASE,
    (deb("ffmpeg"),),
    (wheel("numpy"), wheel("attrs")),
    (wheel("granian"),),
)


def test_the_order_is_base_system_serving_environment_wheels() -> None:
    layers = package_layers(PART, Digest.of(b"server"))
    assert [type(layer) for layer in layers] == [
        BaseLayer,
        SystemLayer,
        ServingLayer,
        EnvironmentLayer,
        WheelLayer,
        WheelLayer,
    ]
    assert [layer.title for layer in layers[-2:]] == ["attrs 1", "numpy 1"]


def test_a_wheels_key_knows_the_compiler_and_nothing_of_the_project() -> None:
    alone = package_layers(replace(PART, system=(), serving=(), wheels=(wheel("numpy"),)), None)[-1].key
    assert alone == package_layers(PART, Digest.of(b"server"))[-1].key
    arm = replace(PART, platform=Platform("linux", "arm64"))
    assert package_layers(arm, None)[-1].key == alone
    newer = replace(PART, base=replace(BASE, debs=(deb("libc6"), deb("python3.11-minimal", "3.11.2-7"))))
    assert package_layers(newer, None)[-1].key != alone
    assert "3.11.2-6" in compiler_identity(PART)


def test_every_input_changes_its_layers_key_and_no_other() -> None:
    before = [layer.key for layer in package_layers(PART, Digest.of(b"server"))]
    after = [layer.key for layer in package_layers(PART, Digest.of(b"server 2"))]
    assert [one == other for one, other in zip(before, after, strict=True)] == [
        True,
        True,
        False,
        True,
        True,
        True,
    ]
    system = [
        layer.key for layer in package_layers(replace(PART, system=(deb("git"),)), Digest.of(b"server"))
    ]
    assert [one == other for one, other in zip(before, system, strict=True)] == [
        True,
        False,
        True,
        True,
        True,
        True,
    ]


@given(st.lists(st.tuples(st.integers(0, 10**9)), min_size=0, max_size=200))
def test_the_budget_holds(sizes: list[tuple[int]]) -> None:
    wheels = tuple(wheel(f"package-{number}", size) for number, (size,) in enumerate(sizes))
    layers = package_layers(replace(PART, wheels=wheels), Digest.of(b"s"))
    assert len(layers) <= LAYER_BUDGET - 2
    names: list[str] = []
    for layer in layers:
        if isinstance(layer, BucketLayer):
            names += [inner.wheel.name for inner in layer.wheels]
        elif isinstance(layer, WheelLayer):
            names.append(layer.wheel.name)
    assert sorted(names) == sorted(item.name for item in wheels)


def test_one_more_small_wheel_touches_one_bucket() -> None:
    def layers(count: int) -> dict[str, object]:
        wheels = tuple(
            WheelLayer(wheel(f"p{number}", 1000 + number), "/opt/venv", "3.11", "c")
            for number in range(count)
        )
        tiny = WheelLayer(wheel("tiny", 1), "/opt/venv", "3.11", "c")
        return {layer.key: layer for layer in grouped((*wheels, tiny) if count % 2 else wheels, 60)}

    before, after = layers(120), layers(121)
    # The new large wheel takes a place of its own, whose last owner joins a bucket; the new small one joins another.
    assert len(set(after) - set(before)) <= 4


def test_wheels_that_contradict_each_other_keep_layers_of_their_own() -> None:
    wheels = tuple(WheelLayer(wheel(f"p{number}", 1000 - number), "/v", "3.11", "c") for number in range(100))
    layers = grouped(wheels, 40, frozenset({"p98", "p99"}))
    own = [layer.wheel.name for layer in layers if isinstance(layer, WheelLayer)]
    assert own[-2:] == ["p98", "p99"]


def test_a_base_without_room_is_refused() -> None:
    wheels = tuple(WheelLayer(wheel(f"p{number}"), "/v", "3.11", "c") for number in range(100))
    with pytest.raises(BuildError, match="do not fit"):
        grouped(wheels, 10)


def test_weights() -> None:
    large = Weight("models/large.bin", OWN_LAYER, Digest.of(b"1"))
    small = [Weight(f"models/{number}.json", 10, Digest.of(b"s")) for number in range(5)]
    layers = weight_layers([large, *small], 10)
    assert [len(layer.weights) for layer in layers] == [5, 1]
    many = [Weight(f"m{number}", OWN_LAYER + number, Digest.of(b"s")) for number in range(30)]
    layers = weight_layers(many, 10)
    assert len(layers) == 10
    assert sum(len(layer.weights) for layer in layers) == 30
    assert weight_layers([], 10) == ()
