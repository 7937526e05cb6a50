"""What server and worker say to each other over a Unix socket: frames of one or more items.

A frame is a 4-byte little-endian length and that many bytes of items, back to back. An item is a fixed header (`ITEM`),
then its meta bytes, then its body. One frame for many small requests is what makes two processes as fast as one: the
switch between them is paid once per frame. Bodies are opaque here; the server never parses one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

CALL = 1
"""Server to worker: answer this. `meta` is fields with NUL between them: the route, the request's id, then the values of
the headers that the route asked for, in its order, empty where absent. `micros` is how many milliseconds are left (0: no
limit). With bit 0 of `status` set, `body` is the path of a file that holds the body; the worker opens and unlinks it."""
ANSWER = 2
"""Worker to server: `status` and `body` for `id`; nothing more follows for it. `meta` is empty for application/json, else
a content type, then names and values of further headers, with NUL between them."""
READY = 3
"""Worker to server, once: the predictor is set up. `body` is JSON: what the predictor is, its routes, its documents."""
FAILED = 4
"""Worker to server, once: the predictor cannot be used. `body` is a message, NUL, a hint (may be empty)."""
HEAD = 5
"""Worker to server: the answer to `id` comes in parts. `status` and `meta` as in ANSWER."""
PART = 6
"""Worker to server: the next bytes of the answer to `id`. At most `CREDIT_BYTES` of them may be unacknowledged."""
END = 7
"""Worker to server: the answer to `id` is complete; with `status` 1 it is broken off, and the client must see that."""
BATCH = 8
"""Server to worker: the next `status` calls of this frame are to be predicted together."""
CANCEL = 9
"""Server to worker: stop working on `id`. An ANSWER or END for it still comes, whatever it says, so that the server knows
when the worker is free. For code that is no coroutine the server writes the id to the board, too, and sends SIGUSR1."""
CREDIT = 10
"""Server to worker: the client of `id` has taken bytes of its parts; `body` is how many, in decimal digits."""
HEALTH = 11
"""Server to worker: is the predictor healthy? Asked of idle workers only."""
HEALTHY = 12
"""Worker to server: `status` 200, or 503 with the reason as `body`."""
IN_FILE = 1
"""Bit of a CALL's `status`."""
CREDIT_BYTES = 1 << 20
HELD_AT = 24
HELD_SIZE = 256 << 10
BOARD_SIZE = HELD_AT + HELD_SIZE
"""Bytes of the memory that both share: the id begun last (all ids up to it were begun), the id to cancel, the size of a frame
that the worker has yet to send (0: none; the upper half counts the frames before it), and from `HELD_AT` on that frame."""

LENGTH = struct.Struct("<I")
ITEM = struct.Struct("<QIIIIHB")
MOST = 0xFFFFFFFF
LIMIT = 1 << 30
"""The longest frame that a reader accepts, in bytes."""


class FrameError(Exception):
    """The other side sent something that is not a frame."""


class Item(NamedTuple):
    """One request or answer. `micros` is how long the worker took, in microseconds, and `writing` how many of them it took
    to write the result out."""

    id: int
    kind: int
    status: int = 0
    micros: int = 0
    meta: bytes = b""
    body: bytes = b""
    writing: int = 0


def encode(items: Iterable[Item]) -> bytes:
    """One frame that holds `items` in order."""
    parts = [b""]
    length = 0
    for identity, kind, status, micros, meta, body, writing in items:
        parts.append(
            ITEM.pack(identity, len(meta), len(body), min(micros, MOST), min(writing, MOST), status, kind)
        )
        parts.append(meta)
        parts.append(body)
        length += ITEM.size + len(meta) + len(body)
    parts[0] = LENGTH.pack(length)
    return b"".join(parts)


class Reader:
    """Turns the bytes of a stream back into items. A frame counts only when it is complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Item]:
        """The items of all frames that `data` completes. Raises FrameError for what no sender of ours produces."""
        buffer = self._buffer
        buffer += data
        items: list[Item] = []
        start = 0
        while len(buffer) - start >= 4:
            (length,) = LENGTH.unpack_from(buffer, start)
            if length > LIMIT:
                raise FrameError(f"a frame of {length} bytes is longer than {LIMIT}")
            end = start + 4 + length
            if len(buffer) < end:
                break
            self._items(bytes(memoryview(buffer)[start + 4 : end]), items)
            start = end
        if start:
            del buffer[:start]
        return items

    def items(self, frame: bytes) -> list[Item]:
        """The items of one frame without its length. Raises FrameError."""
        items: list[Item] = []
        self._items(frame, items)
        return items

    def _items(self, frame: bytes, items: list[Item]) -> None:
        position, end, header = 0, len(frame), ITEM.size
        while position < end:
            if end - position < header:
                raise FrameError("a frame ends inside an item's header")
            identity, meta_length, body_length, micros, writing, status, kind = ITEM.unpack_from(
                frame, position
            )
            position += header
            middle = position + meta_length
            after = middle + body_length
            if after > end:
                raise FrameError("an item is longer than its frame")
            meta, body = frame[position:middle], frame[middle:after]
            items.append(Item(identity, kind, status, micros, meta, body, writing))
            position = after
