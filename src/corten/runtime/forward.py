"""`python -m corten.runtime.forward DESCRIPTOR PORT`: what arrives at a listening socket goes to 127.0.0.1:PORT of the network
namespace that this process is in. The socket was made elsewhere, which is the point."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys

_PIECE = 1 << 16
_ATTEMPTS = 600


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until the sender has no more, and then say so: either side may go on sending. A connection that
    breaks on one side breaks on the other."""
    try:
        while data := await reader.read(_PIECE):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()


async def _connect(port: int, attempts: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for attempt in range(attempts):
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            # The program inside is still starting: the client waits, instead of being refused.
            await asyncio.sleep(min(0.02 * (attempt + 1), 0.2))
    raise ConnectionRefusedError


async def forward(listener: socket.socket, port: int, *, patient: bool = True) -> None:
    """Serve for ever. `patient`: clients wait for a program that is still starting; otherwise they are refused."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await _connect(port, _ATTEMPTS if patient else 1)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
        for stream in (writer, inner_writer):
            stream.close()
            with contextlib.suppress(OSError):
                await stream.wait_closed()

    server = await asyncio.start_server(serve, sock=listener, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(forward(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])))
