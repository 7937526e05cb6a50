"""The server's own log on standard error: lines of text, or JSON objects.

A thread makes the lines and writes them, so that a slow reader, a full disk or a closed stream never stops serving. What it
cannot write within bounds is dropped, counted, and told of as soon as something can be written again.
"""

from __future__ import annotations

import asyncio
import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from corten_serve.server.lines import Request, Said, as_json, as_text

_MOST = 10_000
"""Lines that may wait for a slow reader; those beyond it are dropped and counted."""
_LONGEST = 16 << 10
"""Characters of one message."""
_PIPE = select.PIPE_BUF
"""Bytes that a pipe takes as one, so that lines of workers who write to the same one never end up inside of ours."""
_FILE = 64 << 10
_RANK = {"debug": 0, "info": 0, "warning": 400, "error": 500, "off": 10_000}
_Line = Request | Said


class Log:
    """`level` and `form` as in `Settings.log` and `Settings.log_format`. Lines of one tenth of a second are written
    together. `failed` counts lines that could not be written, `refused` those for which there was no room."""

    def __init__(self, level: str, form: str = "text", descriptor: int = 2) -> None:
        self._least = _RANK[level]
        self._pause = 0.01 if self._least else 0.1
        self._probes = level == "debug"
        self._quiet: frozenset[str] = frozenset()
        self._form: Callable[[Any], str] = as_json if form == "json" else as_text
        self._descriptor = descriptor
        self._room = _room(descriptor)
        self._lines: deque[_Line] = deque()
        self.refused = self.failed = self._told = 0
        self._torn = self._closed = False
        self._asleep = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Lines that were dropped so far."""
        return self.refused + self.failed

    def leave_out(self, paths: Iterable[str]) -> None:
        """Requests for `paths` are written at the level `debug` alone: who watches us asks for them all the time."""
        self._quiet = frozenset() if self._probes else frozenset(paths)

    def request(
        self, method: str, path: str, status: int, seconds: float, client: str, identity: str = "",
        given: bool = False, model: str = "",
    ) -> None:  # fmt: skip
        """One answered request. A status of 499 is a client that left before its answer. Text has its id where the client
        gave one (`given`)."""
        if status < self._least or path in self._quiet:
            return
        self._add((time.time(), method[:20], path[:200], status, seconds, client, identity, given, model))

    def say(self, message: str, hint: str | None = None, **about: Any) -> None:
        """A line about the server itself; it is written at every level. What it begins with, `error: ` or `warning: `, is its
        level. `about` are further fields of its object."""
        self._add(Said(time.time(), message[:_LONGEST], hint, about))

    def close(self) -> None:
        """Write what is left, for at most a second."""
        self._closed = True
        self._wake.set()
        self._thread.join(1.0)

    def _add(self, line: _Line) -> None:
        lines = self._lines
        if len(lines) >= _MOST:
            self.refused += 1
            return
        lines.append(line)
        if self._asleep:
            self._wake.set()

    # The thread.

    def _run(self) -> None:
        while True:
            self._asleep = True
            if not self._lines:
                if self._closed:
                    return
                self._wake.wait()
            self._asleep = False
            self._wake.clear()
            if not self._closed:
                time.sleep(self._pause)
            self._empty()

    def _empty(self) -> None:
        """Write all lines that there are, as many at once as stay together."""
        lines, form, room = self._lines, self._form, self._room
        part: list[bytes] = []
        size = 0
        while lines:
            line = form(lines.popleft()).encode(errors="backslashreplace")
            if part and size + len(line) > room:
                self._put(part)
                part, size = [], 0
            part.append(line)
            size += len(line)
        if part:
            self._put(part)

    def _put(self, lines: list[bytes]) -> None:
        lost = self.lost
        count = len(lines)
        if lost > self._told:
            text = f"warning: {lost - self._told} lines of the log were dropped, standard error was full or not read"
            lines = [form_said(self._form, text), *lines]
        data = b"".join(lines)
        if self._torn:
            data = b"\n" + data
        if self._write(data):
            self._told, self._torn = lost, False
        else:
            self.failed += count

    def _write(self, data: bytes) -> bool:
        """Whether all of it could be written. Waits for a reader as long as there is one."""
        left = data
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                # Whoever shares the stream with us has made it one that does not wait.
                waiting = select.poll()
                waiting.register(self._descriptor, select.POLLOUT)
                waiting.poll(1000)
                if self._closed:
                    return False
            except OSError:
                self._torn = self._torn or len(left) < len(data)
                return False
        return True


def form_said(form: Callable[[Any], str], text: str) -> bytes:
    """A line of the log about itself."""
    return form(Said(time.time(), text, None, {})).encode()


def take_over(log: Log, loop: asyncio.AbstractEventLoop) -> None:
    """What Python's own machinery would write on standard error becomes lines of `log`: nothing it says is lost, and none
    of it stands between objects as text."""
    import logging
    import traceback

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            level = "error" if record.levelno >= logging.ERROR else "warning"
            log.say(f"{level}: {self.format(record)}")

    def failed(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        text = "".join(traceback.format_exception(error)) if error is not None else ""
        log.say(f"error: {context.get('message', 'something went wrong')}\n{text}".rstrip("\n"))

    logging.lastResort = Handler(logging.WARNING)
    loop.set_exception_handler(failed)


def _room(descriptor: int) -> int:
    """Bytes that are written at once."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return _PIPE
    return _FILE if stat.S_ISREG(mode) else _PIPE
