"""What a server holds after many answers: nothing of them."""

from __future__ import annotations

import http.client
import json
import threading
from pathlib import Path

SIZE = 300_000
SLOW = f"""
    import asyncio
    from collections.abc import AsyncIterator
    from corten_serve import endpoint

    class Model:
        async def predict(self, text: str) -> str:
            await asyncio.sleep(0.12)
            return "x" * {SIZE}

        @endpoint
        async def stream(self, text: str) -> AsyncIterator[str]:
            yield "x" * {SIZE}
            await asyncio.sleep(0.12)
"""


def resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmRSS")


def ask_all(port: int, path: str, clients: int, times: int) -> None:
    failures: list[str] = []

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for _ in range(times):
            connection.request(
                "POST", path, json.dumps({"text": ""}), {"accept": "application/x-ndjson, */*;q=0.5"}
            )
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200 or len(body) < SIZE:
                failures.append(f"{answer.status} {len(body)}")
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def growth(server, path: str) -> int:
    """By how much the server is larger after 400 answers than after the first 100."""
    ask_all(server.port, path, 50, 2)
    before = resident(server.pid)
    ask_all(server.port, path, 50, 6)
    return resident(server.pid) - before


def test_slow_large_answers_leave_nothing_behind(start):
    server = start(SLOW, "predict:Model", CORTEN_LOG="off")
    for path in ("/predict", "/stream"):
        assert growth(server, path) < 40 << 20, path  # They have 90 MB together.


def test_five_thousand_slow_large_answers_leave_memory_flat(start):
    """1.5 GB of answers. What a process holds after its first hundreds depends on their timing, so the first 500 do not count."""
    server = start(SLOW, "predict:Model", CORTEN_LOG="off")
    for path in ("/predict", "/stream"):
        ask_all(server.port, path, 50, 5)
    before = resident(server.pid)
    for path in ("/predict", "/stream"):
        ask_all(server.port, path, 50, 50)
    grown = resident(server.pid) - before
    assert grown < 40 << 20
