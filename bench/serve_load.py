"""Loads on a server: many connections by wrk, a steady rate and bursts by sockets of our own. All report what was refused."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from measure import Failed


@dataclass(frozen=True)
class Question:
    """One request that a server is asked again and again."""

    port: int
    path: str
    body: bytes

    @property
    def bytes(self) -> bytes:
        """As it goes over the wire, on a connection that is kept."""
        head = f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(self.body)}\r\n\r\n".encode() + self.body


@dataclass
class Load:
    """What a load met. `rate` is good answers a second; `p50` and `p99` are ms; `bad` counts other answers and broken
    connections."""

    rate: float
    p50: float
    p99: float
    bad: int
    statuses: Counter[int] = field(default_factory=Counter)


_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}


def wrk(question: Question, connections: int, seconds: float, folder: Path) -> Load:
    """`connections` clients that each ask again as soon as they are answered. Raises Failed."""
    script = folder / "post.lua"
    body = question.body.decode().replace("'", "\\'")
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = '{body}'\nwrk.headers['Content-Type'] = 'application/json'\n"
    )
    url = f"http://127.0.0.1:{question.port}{question.path}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "--timeout", "30s"]
    done = subprocess.run(
        [*command, "-s", str(script), url], capture_output=True, text=True, timeout=seconds + 60
    )
    if done.returncode != 0:
        raise Failed(f"wrk: {done.stderr.strip() or done.stdout.strip()}")
    rate = float(_found(r"Requests/sec:\s+([\d.]+)", done.stdout))
    total = int(_found(r"(\d+) requests in", done.stdout))
    bad = sum(int(text) for text in re.findall(r"Non-2xx or 3xx responses: (\d+)", done.stdout))
    lost = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", done.stdout)
    lost_count = sum(int(text) for text in lost.groups()) if lost else 0
    good = rate * (1 - bad / total) if total else 0.0
    return Load(good, _percentile("50%", done.stdout), _percentile("99%", done.stdout), bad + lost_count)


def _percentile(name: str, text: str) -> float:
    number, unit = re.search(rf"{name}\s+([\d.]+)(us|ms|s|m)\b", text).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS[unit]


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise Failed(f"wrk said something else: {text[:300]}")
    return match[1]


class Connection:
    """A client's connection that is kept, and made anew when the server closes it."""

    def __init__(self, port: int, timeout: float = 60) -> None:
        self._port, self._timeout = port, timeout
        self._socket: socket.socket | None = None

    def ask(self, data: bytes) -> int:
        """Send a request and return the status; 0 where the connection broke or took too long."""
        try:
            if self._socket is None:
                self._socket = socket.create_connection(("127.0.0.1", self._port), self._timeout)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(data)
            return self._answer(self._socket)
        except OSError:
            self.close()
            return 0

    def _answer(self, connection: socket.socket) -> int:
        received = b""
        while b"\r\n\r\n" not in received:
            piece = connection.recv(1 << 16)
            if not piece:
                raise ConnectionResetError
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        lower = head.lower()
        length = re.search(rb"content-length: *(\d+)", lower)
        if length:
            missing = int(length[1]) - len(body)
            while missing > 0:
                piece = connection.recv(1 << 16)
                if not piece:
                    raise ConnectionResetError
                missing -= len(piece)
        elif b"transfer-encoding: chunked" in lower:
            while not body.endswith(b"0\r\n\r\n"):
                piece = connection.recv(1 << 16)
                if not piece:
                    raise ConnectionResetError
                body += piece
        if b"connection: close" in lower or not length:
            self.close()
        return int(head.split(None, 2)[1])

    def close(self) -> None:
        """Let go of it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def steady(question: Question, rate: float, seconds: float, clients: int = 16) -> Load:
    """`rate` requests a second whatever the server does: a latency counts from when the request was due, so waiting for a
    slow server is not left out."""
    count = int(rate * seconds)
    begun = time.perf_counter() + 0.1
    data, lock, following = question.bytes, threading.Lock(), iter(range(count))
    latencies: list[float] = []
    statuses: Counter[int] = Counter()

    def client() -> None:
        connection = Connection(question.port)
        while True:
            with lock:
                number = next(following, None)
            if number is None:
                connection.close()
                return
            due = begun + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            status = connection.ask(data)
            took = time.perf_counter() - due
            with lock:
                statuses[status] += 1
                latencies.append(took * 1000)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    latencies.sort()
    good = statuses[200]
    return Load(
        good / seconds,
        latencies[len(latencies) // 2],
        latencies[int(len(latencies) * 0.99)],
        count - good,
        statuses,
    )


def at_once(question: Question, count: int, timeout: float = 60) -> Counter[int]:
    """`count` connections that each ask once, all before the first answer is read. How many got which status; 0 is none."""
    statuses: Counter[int] = Counter()
    sockets: list[socket.socket] = []
    for _ in range(count):
        try:
            connection = socket.create_connection(("127.0.0.1", question.port), timeout)
            connection.sendall(question.bytes)
            sockets.append(connection)
        except OSError:
            statuses[0] += 1
    end = time.monotonic() + timeout
    for connection in sockets:
        try:
            connection.settimeout(max(0.01, end - time.monotonic()))
            head = connection.recv(64)
            statuses[int(head.split(None, 2)[1]) if head else 0] += 1
        except (OSError, ValueError, IndexError):
            statuses[0] += 1
        connection.close()
    return statuses
