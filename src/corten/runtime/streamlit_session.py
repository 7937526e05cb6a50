"""A first session with an application of Streamlit: its page answers whatever the script does, so ready means that a session has run the
script and the script raised nothing.

A session is a WebSocket (RFC 6455) with messages of Protocol Buffers. Only the fields that matter are read; their numbers never change
(protobuf.dev, "Updating A Message Type"). What comes from inside is hostile: every length is bounded, and large messages are passed over.
"""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from collections.abc import Iterator

from corten.values import dataclass

PATHS = ("/_stcore/stream", "/stream")
"""Where a session is opened; the second up to Streamlit 1.11."""
_RERUN = b"\x5a\x00"
"""BackMsg.rerun_script (11), an empty ClientState."""
_MOST_HEAD = 16 << 10
_MOST_PARSED = 1 << 20
"""A larger message shows data, not an exception."""
_MOST_BYTES = 1 << 30
_MOST_MESSAGES = 100_000
_LONGEST_TEXT = 400
_PARTING = 2.0
"""Seconds within which the exception follows after the word that the script is no Python."""
TEXT, _BINARY, CLOSE, _PING, _PONG = 1, 2, 8, 9, 10


class Broken(Exception):
    """No session: the other side speaks something else, or has gone."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one message says: an exception that the script raised, as text, or that the script has ended, or was no Python
    (`compiled`), for which the exception follows in a message of its own."""

    raised: str = ""
    ended: bool = False
    compiled: bool = True


async def first_session(address: str, port: int) -> str | None:
    """Run the script once. Returns the exception that it raised, as text, empty for none; None where this is no Streamlit that
    knows sessions. Raises OSError, and Broken when the session ends early. It has no time limit of its own."""
    for path in PATHS:
        reader, writer = await asyncio.open_connection(address, port)
        try:
            if not await opened(reader, writer, path, port, "streamlit"):
                continue
            writer.write(frame(_BINARY, _RERUN))
            return await _outcome(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise Broken from error
        finally:
            writer.transport.abort()
    return None


async def opened(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, port: int, protocol: str = ""
) -> bool:
    """Whether a WebSocket is opened at `path`."""
    wanted = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: http://localhost:{port}\r\nUser-Agent: corten\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        f"Sec-WebSocket-Version: 13\r\n{wanted}\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    return len(head) <= _MOST_HEAD and head.split(b" ", 2)[1:2] == [b"101"]


async def _outcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    raised, total = "", 0
    compiled = True
    for _ in range(_MOST_MESSAGES):
        try:
            async with asyncio.timeout(None if compiled else _PARTING):
                kind, data, size = await received(reader, writer)
        except TimeoutError:
            return "the script does not compile"
        total += size
        if kind == CLOSE or total > _MOST_BYTES:
            raise Broken
        said = read(data) if kind == _BINARY else Said()
        raised = raised or said.raised
        if said.ended and (raised or said.compiled):
            return raised
        compiled = compiled and said.compiled
        if raised and not compiled:
            return raised
    raise Broken


async def received(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, bytes, int]:
    """One message: its kind, its bytes (none of one that is too large), and its size. Pings are answered."""
    kind, parts, size = 0, bytearray(), 0
    while True:
        first, second = await reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", await reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", await reader.readexactly(8))
        if second & 0x80 or first & 0x70 or length > _MOST_BYTES:
            raise Broken  # masked by a server, an extension that was not asked for, or too large
        code = first & 0x0F
        if code in (_PING, _PONG):
            data = await reader.readexactly(min(length, 125))
            if code == _PING:
                writer.write(frame(_PONG, data))
            continue
        kind = kind or code
        size += length
        if size > _MOST_BYTES:
            raise Broken
        while length:
            piece = await reader.read(min(length, 1 << 16))
            if not piece:
                raise Broken
            length -= len(piece)
            if size <= _MOST_PARSED:
                parts += piece
        if first & 0x80:
            return kind, bytes(parts) if size <= _MOST_PARSED else b"", size


def frame(kind: int, data: bytes) -> bytes:
    """A frame of a client with at most 125 bytes."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
    return bytes((0x80 | kind, 0x80 | len(data))) + mask + masked


# --- Protocol Buffers --------------------------------------------------------------------------------------------


def read(message: bytes) -> Said:
    """What a ForwardMsg says. Whatever is no such message says nothing."""
    raised, ended, compiled = "", False, True
    for number, value in fields(message):
        if number == 6:  # script_finished: success, compile error, early for a rerun, a fragment
            ended = ended or value in (0, 1)
            compiled = compiled and value != 1
        elif number == 5 and isinstance(value, bytes):  # delta → new_element → exception
            for inner in _within(value, 3):
                for found in _within(inner, 8):
                    raised = raised or exception(found)
        elif number == 10 and isinstance(value, bytes):  # session_event → script_compilation_exception
            for found in _within(value, 3):
                raised = raised or exception(found)
    return Said(raised, ended, compiled)


def exception(message: bytes) -> str:
    """`KeyError: 'x' (line 3 of app.py)` of an Exception message; empty for a warning that the script shows."""
    kind, text, warning, where = "", "", 0, ""
    for number, value in fields(message):
        if number == 5 and isinstance(value, int):
            warning = value
        if not isinstance(value, bytes):
            continue
        words = " ".join(value[: 4 * _LONGEST_TEXT].decode(errors="replace").split())
        if number == 1:
            kind = words
        elif number == 2:
            text = words
        elif number == 3 and "/app/" in words:
            where = words
    if warning:
        return ""
    said = ": ".join(part for part in (kind, text) if part) or "an exception"
    place = where.removeprefix("File ").partition(", in ")[0].replace('"', "")
    return said[:_LONGEST_TEXT] + (f" ({place})" if place and len(place) < 200 else "")


def _within(message: bytes, wanted: int) -> Iterator[bytes]:
    for number, value in fields(message):
        if number == wanted and isinstance(value, bytes):
            yield value


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message, each with its number, as far as they are well formed."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(message, place)
            if place <= len(message):
                yield number, value
        elif wire == 2:
            size, place = _varint(message, place)
            if place + size > len(message):
                return
            yield number, message[place : place + size]
            place += size
        elif wire in (1, 5):
            place += 8 if wire == 1 else 4
        else:
            return


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A number and the place after it; a place beyond the end where it is cut off."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, place
    return 0, len(message) + 1
