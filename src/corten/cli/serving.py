"""What `dev` does around a container that serves: waiting, showing what it prints, counting interrupts, stopping."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from corten.errors import RuntimeFailure
from corten.supervise.asking import parsed, question
from corten.supervise.instance import Words
from corten.supervise.starting import Served

GRACE = 10.0
"""Seconds that a container has to finish what is in flight before it is killed."""
_PATIENCE = 5.0
"""Seconds of silence on an open connection after which a command's port counts as answered."""
_TAIL = 64 << 10
_LAST = 50
"""So many of the last lines are kept, for the cause of a failure."""


def wait_until_ready(
    served: Served, address: tuple[str, int], path: str, asked: Interrupts | None = None
) -> None:
    """Wait until `GET path` answers 200.

    There is no time limit: a model may take its time. Returns early when interrupted. Raises RuntimeFailure when the
    container ends first."""
    while not (asked and asked.count):
        answer = get(address, path, served, asked)
        if answer is not None and answer[0] == 200:
            return
        _check_running(served)
        time.sleep(0.02)


def wait_until_told(
    served: Served, heard: int, say: Callable[[str], None], asked: Interrupts, quiet: float = 10.0
) -> None:
    """Wait until a command's forwarder says on the pipe `heard` that the command is ready. What it says besides is told, and after
    `quiet` seconds why it is not ready. Returns early when interrupted. Raises RuntimeFailure when it never will be."""
    words, begun, told = Words(), time.monotonic(), False
    while not asked.count:
        if select.select([heard], [], [], 0.05)[0]:
            said = os.read(heard, 1 << 16)
            words.hear(said)
            for note in words.notes:
                say(f"'{served.name}' {note}")
            words.notes.clear()
            if b"READY=1" in said:
                return
            if words.failed:
                raise RuntimeFailure(f"'{served.name}' {words.failed}", hint="its own output above says why")
            if not said:
                time.sleep(0.05)
        _check_running(served)
        if not told and time.monotonic() - begun > quiet:
            told = True
            say(words.late(served.name, None))


def _check_running(served: Served) -> None:
    code = served.poll()
    if code is not None:
        raise RuntimeFailure(
            f"'{served.name}' ended before it was ready, with exit code {code}",
            hint="its own output above says why",
        )


def get(
    address: tuple[str, int], path: str, served: Served, asked: Interrupts | None = None
) -> tuple[int, bytes] | None:
    """Status and body of one small HTTP request; None when the answer is no HTTP, or `served` has ended, or an interrupt
    came.

    The connection may wait in the listening socket's queue until the container accepts it. Where the answer is not there after
    five seconds, that counts as status 0: whoever is there is slow, but there."""
    received = bytearray()
    try:
        with socket.create_connection(address, timeout=5) as connection:
            connection.sendall(question(address, path))
            begun = time.monotonic()
            while len(received) < 16 << 20:
                arrived = select.select([connection], [], [], 0.05)[0]
                if (asked and asked.count) or (not arrived and served.poll() is not None):
                    return None
                if time.monotonic() - begun > _PATIENCE:
                    return 0, b""
                if not arrived:
                    continue
                data = connection.recv(1 << 16)
                if not data:
                    break
                received += data
    except OSError:
        return None
    return parsed(bytes(received))


class Output:
    """A pipe that a container writes to. Its lines go to `write`, one call for each, in order, from a thread."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._to = write
        self._last: deque[str] = deque(maxlen=_LAST)
        self._reading, self.descriptor = os.pipe()
        self._handling = threading.Lock()
        self._thread = threading.Thread(target=self._pump, name="output", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Close our end, and wait a moment until what was written has been passed on."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        self._thread.join(1.0)

    def explain(self, error: RuntimeFailure) -> RuntimeFailure:
        """`error` with a hint that names the cause, as far as the last lines tell it. Call it after `finish`."""
        from corten.runtime.forwarder import RAISES
        from corten.supervise.causes import cause, raised

        own = None if RAISES in error.message else raised(self.last)
        error.hint = cause(self.last) or own or error.hint
        return error

    @property
    def last(self) -> tuple[str, ...]:
        """The last lines of what has been written until now."""
        end = time.monotonic() + 1.0
        # Reading may already have stopped: then there is nothing to wait for, and the time ends it.
        while (left := end - time.monotonic()) > 0 and self._handling.acquire(timeout=left):
            waiting = self._waiting()
            self._handling.release()
            if not waiting:
                break
            time.sleep(0.005)
        return tuple(self._last)

    def _waiting(self) -> bool:
        """Whether the pipe has bytes that nobody has read yet."""
        if self._reading < 0:
            return False
        count = fcntl.ioctl(self._reading, termios.FIONREAD, b"\0" * 4)
        return count != b"\0" * 4

    def _write(self, line: str) -> None:
        self._last.append(line)
        self._to(line)

    def _pump(self) -> None:
        rest = b""
        arrived = select.poll()
        arrived.register(self._reading, select.POLLIN)
        while True:
            arrived.poll()
            # What is not in the pipe any more has been written when the lock is free.
            with self._handling:
                data = os.read(self._reading, 1 << 16)
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._write(line.decode(errors="replace"))
                if len(rest) > _TAIL or (rest and not data):
                    self._write(rest.decode(errors="replace"))
                    rest = b""
                if not data:
                    os.close(self._reading)
                    self._reading = -1
                    return


class Interrupts:
    """Counts Ctrl-C, SIGTERM and a closed terminal while a container serves, instead of dying of them."""

    def __init__(self) -> None:
        self.count = 0
        self._waker, self._wakened = os.pipe()

    def wait(self, seconds: float) -> None:
        """Sleep for `seconds`, or until the next interrupt."""
        if select.select([self._waker], [], [], seconds)[0]:
            os.read(self._waker, 1)

    def received(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self.count += 1
        os.write(self._wakened, b"!")

    def close(self) -> None:
        """Give the pipe back."""
        os.close(self._waker)
        os.close(self._wakened)


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Count interrupts instead of dying of them, inside the block."""
    counter = Interrupts()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, counter.received) for number in numbers}
    try:
        yield counter
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        counter.close()


def stop(served: Served, grace: float = GRACE, asked: Interrupts | None = None) -> None:
    """SIGTERM, and SIGKILL after `grace` seconds or one more interrupt. Returns when it has ended."""
    before = asked.count if asked else 0
    served.signal(signal.SIGTERM)
    end = time.monotonic() + grace
    while served.poll() is None:
        if time.monotonic() > end or (asked and asked.count > before):
            served.signal(signal.SIGKILL)
            end = float("inf")
            before = 1 << 30
        if asked:
            asked.wait(0.02)
        else:
            time.sleep(0.02)
