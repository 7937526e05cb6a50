"""Digests, descriptors, manifests and configurations: what they accept, and that they survive their JSON."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import CortenError, FormatError, UsageError
from corten.oci import media
from corten.oci.config import ImageConfig
from corten.oci.descriptor import Descriptor, Index, Manifest
from corten.oci.digest import Digest
from corten.oci.layout import Layout
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


@pytest.mark.parametrize(
    ("data", "platform"),
    [
        (b"{}", Platform.host()),
        (b'{"os": "", "architecture": ""}', Platform.host()),
        (b'{"architecture": "arm64"}', Platform("linux", "arm64")),
        (b'{"os": "linux"}', Platform.host()),
    ],
)
def test_a_configuration_may_leave_its_platform_out(data: bytes, platform: Platform) -> None:
    config = ImageConfig.decode(data)
    assert (config.platform, config.platform_told) == (platform, False)


def test_an_image_for_another_machine_is_an_image_that_is_wrong() -> None:
    """Not a wrong command line, whose exit code is another."""
    with pytest.raises(FormatError, match="unknown platform 'windows/amd64'"):
        ImageConfig.decode(b'{"os": "windows", "architecture": "amd64"}')


def test_half_a_surrogate_pair_in_a_foreign_configuration() -> None:
    config = ImageConfig.decode(
        b'{"os": "linux", "architecture": "amd64", "config": {"Labels": {"a": "\\ud800"}}}'
    )
    with pytest.raises(FormatError, match="not Unicode"):
        config.encode()


def test_every_layer_has_a_history_entry_or_an_empty_one() -> None:
    pair = replace(CONFIG, history=({"created_by": "a"}, {"empty_layer": True}, {"created_by": "b"}))
    assert [entry["created_by"] for entry in pair.layer_history] == ["a", "b"]
    assert CONFIG.layer_history == ({}, {})


def layout(path: Path, index: Index, *blobs: bytes) -> Layout:
    (path / "blobs/sha256").mkdir(parents=True)
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (path / "index.json").write_bytes(index.encode())
    for blob in blobs:
        (path / "blobs/sha256" / Digest.of(blob).hex).write_bytes(blob)
    return Layout(path)


def test_indexes_within_indexes_are_read_once(tmp_path: Path) -> None:
    """Four levels that each name the next a hundred times would be a hundred million manifests."""
    manifest = Descriptor(media.MANIFEST, Digest.of(b"m"), 1)
    blobs: list[bytes] = []
    index = Index((manifest,) * 100)
    for _ in range(4):
        blobs.append(index.encode())
        index = Index((Descriptor(media.INDEX, Digest.of(blobs[-1]), len(blobs[-1])),) * 100)
    assert layout(tmp_path / "layout", index, *blobs).find(None, Platform("linux", "amd64")) == manifest


def test_a_layout_without_an_index_says_so(tmp_path: Path) -> None:
    found = layout(tmp_path / "layout", Index(()))
    (tmp_path / "layout/index.json").unlink()
    with pytest.raises(FormatError, match=r"has no 'index\.json'"):
        found.find(None, Platform("linux", "amd64"))


def test_digests_are_made_where_python_has_no_hashes_of_its_own() -> None:
    """As in builds for FIPS 140, which have OpenSSL's alone."""
    code = (
        "import sys; sys.modules['_sha2'] = sys.modules['_sha256'] = None\n"
        "from corten.oci.digest import Digest; print(Digest.of(b'x'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{Digest.of(b'x')}\n"
