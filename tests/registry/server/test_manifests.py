"""Manifests, tags, catalogue and referrers (distribution-spec 1.1, end-3, end-7 to end-9, end-12)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from corten.oci import media
from support.embedded import Client, descriptor, digest_of, image


def test_bytes_and_type_are_kept(client: Client) -> None:
    value = image(client, "team/iris", b"layer")
    data = json.dumps(value, indent=3).encode() + b"\n"
    said = client("PUT", "/v2/team/iris/manifests/v1", data, {"Content-Type": media.MANIFEST + "; charset=x"})
    digest = digest_of(data)
    assert (said.status, said.headers["docker-content-digest"]) == (201, digest)
    assert client("GET", said.headers["location"]).body == data
    for target in ("v1", digest, digest.replace(":", "%3A")):
        found = client("GET", f"/v2/team/iris/manifests/{target}")
        assert (found.status, found.body) == (200, data)
        assert found.headers["content-type"] == media.MANIFEST
        assert found.headers["docker-content-digest"] == digest
        head = client("HEAD", f"/v2/team/iris/manifests/{target}")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(data)))


def test_docker_s_schema_2(client: Client) -> None:
    value = image(client, "a", b"layer", mediaType=media.DOCKER_MANIFEST)
    assert client.push_manifest("a", "v1", value).status == 201
    assert client("GET", "/v2/a/manifests/v1").headers["content-type"] == media.DOCKER_MANIFEST
    child = json.dumps(value).encode()
    index = {
        "schemaVersion": 2,
        "mediaType": media.DOCKER_INDEX,
        "manifests": [descriptor(child, media.DOCKER_MANIFEST)],
    }
    assert client.push_manifest("a", "all", index).status == 201


def test_what_there_is_not(client: Client) -> None:
    unknown = digest_of(b"unknown")
    for target in ("latest", unknown):
        for method in ("GET", "DELETE"):
            said = client(method, f"/v2/a/manifests/{target}")
            assert (said.status, said.code) == (404, "MANIFEST_UNKNOWN")
        assert client("HEAD", f"/v2/a/manifests/{target}").status == 404
    said = client("GET", "/v2/a/tags/list")
    assert (said.status, said.code) == (404, "NAME_UNKNOWN")


def test_all_that_it_leads_to_must_be_there(client: Client) -> None:
    value = image(client, "a", b"layer")
    client.push_blob("other", b"elsewhere")
    value["layers"].append(descriptor(b"elsewhere", media.LAYER))
    said = client.push_manifest("a", "v1", value)
    assert (said.status, said.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert said.json["errors"][0]["detail"] == {"digest": digest_of(b"elsewhere")}
    index = {
        "schemaVersion": 2,
        "mediaType": media.INDEX,
        "manifests": [descriptor(b"{}child", media.MANIFEST)],
    }
    assert client.push_manifest("a", "v1", index).code == "MANIFEST_BLOB_UNKNOWN"
    assert client("GET", "/v2/a/manifests/v1").status == 404


def test_layers_that_lie_elsewhere_need_not_be_there(client: Client) -> None:
    value = image(client, "a", b"layer")
    value["layers"].append(
        descriptor(b"windows", media.DOCKER_LAYER_GZIP, urls=["https://example.com/layer"])
    )
    assert client.push_manifest("a", "v1", value).status == 201


def test_sizes_must_be_true(client: Client) -> None:
    value = image(client, "a", b"layer")
    value["layers"][0]["size"] += 1
    assert client.push_manifest("a", "v1", value).code == "MANIFEST_INVALID"


def test_a_wrong_digest(client: Client) -> None:
    value = image(client, "a", b"layer")
    assert client.push_manifest("a", digest_of(b"other"), value).code == "DIGEST_INVALID"


@pytest.mark.parametrize(
    "change",
    [
        {"schemaVersion": 1},
        {"mediaType": "application/vnd.docker.distribution.manifest.v1+json"},
        {"mediaType": ["x"]},
        {"layers": None},
        {"layers": [{}]},
        {"layers": [1]},
        {"config": None},
        {"config": {"mediaType": "x", "digest": "sha384:" + "0" * 96, "size": 1}},
        {"config": {"mediaType": "x", "digest": "sha256:../../../etc/passwd", "size": 1}},
        {"annotations": []},
        {"subject": {}},
        {"subject": "sha256"},
    ],
    ids=str,
)
def test_what_is_no_manifest(client: Client, change: dict[str, Any]) -> None:
    said = client.push_manifest("a", "v1", {**image(client, "a", b"layer"), **change})
    assert (said.status, said.code) == (400, "MANIFEST_INVALID")
    assert client("GET", "/v2/a/manifests/v1").status == 404


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json(client: Client, data: bytes) -> None:
    said = client("PUT", "/v2/a/manifests/v1", data, {"Content-Type": media.MANIFEST})
    assert (said.status, said.code) == (400, "MANIFEST_INVALID")


def test_it_is_what_it_says(client: Client) -> None:
    data = json.dumps(image(client, "a", b"layer")).encode()
    said = client("PUT", "/v2/a/manifests/v1", data, {"Content-Type": media.DOCKER_MANIFEST})
    assert said.code == "MANIFEST_INVALID"
    assert client("PUT", "/v2/a/manifests/v1", data).status == 201


def test_four_megabytes_and_no_more(client: Client) -> None:
    value = image(client, "a", b"layer", annotations={"text": ""})
    value["annotations"]["text"] = "x" * ((4 << 20) - len(json.dumps(value)))
    assert client.push_manifest("a", "v1", value).status == 201
    value["annotations"]["text"] += "x"
    said = client.push_manifest("a", "v1", value)
    assert (said.status, said.code) == (413, "MANIFEST_INVALID")
    data = json.dumps(value).encode()
    chunked = client(
        "PUT", "/v2/a/manifests/v1", iter([data]), {"Transfer-Encoding": "chunked"}, encode_chunked=True
    )
    assert chunked.status == 413


def test_deleting_a_tag_and_a_manifest(client: Client) -> None:
    digest = client.push_image("a", "one", b"layer")
    assert client.push_image("a", "two", b"layer") == digest
    other = client.push_image("a", "three", b"another")
    assert client("DELETE", "/v2/a/manifests/one").status == 202
    assert client("GET", "/v2/a/manifests/one").status == 404
    assert client("GET", f"/v2/a/manifests/{digest}").status == 200
    assert client("DELETE", f"/v2/a/manifests/{digest}").status == 202
    assert client("GET", f"/v2/a/manifests/{digest}").status == 404
    assert client("GET", "/v2/a/manifests/two").status == 404
    assert client("GET", "/v2/a/tags/list").json == {"name": "a", "tags": ["three"]}
    assert client("DELETE", f"/v2/a/manifests/{other}").status == 202
    assert client("GET", "/v2/a/tags/list").json == {"name": "a", "tags": []}


def test_a_tag_moves(client: Client) -> None:
    first = client.push_image("a", "latest", b"1")
    second = client.push_image("a", "latest", b"2")
    assert client("HEAD", "/v2/a/manifests/latest").headers["docker-content-digest"] == second
    assert client("HEAD", f"/v2/a/manifests/{first}").status == 200


def test_tags_in_pages(client: Client) -> None:
    names = ["1", "B", "_x", "a", "a.1", "c-2"]
    for name in names:
        client.push_image("a", name, b"layer")
    listed = client("GET", "/v2/a/tags/list").json["tags"]
    assert sorted(listed) == sorted(names)
    assert listed == sorted(names, key=str.lower)
    seen, place = [], "/v2/a/tags/list?n=4"
    while place:
        said = client("GET", place)
        seen.append(said.json["tags"])
        link = said.headers.get("link", "")
        assert link == "" or link.endswith('>; rel="next"')
        place = link[1:].partition(">")[0]
    assert seen == [listed[:4], listed[4:]]
    assert client("GET", "/v2/a/tags/list?n=0").json["tags"] == []
    assert client("GET", f"/v2/a/tags/list?last={listed[1]}").json["tags"] == listed[2:]
    assert client("GET", "/v2/a/tags/list?n=2&last=zzz").json["tags"] == []
    for bad in ("-1", "x", "1e3", ""):
        assert client("GET", f"/v2/a/tags/list?n={bad}").status == 400


def test_the_catalogue(client: Client) -> None:
    for name in ("b", "a/c", "a", "a/b/c"):
        client.push_image(name, "v1", b"layer")
    client.push_blob("blobs-only", b"x")
    assert client("GET", "/v2/_catalog").json == {"repositories": ["a", "a/b/c", "a/c", "b"]}
    said = client("GET", "/v2/_catalog?n=2")
    assert said.json == {"repositories": ["a", "a/b/c"]}
    assert client("GET", said.headers["link"][1:].partition(">")[0]).json == {"repositories": ["a/c", "b"]}


def test_referrers(client: Client) -> None:
    subject = client.push_image("a", "v1", b"layer")
    assert client("GET", f"/v2/a/referrers/{subject}").json["manifests"] == []
    about = {"subject": {"mediaType": media.MANIFEST, "digest": subject, "size": 1}}
    signature = image(
        client, "a", b"sig", artifactType="example/signature", annotations={"by": "me"}, **about
    )
    said = client.push_manifest("a", digest_of(json.dumps(signature).encode()), signature)
    assert (said.status, said.headers["oci-subject"]) == (201, subject)
    bill = image(client, "a", b"sbom", config=b'{"x":1}', **about)
    client.push_manifest("a", "sbom", bill)
    index = {
        "schemaVersion": 2,
        "mediaType": media.INDEX,
        "manifests": [],
        "artifactType": "example/index",
        **about,
    }
    assert client.push_manifest("a", "index", index).headers["oci-subject"] == subject

    said = client("GET", f"/v2/a/referrers/{subject}")
    assert said.headers["content-type"] == media.INDEX
    assert "oci-filters-applied" not in said.headers
    assert said.json["schemaVersion"] == 2
    entries = {entry["digest"]: entry for entry in said.json["manifests"]}
    data = json.dumps(signature).encode()
    assert entries[digest_of(data)] == {
        "mediaType": media.MANIFEST,
        "digest": digest_of(data),
        "size": len(data),
        "artifactType": "example/signature",
        "annotations": {"by": "me"},
    }
    assert {entry["artifactType"] for entry in entries.values()} == {
        "example/signature",
        "example/index",
        media.CONFIG,
    }
    said = client("GET", f"/v2/a/referrers/{subject}?artifactType=example/signature")
    assert said.headers["oci-filters-applied"] == "artifactType"
    assert [entry["digest"] for entry in said.json["manifests"]] == [digest_of(data)]

    assert client("DELETE", f"/v2/a/manifests/{digest_of(data)}").status == 202
    assert len(client("GET", f"/v2/a/referrers/{subject}").json["manifests"]) == 2
    assert client("GET", f"/v2/b/referrers/{subject}").json["manifests"] == []
    assert client("GET", "/v2/a/referrers/sha256:x").code == "DIGEST_INVALID"


def test_a_subject_may_come_later(client: Client) -> None:
    subject = json.dumps(image(client, "a", b"layer")).encode()
    early = image(client, "a", b"sig", subject=descriptor(subject, media.MANIFEST))
    assert client.push_manifest("a", "sig", early).headers["oci-subject"] == digest_of(subject)
    assert client.push_manifest("a", "v1", subject).status == 201
    assert len(client("GET", f"/v2/a/referrers/{digest_of(subject)}").json["manifests"]) == 1


def test_long_lists_of_referrers_go_on(client: Client) -> None:
    subject = {"mediaType": media.MANIFEST, "digest": digest_of(b"subject"), "size": 7}
    for number in range(3):
        client.push_image(
            "a", f"n{number}", b"layer", subject=subject, annotations={"text": str(number) * (2 << 20)}
        )
    seen: list[str] = []
    place = f"/v2/a/referrers/{subject['digest']}"
    pages = 0
    while place:
        said = client("GET", place)
        assert len(said.body) <= 4 << 20
        seen += [entry["digest"] for entry in said.json["manifests"]]
        place = said.headers.get("link", "")[1:].partition(">")[0]
        pages += 1
    assert (len(seen), len(set(seen)), pages) == (3, 3, 3)


@pytest.mark.parametrize(
    "name", ["A", "a//b", "-a", "a/", "a..b", "..", "a/../b", "a" * 256, "a___b", "_blobs", "a/_uploads"]
)
def test_names_that_are_none(client: Client, name: str) -> None:
    for path in ("manifests/v1", "tags/list", f"blobs/{digest_of(b'')}"):
        said = client("GET", f"/v2/{name}/{path}")
        assert (said.status, said.code) == (400, "NAME_INVALID")
    said = client("POST", f"/v2/{name}/blobs/uploads/")
    assert (said.status, said.code) == (400, "NAME_INVALID")
    assert not (client.root.parent / "b").exists()


@pytest.mark.parametrize("tag", ["-x", ".x", "..", "a b", "x" * 129, "ä"])
def test_tags_that_are_none(client: Client, tag: str) -> None:
    from urllib.parse import quote

    said = client.push_manifest("a", quote(tag), image(client, "a", b"layer"))
    assert (said.status, said.code) == (400, "MANIFEST_INVALID")


@pytest.mark.parametrize("name", ["a", "a-b", "a__b", "a.b", "a--b", "a/b/c/d/e", "0", "a" * 255])
def test_names_that_are_some(client: Client, name: str) -> None:
    digest = client.push_image(name, "v1", b"layer")
    assert client("HEAD", f"/v2/{name}/manifests/v1").headers["docker-content-digest"] == digest


def test_a_damaged_manifest_is_never_given_out(client: Client) -> None:
    digest = client.push_image("a", "v1", b"layer")
    (client.root / "blobs/sha256" / digest[7:]).write_bytes(b"{}")
    said = client("GET", "/v2/a/manifests/v1")
    assert (said.status, said.code) == (500, "UNKNOWN")
    assert client.push_image("a", "v1", b"layer") == digest
    assert client("GET", "/v2/a/manifests/v1").status == 200
