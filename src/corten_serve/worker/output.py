"""What the project prints and logs. As text it goes where the process's output goes, a line at a time and unchanged.

With `CORTEN_LOG_FORMAT=json` each line becomes an object with the time, the level, the request, the model and the worker
that it belongs to; what is written at once, and a traceback, is one object, however many lines it has. Only Python's own
streams are seen: what native code writes to the descriptors stays as it is.
"""

from __future__ import annotations

import atexit
import io
import json
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from corten_serve.worker.current import current, request_id
from corten_serve.worker.stdio import dropped, replace

_LONGEST = 64 << 10
"""Characters of a line that are held until its end; what is longer goes out in pieces."""
_MOST_HELD = 1000
"""Unfinished lines that are held at once, of requests or threads."""
_TRACEBACK = "Traceback (most recent call last):"


class Output:
    """Where reports of the worker's own go: text, or objects with `labels` (the model's and the worker's names)."""

    def __init__(self, labels: Mapping[str, str] | None = None) -> None:
        self.labels = labels

    def report(self, text: str, level: str = "error", who: str = "") -> None:
        """Write `text`, which may have several lines, on standard error: as it is, or as one object. It belongs to the
        request `who`, or to the one that is being worked on."""
        who = who or request_id()
        try:
            sys.stdout.flush()
            stream = sys.stderr
            if isinstance(stream, _Lines):
                stream.emit(_bare(text.rstrip("\n")), level, who)
            else:
                if who:
                    text = f"error in request {who}: {_bare(text)}"
                stream.write(text if text.endswith("\n") else text + "\n")
                stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # Nobody reads it any more, or the project closed or replaced the stream.


def install(environment: Mapping[str, str]) -> Output:
    """Make the streams of this process write whole lines at once, as text or as objects as `environment` says."""
    if environment.get("CORTEN_LOG_FORMAT", "").lower() != "json":
        replace(lambda _, count: f"warning: {dropped(count)}\n".encode())
        return Output()
    model = environment.get("CORTEN_MODEL") or environment.get("CORTEN_NAME") or "predictor"
    labels = {"model": model, "worker": environment.get("CORTEN_WORKER") or "0"}
    replace(lambda name, count: _object(dropped(count), "warning", name, "", _tail(labels)).encode())
    sys.stdout = _Lines(sys.stdout, "stdout", labels)
    sys.stderr = _Lines(sys.stderr, "stderr", labels)
    atexit.register(sys.stderr.end)
    atexit.register(sys.stdout.end)
    _log_with_levels(sys.stderr)
    return Output(labels)


class _Lines(io.TextIOBase):
    """A text stream that becomes JSON objects: one for each line, or for all lines that were written at once. Those of
    different requests and threads never mix."""

    def __init__(self, under: TextIO, name: str, labels: Mapping[str, str]) -> None:
        self._under = under
        self._name = name
        self._tail = _tail(labels)
        self._held: dict[Any, str] = {}
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        """Keep what has no end of line yet, and send out what has."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        key = (threading.get_ident(), current.get())
        whole = self._held.pop(key, "") + text
        # `print` writes what it is given first, and then the end of the line.
        if len(whole) <= _LONGEST and (not whole.endswith("\n") or _unfinished(whole[:-1])):
            self._held[key] = whole
            if len(self._held) > _MOST_HELD:
                self._release()
            return len(text)
        message = whole[:-1] if whole.endswith("\n") else whole
        if message:  # An object without a message tells nobody anything.
            self._send(message, "info", request_id())
        return len(text)

    def writelines(self, lines: Iterable[Any]) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def emit(self, message: str, level: str, who: str = "") -> None:
        """Send `message` as one object, however many lines it has, for the request `who` or the one that is worked on."""
        self._send(message, level, who or request_id())

    def end(self) -> None:
        """Send what has no end of line and will have none."""
        while self._held:
            self._release()

    def flush(self) -> None:
        """Nothing: whole lines are sent at once, and a half of one is no object."""

    def _send(self, message: str, level: str, who: str) -> None:
        line = _object(message, level, self._name, who, self._tail)
        with self._lock:
            self._under.write(line)
            self._under.flush()

    def _release(self) -> None:
        """Send out the oldest unfinished line: whoever began it does not seem to come back."""
        for key in list(self._held)[:1]:
            text = self._held.pop(key, "").rstrip("\n")
            if text:
                self._send(text, "info", ",".join(key[1].ids))

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


def _object(message: str, level: str, stream: str, who: str, tail: str) -> str:
    """A line that is one JSON object."""
    now = time.time()
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
    head = f'{{"time":"{moment}","level":"{level}","stream":"{stream}","message":{json.dumps(message)}'
    return head + (f',"request_id":{json.dumps(who)},' if who else ",") + tail + "\n"


def _tail(labels: Mapping[str, str]) -> str:
    return json.dumps(dict(labels))[1:]


def _unfinished(message: str) -> bool:
    """Whether `message` ends within a traceback: those that Python prints come line by line, and end with one that is not
    indented."""
    at = message.rfind(_TRACEBACK)
    if at < 0 or (at and message[at - 1] != "\n"):
        return False
    return all(line[:1] in (" ", "") for line in message[at:].split("\n")[1:])


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


def _bare(text: str) -> str:
    return text[len("error: ") :] if text.startswith("error: ") else text
