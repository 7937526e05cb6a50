"""One container of a service: started, heard of through its pipe, and ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from corten.store.images import Image
from corten.supervise.services import Plan
from corten.supervise.starting import Served, Start, Starter
from corten.values import replace

_PAUSE = 0.5
"""Seconds from one word of a container to the next; a server says one a second."""


class Words:
    """What a forwarder says: `status`, why the command is not ready; `failed`, why it never will be; `notes`, what is
    to be told once."""

    def __init__(self) -> None:
        self.status, self.failed = "", ""
        self.notes: list[str] = []

    def hear(self, said: bytes) -> None:
        """Take in what came through the pipe, whole lines."""
        for line in said.decode(errors="replace").splitlines():
            word, _, text = line.partition("=")
            if word == "STATUS":
                self.status = text
            elif word == "FAILED":
                self.failed = text
            elif word == "NOTE":
                self.notes.append(text)

    def late(self, name: str, patience: float | None) -> str:
        """That the container `name` is not ready yet, and why."""
        limit = (
            f"it is given up after {patience:g} s (--start-timeout)"
            if patience is not None
            else "there is no limit (--start-timeout)"
        )
        return f"'{name}' is not ready yet{f': {self.status}' if self.status else ''}; {limit}"

    def too_late(self, patience: float) -> str:
        """That it did not get ready in time, and why."""
        return f"was not ready after {patience:g} s" + (f": {self.status}" if self.status else "")


class Instance:
    """A container that was started by this process. Times are monotonic seconds. `ready`: it has said so; `busy`: when it
    last said that it worked; `deadline`: when it is killed, once it was asked to end. A forwarder says more:
    `words`."""

    def __init__(self, plan: Plan, image: Image, starter: Starter, how: Start) -> None:
        """Start it. Raises RuntimeFailure."""
        self.plan, self.image = plan, image
        self._reading, notify = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self.served: Served = starter(image, replace(how, notify=notify))
        except BaseException:
            os.close(self._reading)
            raise
        finally:
            os.close(notify)
        self.begun = self.busy = time.monotonic()
        self.ready = False
        self.words = Words()
        self.deadline: float | None = None
        self._open, self._heard, self._told = True, 0.0, False

    @property
    def name(self) -> str:
        """The container's."""
        return self.served.name

    def fileno(self) -> int:
        """The pipe, for select(2)."""
        return self._reading

    @property
    def speaks(self) -> bool:
        """Whether to wait for a word: the pipe is open at both ends, and the last one is not just over. Who says more than a
        server does would have its supervisor work, which has no limits."""
        return self._open and self.pause == 0

    @property
    def pause(self) -> float:
        """Seconds until a word is heard again after the last one."""
        return max(0.0, self._heard + _PAUSE - time.monotonic()) if self._open else 0.0

    def listen(self) -> None:
        """Hear what it has said since. A word that comes in pieces is none: writes of so few bytes are whole (pipe(7))."""
        try:
            said = os.read(self._reading, 1 << 16)
        except BlockingIOError:
            return
        self._heard = time.monotonic()
        if not said:
            self._open = False
        if b"READY=1" in said:
            self.ready = True
            self.busy = time.monotonic()
        if b"BUSY=1" in said:
            self.busy = time.monotonic()
        if self.served.forwarded:
            # Otherwise the container itself has the pipe, and is not believed.
            self.words.hear(said)

    def is_late(self, seconds: float) -> bool:
        """Whether it is not ready after so many seconds; that is true once."""
        late = not (self.ready or self._told or self.deadline) and time.monotonic() - self.begun >= seconds
        self._told = self._told or late
        return late

    def retire(self, grace: float) -> None:
        """Ask it to finish what it has and to end, within `grace` seconds."""
        self.served.signal(signal.SIGTERM)
        self.deadline = time.monotonic() + grace

    def kill(self) -> None:
        """End it at once."""
        self.served.signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """Its exit code as a shell gives it, or None while it runs; it is killed at its deadline."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.deadline = time.monotonic() + 1.0
            self.kill()
        return self.served.poll()

    def close(self) -> None:
        """Forget it."""
        os.close(self._reading)
        self._open = False


Maker = Callable[[Plan, Image], Instance]
