"""Garbage collection: what it frees, what it spares, and that it may run at any time."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from corten.errors import StoreError
from corten.oci import media
from corten.oci.digest import Digest
from corten.registry.server.collection import Collected, collect
from corten.registry.server.contents import Contents
from support.embedded import Client, descriptor, digest_of, image, serving

DAY = 24 * 3600


def age(root: Path, seconds: float = 2 * 3600) -> None:
    """Let all that there is be from some time ago."""
    then = time.time() - seconds
    for path in root.rglob("*"):
        os.utime(path, (then, then))


def gather(client: Client) -> Collected:
    return collect(Contents(client.root))


def blobs_of(client: Client) -> set[str]:
    return {path.name for path in (client.root / "blobs/sha256").iterdir()}


def test_what_no_tag_leads_to_goes(client: Client) -> None:
    old = client.push_image("a", "v1", b"old" * 10_000, b"shared")
    kept = client.push_image("a", "v1", b"new", b"shared")
    stray = client.push_blob("a", b"stray")
    age(client.root)
    done = gather(client)
    assert (done.manifests, done.blobs) == (1, 2)
    assert done.bytes >= 30_000
    assert client("GET", f"/v2/a/manifests/{old}").status == 404
    assert client("GET", f"/v2/a/blobs/{stray}").status == 404
    assert client("GET", f"/v2/a/blobs/{digest_of(b'old' * 10_000)}").status == 404
    assert client("GET", f"/v2/a/manifests/{kept}").status == 200
    assert blobs_of(client) == {kept[7:], *(digest_of(data)[7:] for data in (b"new", b"shared", b"{}"))}
    assert gather(client) == Collected(0, 0, 0, 0)


def test_children_referrers_and_subjects_are_kept(client: Client) -> None:
    children = []
    for data in (b"amd64", b"arm64"):
        child = json.dumps(image(client, "a", data)).encode()
        client.push_manifest("a", digest_of(child), child)
        children.append(descriptor(child, media.MANIFEST))
    index = {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": children}
    digest = client.push_manifest("a", "all", index).headers["docker-content-digest"]
    subject = {"mediaType": media.INDEX, "digest": digest, "size": 1}
    signature = json.dumps(image(client, "a", b"signature", subject=subject)).encode()
    client.push_manifest("a", digest_of(signature), signature)
    about = descriptor(signature, media.MANIFEST)
    stamp = json.dumps(image(client, "a", b"stamp", subject=about)).encode()
    client.push_manifest("a", digest_of(stamp), stamp)
    # An artifact that is tagged keeps its subject, which is not.
    alone = json.dumps(image(client, "b", b"subject")).encode()
    client.push_manifest("b", digest_of(alone), alone)
    client.push_image("b", "sbom", b"sbom", subject=descriptor(alone, media.MANIFEST))
    age(client.root)
    assert gather(client) == Collected(0, 0, 0, 0)
    assert client("GET", f"/v2/a/manifests/{digest_of(stamp)}").status == 200

    client("DELETE", "/v2/a/manifests/all")
    age(client.root)
    done = gather(client)
    assert done.manifests == 5
    assert client("GET", f"/v2/a/referrers/{digest}").json["manifests"] == []
    assert client("GET", "/v2/_catalog").json == {"repositories": ["b"]}
    assert not (client.root / "repositories/a").exists()
    assert client("GET", f"/v2/b/manifests/{digest_of(alone)}").status == 200


def test_other_repositories_keep_the_bytes(client: Client) -> None:
    client.push_image("a", "v1", b"layer")
    client.push_image("b/c", "v1", b"layer")
    client("DELETE", "/v2/a/manifests/v1")
    age(client.root)
    done = gather(client)
    assert (done.manifests, done.blobs, done.bytes) == (1, 2, 0)
    assert client("GET", f"/v2/b/c/blobs/{digest_of(b'layer')}").body == b"layer"


def test_a_deleted_blob_s_bytes_go(client: Client) -> None:
    digest = client.push_blob("a", b"x" * 5000)
    client("DELETE", f"/v2/a/blobs/{digest}")
    assert gather(client).bytes >= 5000
    assert blobs_of(client) == set()


def test_what_is_new_is_spared(client: Client) -> None:
    """Blobs and untagged manifests of a push that has not come to its tag, with all they lead to."""
    value = image(client, "a", b"layer")
    age(client.root)
    data = json.dumps(value).encode()
    client.push_manifest("a", digest_of(data), data)
    new = client.push_blob("a", b"new")
    assert gather(client) == Collected(0, 0, 0, 0)
    assert client("GET", f"/v2/a/blobs/{new}").status == 200
    assert client("GET", f"/v2/a/blobs/{digest_of(b'layer')}").status == 200


def test_what_was_asked_for_is_spared(client: Client) -> None:
    """A client that is told a blob is here does not send it."""
    blob, other = client.push_blob("a", b"blob"), client.push_blob("a", b"other")
    child = json.dumps(image(client, "a", b"layer")).encode()
    client.push_manifest("a", digest_of(child), child)
    age(client.root)
    assert client("HEAD", f"/v2/a/blobs/{blob}").status == 200
    assert client("HEAD", f"/v2/a/manifests/{digest_of(child)}").status == 200
    assert client("POST", f"/v2/a/blobs/uploads/?mount={digest_of(b'x')}&from=a").status == 202
    client("DELETE", client.begin("a"))
    for path in client.root.rglob("_uploads/*"):
        path.unlink()
    assert gather(client).blobs == 1
    assert client("HEAD", f"/v2/a/blobs/{blob}").status == 200
    assert client("HEAD", f"/v2/a/blobs/{other}").status == 404
    assert client("HEAD", f"/v2/a/blobs/{digest_of(b'layer')}").status == 200


def test_a_mount_is_spared(client: Client) -> None:
    digest = client.push_image("a", "v1", b"layer")
    age(client.root)
    client("POST", f"/v2/b/blobs/uploads/?mount={digest_of(b'layer')}&from=a")
    client("DELETE", f"/v2/a/manifests/{digest}")
    gather(client)
    assert client("GET", f"/v2/b/blobs/{digest_of(b'layer')}").body == b"layer"


def test_an_upload_keeps_its_repository_as_it_is(client: Client) -> None:
    first, other = client.push_blob("a", b"first"), client.push_blob("b", b"other")
    place = client.begin("a")
    age(client.root)
    client("PATCH", place, b"se")
    done = gather(client)
    assert (done.blobs, done.uploads) == (1, 0)
    assert client("HEAD", f"/v2/a/blobs/{first}").status == 200
    assert client("HEAD", f"/v2/b/blobs/{other}").status == 404
    assert client("PUT", f"{place}?digest={digest_of(b'second')}", b"cond").status == 201


def test_abandoned_uploads_and_torn_writes_go(client: Client) -> None:
    client.push_image("a", "v1", b"layer")
    client("PATCH", client.begin("a"), b"x" * 5000)
    (client.root / "repositories/a/_tags/.v1.0123456789ab.tmp").write_bytes(b"sha")
    (client.root / "blobs/sha256/.0123.0123456789ab.tmp").write_bytes(b"{")
    age(client.root, 2 * DAY)
    done = gather(client)
    assert done.uploads == 1
    assert list(client.root.rglob("*.tmp")) == []
    assert list(client.root.rglob("_uploads")) == []
    assert client("GET", "/v2/a/manifests/v1").status == 200


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_an_upload_that_was_collected_is_unknown_to_the_server_too(client: Client, method: str) -> None:
    """Another process collects, and the server still knows the upload."""
    place = client.begin("a")
    client("PATCH", place, b"x" * 5000)
    age(client.root, 2 * DAY)
    assert gather(client).uploads == 1
    said = client(method, f"{place}?digest={digest_of(b'x' * 5000)}", b"" if method == "PUT" else None)
    assert (said.status, said.code) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_blobs_by_sha512_are_collected_and_kept_as_others(client: Client) -> None:
    stray, kept = (Digest.of(data, "sha512") for data in (b"stray", b"kept"))
    for digest, data in ((stray, b"stray"), (kept, b"kept")):
        assert client("POST", f"/v2/a/blobs/uploads/?digest={digest}", data).status == 201
    value = image(client, "a")
    value["layers"] = [{"mediaType": media.LAYER, "digest": kept, "size": 4}]
    data = json.dumps(value).encode()
    place = f"/v2/a/manifests/{Digest.of(data, 'sha512')}?tag=v1"
    assert client("PUT", place, data, {"Content-Type": media.MANIFEST}).status == 201
    age(client.root)
    assert gather(client).blobs == 1
    assert [client("HEAD", f"/v2/a/blobs/{digest}").status for digest in (stray, kept)] == [404, 200]
    assert not (client.root / "blobs/sha512" / stray.hex).exists()
    assert client("GET", "/v2/a/manifests/v1").body == data


def test_damage_stops_it_before_anything_goes(client: Client) -> None:
    digest = client.push_image("b", "v1", b"layer")
    stray = client.push_blob("a", b"stray")
    (client.root / "blobs/sha256" / digest[7:]).write_bytes(b"{}")
    age(client.root)
    with pytest.raises(StoreError, match="'b' is damaged"):
        gather(client)
    assert client("HEAD", f"/v2/a/blobs/{stray}").status == 200


def test_no_registry_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no registry"):
        collect(Contents(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


def test_pushes_and_collections_at_once(tmp_path: Path) -> None:
    """Images that are pushed, tagged over and pulled by four clients while garbage is collected all the time, and nothing that
    was said to be there is missing."""
    wrong: list[object] = []
    done = threading.Event()
    with serving(tmp_path / "root") as client:

        def push(number: int) -> None:
            mine = client.another()
            try:
                for round_ in range(40):
                    layer = b"%d" % (round_ % 3)
                    name = f"r{number % 2}"
                    digest = mine.push_image(name, f"t{number}", layer, b"shared")
                    if (
                        mine("GET", f"/v2/{name}/manifests/t{number}").headers["docker-content-digest"]
                        != digest
                    ):
                        wrong.append("tag")
                    if mine("GET", f"/v2/{name}/blobs/{digest_of(layer)}").body != layer:
                        wrong.append("layer")
            except BaseException as error:
                wrong.append(error)

        def gather_always() -> None:
            try:
                while not done.is_set():
                    collect(Contents(client.root))
            except BaseException as error:
                wrong.append(error)

        collector = threading.Thread(target=gather_always)
        threads = [threading.Thread(target=push, args=(number,)) for number in range(4)]
        for thread in (collector, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        done.set()
        collector.join()
    assert wrong == []
