"""Starts programs in sandboxes, and ends them.

`start` gives a running program with pipes, `run` waits for its end and collects what it says. Both raise NoSandbox where this
machine has no namespaces for it: what to do then is decided by whoever asks. A sandbox ends with its `Confined`, and with this
process, however that goes.
"""

from __future__ import annotations

import errno
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from corten.errors import NoSandbox
from corten.sandbox.confinement import Confinement, encode
from corten.values import dataclass

_SOURCES = str(Path(__file__).parents[2])
_ENTER = f"import sys; sys.path.insert(0, {_SOURCES!r}); from corten.sandbox.enter import main; main()"
_PIECE = 1 << 16
_LATE = 124  # as `enter` has it, which is never imported here: it brings what only a process of its own needs


class Confined:
    """A running program. `process` has its pipes; the program itself is a child of that process."""

    def __init__(self, process: subprocess.Popen[bytes], leash: int) -> None:
        self.process = process
        self._leash = leash

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with suppress(OSError, ValueError):
                    stream.close()

    def end(self) -> int:
        """Kill what still runs and wait until nothing of it is left. Idempotent; returns the program's exit code."""
        if self._leash >= 0:
            leash, self._leash = self._leash, -1
            os.close(leash)
        return self.process.wait()


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended. `late`: it was killed because its time was up; `overlong`: because it said too much, and `output`
    and `errors` are cut off."""

    code: int
    output: bytes
    errors: bytes
    late: bool = False
    overlong: bool = False


def start(
    confinement: Confinement, *, stdin: int = subprocess.PIPE, stderr: int = subprocess.PIPE
) -> Confined:
    """Start the program with a pipe for its output, and for the others unless they are said to be something else. Raises
    NoSandbox where it cannot be confined, OSError where the program itself cannot be started."""
    document = encode(confinement, os.uname().machine)
    status, status_end = os.pipe()
    leash_end, leash = os.pipe()
    try:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _ENTER, str(status_end), str(leash_end)],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                pass_fds=(status_end, leash_end),
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(status_end)
            os.close(leash_end)
        confined = Confined(process, leash)
        leash = -1
        try:
            said = _told(confined, document, status)
        except BaseException:
            confined.__exit__(None, None, None)
            raise
        if said:
            with confined:
                raise _refusal(said)
        return confined
    finally:
        os.close(status)
        if leash >= 0:
            os.close(leash)


def _told(confined: Confined, document: bytes, status: int) -> bytes:
    with suppress(BrokenPipeError):
        left = memoryview(document)
        while left:
            left = left[os.write(confined._leash, left) :]
    said = b""
    while piece := os.read(status, _PIECE):
        said += piece
    return said


def _refusal(said: bytes) -> Exception:
    code, what, name = [*said.decode(errors="replace").split("\t"), "", ""][:3]
    number = int(code) if code.isdecimal() else 0
    reason = os.strerror(number).lower() if number else code
    if what == "the program" or number == errno.ENOENT:
        return OSError(number, os.strerror(number), name or None)
    place = f" '{name}'" if name.startswith("/") else ""
    return NoSandbox(
        f"a program that is not trusted cannot be confined here: {what}{place}: {reason}",
        hint="run 'corten doctor' to see what this machine lacks",
    )


def run(
    confinement: Confinement,
    data: bytes = b"",
    *,
    most: int = 16 << 20,
    started_one: Callable[[Confined], None] | None = None,
) -> Finished:
    """Run the program to its end with `data` as its input. Of its output and of its errors `most` bytes are taken each; at
    more it is ended. `started_one` gets it when it runs, for another thread to end it. Raises as `start`."""
    started = time.monotonic()
    with start(confinement) as confined:
        if started_one is not None:
            started_one(confined)
        output, errors, overlong = _collected(confined.process, data, most)
        code = confined.end() if overlong else confined.process.wait()
    seconds = confinement.limits.seconds
    late = code == _LATE and seconds is not None and time.monotonic() - started >= seconds
    return Finished(code, output, errors, late, overlong)


def _collected(process: subprocess.Popen[bytes], data: bytes, most: int) -> tuple[bytes, bytes, bool]:
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
    assert stdin is not None
    assert stdout is not None
    assert stderr is not None
    said: dict[int, bytearray] = {stdout.fileno(): bytearray(), stderr.fileno(): bytearray()}
    left = memoryview(data)
    overlong = False
    with selectors.DefaultSelector() as selector:
        for descriptor in said:
            selector.register(descriptor, selectors.EVENT_READ)
        os.set_blocking(stdin.fileno(), False)
        selector.register(stdin.fileno(), selectors.EVENT_WRITE)
        while selector.get_map() and not overlong:
            for key, _ in selector.select():
                if key.fd in said:
                    piece = os.read(key.fd, _PIECE)
                    said[key.fd] += piece
                    overlong = overlong or len(said[key.fd]) > most
                    if not piece:
                        selector.unregister(key.fd)
                    continue
                try:
                    left = left[os.write(key.fd, left) :] if left else left
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    left = left[:0]
                if not left:
                    selector.unregister(key.fd)
                    stdin.close()
    output, errors = (bytes(said[stream.fileno()][:most]) for stream in (stdout, stderr))
    return output, errors, overlong
