"""Digests, descriptors, manifests and configurations: what they accept, and that they survive their JSON."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import CortenError, FormatError, UsageError
from corten.oci import media
from corten.oci.config import ImageConfig
from corten.oci.descriptor import Descriptor, Index, Manifest
from corten.oci.digest import Digest
from corten.oci.platform import Platform

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=12,
)
CONFIG = ImageConfig(
    platform=Platform("linux", "arm64"),
    diff_ids=(Digest.of(b"a"), Digest.of(b"b")),
    env=("PATH=/bin", "EMPTY="),
    entrypoint=("/bin/sh", "-c"),
    cmd=("true",),
    user="65532:65532",
    workdir="/app",
    labels={"a": "ü"},
    exposed_ports=("8080/tcp",),
    created="1980-01-01T00:00:00Z",
    history=({"created_by": "x"},),
)


@pytest.mark.parametrize(
    "text", ["sha256:" + "A" * 64, "sha256:" + "a" * 63, "md5:x", "../" + "a" * 64, "", None, 5]
)
def test_only_canonical_digests_are_digests(text: object) -> None:
    with pytest.raises(FormatError):
        Digest.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("amd64", "linux/amd64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("aarch64", "linux/arm64"),
        ("LINUX/AMD64", "linux/amd64"),
    ],
)
def test_platforms_have_many_spellings(text: str, expected: str) -> None:
    assert str(Platform.parse(text)) == expected


@pytest.mark.parametrize("text", ["windows/amd64", "linux/arm64/v9", "", "a/b/c/d", "linux/s390x"])
def test_other_platforms_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Platform.parse(text)


def test_a_configuration_survives_its_json() -> None:
    assert ImageConfig.decode(CONFIG.encode()) == CONFIG


def test_a_manifest_and_an_index_survive_their_json() -> None:
    layer = Descriptor(media.LAYER, Digest.of(b"l"), 5, {"k": "v"})
    manifest = Manifest(Descriptor(media.CONFIG, Digest.of(b"c"), 3), (layer,), {"a": "b"})
    assert Manifest.decode(manifest.encode()) == manifest
    index = Index(
        (Descriptor(media.MANIFEST, Digest.of(b"m"), 9, {}, {"os": "linux", "architecture": "arm64"}),)
    )
    assert Index.decode(index.encode()) == index
    assert index.manifests[0].is_for(Platform("linux", "arm64"))


@given(
    st.dictionaries(st.sampled_from(["config", "layers", "schemaVersion", "manifests", "rootfs", "os"]), JSON)
)
def test_hostile_documents_are_errors_of_ours(value: dict[str, object]) -> None:
    data = json.dumps({"schemaVersion": 2, **value}).encode()
    for decode in (Manifest.decode, Index.decode, ImageConfig.decode):
        with contextlib.suppress(CortenError):
            decode(data)
