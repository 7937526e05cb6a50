"""The server's own log: plain lines on standard error, written by a thread so that a slow reader never stops serving."""

from __future__ import annotations

import os
import threading
import time

_MOST = 10_000
"""Lines that may wait for a slow reader; those beyond it are dropped and counted."""
_RANK = {"debug": 0, "info": 400, "warning": 400, "error": 500, "off": 10_000}
PROBES = frozenset({"/livez", "/readyz"})


class Log:
    """`level` as in `Settings.log`. Lines of one tenth of a second are written together."""

    def __init__(self, level: str, descriptor: int = 2) -> None:
        self._everything = level in ("debug", "info")
        self._probes = level == "debug"
        self._least = _RANK[level]
        self._descriptor = descriptor
        self._lines: list[str] = []
        self._dropped = 0
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def request(self, method: str, path: str, status: int, seconds: float, client: str) -> None:
        """One answered request. A status of 499 is a client that left before its answer."""
        if not self._everything and status < self._least:
            return
        if path in PROBES and not self._probes:
            return
        if not path.isprintable():
            path = ascii(path)
        self._add(f"{method} {path[:200]} {status} {seconds * 1000:.1f}ms {client.rpartition(':')[0]}\n")

    def say(self, message: str, hint: str | None = None) -> None:
        """A line about the server itself; it is written at every level."""
        self._add(f"{message}\n" + (f"hint: {hint}\n" if hint else ""))

    def close(self) -> None:
        """Write what is left, for at most a second."""
        self._closed = True
        self._wake.set()
        self._thread.join(1.0)

    def _add(self, line: str) -> None:
        if len(self._lines) >= _MOST:
            self._dropped += 1
            return
        self._lines.append(line)
        if len(self._lines) == 1:
            self._wake.set()

    def _run(self) -> None:
        while not (self._closed and not self._lines):
            self._wake.wait()
            self._wake.clear()
            if not self._closed:
                time.sleep(0.1 if self._lines and self._everything else 0.01)
            lines, self._lines = self._lines, []
            if self._dropped:
                lines.append(
                    f"warning: {self._dropped} log lines were dropped, standard error is not read fast enough\n"
                )
                self._dropped = 0
            data = "".join(lines).encode(errors="backslashreplace")
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                pass  # Nobody reads standard error any more; serving goes on without a log.
