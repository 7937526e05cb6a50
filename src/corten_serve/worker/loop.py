"""The event loop of a worker, made when something async is first met. One loop for everything: what `setup` opened on it
(a client session, a pool of connections) is still good in `predict`."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


class Loop:
    """Runs awaitables of the project's. asyncio is imported only for a predictor that is async."""

    def __init__(self) -> None:
        self._loop: Any = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop itself, made now if there was none."""
        if self._loop is None:
            import asyncio

            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        loop: asyncio.AbstractEventLoop = self._loop
        return loop

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run `coroutine` to its end."""
        return self.loop.run_until_complete(coroutine)

    def settle(self, value: Any) -> Any:
        """`value`, or what it gives when it is awaited."""
        return self.run(_wait(value)) if hasattr(value, "__await__") else value

    def collect(self, items: Any) -> list[Any]:
        """All items of an iterator or async iterator."""
        if hasattr(items, "__anext__"):
            return list(self.run(gather(items)))
        return list(items)

    def close(self) -> None:
        """End async generators that nobody finished, and close the loop."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()


async def gather(items: Any) -> list[Any]:
    """All items of an async iterator."""
    return [item async for item in items]


async def _wait(awaitable: Any) -> Any:
    return await awaitable
