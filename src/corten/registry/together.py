"""Several transfers at a time: threads in a bounded pool, where the first failure ends the others soon."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed, wait

from corten.registry import pauses
from corten.registry.pauses import Stopped

_MOMENT = 1.5
"""Seconds in which an interrupted transfer may end in order."""


class Together:
    """Runs jobs in threads. A job passes its pieces through `watched`, which is where it can be stopped."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._stop = threading.Event()

    def run(self, jobs: Iterable[Callable[[], None]]) -> None:
        """Run `jobs`, begun in their order. The first failure stops the others and is raised when all have ended; so
        does an interrupt, which waits a moment only: a thread may hang in a silent connection, and what it is about
        becomes visible to nobody."""
        executor = ThreadPoolExecutor(
            self._workers, "transfer", initializer=pauses.belong, initargs=(self._stop,)
        )
        futures = [executor.submit(job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
        except Exception:
            self._stop.set()
            executor.shutdown(wait=True, cancel_futures=True)
            raise
        except BaseException:
            self._stop.set()
            executor.shutdown(wait=False, cancel_futures=True)
            wait(futures, _MOMENT)
            raise
        executor.shutdown()

    def watched(
        self, pieces: Iterable[bytes], advance: Callable[[int], None] | None = None
    ) -> Iterator[bytes]:
        """`pieces`, until something else has failed. `advance` hears of every piece's length. Raises Stopped."""
        for piece in pieces:
            self.check()
            if advance:
                advance(len(piece))
            yield piece

    def check(self) -> None:
        """Raises Stopped when something else has failed."""
        if self._stop.is_set():
            raise Stopped("the transfer was stopped")
