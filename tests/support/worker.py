"""A real worker process at the end of a socket, spoken to in frames as the server does."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import signal
import socket
import sys
import textwrap
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from corten_serve import frames
from corten_serve.frames import Item

SOURCE = Path(__file__).parents[2] / "src"
CODE = (
    "import sys; sys.path.append(sys.argv.pop()); from corten_serve.worker.main import main; sys.exit(main())"
)
PATIENCE = 60.0


class Worker:
    """`start` it, then `call` and `receive`. `out` and `err` are what it has printed."""

    def __init__(self, folder: Path, code: str, target: str = "predict:predict", **environment: str) -> None:
        app = folder / "app"
        app.mkdir(exist_ok=True)
        (app / "predict.py").write_text(textwrap.dedent(code))
        self._out, self._err = folder / "out", folder / "err"
        ours, theirs = socket.socketpair()
        memory = os.memfd_create("board")
        os.ftruncate(memory, frames.BOARD_SIZE)
        self.board = memoryview(mmap.mmap(memory, frames.BOARD_SIZE)).cast("Q")
        high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 10) for each in (theirs.fileno(), memory)]
        write = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self.pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-c", CODE, str(SOURCE)],
            {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(SOURCE),
                "CORTEN_PREDICT": target,
                "CORTEN_APP": str(app),
                "CORTEN_MODEL": "m",
                "CORTEN_WORKER": "3",
                **environment,
            },
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 1, str(self._out), write, 0o644),
                (os.POSIX_SPAWN_OPEN, 2, str(self._err), write, 0o644),
                (os.POSIX_SPAWN_DUP2, high[0], 3),
                (os.POSIX_SPAWN_DUP2, high[1], 4),
            ],
            setsid=True,
        )
        for each in (*high, memory):
            os.close(each)
        theirs.close()
        ours.settimeout(PATIENCE)
        self.channel = ours
        self._reader = frames.Reader()
        self._items: list[Item] = []
        self._last = 0
        self.code: int | None = None

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def ready(self) -> dict[str, Any]:
        """The document of READY. Anything else is a failure of the test."""
        item = self.receive()
        assert item.kind == frames.READY, (item, self.err)
        document: dict[str, Any] = json.loads(item.body)
        return document

    def failed(self) -> tuple[str, str]:
        """Message and hint of FAILED, once the process has ended."""
        item = self.receive()
        assert item.kind == frames.FAILED, item
        message, _, hint = item.body.decode().partition("\0")
        assert self.wait() == 1
        return message, hint

    def item(
        self, body: Any = None, route: str = "json:predict", rid: str = "", left: int = 0, accept: str = ""
    ) -> Item:
        """A CALL with an id of its own."""
        self._last += 1
        data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        meta = "\0".join([route, rid, "application/json", accept]).encode()
        return Item(self._last, frames.CALL, 0, left, meta, data)

    def send(self, *items: Item) -> None:
        self.channel.sendall(frames.encode(items))

    def call(self, body: Any = None, **about: Any) -> int:
        """Send one CALL; its id."""
        item = self.item(body, **about)
        self.send(item)
        return item.id

    def batch(self, bodies: Sequence[Any], **about: Any) -> list[int]:
        """Send a BATCH of calls; their ids."""
        items = [self.item(body, **about) for body in bodies]
        self.send(Item(0, frames.BATCH, len(items)), *items)
        return [item.id for item in items]

    def receive(self) -> Item:
        """The next item."""
        while not self._items:
            data = self.channel.recv(1 << 18)
            if not data:
                raise EOFError(f"the worker ended with {self.wait()}: {self.err}")
            self._items += self._reader.feed(data)
        return self._items.pop(0)

    def answers(self, count: int) -> dict[int, Item]:
        """The next `count` answers by their ids."""
        found = [self.receive() for _ in range(count)]
        assert {item.kind for item in found} == {frames.ANSWER}, found
        return {item.id: item for item in found}

    def ask(self, body: Any = None, **about: Any) -> tuple[int, Any]:
        """Status and JSON of the answer to one call."""
        identity = self.call(body, **about)
        item = self.receive()
        assert (item.id, item.kind) == (identity, frames.ANSWER)
        return item.status, json.loads(item.body)

    def results(self, bodies: Sequence[Any], **about: Any) -> list[tuple[int, Any]]:
        """Status and JSON of the answers to a batch, in the order of `bodies`."""
        ids = self.batch(bodies, **about)
        found = self.answers(len(ids))
        return [(found[each].status, json.loads(found[each].body or b"null")) for each in ids]

    def cancel(self, identity: int, signalled: bool = False) -> None:
        """Ask to stop working on `identity`, as the server does for sync code where `signalled`."""
        if signalled:
            self.board[1] = identity
            os.kill(self.pid, signal.SIGUSR1)
        self.send(Item(identity, frames.CANCEL))

    def until(self, text: str) -> None:
        """Wait for `text` in what it printed."""
        end = time.monotonic() + PATIENCE
        while text not in self.out:
            assert time.monotonic() < end, (self.out, self.err)
            time.sleep(0.005)

    def close(self) -> int:
        """Close the channel; the exit code."""
        self.channel.close()
        return self.wait()

    def wait(self) -> int:
        end = time.monotonic() + PATIENCE
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                break
            assert time.monotonic() < end, f"the worker did not end: {self.err}"
            time.sleep(0.005)
        return self.code

    def kill(self) -> None:
        """End it if it runs still."""
        if self.code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.wait()
        self.channel.close()
