"""The first page of an application: whether its script has made it, or has raised.

Bokeh (and Panel with it) runs a script for each session, logs what it raises, and answers 200 with a page that has nothing in it. What comes
from inside is hostile: at most a few megabytes are read, and nothing of them is interpreted.
"""

from __future__ import annotations

_MOST = 4 << 20
_BOKEH, _ROOTS = b"static/js/bokeh", b'"roots":{'
_EMPTY = "its page is empty, so its script has raised"


class Page:
    """An answer as it comes. `begins`: its first bytes."""

    def __init__(self) -> None:
        self.begins = b""
        self._size = 0
        self._end = b""
        self._of_bokeh = self._has_roots = False

    @property
    def wants_more(self) -> bool:
        """Whether what has come does not tell yet."""
        if len(self.begins) < 12:
            return True
        return not self._is_error and not self._has_roots and self._size < _MOST

    def feed(self, piece: bytes) -> None:
        """The next bytes."""
        self.begins = (self.begins + piece)[:64] if len(self.begins) < 64 else self.begins
        self._size += len(piece)
        both = self._end + piece
        self._of_bokeh = self._of_bokeh or _BOKEH in both
        self._has_roots = self._has_roots or _ROOTS in both
        self._end = both[-len(_BOKEH) :]

    @property
    def _is_error(self) -> bool:
        return self.begins.startswith(b"HTTP/1.") and self.begins[9:10] == b"5"

    @property
    def is_busy(self) -> bool:
        """Whether it says that it is not ready yet (502 to 504)."""
        return self._is_error and self.begins[9:12] in (b"502", b"503", b"504")

    @property
    def raised(self) -> str:
        """What it shows instead of a page; empty for a page."""
        from corten.runtime.readiness import status_of

        if self._is_error:
            return status_of(self.begins)
        return _EMPTY if self._of_bokeh and not self._has_roots and self._size < _MOST else ""
