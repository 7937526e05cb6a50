"""The cases of the specification's conformance suite (opencontainers/distribution-spec, conformance/), asked of the embedded
registry, and of another one where that can do them: so the cases themselves are checked."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from corten.oci import media
from corten.registry.server.collection import Collected, collect
from corten.registry.server.contents import Contents
from support.conformance import EXAMPLE, OTHER, SETS, SPARSE, Data, Pusher, digest, made, seen, type_of
from support.embedded import Client, serving

ALGORITHMS = pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
DATA = random.Random(512).randbytes(3 * 1024 - 5)
# Distribution 2.8 has no `?tag=`, calls manifests by their sha256 alone, and wants the blobs of every layer and something in
# every index.
UNKNOWN = ("tag-param-sha256", "tag-param-sha512", "sha512", "empty-index", "non-distributable-layers")
ELSEWHERE = [name for name in SETS if name not in UNKNOWN]


@pytest.fixture
def pusher(client: Client) -> Pusher:
    return Pusher(client, "conformance/repo1")


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_pushed_listed_pulled_and_deleted(pusher: Pusher, name: str) -> None:
    client, data = pusher.client, made(name)
    assert client("GET", "/v2/").status == 200
    assert client("GET", pusher.place("tags/list")).status == 404
    pusher.all(data)
    _listed(pusher, data)
    pusher.look(data)
    _referred(pusher, data)
    for tag in data.tags:
        assert client("DELETE", pusher.place(f"manifests/{tag}")).status == 202
        assert client("HEAD", pusher.place(f"manifests/{tag}")).status == 404
    for name in reversed(list(data.manifests)):
        assert client("DELETE", pusher.place(f"manifests/{name}")).status == 202
        assert client("HEAD", pusher.place(f"manifests/{name}")).status == 404
    for name in data.blobs:
        assert client("DELETE", pusher.place(f"blobs/{name}")).status == 202
        assert client("HEAD", pusher.place(f"blobs/{name}")).status == 404


def test_sparse_manifests_are_taken_where_that_is_asked_for(pusher: Pusher, tmp_path: Path) -> None:
    data = made(SPARSE)
    for name, content in data.blobs.items():
        pusher.blob(name, content)
    for name, content in list(data.manifests.items())[::2]:
        said = pusher.client(
            "PUT", pusher.place(f"manifests/{name}"), content, {"Content-Type": type_of(content)}
        )
        assert said.code == "MANIFEST_BLOB_UNKNOWN"
    with serving(tmp_path / "sparse", sparse=True) as client:
        sparse = Pusher(client, "conformance/repo1")
        sparse.all(data)
        sparse.look(data)
        assert collect(Contents(client.root), spared=0) == Collected(0, 0, 0, 0), (
            "what is missing is no damage"
        )
        sparse.look(data)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_another_registry_takes_the_same_sets(registry: str, name: str) -> None:
    server: Any = SimpleNamespace(address=registry)
    pusher, data = Pusher(Client(server, Path()), f"conformance/{name}"), made(name)
    pusher.all(data)
    pusher.look(data)


def _listed(pusher: Pusher, data: Data) -> None:
    if not data.tags:
        return
    tags = pusher.client("GET", pusher.place("tags/list")).json["tags"]
    assert set(tags) == set(data.tags)
    ordered = sorted(tags)
    last = ordered[(len(ordered) - 1) // 2]
    rest = pusher.client("GET", pusher.place(f"tags/list?last={last}")).json["tags"]
    assert rest == [tag for tag in ordered if tag > last]
    assert pusher.client("GET", pusher.place("tags/list?n=1")).json["tags"] == ordered[:1]


def _referred(pusher: Pusher, data: Data) -> None:
    for subject, expected in data.referrers.items():
        said = seen(pusher.client("GET", pusher.place(f"referrers/{subject}")), 200, kind=media.INDEX)
        assert (said.json["mediaType"], said.json["schemaVersion"]) == (media.INDEX, 2)
        assert _facts(said.json["manifests"]) == _facts(expected)
        for kind in {item["artifactType"] for item in expected}:
            said = pusher.client("GET", pusher.place(f"referrers/{subject}?artifactType={quote(kind)}"))
            assert said.headers["oci-filters-applied"] == "artifactType"
            assert _facts(said.json["manifests"]) == _facts(
                [item for item in expected if item["artifactType"] == kind]
            )


def _facts(items: list[dict[str, Any]]) -> list[str]:
    keys = ("digest", "mediaType", "size", "artifactType", "annotations")
    return sorted(json.dumps([item.get(key) for key in keys]) for item in items)


def test_a_subject_is_acknowledged(pusher: Pusher) -> None:
    data = made("missing-subject")
    for name, content in data.blobs.items():
        pusher.blob(name, content)
    ((name, content),) = data.manifests.items()
    assert pusher.manifest(name, name, content).headers["oci-subject"] == next(iter(data.referrers))


def test_nothing_refers_to_what_is_not_there(pusher: Pusher) -> None:
    said = pusher.client("GET", pusher.place(f"referrers/{digest(b'nothing')}"))
    assert seen(said, 200, kind=media.INDEX).json["manifests"] == []


def test_a_manifest_that_is_not_its_digest_is_refused(pusher: Pusher) -> None:
    data = made("image")
    for name, content in data.blobs.items():
        pusher.blob(name, content)
    ((name, content),) = data.manifests.items()
    for target in (name, "sha256:baddigeststring", "sha512:baddigeststring", digest(content, "sha512")):
        said = pusher.client(
            "PUT", pusher.place(f"manifests/{target}"), content + b"  ", {"Content-Type": media.MANIFEST}
        )
        assert said.status == 400


def test_manifests_that_are_missing(pusher: Pusher) -> None:
    for target in (digest(b"x"), digest(b"x", "sha512"), "missing-tag"):
        assert pusher.client("GET", pusher.place(f"manifests/{target}")).status == 404
    assert pusher.client("GET", pusher.place("manifests/sha256:baddigeststring")).status in (400, 404)


@pytest.mark.parametrize("query", ["tag=a/b", "tag=", "tag=ok&tag=-"])
def test_tags_of_the_query_that_are_none(pusher: Pusher, query: str) -> None:
    data = made("no-layers")
    for name, content in data.blobs.items():
        pusher.blob(name, content)
    ((name, content),) = data.manifests.items()
    place = pusher.place(f"manifests/{name}?{query}")
    assert pusher.client("PUT", place, content, {"Content-Type": media.MANIFEST}).status == 400
    assert pusher.client("GET", pusher.place("manifests/ok")).status == 404
    assert pusher.client("GET", pusher.place(f"blobs/{digest(b'x')}?{query}")).status == 404, (
        "nothing to a blob"
    )


@ALGORITHMS
@pytest.mark.parametrize("body", [b"", b"{}", DATA], ids=["empty", "empty JSON", "some"])
@pytest.mark.parametrize("declared", [True, False])
def test_blobs_by_post_and_put(pusher: Pusher, algorithm: str, body: bytes, declared: bool) -> None:
    name = digest(body, algorithm)
    assert pusher.client("GET", pusher.place(f"blobs/{name}")).status == 404
    query = f"?digest-algorithm={algorithm}" if declared else ""
    begun = seen(pusher.client("POST", pusher.place(f"blobs/uploads/{query}")), 202).headers["location"]
    pusher.pushed(pusher.client("PUT", f"{begun}?digest={name}", body), name, body)
    assert pusher.client("DELETE", pusher.place(f"blobs/{name}")).status == 202
    assert pusher.client("HEAD", pusher.place(f"blobs/{name}")).status == 404


@ALGORITHMS
def test_blobs_by_post_alone(pusher: Pusher, algorithm: str) -> None:
    name = digest(DATA, algorithm)
    said = pusher.client("POST", pusher.place(f"blobs/uploads/?digest={name}"), DATA)
    pusher.pushed(said, name, DATA)


@ALGORITHMS
def test_blobs_as_a_stream(pusher: Pusher, algorithm: str) -> None:
    name = digest(DATA, algorithm)
    begun = pusher.client("POST", pusher.place("blobs/uploads/")).headers["location"]
    moved = seen(pusher.client("PATCH", begun, DATA), 202).headers["location"]
    pusher.pushed(pusher.client("PUT", f"{moved}?digest={name}"), name, DATA)


@ALGORITHMS
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("last_by_put", [False, True])
@pytest.mark.parametrize("out_of_order", [False, True])
def test_blobs_in_chunks(
    pusher: Pusher, algorithm: str, count: int, last_by_put: bool, out_of_order: bool
) -> None:
    name, size = digest(DATA, algorithm), -(-len(DATA) // count)
    place = pusher.client("POST", pusher.place("blobs/uploads/")).headers["location"]
    done = 0
    while done < len(DATA):
        chunk = DATA[done : done + size]
        if out_of_order and count > 1:
            start = done + size if done + size < len(DATA) else 0
            wrong = DATA[start : start + size]
            said = pusher.client(
                "PATCH", place, wrong, {"Content-Range": f"{start}-{start + len(wrong) - 1}"}
            )
            assert said.status == 416
            state = seen(pusher.client("GET", said.headers["location"]), 204)
            assert state.headers["range"] == f"0-{max(done - 1, 0)}"
            place = state.headers["location"]
        span = {"Content-Range": f"{done}-{done + len(chunk) - 1}"}
        done += len(chunk)
        if last_by_put and done == len(DATA):
            pusher.pushed(pusher.client("PUT", f"{place}?digest={name}", chunk, span), name, DATA)
            return
        place = seen(pusher.client("PATCH", place, chunk, span), 202).headers["location"]
    pusher.pushed(pusher.client("PUT", f"{place}?digest={name}"), name, DATA)


@ALGORITHMS
@pytest.mark.parametrize("way", ["post", "put", "stream", "chunk"])
def test_blobs_that_are_not_their_digest(pusher: Pusher, algorithm: str, way: str) -> None:
    name, wrong = digest(DATA, algorithm), DATA + b"oh no"
    if way == "post":
        said = pusher.client("POST", pusher.place(f"blobs/uploads/?digest={name}"), wrong)
    else:
        place = pusher.client("POST", pusher.place("blobs/uploads/")).headers["location"]
        span = {"Content-Range": f"0-{len(wrong) - 1}"} if way == "chunk" else {}
        if way != "put":
            place = seen(pusher.client("PATCH", place, wrong, span), 202).headers["location"]
        said = pusher.client("PUT", f"{place}?digest={name}", wrong if way == "put" else None)
    assert (said.status, said.code) == (400, "DIGEST_INVALID")
    assert pusher.client("HEAD", pusher.place(f"blobs/{name}")).status == 404


@ALGORITHMS
def test_an_upload_is_cancelled(pusher: Pusher, algorithm: str) -> None:
    begun = pusher.client("POST", pusher.place(f"blobs/uploads/?digest-algorithm={algorithm}")).headers[
        "location"
    ]
    assert pusher.client("DELETE", begun).status == 204
    assert pusher.client("GET", begun).status == 404


@ALGORITHMS
@pytest.mark.parametrize("source", ["&from=conformance/repo2", ""], ids=["from a repository", "anonymously"])
def test_blobs_are_mounted(pusher: Pusher, algorithm: str, source: str) -> None:
    name = digest(DATA, algorithm)
    missing = pusher.client("POST", pusher.place(f"blobs/uploads/?mount={name}{source}"))
    assert seen(missing, 202).headers["location"]
    Pusher(pusher.client, "conformance/repo2").blob(name, DATA)
    said = pusher.client("POST", pusher.place(f"blobs/uploads/?mount={name}{source}"))
    pusher.pushed(said, name, DATA)


@ALGORITHMS
@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("500-1499", 500, 1500),
        ("500-", 500, len(DATA)),
        ("-500", len(DATA) - 500, len(DATA)),
        (f"2000-{len(DATA) + 5000}", 2000, len(DATA)),
        ("500-0", 0, 0),
        (f"{len(DATA) + 1}-{len(DATA) + 5000}", 0, 0),
    ],
)
def test_ranges_of_blobs(pusher: Pusher, algorithm: str, asked: str, start: int, end: int) -> None:
    name = digest(DATA, algorithm)
    pusher.blob(name, DATA)
    said = pusher.client("GET", pusher.place(f"blobs/{name}"), headers={"Range": f"bytes={asked}"})
    if start == end:
        assert said.status == 416
    else:
        seen(said, 206, name, DATA[start:end])
        assert said.headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"


def test_filters_tell_two_types_apart(pusher: Pusher) -> None:
    data = made("artifacts-with-subject")
    pusher.all(data)
    (subject,) = data.referrers
    found = [
        pusher.client("GET", pusher.place(f"referrers/{subject}?artifactType={quote(kind)}")).json[
            "manifests"
        ]
        for kind in (EXAMPLE, OTHER, "application/x-none")
    ]
    assert [len(items) for items in found] == [1, 1, 0]
