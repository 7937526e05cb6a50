"""When a program inside a container is ready, and at which address it is reached.

Ready means that it has answered an HTTP request: a listening socket alone may be that of a server whose application never
loads. What listens is read from the network namespace, so a program that ignores $PORT is found as well.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress

from corten.runtime.forwarder import PAGE, RAISES, RUNNING, SHINY, STREAMLIT, TCP, Probe
from corten.runtime.listening import Socket, in_words, listening, ranked
from corten.runtime.restarts import Restarts

_PAUSE = 0.03
_SETTLE = 1.0
"""Seconds that $PORT has to be opened after another port, before that one is asked instead."""
_ANSWER, _OTHERS_ANSWER = 60.0, 5.0
"""Seconds that an answer may take on $PORT, and on another port. One request waits at a time: it may lie in the queue of a server
that is still loading."""
_SESSION = 60.0
"""Seconds after which a script in a session that raises nothing and does not end counts as one that never ends."""
_RAISES = 2
"""So many sessions in which the script raised are the end: what it needs may start at the same time."""
_STAYS = 3.0
"""Seconds that a program without a port has to run."""
_BROKEN = 3.0
"""Seconds after which a program that answers `/` with a server error is taken for ready all the same, and that is said."""
_LOOK = 0.5
_LOOP = 5
"""So many processes of a server that ended before any request was answered are a restart loop."""


class Failed(Exception):
    """The program will not become ready; the message says why, after the container's name."""


