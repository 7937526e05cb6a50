"""What the conformance suite of the distribution specification pushes (opencontainers/distribution-spec, conformance/run.go and
testdata.go, of its development version in 2026), and a check of every answer."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from corten.oci import media
from support.embedded import Client, Said

EXAMPLE, OTHER = "application/vnd.example.oci.conformance.v1", "application/vnd.example.oci.conformance.v2"
EMPTY_JSON = "application/vnd.oci.empty.v1+json"
OCTETS = "application/octet-stream"
ACCEPT = {"Accept": f"{media.INDEX}, {media.MANIFEST}"}
PLATFORMS = ({"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64"})

Item = dict[str, Any]


def digest(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


@dataclass
class Data:
    """One set of content: `manifests` in the order in which they are pushed, `tags` by the digest that they lead to."""

    algorithm: str = "sha256"
    inline: bool = False
    """Whether descriptors carry their content."""
    custom: bool = False
    """Whether documents have a field that no specification knows."""
    tag_parameter: bool = False
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    referrers: dict[str, list[Item]] = field(default_factory=dict)
    random: random.Random = field(default_factory=lambda: random.Random(2026))

    def descriptor(self, data: bytes, kind: str, **extra: Any) -> Item:
        value = {"mediaType": kind, "digest": digest(data, self.algorithm), "size": len(data), **extra}
        if self.inline:
            import base64

            value["data"] = base64.b64encode(data).decode()
        return value

    def blob(self, data: bytes, kind: str) -> Item:
        self.blobs[digest(data, self.algorithm)] = data
        return self.descriptor(data, kind)

    def document(self, value: Item) -> bytes:
        extra = {f"org.{self.random.random()}": "custom"} if self.custom else {}
        return json.dumps({**value, **extra}).encode()

    def image(
        self, *, layers: int = 2, kind: str = media.LAYER_GZIP, platform: Item = PLATFORMS[0]
    ) -> tuple[Item, list[Item]]:
        """A configuration and layers."""
        bodies = [self.random.randbytes(300) for _ in range(layers)]
        config = {"rootfs": {"type": "layers", "diff_ids": [digest(b, self.algorithm) for b in bodies]}}
        body = self.document({"author": "OCI Conformance Test", **platform, **config})
        return self.blob(body, media.CONFIG), [self.blob(b, kind) for b in bodies]

    def artifact(self, kind: str = EXAMPLE, layer: bytes | None = None) -> tuple[Item, list[Item]]:
        body = self.random.randbytes(2048) if layer is None else layer
        return self.blob(b"{}", EMPTY_JSON), [self.blob(body, kind)]

    def manifest(self, parts: tuple[Item, list[Item]], **extra: Any) -> Item:
        value = {"schemaVersion": 2, "mediaType": media.MANIFEST, "config": parts[0], "layers": parts[1]}
        return self._keep({**value, **extra}, extra.get("artifactType") or parts[0]["mediaType"])

    def index(self, items: list[Item], **extra: Any) -> Item:
        value = {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": items}
        return self._keep({**value, **extra}, extra.get("artifactType"))

    def images(self) -> list[Item]:
        return [{**self.manifest(self.image(platform=item)), "platform": item} for item in PLATFORMS]

    def tagged(self, item: Item, *tags: str) -> Item:
        self.tags.update(dict.fromkeys(tags, item["digest"]))
        return item

    def _keep(self, value: Item, kind: str | None) -> Item:
        data = self.document(value)
        item = self.descriptor(data, value["mediaType"])
        self.manifests[item["digest"]] = data
        if "subject" in value:
            entry = {**item, "annotations": value.get("annotations"), "artifactType": kind}
            self.referrers.setdefault(value["subject"]["digest"], []).append(entry)
        return item


def _image(data: Data) -> None:
    data.tagged(data.manifest(data.image()), "image")


def _uncompressed(data: Data) -> None:
    data.tagged(data.manifest(data.image(kind=media.LAYER)), "image-uncompressed")


def _large(data: Data) -> None:
    annotations = {f"large-annotation-{number}": "A" * 10_000 for number in range(390)}
    data.tagged(data.manifest(data.image(), annotations=annotations), "large-manifest")


def _index(data: Data) -> None:
    data.tagged(data.index(data.images()), "index")


def _nested_index(data: Data) -> None:
    data.tagged(data.index([data.index(data.images()), data.index(data.images())]), "index-of-index")


def _empty_index(data: Data) -> None:
    data.tagged(data.index([]), "index")


def _artifact(data: Data) -> None:
    data.tagged(data.manifest(data.artifact(), artifactType=EXAMPLE), "artifact")


def _artifact_index(data: Data) -> None:
    items = [data.manifest(data.artifact(), artifactType=EXAMPLE) for _ in range(2)]
    data.tagged(data.index(items, artifactType=EXAMPLE), "artifact-index")


def _artifact_without_layers(data: Data) -> None:
    data.tagged(
        data.manifest(data.artifact(EMPTY_JSON, b"{}"), artifactType=EXAMPLE), "artifact-without-layers"
    )


def _artifacts_with_subject(data: Data) -> None:
    subject = data.tagged(data.manifest(data.image()), "image")
    notes = {"org.opencontainers.conformance": "hello conformance test"}
    data.manifest(data.image(), subject=subject)
    for kind, layer, tag in ((EXAMPLE, EXAMPLE, "tagged-artifact1"), (OTHER, OCTETS, "tagged-artifact2")):
        unique = {**notes, f"org.example.{tag}": tag}
        found = data.manifest(data.artifact(layer), artifactType=kind, annotations=unique, subject=subject)
        data.tagged(found, tag)


def _index_with_subject(data: Data) -> None:
    subject = data.tagged(data.index(data.images()), "index")
    items = [data.manifest(data.artifact(), artifactType=EXAMPLE) for _ in range(2)]
    notes = {"org.opencontainers.conformance": "hello conformance test"}
    found = data.index(items, artifactType=EXAMPLE, annotations=notes, subject=subject)
    data.tagged(found, "tagged-artifact")


def _missing_subject(data: Data) -> None:
    subject = {"mediaType": media.MANIFEST, "size": 123, "digest": digest(b"missing content", data.algorithm)}
    data.tagged(data.manifest(data.artifact(), artifactType=EXAMPLE, subject=subject), "tagged-artifact")


def _non_distributable_layers(data: Data) -> None:
    config, layers = data.image(layers=1)
    absent = [data.descriptor(data.random.randbytes(256), kind) for kind in (_FOREIGN + "+gzip", _FOREIGN)]
    for item in absent:
        item["urls"] = [f"https://store.example.com/blobs/{item['digest']}"]
    data.tagged(data.manifest((config, [*absent, *layers])), "non-distributable-image")


def _no_layers(data: Data) -> None:
    data.tagged(data.manifest(data.image(layers=0)), "no-layers")


def _sparse(data: Data) -> None:
    config, layers = data.image()
    del data.blobs[layers[0]["digest"]]
    data.tagged(data.manifest((config, layers)), "sparse-image")
    absent = data.descriptor(data.random.randbytes(1024), media.MANIFEST, platform=PLATFORMS[1])
    data.tagged(
        data.index([{**data.manifest(data.image()), "platform": PLATFORMS[0]}, absent]), "sparse-index"
    )


def _by_digest_alone(data: Data) -> None:
    data.index(data.images())


def _by_tag_parameter(data: Data) -> None:
    data.tagged(data.index(data.images()), "tag-param", *(f"tag-param-top-{number}" for number in range(10)))
    for number, name in enumerate(list(data.manifests)):
        data.tags[f"tag-param-{number}"] = name


_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"

Made = tuple[Callable[[Data], None], dict[str, Any]]
SETS: dict[str, Made] = {
    "image": (_image, {}),
    "image-uncompressed": (_uncompressed, {}),
    "large-manifest": (_large, {}),
    "index": (_index, {}),
    "nested-index": (_nested_index, {}),
    "empty-index": (_empty_index, {}),
    "artifact": (_artifact, {}),
    "artifact-index": (_artifact_index, {}),
    "artifact-without-layers": (_artifact_without_layers, {}),
    "artifacts-with-subject": (_artifacts_with_subject, {}),
    "index-with-subject": (_index_with_subject, {}),
    "missing-subject": (_missing_subject, {}),
    "data-field": (_image, {"inline": True}),
    "non-distributable-layers": (_non_distributable_layers, {}),
    "custom-fields": (_index, {"custom": True}),
    "no-layers": (_no_layers, {}),
    "sha512": (_by_digest_alone, {"algorithm": "sha512"}),
    "tag-param-sha256": (_by_tag_parameter, {"tag_parameter": True}),
    "tag-param-sha512": (_by_tag_parameter, {"tag_parameter": True, "algorithm": "sha512"}),
}
"""What is pushed, by the suite's names."""
SPARSE = "sparse"
"""What the suite leaves out unless asked."""


