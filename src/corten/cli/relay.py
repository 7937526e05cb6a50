"""What arrives at a socket goes to whoever serves now, and waits while nobody does: `dev` changes servers behind it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

from corten.runtime.forward import pump

_BUFFER = 1 << 20


class Relay:
    """Passes connections on, from a thread of its own, from now until `close`."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._target: tuple[str, int] | None = None
        self._loop = asyncio.new_event_loop()
        self._there = asyncio.Event()
        self._busy: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    def lead_to(self, address: tuple[str, int] | None) -> None:
        """New connections go to `address` from here on; with None they wait for the next one."""

        def change() -> None:
            self._target = address
            if address is None:
                self._there.clear()
            else:
                self._there.set()

        self._loop.call_soon_threadsafe(change)

    def close(self) -> None:
        """Pass nothing on any more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._pass_on, sock=self._listener.dup(), limit=_BUFFER)
        )
        self._loop.run_forever()
        server.close()
        for task in self._busy:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._busy, return_exceptions=True))
        self._loop.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            await self._there.wait()
            assert self._target is not None
            inner_reader, inner_writer = await asyncio.open_connection(*self._target, limit=_BUFFER)
            try:
                await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
            finally:
                inner_writer.close()
        except OSError:
            writer.transport.abort()
        finally:
            self._busy.discard(task)
            with contextlib.suppress(OSError):
                writer.close()
