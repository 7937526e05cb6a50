"""Whatever happens, an answer is that of its request: under batches, streams, clients that leave, workers that die."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import threading
import time
from contextlib import suppress

import pytest

PREDICTORS = {
    "sync": ("def predict(value: int) -> list[int]: return [value] * (value % 50)", "predict:predict"),
    "async": (
        """
        import asyncio, random

        async def predict(value: int) -> list[int]:
            await asyncio.sleep(random.random() / 200)
            return [value] * (value % 50)
        """,
        "predict:predict",
    ),
    "batch": (
        """
        import random, time

        class P:
            def predict(self, value: int) -> list[int]: ...
            def predict_batch(self, items: list) -> list:
                time.sleep(random.random() / 200)
                return [[item] * (item % 50) for item in items]
        """,
        "predict:P",
    ),
    "stream": (
        """
        from collections.abc import Iterator

        def predict(value: int) -> Iterator[int]:
            for _ in range(value % 50): yield value
        """,
        "predict:predict",
    ),
}
CLIENTS, REQUESTS = 12, 120


@pytest.mark.parametrize("kind", PREDICTORS)
def test_answers_never_mix_whoever_leaves_or_dies(start, kind):
    code, target = PREDICTORS[kind]
    server = start(
        code, target, CORTEN_WORKERS="2", CORTEN_BATCH_SIZE="8", CORTEN_LOG="off", CORTEN_GRACE="1"
    )
    wrong: list[object] = []
    statuses: list[int] = []
    over = threading.Event()

    def client(first: int) -> None:
        dice = random.Random(first)
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        for value in range(first, first + REQUESTS):
            if dice.random() < 0.1:
                _leave(server.port, value, dice.random() / 50)
                continue
            try:
                connection.request("POST", "/predict", json.dumps({"value": value}), _headers(kind))
                response = connection.getresponse()
                data = response.read()
            except (http.client.HTTPException, OSError):
                connection.close()  # A stream whose worker died: seen to be incomplete, which is right.
                statuses.append(0)
                continue
            statuses.append(response.status)
            if response.status == 200:
                answer = [json.loads(line) for line in data.split()] if kind == "stream" else json.loads(data)
                if answer != [value] * (value % 50):
                    wrong.append((value, answer))
            elif response.status != 502:
                wrong.append((response.status, data))
        connection.close()

    def killer() -> None:
        while not over.wait(0.15):
            state = server.request("GET", "/status").json["models"][0]["workers"]
            ready = [worker["pid"] for worker in state if worker["state"] == "ready"]
            if len(ready) == 2:
                with suppress(ProcessLookupError):
                    os.kill(random.choice(ready), signal.SIGKILL)

    threads = [threading.Thread(target=client, args=(n * 1000,)) for n in range(1, CLIENTS + 1)]
    death = threading.Thread(target=killer)
    for thread in [death, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    death.join()
    assert not wrong
    assert statuses.count(200) > len(statuses) / 2
    state = server.request("GET", "/status").json["models"][0]
    assert sum(worker["restarts"] for worker in state["workers"]) > 0
    end = time.monotonic() + 60
    while time.monotonic() < end:
        queue = server.request("GET", "/status").json["models"][0]["queue"]
        if (queue["waiting"], queue["handed"]) == (0, 0):
            break
        time.sleep(0.05)
    assert (queue["waiting"], queue["handed"]) == (0, 0), "nothing is left over in the books"


def _headers(kind: str) -> dict[str, str]:
    return {"accept": "application/x-ndjson"} if kind == "stream" else {}


def _leave(port: int, value: int, after: float) -> None:
    body = json.dumps({"value": value}).encode()
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        time.sleep(after)
