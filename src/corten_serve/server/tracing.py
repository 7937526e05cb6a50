"""Which request is which: ids that come with requests, or are made here (W3C Trace Context; x-request-id by custom)."""

from __future__ import annotations

import os
import re

_ID = re.compile(r"[!-~]{1,128}")
_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?")


class Ids:
    """Gives every request an id: the client's own, that of the trace it belongs to, or a new one."""

    def __init__(self) -> None:
        self._prefix = os.urandom(6).hex()
        self._next = 0

    def of(self, given: str | None, trace: str | None) -> str:
        """`given` and `trace` are the values of x-request-id and traceparent; what is malformed does not count."""
        if given is not None and _ID.fullmatch(given):
            return given
        if trace is not None:
            found = _TRACE.fullmatch(trace)
            if found is not None:
                return found[1]
        self._next += 1
        return self._prefix + hex(self._next)[1:]


def valid_trace(trace: str) -> bool:
    """Whether it is a traceparent that may be passed on."""
    return _TRACE.fullmatch(trace) is not None
