"""What the project prints and logs. As text it goes where the process's output goes, a line at a time and unchanged.

With `CORTEN_LOG_FORMAT=json` each line becomes an object with the time, the level, the request, the model and the worker
that it belongs to. Only Python's own streams are seen: what native code writes to the descriptors stays as it is.
"""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from corten_serve.worker.current import current, request_id

_LONGEST = 64 << 10
"""Characters of a line that are held until its end; what is longer goes out in pieces."""
_MOST_HELD = 1000
"""Unfinished lines that are held at once, of requests or threads."""


class Output:
    """Where reports of the worker's own go: text, or objects with `labels` (the model's and the worker's names)."""

    def __init__(self, labels: Mapping[str, str] | None = None) -> None:
        self.labels = labels

    def report(self, text: str, level: str = "error") -> None:
        """Write `text`, which may have several lines, on standard error: as it is, or as one object."""
        try:
            sys.stdout.flush()
            stream = sys.stderr
            if isinstance(stream, _Lines):
                stream.emit(text.rstrip("\n"), level)
            else:
                stream.write(text if text.endswith("\n") else text + "\n")
                stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # Nobody reads it any more, or the project closed or replaced the stream.


def install(environment: Mapping[str, str]) -> Output:
    """Make the streams of this process write whole lines at once, as text or as objects as `environment` says."""
    if environment.get("CORTEN_LOG_FORMAT", "").lower() != "json":
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(line_buffering=True, errors="backslashreplace")
        return Output()
    model = environment.get("CORTEN_MODEL") or environment.get("CORTEN_NAME") or "predictor"
    labels = {"model": model, "worker": environment.get("CORTEN_WORKER") or "0"}
    sys.stdout = _Lines(sys.stdout, "stdout", labels)
    sys.stderr = _Lines(sys.stderr, "stderr", labels)
    _log_with_levels(sys.stderr)
    return Output(labels)


class _Lines(io.TextIOBase):
    """A text stream whose lines become JSON objects. Lines of different requests and threads never mix."""

    def __init__(self, under: TextIO, name: str, labels: Mapping[str, str]) -> None:
        self._under = under
        self._name = name
        self._tail = json.dumps(dict(labels))[1:]
        self._held: dict[Any, str] = {}
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        """Keep what has no end of line yet, and send out what has."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        key = (threading.get_ident(), current.get())
        whole = self._held.pop(key, "") + text
        *lines, rest = whole.split("\n")
        if len(rest) > _LONGEST:
            lines.append(rest)
            rest = ""
        if rest:
            self._held[key] = rest
            if len(self._held) > _MOST_HELD:
                self._release()
        if lines:
            self._send(lines, "info")
        return len(text)

    def writelines(self, lines: Iterable[Any]) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def emit(self, message: str, level: str) -> None:
        """Send `message` as one object, however many lines it has."""
        self._send([message], level)

    def flush(self) -> None:
        """Nothing: whole lines are sent at once, and a half of one is no object."""

    def _send(self, lines: list[str], level: str) -> None:
        now = time.time()
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        who = request_id()
        head = f'{{"time":"{moment}","level":"{level}","stream":"{self._name}","message":'
        middle = f',"request_id":{json.dumps(who)},' if who else ","
        objects = [head + json.dumps(line) + middle + self._tail + "\n" for line in lines]
        with self._lock:
            self._under.write("".join(objects))
            self._under.flush()

    def _release(self) -> None:
        """Send out the oldest unfinished line: whoever began it does not seem to come back."""
        for key in list(self._held)[:1]:
            self._send([self._held.pop(key)], "info")

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._under.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"

    @property
    def buffer(self) -> Any:
        """The bytes beneath, for code that writes those."""
        return self._under.buffer


def _log_with_levels(stream: Any) -> None:
    """What is logged without a handler of the project's own is written with its level, and not only its text."""
    import logging

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                stream.emit(self.format(record), record.levelname.lower())
            except Exception:
                self.handleError(record)

    logging.lastResort = Handler(logging.WARNING)
