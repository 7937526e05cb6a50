from __future__ import annotations

import asyncio
import threading
import time

from corten_serve.server.turns import Loop


def test_what_threads_hand_over_always_wakes_the_loop():
    loop = Loop()
    done: list[int] = []
    count, threads = 3000, 4

    def hand_over(first: int) -> None:
        for number in range(first, first + count):
            loop.call_soon_threadsafe(done.append, number)
            if number % 7 == 0:
                time.sleep(0.0001)  # So that the loop goes to sleep in between.

    async def wait() -> None:
        end = time.monotonic() + 60
        while len(done) < count * threads:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)

    workers = [threading.Thread(target=hand_over, args=(n * count,)) for n in range(threads)]
    for worker in workers:
        worker.start()
    loop.run_until_complete(wait())
    for worker in workers:
        worker.join()
    loop.close()
    assert sorted(done) == list(range(count * threads))


def test_a_call_that_comes_while_the_loop_reads_its_pipe_does_not_silence_the_next():
    class Meddled(Loop):
        """Another thread hands something over in the middle of the reading."""

        def _process_self_data(self, data: bytes) -> None:
            if not seen:
                seen.append("meddled")
                self.call_soon_threadsafe(seen.append, "handed over")

    seen: list[str] = []
    loop = Meddled()

    async def wait() -> None:
        for _ in range(2):
            future = loop.create_future()
            threading.Timer(0.1, loop.call_soon_threadsafe, (future.set_result, None)).start()
            await future  # Without a timer, which would wake the loop, too.

    running = threading.Thread(target=loop.run_until_complete, args=(wait(),), daemon=True)
    running.start()
    running.join(10)
    assert not running.is_alive(), "the loop sleeps though something was handed over"
    loop.close()
    assert seen == ["meddled", "handed over"]