class Upstream:
    """The address of the program inside. `status` says in words why it is not ready; `notes` what is to be told once."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.addresses: tuple[str, ...] = ("127.0.0.1", "::1") if probe.enclosed else ("127.0.0.1",)
        self.port = probe.port
        self.status = ""
        self.notes: list[str] = []
        self._restarts = Restarts()
        self._raised = 0
        self._error = ""
        self._broken_since: float | None = None

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the program. Raises OSError."""
        failure: OSError | None = None
        for address in self.addresses:
            try:
                return await asyncio.open_connection(address, self.port)
            except OSError as error:
                failure = error
        raise failure or ConnectionRefusedError

    async def wait(self, ending: asyncio.Event) -> bool:
        """Wait until the program is ready; False when the end comes first. Raises Failed for a restart loop, and for a script that
        raises in its sessions."""
        if self.probe.ready == RUNNING:
            return await self._stays(ending)
        asking: asyncio.Task[bool] | None = None
        asked_others = False
        others_since: float | None = None
        try:
            while not ending.is_set():
                found = self._sockets()
                expected = [item for item in found if item.port == self.probe.port]
                if not found or expected:
                    others_since = None
                elif others_since is None:
                    others_since = time.monotonic()
                settled = others_since is not None and time.monotonic() - others_since >= _SETTLE
                candidates = expected or (found if settled else [])
                if asking is not None and asked_others and expected:
                    asking.cancel()
                    asking = None
                if candidates and asking is None:
                    asked_others = not expected
                    asking = asyncio.ensure_future(self._ask_each(ranked(candidates, self.probe.port)))
                if asking is not None and asking.done():
                    if asking.result():
                        return True
                    asking = None
                self._judge(found)
                await asyncio.sleep(_PAUSE)
        finally:
            if asking is not None:
                asking.cancel()
        return False

    async def _stays(self, ending: asyncio.Event) -> bool:
        """Wait until the program has run for some seconds: when it ends, the kernel ends this process."""
        try:
            async with asyncio.timeout(_STAYS):
                await ending.wait()
        except TimeoutError:
            return True
        return False

    async def watch(self) -> None:
        """Where another port than $PORT was found: go over to $PORT as soon as it answers."""
        while self.port != self.probe.port:
            await asyncio.sleep(_LOOK)
            expected = [item for item in self._sockets() if item.port == self.probe.port]
            if expected and await self._ask_each(expected):
                self.notes.append(f"listens on {expected[0]} now, which $PORT says; requests go there")

    def _sockets(self) -> list[Socket]:
        if self.probe.drains:
            # What else listens there is the business of the model's own code, and not the server's.
            return [Socket("::", self.probe.port)]
        return listening() if self.probe.enclosed else [Socket("127.0.0.1", self.probe.port)]

    async def _ask_each(self, candidates: list[Socket]) -> bool:
        for item in candidates:
            for address in item.reached_at:
                if await self._ask(address, item.port):
                    self.addresses, self.port = (address,), item.port
                    if item.port != self.probe.port:
                        self.notes.append(
                            f"listens on {item}, not on port {self.probe.port} as $PORT says; requests go there"
                        )
                    return True
        return False

    async def _ask(self, address: str, port: int) -> bool:
        """Whether the program at an address answers."""
        if self.probe.ready in (STREAMLIT, SHINY):
            return await self._runs_script(address, port)
        try:
            reader, writer = await asyncio.open_connection(address, port)
        except OSError:
            return False
        try:
            if self.probe.ready == TCP:
                return True
            writer.write(self.probe.request)
            async with asyncio.timeout(_ANSWER if port == self.probe.port else _OTHERS_ANSWER):
                if (self.probe.ready or "").startswith(PAGE):
                    return await self._shows(reader)
                return self._accepts(await reader.read(64))
        except (OSError, TimeoutError):
            return False
        finally:
            writer.transport.abort()

    def _accepts(self, answer: bytes) -> bool:
        """Whether the first bytes of an answer say that the program is ready. A server error of `/`, which nobody chose, does after
        some seconds: a service may have no page there. That is said."""
        if not self.probe.accepts(answer):
            self._error = status_of(answer) if is_server_error(answer) else ""
            return False
        if self.probe.ready is not None or not is_server_error(answer):
            return True
        if self._broken_since is None:
            self._broken_since = time.monotonic()
        if time.monotonic() - self._broken_since < _BROKEN:
            return False
        self.notes.append(
            f"answers GET / with {status_of(answer)}, which is not a healthy page: its own output says why"
        )
        return True

    async def _shows(self, reader: asyncio.StreamReader) -> bool:
        """Whether a page is shown, and no exception instead of it. Raises Failed where that is so again and again."""
        from corten.runtime.first_page import Page

        page = Page()
        while page.wants_more and (piece := await reader.read(1 << 16)):
            page.feed(piece)
        if not page.begins:
            return False
        if page.is_busy:
            self._error = status_of(page.begins)
            return False
        if not page.raised:
            return True
        return await self._has_raised(f"{page.raised} (GET {self.probe.path})")

    async def _has_raised(self, raised: str) -> bool:
        """False. Raises Failed when that is so again and again."""
        self._raised += 1
        if self._raised >= _RAISES:
            raise Failed(f"{RAISES}: {raised}")
        await asyncio.sleep(_SETTLE)
        return False

    async def _runs_script(self, address: str, port: int) -> bool:
        """Whether the script at an address has run in a first session without an exception. Raises Failed when it
        raises again and again."""
        from corten.runtime import shiny_session, streamlit_session
        from corten.runtime.streamlit_session import Broken

        first_session = (
            streamlit_session.first_session if self.probe.ready == STREAMLIT else shiny_session.first_session
        )
        try:
            async with asyncio.timeout(_SESSION):
                raised = await first_session(address, port)
        except TimeoutError:
            self.notes.append(
                f"has run its script for {_SESSION:g} s in a first session, and it has raised nothing and not ended"
            )
            return True
        except (OSError, Broken):
            return False
        if raised is None:
            self.notes.append("answers, but opens no session, so its script was not tried")
            return True
        return await self._has_raised(raised) if raised else True

    def _judge(self, found: list[Socket]) -> None:
        """Say what is so, and give up on a server that only restarts its processes. Corten's own says so itself."""
        if self.probe.drains:
            return
        how = f"answers GET {self.probe.path} with {self._error}" if self._error else self.probe.asks
        if not self.probe.enclosed:
            self.status = f"nothing answers on port {self.probe.port} of this machine, which $PORT says"
        elif found:
            self.status = f"it {in_words(found)}, and {how}"
        else:
            self.status = f"it {in_words(found)}; $PORT says {self.probe.port}"
        if found and self.probe.ready != TCP:
            ended = self._restarts.look()
            if ended >= _LOOP:
                raise Failed(
                    f"restarts its processes again and again ({ended} have ended), and {how}; {in_words(found)}"
                    if self.probe.enclosed
                    else f"restarts its processes again and again ({ended} have ended), and {how}"
                )


def is_server_error(answer: bytes) -> bool:
    """Whether the first bytes of an answer are a status of 500 to 599."""
    return answer.startswith(b"HTTP/1.") and answer[9:10] == b"5"


def status_of(answer: bytes) -> str:
    """The status and reason in the first bytes of an answer, for a message."""
    line = answer[9:64].decode("ascii", "replace").partition("\r")[0]
    return "".join(letter for letter in line if letter.isprintable()).strip()


def say(notify: int | None, word: str, text: str = "1") -> None:
    """Write a line to the pipe `notify`. Whoever listened may be gone, or not be reading."""
    if notify is not None:
        line = f"{word}={' '.join(text.split())}".encode(errors="backslashreplace")[: 1 << 11]
        with suppress(OSError):
            os.write(notify, line + b"\n")
