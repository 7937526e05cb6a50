"""Two servers on one listening socket, as an update has it: who accepts when, and that no request is lost between them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.load import Load

SOURCE = Path(__file__).parents[2] / "src"
PREDICT = "import time\ntime.sleep({})\ndef predict(x: int) -> int:\n    return x + {}\n"
BEGIN = """\
import fcntl, os, sys
given = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 20) for number in sys.argv[1:3]]
for place, number in enumerate(given, 3):
    os.dup2(number, place)
os.execv(sys.executable, [sys.executable, "-m", "corten_serve"])
"""


class Server:
    """A server that was given the socket, as itself or on a Unix socket (`sent`), and a pipe for what it says."""

    def __init__(self, listener: socket.socket, folder: Path, *, sent: bool = False) -> None:
        self.heard, say = os.pipe()
        first = listener
        if sent:
            ours, first = socket.socketpair()
            socket.send_fds(ours, [b"l"], [listener.fileno()])
            ours.close()
        self.process = subprocess.Popen(
            [sys.executable, "-c", BEGIN, str(first.fileno()), str(say)],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(SOURCE),
                "CORTEN_PREDICT": "predict:predict",
                "CORTEN_APP": str(folder),
                "CORTEN_WORKER_PYTHON": sys.executable,
                "CORTEN_LOG": "warning",
                "LISTEN_FDS": "1",
                "CORTEN_NOTIFY_FD": "4",
            },
            pass_fds=(first.fileno(), say),
        )
        os.close(say)
        if sent:
            first.close()

    def says(self, word: bytes) -> bool:
        """Whether it says that next, in 20 seconds."""
        said = b""
        while not said.endswith(b"\n"):
            if not select.select([self.heard], [], [], 20)[0]:
                return False
            piece = os.read(self.heard, 1)
            if not piece:
                return False
            said += piece
        return said == word + b"=1\n"

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            os.close(self.heard)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as made:
        yield made


def folder(tmp_path: Path, number: int, seconds: float = 0.0) -> Path:
    place = tmp_path / str(number)
    place.mkdir(exist_ok=True)
    (place / "predict.py").write_text(PREDICT.format(seconds, number))
    return place


def test_nothing_is_lost_from_one_to_the_next(listener: socket.socket, tmp_path: Path) -> None:
    server = Server(listener, folder(tmp_path, 0))
    assert server.says(b"READY")
    with Load(listener.getsockname()[1]) as load:
        for number in (1, 2, 3):
            following = Server(listener, folder(tmp_path, number), sent=True)
            assert following.says(b"READY")
            assert server.end() == 0
            server = following
    assert load.failures == []
    assert set(load.differences) == {0, 1, 2, 3}
    assert server.end() == 0


def test_one_that_is_not_ready_takes_nothing(listener: socket.socket, tmp_path: Path) -> None:
    first = Server(listener, folder(tmp_path, 0))
    assert first.says(b"READY")
    second = Server(listener, folder(tmp_path, 1, 60.0))
    with Load(listener.getsockname()[1]) as load, contextlib.suppress(subprocess.TimeoutExpired):
        second.process.wait(1.5)
    second.process.kill()
    second.process.wait()
    os.close(second.heard)
    assert load.failures == []
    assert set(load.differences) == {0}
    assert first.end() == 0


def test_it_says_that_it_works_and_not_that_it_is_asked_how_it_is(
    listener: socket.socket, tmp_path: Path
) -> None:
    server = Server(listener, folder(tmp_path, 0))
    assert server.says(b"READY")
    with Load(listener.getsockname()[1], "/readyz") as probes:
        assert not select.select([server.heard], [], [], 1.5)[0]
    assert probes.answered > 0
    with Load(listener.getsockname()[1]):
        assert server.says(b"BUSY")
    assert server.end() == 0


def test_a_socket_on_which_nothing_waits_is_an_error(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        server = Server(theirs, folder(tmp_path, 0))
        assert server.process.wait(20) == 1
        os.close(server.heard)
