"""Asking a server on this machine something small over HTTP, and reading what it says of itself. Its answers are hostile."""

from __future__ import annotations

import io
import json
import socket
import time
from typing import Any

from corten.values import dataclass

_LONGEST = 16 << 20


@dataclass(frozen=True, slots=True)
class Load:
    """What a model server says of itself (`GET /status`), over all its models: how many workers, requests that wait and that
    may, and milliseconds in which half and 99 of 100 recent ones were answered; None where it does not say."""

    workers: int
    waiting: int
    bound: int
    p50: float | None
    p99: float | None
    count: int


def get(address: tuple[str, int], path: str, timeout: float = 10.0) -> tuple[int, bytes] | None:
    """Status and body of one HTTP request; None where no whole answer came within `timeout` seconds, or a very long one."""
    received = bytearray()
    until = time.monotonic() + timeout
    try:
        with socket.create_connection(address, timeout=timeout) as connection:
            connection.sendall(question(address, path))
            while (left := until - time.monotonic()) > 0 and len(received) < _LONGEST:
                connection.settimeout(left)
                data = connection.recv(1 << 16)
                if not data:
                    break
                received += data
            else:
                return None
    except OSError:
        return None
    return parsed(bytes(received))


def question(address: tuple[str, int], path: str) -> bytes:
    """The request for `path`, which may be the only one on its connection."""
    host = f"{address[0]}:{address[1]}"
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAccept: */*\r\n\r\n".encode()


class _Received:
    """What a server has said, as a socket that is read to its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        """All of it."""
        return io.BytesIO(self._data)


def parsed(received: bytes) -> tuple[int, bytes] | None:
    """Status and body of an answer whose connection has ended; None where it is no HTTP, or not whole."""
    import http.client  # It takes time that other commands need not spend.

    if b"\r\n\r\n" not in received:
        return None
    response = http.client.HTTPResponse(_Received(received))  # type: ignore[arg-type]
    try:
        response.begin()
        return response.status, response.read()
    except (http.client.HTTPException, OSError, ValueError):
        return None


def document(address: tuple[str, int], path: str, timeout: float = 10.0) -> dict[str, Any]:
    """The JSON object that the server at `address` has at `path`; an empty one where it has none."""
    answer = get(address, path, timeout)
    try:
        found = json.loads(answer[1]) if answer is not None and answer[0] == 200 else None
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def load(address: tuple[str, int], timeout: float = 1.0) -> Load | None:
    """The load of the model server at `address`; None where it does not tell."""
    models = _of(document(address, "/status", timeout), "models", list)
    if models is None:
        return None
    workers = waiting = bound = count = 0
    latencies: list[dict[str, Any]] = []
    for model in models:
        workers += len(_of(model, "workers", list) or [])
        queue = _of(model, "queue", dict) or {}
        waiting += int(_number(queue, "waiting") or 0)
        bound += int(_number(queue, "bound") or 0)
        latency = _of(model, "latency", dict) or {}
        count += int(_number(latency, "count") or 0)
        latencies.append(latency)
    return Load(workers, waiting, bound, _worst(latencies, "p50"), _worst(latencies, "p99"), count)


def _worst(latencies: list[dict[str, Any]], name: str) -> float | None:
    found = [value for latency in latencies if (value := _number(latency, name)) is not None]
    return max(found, default=None)


def _of(document: Any, name: str, kind: type) -> Any:
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, kind) else None


def _number(document: dict[str, Any], name: str) -> float | None:
    value = document.get(name)
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15
    return float(value) if fits and value is not None else None
