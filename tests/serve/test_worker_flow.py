"""Streams, cancelling, and requests side by side."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from contextlib import suppress

import pytest

from corten_serve import frames
from corten_serve.frames import CREDIT_BYTES, Item

SYNC = """
    import time
    from corten_serve import Cancelled

    def predict(seconds: float) -> str:
        print("begun", seconds)
        try:
            time.sleep(seconds)
        except Cancelled:
            print("cancelled")
            raise
        return "done"
"""
ASYNC = """
    import asyncio

    async def predict(seconds: float) -> str:
        print("begun", seconds)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            print("cancelled")
            raise
        return "done"
"""


@pytest.mark.parametrize(("code", "signalled"), [(SYNC, True), (ASYNC, False)])
def test_a_running_call_is_cancelled_in_the_projects_code(begin, code, signalled):
    worker = begin(code)
    identity = worker.call({"seconds": 60})
    worker.until("begun")
    worker.cancel(identity, signalled)
    assert worker.answers(1)[identity].status == 499
    assert worker.out == "begun 60.0\ncancelled\n"
    assert worker.ask({"seconds": 0}) == (200, "done")


@pytest.mark.parametrize("code", [SYNC, ASYNC])
def test_a_call_that_was_not_begun_is_given_up(begin, code):
    worker = begin(code, CORTEN_CONCURRENCY="1")
    first, second, third = (worker.item({"seconds": seconds}) for seconds in (0.3, 61, 0))
    worker.send(first, second, third)
    worker.until("begun 0.3")
    worker.cancel(second.id)
    answers = worker.answers(3)
    assert [answers[item.id].status for item in (first, second, third)] == [200, 499, 200]
    assert "61" not in worker.out


def test_a_cancel_that_comes_before_its_call_was_begun_counts(begin):
    worker = begin(SYNC)
    first, second = worker.item({"seconds": 0.2}), worker.item({"seconds": 61})
    worker.send(first, second)
    worker.until("begun")
    worker.board[1] = second.id
    os.kill(worker.pid, signal.SIGUSR1)
    answers = worker.answers(2)
    assert (answers[first.id].status, answers[second.id].status) == (200, 499)


MIXED = """
    {imports}

    class P:
        {a}def predict(self, value: int, pause: float) -> dict:
            {wait}
            return {{"value": value, "of": 1}}

        {a}def predict_batch(self, items: list) -> list:
            if any(item["value"] % 37 == 0 for item in items) and len(items) > 1:
                raise ValueError("one of them")
            {waits}
            return [{{"value": item["value"], "of": len(items)}} for item in items]
"""


@pytest.mark.parametrize(
    ("code", "signalled"),
    [
        (
            MIXED.format(
                a="", imports="import time", wait="time.sleep(pause)", waits="time.sleep(items[0]['pause'])"
            ),
            True,
        ),
        (
            MIXED.format(
                a="async ",
                imports="import asyncio",
                wait="await asyncio.sleep(pause)",
                waits="await asyncio.sleep(items[0]['pause'])",
            ),
            False,
        ),
    ],
    ids=["sync", "async"],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_answers_never_mix_and_every_call_has_one_under_batches_and_cancels(begin, code, signalled, seed):
    worker = begin(code, "predict:P")
    chance = random.Random(seed)
    waiting: dict[int, int] = {}
    cancelled: set[int] = set()
    found: dict[int, Item] = {}
    value = 0

    def take() -> None:
        item = worker.receive()
        assert item.kind == frames.ANSWER
        assert item.id not in found
        found[item.id] = item

    while value < 400 or len(found) < len(waiting):
        if value < 400 and len(waiting) - len(found) < 24:
            bodies = []
            for _ in range(chance.choice([1, 1, 2, 6])):
                value += 1
                bodies.append({"value": value, "pause": chance.choice([0, 0, 0.001, 0.003])})
            if len(bodies) == 1 and chance.random() < 0.5:
                ids = [worker.call(bodies[0])]
            else:
                ids = worker.batch(bodies)
            waiting.update(zip(ids, (body["value"] for body in bodies), strict=True))
            if chance.random() < 0.3:
                for each in ids:
                    cancelled.add(each)
                    worker.cancel(each, signalled)
        else:
            take()
    for identity, item in found.items():
        assert item.status == 200 or (item.status == 499 and identity in cancelled), item
        if item.status == 200:
            assert json.loads(item.body)["value"] == waiting[identity]
    assert any(json.loads(item.body)["of"] > 1 for item in found.values() if item.status == 200)
    assert any(item.status == 499 for item in found.values())


def test_async_calls_run_side_by_side_up_to_their_number(begin):
    worker = begin(
        """
        import asyncio

        running = most = 0

        async def predict(seconds: float) -> int:
            global running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(seconds)
            running -= 1
            return most
        """,
        CORTEN_CONCURRENCY="3",
    )
    ids = [worker.call({"seconds": 0.05}) for _ in range(10)]
    answers = worker.answers(10)
    assert max(json.loads(answers[each].body) for each in ids) == 3


def test_what_setup_opened_on_the_loop_is_good_in_predict(begin):
    worker = begin(
        """
        import asyncio

        class P:
            async def setup(self):
                self.loop = asyncio.get_running_loop()
            async def predict(self) -> bool:
                return asyncio.get_running_loop() is self.loop
            async def healthy(self):
                return asyncio.get_running_loop() is self.loop
        """,
        "predict:P",
    )
    assert worker.ask() == (200, True)


STREAM = """
    import time
    {imports}

    {a}def predict(count: int, size: int = 1, fail: int = -1, seconds: float = 0){hint}:
        try:
            for number in range(count):
                if number == fail:
                    raise ValueError("no more")
                yield "x" * size if size > 1 else number
                print("yielded", number)
                {wait}
            print("complete")
        finally:
            print("closed")
