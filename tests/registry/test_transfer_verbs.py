"""push, pull, copy, `images --remote` and `inspect` as people type them: streams, documents, errors, exit codes."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from corten.oci import media
from corten.oci.descriptor import Manifest
from corten.oci.digest import Digest
from corten.oci.reference import Reference
from corten.registry.client import open_repository, settings_from
from corten.store.images import Image
from corten.store.store import Store
from support.command import Corten
from support.images import ARM64, make_image
from support.registries import Protected

FILES = [{"etc/os": b"a system\n" * 300}, {"app/main.py": b"print(1)\n"}]


@pytest.fixture
def corten(tmp_path: Path) -> Corten:
    return Corten(tmp_path / "home")


@pytest.fixture
def image(corten: Corten) -> Image:
    return make_image(Store(corten.home), "iris", FILES)


@pytest.fixture
def place(registry: str) -> str:
    return f"{registry}/verbs/{uuid.uuid4().hex}"


def test_there_and_back(corten: Corten, image: Image, place: str, tmp_path: Path) -> None:
    done = corten("push", "iris", f"{place}:1")
    assert done.stdout.startswith(f"{place}@sha256:")
    assert f"pushed {place}:1: 2 of 2 layers" in done.stderr
    again = corten("push", "iris", f"{place}:1")
    assert (again.stdout, "no layer" in again.stderr) == (done.stdout, True)
    document = json.loads(corten("push", "iris", f"{place}:1", "--json").stdout)
    assert list(document) == ["reference", "digest", "repo_digest", "sent", "layers"]
    assert document["repo_digest"] == done.stdout.strip()
    there = corten.at(tmp_path / "there")
    pulled = there("pull", f"{place}:1")
    assert pulled.stdout == f"{place}:1\n"
    listed = json.loads(there("images", "--json").stdout)[0]
    assert (listed["id"], listed["repo_digests"]) == (image.id, [done.stdout.strip()])
    document = json.loads(there("pull", f"{place}:1", "--name", "rose", "--json").stdout)
    assert (document["name"], document["fetched"], document["reused"]) == ("rose:latest", 0, 2)
    exactly = json.loads(there("inspect", done.stdout.strip()).stdout)
    assert exactly["id"] == image.id


def test_its_own_name_is_where_it_goes(corten: Corten, image: Image, place: str) -> None:
    refused = corten("push", "iris", code=2)
    assert "does not say which registry" in refused.stderr
    assert "corten push iris registry.example/team/iris:1.0" in refused.stderr
    corten("tag", "iris", f"{place}:2")
    assert corten("push", f"{place}:2").stdout.startswith(f"{place}@")


def test_what_a_registry_has(corten: Corten, image: Image, place: str) -> None:
    corten("push", "iris", f"{place}:1")
    corten("push", "iris", f"{place}:2")
    shown = corten("images", "--remote", place).stdout.split()
    assert shown == ["NAME", f"{place}:1", f"{place}:2"]
    row = json.loads(corten("images", "--remote", f"{place}:1", "--json").stdout)[0]
    assert (row["id"], row["platform"], row["layers"]) == (image.id, "linux/amd64", 2)
    document = json.loads(corten("inspect", "--remote", f"{place}:1").stdout)
    assert document["id"] == image.id
    assert [layer["digest"] for layer in document["layers"]] == list(image.config.diff_ids)
    elsewhere = corten.at(corten.home / "nothing")
    assert json.loads(elsewhere("inspect", f"{place}:1").stdout)["id"] == image.id
    assert not elsewhere.home.exists(), "looking fetches nothing"


def test_the_projects_compression_is_the_default(corten: Corten, place: str) -> None:
    store = Store(corten.home)
    image = make_image(store, "iris", FILES)
    local = Manifest.decode(store.blobs.read(image.digest))
    wanted = Manifest(local.config, local.layers, {media.COMPRESSION: "zstd"})
    store.images.set("iris", image.config.platform, store.blobs.put(wanted.encode()))
    corten("push", "iris", f"{place}:1")
    corten("push", "iris", f"{place}:2", "--compression", "gzip")
    corten("push", "iris", f"{place}:3", "--format", "docker")
    found = [
        {
            layer["media_type"].rpartition(".")[2]
            for layer in json.loads(corten("inspect", "--remote", f"{place}:{tag}").stdout)["layers"]
        }
        for tag in (1, 2, 3)
    ]
    assert found == [{"tar+zstd"}, {"tar+gzip"}, {"gzip"}]


def test_copy(corten: Corten, image: Image, place: str, registry: str) -> None:
    pushed = corten("push", "iris", f"{place}:1").stdout.strip()
    target = f"{registry}/verbs/{uuid.uuid4().hex}"
    copied = corten("copy", f"{place}:1", f"{target}:9")
    assert copied.stdout.strip() == f"{target}@{pushed.partition('@')[2]}"
    assert "mounted" in copied.stderr
    document = json.loads(corten("copy", f"{place}:1", f"{target}:9", "--json").stdout)
    assert (document["sent"], document["blobs"]["sent"]) == (0, 0)


def test_platforms(corten: Corten, image: Image, place: str, tmp_path: Path) -> None:
    other = make_image(Store(corten.home), "iris", [{"arch": b"arm"}], ARM64)
    corten("push", "iris", f"{place}:1")
    there = corten.at(tmp_path / "there")
    there("pull", f"{place}:1", "--platform", "all")
    assert {row["id"] for row in json.loads(there("images", "--json").stdout)} == {image.id, other.id}
    corten("push", "iris", f"{place}:arm", "--platform", "linux/arm64")
    refused = there("pull", f"{place}:arm", code=1)
    assert "no image for linux/amd64" in refused.stderr
    assert "linux/arm64" in refused.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("push", "nothing", "localhost:1/x"), 1, "there is no image 'nothing'"),
        (("push", "iris", "localhost:1/Big"), 2, "lower"),
        (
            ("push", "iris", "localhost:1/x", "--format", "docker", "--compression", "zstd"),
            2,
            "no layers in zstd",
        ),
        (("push", "iris", "localhost:1/x"), 1, "localhost:1"),
        (("pull", "localhost:1/x"), 1, "localhost:1"),
        (("pull", "localhost:1/x@sha256:12"), 2, "digest"),
        (("copy", "localhost:1/x", "localhost:1/y"), 1, "localhost:1"),
        (("pull", "localhost:1/x", "--platform", "plan9/mips"), 2, "unknown platform"),
    ],
)
def test_mistakes(corten: Corten, image: Image, words: tuple[str, ...], code: int, said: str) -> None:
    done = corten(*words, code=code)
    assert said in done.stderr
    assert "hint:" in done.stderr
    assert done.stdout == ""


def test_who_is_not_logged_in_is_told_how(
    corten: Corten, image: Image, registry_with_login: Protected, tmp_path: Path
) -> None:
    where = f"{registry_with_login.address}/private/{uuid.uuid4().hex}"
    own = corten.at(corten.home, REGISTRY_AUTH_FILE=str(tmp_path / "auth.json"), HOME=str(tmp_path))
    refused = own("push", "iris", where, code=1)
    assert f"corten login {registry_with_login.address}" in refused.stderr
    login = own(
        "login",
        registry_with_login.address,
        "-u",
        registry_with_login.user,
        "--password-stdin",
        stdin=None,
        input=registry_with_login.password,
    )
    done = own("push", "iris", where, "-v", "--json")
    everything = login.stdout + login.stderr + refused.stderr + done.stdout + done.stderr
    assert registry_with_login.password not in everything
    assert own("pull", where).stdout == f"{where}:latest\n"


def test_an_artifact_is_inspected(corten: Corten, place: str) -> None:
    """It was refused as no image."""
    repository = open_repository(Reference.parse(place), settings_from({}))
    weights, empty = b"weights" * 100, b'{"a": 1}'
    for data in (weights, empty):
        repository.push_blob(lambda data=data: iter([data]))
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "artifactType": "application/vnd.example.model",
        "config": {"mediaType": "application/json", "digest": Digest.of(empty), "size": len(empty)},
        "layers": [
            {
                "mediaType": "application/octet-stream",
                "digest": Digest.of(weights),
                "size": len(weights),
                "annotations": {"org.opencontainers.image.title": "model.bin"},
            }
        ],
    }
    digest = repository.put_manifest("1", json.dumps(manifest).encode(), media.MANIFEST)
    shown = json.loads(corten("inspect", "--remote", f"{place}:1").stdout)
    assert (shown["artifact_type"], shown["packed_size"]) == ("application/vnd.example.model", 708)
    assert shown["repo_digests"] == [f"{place}@{digest}"]
    assert [layer["title"] for layer in shown["layers"]] == ["model.bin"]
    assert json.loads(corten("inspect", "--remote", f"{place}:1", "--format", "manifest").stdout) == manifest
    assert json.loads(corten("inspect", "--remote", f"{place}:1", "--format", "config").stdout) == {"a": 1}
