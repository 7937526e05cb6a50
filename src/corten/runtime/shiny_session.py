"""A first session with an application of Shiny: its page answers whatever the server function does, so ready means that a session has run
it and it raised nothing.

A session is a WebSocket at /websocket/ with JSON messages. The client begins with `init`; the server function runs, and then its values come.
Where it raised, the server ends the session. What comes from inside is hostile: every length is bounded.
"""

from __future__ import annotations

import asyncio

from corten.runtime.streamlit_session import CLOSE, TEXT, Broken, frame, opened, received

_PATH = "/websocket/"
_INIT = b'{"method":"init","data":{}}'
_MOST_MESSAGES = 10_000
_MOST_BYTES = 1 << 28
_RAISED = "its server function raises, or an output of it"


async def first_session(address: str, port: int) -> str | None:
    """Run the server function once. Returns what is wrong, as text, empty for nothing; None where this is no Shiny. Raises OSError, and
    Broken when the session ends before it has begun. It has no time limit of its own."""
    reader, writer = await asyncio.open_connection(address, port)
    try:
        if not await opened(reader, writer, _PATH, port):
            return None
        writer.write(frame(TEXT, _INIT))
        return await _outcome(reader, writer)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise Broken from error
    finally:
        writer.transport.abort()


async def _outcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    total, begun = 0, False
    for _ in range(_MOST_MESSAGES):
        kind, data, size = await received(reader, writer)
        total += size
        if total > _MOST_BYTES:
            raise Broken
        if kind == CLOSE:
            if begun:
                return _RAISED
            raise Broken
        begun = begun or b'"config"' in data
        if b'"values"' in data:
            return ""
    raise Broken