"""
STREAMS = pytest.mark.parametrize(
    "code",
    [
        STREAM.format(a="", hint="", imports="", wait="time.sleep(seconds)"),
        STREAM.format(a="async ", hint="", imports="import asyncio", wait="await asyncio.sleep(seconds)"),
    ],
    ids=["sync", "async"],
)
NDJSON = "application/x-ndjson"


def _collect(worker, identity):
    items = [worker.receive()]
    while items[-1].kind not in (frames.END, frames.ANSWER):
        items.append(worker.receive())
    assert {item.id for item in items} == {identity}
    return items


@STREAMS
def test_a_stream_has_a_head_its_parts_and_an_end(begin, code):
    worker = begin(code)
    head, *parts, end = _collect(worker, worker.call({"count": 3}, accept=NDJSON))
    assert (head.kind, head.status) == (frames.HEAD, 200)
    assert head.meta.startswith(NDJSON.encode())
    assert [json.loads(line) for line in b"".join(part.body for part in parts).splitlines()] == [0, 1, 2]
    assert (end.kind, end.status) == (frames.END, 0)


@STREAMS
def test_parts_go_out_as_they_come(begin, code):
    worker = begin(code)
    worker.call({"count": 2, "seconds": 0.4}, accept=NDJSON)
    assert worker.receive().kind == frames.HEAD
    assert worker.receive().kind == frames.PART
    assert "complete" not in worker.out


@STREAMS
def test_what_fails_before_the_first_part_has_a_status(begin, code):
    worker = begin(code)
    (answer,) = _collect(worker, worker.call({"count": 3, "fail": 0}, accept=NDJSON))
    assert answer.status == 500
    assert b"ValueError" in answer.body


@STREAMS
def test_what_fails_later_breaks_the_stream_off_and_says_so(begin, code):
    worker = begin(code)
    _, *parts, end = _collect(worker, worker.call({"count": 3, "fail": 2}, accept=NDJSON))
    assert b"ValueError" in parts[-1].body
    assert end.status == 1
    assert "ValueError: no more" in worker.err
    assert len(_collect(worker, worker.call({"count": 1}, accept=NDJSON))) >= 3


@STREAMS
def test_no_more_goes_out_than_the_client_has_credit_for(begin, code):
    worker = begin(code)
    identity = worker.call({"count": 40, "size": 100_000}, accept=NDJSON)
    assert worker.receive().kind == frames.HEAD
    worker.channel.settimeout(0.5)
    taken = total = 0
    with suppress(TimeoutError):
        while taken <= CREDIT_BYTES:
            taken += len(worker.receive().body)
    assert taken <= CREDIT_BYTES
    worker.channel.settimeout(20)
    total = taken
    while True:
        worker.send(Item(identity, frames.CREDIT, body=str(taken).encode()))
        item = worker.receive()
        if item.kind == frames.END:
            break
        taken = len(item.body)
        total += taken
    assert total >= 40 * 100_000


@STREAMS
def test_a_stream_whose_client_left_is_closed(begin, code):
    worker = begin(code)
    identity = worker.call({"count": 1000, "size": 100_000}, accept=NDJSON)
    worker.until("yielded 1\n")
    worker.cancel(identity)
    assert _collect(worker, identity)[-1].status == 1
    worker.until("closed")
    assert "complete" not in worker.out
    assert len(_collect(worker, worker.call({"count": 1}, accept=NDJSON))) >= 3


def test_a_sync_stream_is_cancelled_in_the_middle_of_its_work(begin):
    worker = begin(STREAM.format(a="", hint="", imports="", wait="time.sleep(seconds)"))
    identity = worker.call({"count": 2, "seconds": 60}, accept=NDJSON)
    worker.until("yielded 0")
    worker.cancel(identity, signalled=True)
    assert _collect(worker, identity)[-1].status == 1
    worker.until("closed")


@STREAMS
def test_who_wants_no_stream_gets_a_list(begin, code):
    worker = begin(code)
    assert worker.ask({"count": 3}, accept="application/json") == (200, [0, 1, 2])


def test_prints_are_whole_lines_and_unchanged_as_text(begin):
    worker = begin(
        "import sys\ndef predict():\n    print('a', 'b')\n    print('é\\ud800', file=sys.stderr)\n"
    )
    worker.ask()
    assert worker.out == "a b\n"
    assert worker.err == "é\\ud800\n"


def test_prints_and_logs_as_json_have_their_request(begin):
    worker = begin(
        """
        import asyncio, logging

        async def predict(name: str) -> None:
            print("begin", end=" ")
            await asyncio.sleep(0.02)
            print(name)
            logging.getLogger("mine").warning("careful\\nwith %s", name)
            if name == "c":
                raise ValueError("three\\nlines")
        """,
        CORTEN_LOG_FORMAT="json",
    )
    for name in "abc":
        worker.call({"name": name}, rid=f"id-{name}")
    worker.answers(3)
    lines = [json.loads(line) for line in worker.out.splitlines()]
    assert {(line["message"], line["request_id"]) for line in lines} == {
        (f"begin {n}", f"id-{n}") for n in "abc"
    }
    assert set(lines[0]) == {"time", "level", "stream", "message", "request_id", "model", "worker"}
    assert (lines[0]["level"], lines[0]["stream"]) == ("info", "stdout")
    assert (lines[0]["model"], lines[0]["worker"]) == ("m", "3")
    logged = [json.loads(line) for line in worker.err.splitlines()]
    assert {"careful\nwith a", "careful\nwith b", "careful\nwith c"} <= {line["message"] for line in logged}
    assert {line["level"] for line in logged} == {"warning", "error"}
    (failure,) = [line for line in logged if line["level"] == "error"]
    assert failure["message"].startswith("Traceback")
    assert failure["request_id"] == "id-c"


def test_a_quick_answer_does_not_wait_for_a_slow_prediction(begin):
    worker = begin(
        """
        import time

        def predict(seconds: float) -> None:
            time.sleep(seconds)
            print("slept", seconds)
        """
    )
    worker.ask({"seconds": 0.05})
    quick, slow = worker.item({"seconds": 0}), worker.item({"seconds": 0.5})
    worker.send(quick, slow)
    assert worker.receive().id == quick.id
    assert "slept 0.5" not in worker.out
    worker.answers(1)


def test_a_stream_that_raises_before_its_first_item_leaves_nothing_behind():
    from corten_serve.worker.async_streams import AsyncStreams

    async def items():
        raise RuntimeError("at once")
        yield

    async def run() -> None:
        streams = AsyncStreams(None, lambda item: None, lambda error: False)  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match="at once"):
            await streams.run(1, None, items(), 0.0)  # type: ignore[arg-type]
        assert streams._flows == {}

    asyncio.run(run())
