"""Predictors that fork: a child never speaks for its parent, whatever it does."""

from __future__ import annotations

import pytest

FORKS = """
    import os, sys, asyncio
    from typing import Any
    from corten_serve import endpoint

    def forked(how):
        pid = os.fork()
        if pid == 0:
            if how == "exits":
                sys.exit(3)
            if how == "raises":
                raise RuntimeError("in the child")
            if how == "writes":
                for descriptor in (3, 4):
                    os.write(descriptor, b"GARBAGE" * 100)
            return None
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    class Model:
        {sync}def predict(self, how: str) -> int:
            return forked(how)

        @endpoint
        {sync}def stream(self, how: str) -> Any:
            yield 1
            yield forked(how)

        @endpoint
        {sync}def plain(self, n: int) -> int:
            return n
"""
BATCH = (
    FORKS.split("class Model")[0]
    + """
    class Model:
        def predict_batch(self, items: list[str]) -> list[int]:
            code = forked(items[0])
            return [code] * len(items)
"""
)


@pytest.mark.parametrize("sync", ["", "async "], ids=["sync", "async"])
def test_a_child_that_goes_on_says_nothing_to_the_server(start, sync):
    server = start(FORKS.format(sync=sync), "predict:Model")
    workers = server.children()
    for how, code in (("returns", 0), ("exits", 3), ("raises", 1), ("writes", 0)):
        for _ in range(2):
            answer = server.predict({"how": how})
            assert (answer.status, answer.json) == (200, code)
            assert server.request("POST", "/plain", {"n": 7}).json == 7
    assert server.children() == workers


def test_in_a_stream(start):
    server = start(FORKS.format(sync=""), "predict:Model")
    for how, code in (("returns", b"0"), ("exits", b"3")):
        answer = server.request("POST", "/stream", {"how": how}, {"accept": "application/x-ndjson"})
        assert answer.body == b"1\n" + code + b"\n"
    assert server.request("POST", "/plain", {"n": 7}).json == 7


def test_in_a_batch(start):
    server = start(BATCH, "predict:Model")
    assert server.predict({"item": "returns"}).json == 0
    assert server.predict({"item": "exits"}).json == 3


def test_in_setup(start):
    code = """
        import os

        class Model:
            def setup(self):
                if os.fork() == 0:
                    return
                os.wait()

            def predict(self) -> int:
                return 1
    """
    server = start(code, "predict:Model")
    assert server.predict({}).json == 1


def test_children_of_multiprocessing_can_be_ended(start):
    code = """
        import multiprocessing, time

        def predict() -> int:
            child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
            child.start()
            time.sleep(0.1)
            child.terminate()
            child.join(10)
            return child.exitcode
    """
    server = start(code)
    assert server.predict({}).json == -15
    assert server.predict({}).json == -15
