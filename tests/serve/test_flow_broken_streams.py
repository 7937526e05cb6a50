"""Answers that break off in the middle: what was made arrives, then a last part that says why, and no client takes it for whole."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import os
import signal

import pytest

SOON = """
    from collections.abc import {kind}

    {sync}def predict(items: int, size: int = 1) -> {kind}[str]:
        for number in range(items):
            yield "x" * size
        raise RuntimeError("lost")
"""
SYNC = SOON.format(kind="Iterator", sync="")
ASYNC = SOON.format(kind="AsyncIterator", sync="async ")
HANGS = """
    import time
    from collections.abc import Iterator

    def predict(partial: bool = False) -> Iterator[str]:
        yield "first"
        time.sleep(60)
"""


def ask(server, accept: str, connection=None, **arguments) -> tuple[int, bytes, bool]:
    """Status, what arrived, and whether the client could take it for whole."""
    connection = connection or http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", "/predict", json.dumps(arguments), {"accept": accept})
    response = connection.getresponse()
    try:
        return response.status, response.read(), True
    except http.client.IncompleteRead as error:
        return response.status, error.partial, False
    finally:
        connection.close()


LINES, EVENTS = "application/x-ndjson", "text/event-stream"
ERROR = b'{"error": "the predictor raised RuntimeError; its traceback is in the server\'s log"}'


@pytest.mark.parametrize("code", [SYNC, ASYNC], ids=["sync", "async"])
def test_what_was_made_before_an_error_arrives_with_the_error(start, code):
    server = start(code, CORTEN_LOG="off")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: ask(server, LINES, items=2), range(60)))
    for status, body, whole in found:
        assert (status, body, whole) == (200, b'"x"\n"x"\n' + ERROR + b"\n", False)


def test_events_and_text_too(start):
    server = start(SYNC, CORTEN_LOG="off")
    status, body, whole = ask(server, EVENTS, items=1)
    assert (status, whole) == (200, False)
    assert body == b'data: "x"\n\nevent: error\ndata: ' + ERROR + b"\n\n"
    status, body, whole = ask(server, "text/plain", items=1)
    assert body.startswith(b"x\nerror: the predictor raised RuntimeError")
    assert not whole


def test_a_large_stream_arrives_before_its_error(start):
    server = start(SYNC, CORTEN_LOG="off")
    _, body, whole = ask(server, LINES, items=30, size=200_000)
    assert not whole
    lines = body.splitlines()
    assert (len(lines), {len(line) for line in lines[:-1]}) == (31, {200_002})
    assert lines[-1] == ERROR


def test_on_a_connection_that_was_used_before(start):
    server = start(SYNC, CORTEN_LOG="off")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for _ in range(3):
        connection.request("GET", "/openapi.json")
        connection.getresponse().read()
    assert ask(server, LINES, connection, items=1) == (200, b'"x"\n' + ERROR + b"\n", False)


@pytest.mark.parametrize("accept", [LINES, EVENTS])
def test_a_killed_worker_is_said_in_the_stream(start, accept):
    server = start(HANGS, CORTEN_LOG="off")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", "/predict", "{}", {"accept": accept})
    response = connection.getresponse()
    first = response.readline()
    assert b'"first"' in first
    os.kill(server.children()[0], signal.SIGKILL)
    with pytest.raises(http.client.IncompleteRead) as error:
        response.read()
    assert b'"error"' in error.value.partial
    assert b"was killed by SIGKILL" in error.value.partial
    assert accept != EVENTS or b"\nevent: error\n" in error.value.partial


def test_a_part_that_takes_too_long_is_said_in_the_stream(start):
    server = start(HANGS, CORTEN_TIMEOUT="0.5", CORTEN_LOG="off")
    status, body, whole = ask(server, LINES)
    assert (status, whole) == (200, False)
    first, last = body.splitlines()
    assert json.loads(first) == "first"
    assert json.loads(last) == {"error": "the next part took longer than 0.5 s"}


FOREIGN = """
    import asyncio
    from collections.abc import AsyncIterator
    from corten_serve import endpoint

    class Custom(BaseException): pass

    class Model:
        async def predict(self, how: str) -> str:
            if how == "cancelled":
                task = asyncio.create_task(asyncio.sleep(60))
                task.cancel()
                await task
            if how == "custom":
                raise Custom
            if how == "exit":
                raise GeneratorExit
            return how

        @endpoint
        async def stream(self, items: int) -> AsyncIterator[int]:
            for number in range(items):
                yield number
            raise asyncio.CancelledError

        @endpoint
        async def closing(self, items: int) -> AsyncIterator[int]:
            for number in range(items):
                yield number
            raise GeneratorExit

        @endpoint
        def plain(self) -> int:
            raise asyncio.CancelledError
"""
BATCH = """
    import asyncio

    class Model:
        {sync}def predict_batch(self, items: list[str]) -> list[str]:
            if "cancelled" in items:
                raise asyncio.CancelledError
            return items
"""


def test_a_cancel_of_the_projects_own_is_an_error_of_the_project(start):
    server = start(FOREIGN, "predict:Model")
    workers = server.children()
    for how, name in (("cancelled", "CancelledError"), ("custom", "Custom"), ("exit", "GeneratorExit")):
        answer = server.predict({"how": how})
        assert answer.status == 500
        assert answer.json == {"error": f"the predictor raised {name}; its traceback is in the server's log"}
    assert server.request("POST", "/plain", {}).status == 500
    for path, name in (("/stream", b"CancelledError"), ("/closing", b"GeneratorExit")):
        for accept in (LINES, "application/json"):
            none = server.request("POST", path, {"items": 0}, {"accept": accept})
            assert (none.status, name in none.body) == (500, True)
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("POST", path, '{"items": 1}', {"accept": LINES})
        with pytest.raises(http.client.IncompleteRead) as error:
            connection.getresponse().read()
        assert error.value.partial.startswith(b'0\n{"error": "the predictor raised ' + name)
    assert server.predict({"how": "well"}).json == "well"
    assert server.children() == workers


@pytest.mark.parametrize("sync", ["", "async "], ids=["sync", "async"])
def test_in_a_batch_too(start, sync):
    server = start(BATCH.format(sync=sync), "predict:Model")
    workers = server.children()
    assert server.predict({"item": "cancelled"}).status == 500
    assert server.predict({"item": "well"}).json == "well"
    assert server.children() == workers
