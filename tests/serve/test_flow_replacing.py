"""Workers that are replaced: what they still work on is finished, and two of them never need room that only one has."""

from __future__ import annotations

import concurrent.futures
import time

STUBBORN = """
    import asyncio, os

    async def predict(seconds: float, stubborn: float = 0.0, block: bool = False) -> int:
        try:
            if block:
                import time
                time.sleep(seconds)
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            await asyncio.sleep(stubborn)
            raise
        return os.getpid()
"""


def test_a_coroutine_that_is_slow_to_clean_up_costs_its_neighbours_nothing(start):
    server = start(STUBBORN, CORTEN_GRACE="0.3")
    (worker,) = server.children()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        slow = pool.submit(
            server.predict, {"seconds": 60, "stubborn": 60}, headers={"x-request-timeout": "0.3"}
        )
        others = [pool.submit(server.predict, {"seconds": 3}) for _ in range(6)]
        assert slow.result().status == 504
        answers = [other.result() for other in others]
    assert {(answer.status, answer.json) for answer in answers} == {(200, worker)}
    # It gets nothing more, and is ended when only the stubborn one is left.
    again = server.predict({"seconds": 0})
    assert again.status == 200
    assert again.json != worker
    end = time.monotonic() + 60
    while worker in server.children():
        assert time.monotonic() < end, server.log()
        time.sleep(0.02)
    assert "did not return within 0.3 s" in server.log()


def test_a_worker_whose_loop_stands_still_is_ended_with_all(start):
    server = start(STUBBORN, CORTEN_GRACE="0.2")
    (worker,) = server.children()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        other = pool.submit(server.predict, {"seconds": 30})
        server.wait_for_requests(1)
        slow = pool.submit(
            server.predict, {"seconds": 60, "block": True}, headers={"x-request-timeout": "0.3"}
        )
        assert slow.result().status == 504
        assert other.result().status == 502
    assert worker not in server.children()


FULL = """
    import fcntl, os

    class Model:
        def setup(self):
            self.file = open(os.environ["LOCK"], "w")
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.overlap = False
            except BlockingIOError:
                self.overlap = True
            self.well = True

        def healthy(self):
            return self.well

        def predict(self, sick: bool = False) -> list:
            self.well = self.well and not sick
            return [os.getpid(), self.overlap]
"""


def replaced(server) -> list:
    (before, _) = server.predict({"sick": True}).json
    end = time.monotonic() + 60
    while (answer := server.predict({}).json)[0] == before:
        assert time.monotonic() < end, server.log()
        time.sleep(0.02)
    return answer


def test_a_model_that_fills_the_gpu_is_replaced_after_it_has_ended(start, tmp_path):
    variables = {"LOCK": str(tmp_path / "lock"), "CORTEN_HEALTH_SECONDS": "0.2"}
    server = start(FULL, "predict:Model", CUDA_VISIBLE_DEVICES="0", **variables)
    assert replaced(server)[1] is False
    assert "another takes its place when it has ended" in server.log()
