"""Tracebacks of the project's own code: what went wrong where, without the frames of the server around it."""

from __future__ import annotations

import errno
import os
from types import TracebackType

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def user_traceback(error: BaseException) -> str:
    """`error` as Python prints it, with the causes, from the first frame that is the project's own.

    Frames of this package are left out everywhere, and so is the import machinery that stands between them and the
    project. An error that never reached the project's code has no frames left, only its message."""
    import traceback

    seen: set[int] = set()
    pending: BaseException | None = error
    while pending is not None and id(pending) not in seen:
        seen.add(id(pending))
        pending.__traceback__ = _strip(pending.__traceback__)
        pending = pending.__cause__ or (None if pending.__suppress_context__ else pending.__context__)
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    place = _not_writable(error)
    return f"{text}{place}\n" if place else text


def _not_writable(error: BaseException) -> str:
    """Where a predictor wanted to write and may not, and how to let it; empty for other errors."""
    seen: set[int] = set()
    pending: BaseException | None = error
    while pending is not None and id(pending) not in seen:
        seen.add(id(pending))
        if (
            isinstance(pending, OSError)
            and pending.errno == errno.EROFS
            and isinstance(pending.filename, str)
        ):
            path = os.path.abspath(pending.filename)
            folder = path if path.count("/") < 2 else os.path.dirname(path)
            if folder in ("/", "/app"):
                return f"'{path}' is read-only: write below /tmp, or run with --read-write"
            return f"'{path}' is read-only: write below /tmp, or mount a volume there: -v NAME:{folder}"
        pending = pending.__cause__ or (None if pending.__suppress_context__ else pending.__context__)
    return ""


def _strip(trace: TracebackType | None) -> TracebackType | None:
    kept: list[TracebackType] = []
    leading = True
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        machinery = file.startswith("<frozen importlib") or file.endswith(f"importlib{os.sep}__init__.py")
        if not os.path.abspath(file).startswith(_OURS) and not (leading and machinery):
            kept.append(trace)
            leading = False
        trace = trace.tb_next
    result: TracebackType | None = None
    for frame in reversed(kept):
        result = TracebackType(result, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return result
