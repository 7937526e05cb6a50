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
        end = time.monotonic() + 20
        while len(done) < count * threads:
            assert time.monotonic() < end
            # A future that only another thread completes: a lost wake-up would leave the loop asleep.
            future = loop.create_future()
            threading.Thread(
                target=loop.call_soon_threadsafe, args=(lambda f: f.done() or f.set_result(None), future)
            ).start()
            await asyncio.wait_for(future, 5)

    workers = [threading.Thread(target=hand_over, args=(n * count,)) for n in range(threads)]
    for worker in workers:
        worker.start()
    loop.run_until_complete(wait())
    for worker in workers:
        worker.join()
    loop.close()
    assert sorted(done) == list(range(count * threads))
