"""What is sent of a blob: from a byte on, hashed, in pieces of a size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

from corten.errors import RegistryError

Content = Callable[[], Iterator[bytes]]
"""Gives the same bytes whenever it is called."""


class Stream:
    """The content from a byte on, hashed from its start by `algorithm` if it is to be `hashed`."""

    def __init__(
        self,
        content: Content,
        skip: int,
        size: int | None,
        show: Callable[[int], None],
        hashed: bool,
        algorithm: str = "sha256",
    ) -> None:
        self._algorithm = algorithm
        self.hash = hashlib.new(algorithm)
        self.sent = skip
        self.complete = False
        self._content = content
        self._skip = skip
        self._size = size
        self._show = show
        self._hashed = hashed

    def pieces(self) -> Iterator[bytes]:
        """The bytes behind the skipped ones. May be called again: an exchange is repeated with another token."""
        self.hash = hashlib.new(self._algorithm)
        self.sent, skip, self.complete = self._skip, self._skip, False
        for piece in self._content():
            if self._hashed:
                self.hash.update(piece)
            if skip:
                dropped = min(skip, len(piece))
                skip -= dropped
                piece = piece[dropped:]
            if piece:
                if self._size is not None and self.sent + len(piece) > self._size:
                    raise RegistryError(f"what was to be uploaded has more than {self._size} bytes")
                yield piece
                self.sent += len(piece)
                self._show(self.sent)
        if skip or self._size not in (None, self.sent):
            raise RegistryError(f"what was to be uploaded has {self.sent} bytes instead of {self._size}")
        self.complete = True


def chunked(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """`pieces` put together into chunks of exactly `size` bytes, the last one excepted."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)
