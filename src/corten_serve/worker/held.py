"""Finished answers that wait to be sent with others. They wait in memory that the server sees too: when this process dies over the
next call, or does not come back from it, what was finished before is there all the same."""

from __future__ import annotations

from corten_serve.frames import HELD_AT, ITEM, LENGTH, MOST, Item

_BEGIN = LENGTH.size
_MOST = (1 << 64) - 1


class Held:
    """One frame in the making, on the `board`. `size` is how many bytes it has, 0 for none."""

    def __init__(self, board: memoryview) -> None:
        self.size = 0
        self._published = board[HELD_AT - 8 : HELD_AT].cast("Q")
        self._data = board[HELD_AT:]
        self._number = 0
        self._room = len(self._data)

    def add(self, item: Item) -> bool:
        """Put `item` at the end, unless there is no room for it."""
        identity, kind, status, micros, meta, body, writing = item
        at = self.size or _BEGIN
        middle = at + ITEM.size
        after = middle + len(meta)
        end = after + len(body)
        if end > self._room:
            return False
        data = self._data
        ITEM.pack_into(
            data, at, identity, len(meta), len(body), min(micros, MOST), min(writing, MOST), status, kind
        )
        data[middle:after] = meta
        data[after:end] = body
        self.size = end
        self._published[0] = self._number | end
        return True

    def frame(self) -> memoryview:
        """The frame, as it is sent. It stays until `clear`."""
        LENGTH.pack_into(self._data, 0, self.size - _BEGIN)
        return self._data[: self.size]

    def clear(self) -> None:
        """It has been sent. The next is told from it by a number, for who looks while this goes on."""
        self.size = 0
        self._number = (self._number + (1 << 32)) & _MOST
        self._published[0] = self._number

    def forget(self) -> None:
        """Hold from now on what nobody sees: this is another process."""
        self.__init__(memoryview(bytearray(HELD_AT + self._room)))  # type: ignore[misc]
