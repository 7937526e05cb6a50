"""Clients that ask all the time, half of them on one connection each, and count what they were answered."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from types import TracebackType


class Load:
    """Clients of `POST /predict {"x": i}` (`differences`: how often an answer was i + n, by n), or of `GET path` (by its
    body). `failures` are in words. It begins at once, and ends with the block."""

    def __init__(self, port: int, path: str | None = None, clients: int = 6, *, keep: bool = True) -> None:
        self.differences: Counter[int] = Counter()
        self.bodies: Counter[bytes] = Counter()
        self.failures: list[str] = []
        self._port, self._path = port, path
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(keep and number % 2 == 0,)) for number in range(clients)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    @property
    def answered(self) -> int:
        """How many requests were answered rightly."""
        return sum(self.differences.values()) + sum(self.bodies.values())

    def _ask(self, keep: bool) -> None:
        connection: http.client.HTTPConnection | None = None
        number = 0
        # Most of the time a request is in flight, and the other programs of a test have a processor all the same.
        while not self._done.wait(0.004):
            number += 1
            connection = connection or http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            try:
                if self._path is None:
                    connection.request("POST", "/predict", json.dumps({"x": number}))
                else:
                    connection.request("GET", self._path)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    raise OSError(f"{answer.status}: {body[:200]!r}")
                if self._path is None:
                    self.differences[json.loads(body) - number] += 1
                else:
                    self.bodies[body] += 1
                going = keep and not answer.will_close
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                going = False
            if not going:
                connection.close()
                connection = None