def made(name: str) -> Data:
    make, options = (_sparse, {}) if name == SPARSE else SETS[name]
    data = Data(**options)
    make(data)
    return data


def type_of(data: bytes) -> str:
    return str(json.loads(data)["mediaType"])


def seen(said: Said, status: int, name: str | None = None, body: bytes | None = None, kind: str = "") -> Said:
    """`said`, which has this status, digest, body and type."""
    assert said.status == status, said
    if name is not None:
        assert said.headers["docker-content-digest"] == name
    if body is not None:
        assert said.body == body
        assert said.headers["content-length"] == str(len(body))
    if kind:
        assert said.headers["content-type"] == kind
    return said


@dataclass
class Pusher:
    """Pushes to one repository."""

    client: Client
    name: str

    def place(self, rest: str) -> str:
        return f"/v2/{self.name}/{rest}"

    def blob(self, name: str, data: bytes) -> None:
        begun = seen(self.client("POST", self.place("blobs/uploads/")), 202).headers["location"]
        joint = "&" if "?" in begun else "?"
        said = self.client("PUT", f"{begun}{joint}digest={name}", data, {"Content-Type": OCTETS})
        self.pushed(said, name, data)

    def pushed(self, said: Said, name: str, data: bytes) -> None:
        """The blob is there, where the answer says."""
        seen(said, 201, name)
        seen(self.client("GET", said.headers["location"]), 200, name, data)
        assert seen(self.client("HEAD", self.place(f"blobs/{name}")), 200, name).headers[
            "content-length"
        ] == str(len(data))
        seen(self.client("GET", self.place(f"blobs/{name}")), 200, name, data)

    def manifest(self, target: str, name: str, data: bytes) -> Said:
        said = self.client("PUT", self.place(f"manifests/{target}"), data, {"Content-Type": type_of(data)})
        seen(said, 201, name)
        seen(self.client("GET", said.headers["location"], headers=ACCEPT), 200, name, data, type_of(data))
        return said

    def all(self, data: Data) -> None:
        """Everything of a set."""
        for name, content in data.blobs.items():
            self.blob(name, content)
        for name, content in data.manifests.items():
            tags = [tag for tag, target in data.tags.items() if target == name]
            query = "?" + "&".join(f"tag={tag}" for tag in tags) if data.tag_parameter else ""
            said = self.manifest(f"{name}{query}", name, content)
            if data.tag_parameter:
                assert [tag.strip() for tag in said.headers["oci-tag"].split(",")] == tags
            else:
                for tag in tags:
                    self.manifest(tag, name, content)

    def look(self, data: Data) -> None:
        """Everything of a set is there as it was pushed."""
        for target, name in [*data.tags.items(), *((name, name) for name in data.manifests)]:
            content = data.manifests[name]
            place = self.place(f"manifests/{target}")
            head = seen(self.client("HEAD", place, headers=ACCEPT), 200, name, kind=type_of(content))
            assert (head.body, head.headers["content-length"]) == (b"", str(len(content)))
            seen(self.client("GET", place, headers=ACCEPT), 200, name, content, type_of(content))
        for name, content in data.blobs.items():
            seen(self.client("GET", self.place(f"blobs/{name}")), 200, name, content)
