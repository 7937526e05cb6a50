"""The embedded registry in a thread, and a plain client of it."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corten.oci import media
from corten.registry.server.server import Server, Settings, listening

EMPTY = "sha256:" + hashlib.sha256(b"").hexdigest()


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@contextmanager
def serving(root: Path, **settings: Any) -> Iterator[Client]:
    """A registry over `root` on a port of its own."""
    with listening(root, Settings(**{"port": 0, **settings})) as server:
        thread = threading.Thread(target=server.run, kwargs={"grace": 1.0})
        thread.start()
        try:
            yield Client(server, root)
        finally:
            server.stop()
            thread.join()


@dataclass(frozen=True)
class Said:
    """A status, headers with lower-case names, and a body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the first error."""
        return str(self.json["errors"][0]["code"])


@dataclass
class Client:
    """Asks over one connection, as long as it lasts."""

    server: Server
    root: Path
    headers: dict[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    _connection: http.client.HTTPConnection | None = None

    @property
    def address(self) -> str:
        return self.server.address

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def another(self, **headers: str) -> Client:
        """A client with a connection and headers of its own."""
        return Client(self.server, self.root, headers, self.tls)

    def __call__(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **options: Any
    ) -> Said:
        if self._connection is None:
            if self.tls:
                self._connection = http.client.HTTPSConnection(self.address, timeout=60, context=self.tls)
            else:
                self._connection = http.client.HTTPConnection(self.address, timeout=60)
        self._connection.request(method, path, body, {**self.headers, **(headers or {})}, **options)
        answer = self._connection.getresponse()
        return Said(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())

    def push_blob(self, name: str, data: bytes) -> str:
        digest = digest_of(data)
        said = self("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data)
        assert said.status == 201, said
        return digest

    def begin(self, name: str) -> str:
        """The address of a new upload."""
        said = self("POST", f"/v2/{name}/blobs/uploads/")
        assert said.status == 202, said
        return said.headers["location"]

    def push_manifest(self, name: str, target: str, value: dict[str, Any] | bytes) -> Said:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        kind = str(json.loads(data).get("mediaType", media.MANIFEST))
        return self("PUT", f"/v2/{name}/manifests/{target}", data, {"Content-Type": kind})

    def push_image(self, name: str, target: str, *layers: bytes, **extra: Any) -> str:
        """An image of these layers; returns its digest."""
        value = image(self, name, *layers, **extra)
        said = self.push_manifest(name, target, value)
        assert said.status == 201, said
        return said.headers["docker-content-digest"]


def image(client: Client, name: str, *layers: bytes, config: bytes = b"{}", **extra: Any) -> dict[str, Any]:
    """A manifest whose blobs are pushed."""
    client.push_blob(name, config)
    for layer in layers:
        client.push_blob(name, layer)
    return {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "config": descriptor(config, media.CONFIG),
        "layers": [descriptor(layer, media.LAYER) for layer in layers],
        **extra,
    }


def descriptor(data: bytes, kind: str, **extra: Any) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest_of(data), "size": len(data), **extra}
