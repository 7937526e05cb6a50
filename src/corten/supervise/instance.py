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


class Instance:
    """A container that was started by this process. Times are monotonic seconds. `ready`: it has said so; `busy`: when it
    last said that it worked; `deadline`: when it is killed, once it was asked to end."""

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
        self.deadline: float | None = None
        self._open, self._heard = True, 0.0

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
        return self._open and time.monotonic() >= self._heard + _PAUSE

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
