"""Registries to measure against: Debian's docker-registry as it comes, each with a storage of its own, and what went by."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from measure import Failed

SERVER = "docker-registry"
_PIECE = 1 << 18


class Server:
    """One docker-registry on loopback, running until `stop`. Raises Failed when it does not start."""

    def __init__(self, directory: Path, storage: Path | None = None, address: str | None = None) -> None:
        """With a copy of another's `storage`, and at the `address` of one that has ended."""
        self.directory = directory
        directory.mkdir(parents=True)
        if storage is not None:
            _copy_storage(storage, directory / "storage")
        self.address = address or f"127.0.0.1:{_free_port()}"
        configuration = directory / "config.yml"
        # As Debian configures it, but for the place, the port and addresses without a host (for `Relay`); JSON is YAML.
        document = {
            "version": "0.1",
            "log": {"level": "warn"},
            "storage": {
                "cache": {"blobdescriptor": "inmemory"},
                "filesystem": {"rootdirectory": str(directory / "storage")},
                "delete": {"enabled": True},
            },
            "http": {"addr": self.address, "secret": "bench", "relativeurls": True},
        }
        configuration.write_text(json.dumps(document))
        with open(directory / "log", "wb") as log:
            self._process = subprocess.Popen(
                [SERVER, "serve", str(configuration)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 30
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.stop()
                raise Failed(f"docker-registry does not start: {(directory / 'log').read_text()[-300:]}")
            time.sleep(0.02)

    @staticmethod
    def missing() -> str | None:
        """Why there can be none here."""
        found = shutil.which(SERVER)
        return None if found else "docker-registry is not installed (Debian: docker-registry)"

    @property
    def storage(self) -> Path:
        """Where everything lies."""
        return self.directory / "storage"

    @property
    def stored(self) -> int:
        """Bytes of all blobs."""
        blobs = self.storage / "docker" / "registry" / "v2" / "blobs"
        return sum(data.stat().st_size for data in blobs.glob("*/*/*/data"))

    def stop(self) -> None:
        """End it; the storage stays."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        connection = HTTPConnection(self.address, timeout=5)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


class Relay:
    """Counts what goes to and from a server: a port before it that passes every byte on."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.up = self.down = 0
        self._start(self._accept)

    @property
    def moved(self) -> int:
        """Bytes in both directions so far, HTTP's own included."""
        return self.up + self.down

    def stop(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._start(lambda c=client, s=server: self._pass(c, s, upwards=True))
                self._start(lambda c=client, s=server: self._pass(s, c, upwards=False))

    def _pass(self, source: socket.socket, target: socket.socket, *, upwards: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(_PIECE):
                if upwards:
                    self.up += len(piece)
                else:
                    self.down += len(piece)
                target.sendall(piece)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    @staticmethod
    def _start(work: Callable[[], None]) -> None:
        threading.Thread(target=work, daemon=True).start()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _copy_storage(source: Path, target: Path) -> None:
    """The same storage without the bytes: blobs never change, so they are linked; the rest is small."""

    def one(path: str, place: str) -> None:
        if os.path.basename(path) == "data":
            os.link(path, place)
        else:
            shutil.copy2(path, place)

    shutil.copytree(source, target, copy_function=one)
