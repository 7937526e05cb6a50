"""The forwarder of a container: started again when it is killed, and its end together with a server that drains."""

from __future__ import annotations

import os
import signal

from corten.runtime.forwarder import Forwarder
from corten.sandbox import kernel
from support.forwarded import forwarded

SERVER = """
import http.server, signal, sys, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        # Longer pauses than those after which a forwarder expects nothing more of an answer.
        for part in range(3 if self.path == "/slow" else 1):
            if part:
                time.sleep(0.7)
            self.wfile.write(b"1\\r\\n%d\\r\\n" % part)
        self.wfile.write(b"0\\r\\n\\r\\n")
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
    def handle_error(self, *_):
        pass  # Whoever asks whether it is ready does not read all of the answer.
def end(*_):
    threading.Thread(target=server.shutdown).start()
signal.signal(signal.SIGTERM, end)
server = Server(("0.0.0.0", 8080), Handler)
server.serve_forever()
server.server_close()
"""


def test_an_answer_with_long_pauses_is_whole_when_the_server_drains() -> None:
    with forwarded(SERVER, "/readyz", drains=True) as found:
        found.until("READY=1")
        with found.connect() as connection:
            connection.sendall(b"GET /slow HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            received = connection.recv(1 << 16)
            while b"\r\n0\r\n" not in received:
                received += connection.recv(1 << 16)
            found.process.send_signal(signal.SIGTERM)
            while data := connection.recv(1 << 16):
                received += data
        assert received.endswith(b"1\r\n2\r\n0\r\n\r\n")
        assert found.process.wait(30) == 0


def test_a_killed_forwarder_is_started_again_at_once_and_that_is_told() -> None:
    with forwarded(SERVER, "/readyz", drains=True) as found:
        found.until("READY=1")
        assert found.get().startswith(b"HTTP/1.1 200")
        first = found.forwarder()
        os.kill(first, signal.SIGKILL)
        word = found.until("NOTE=")
        assert (
            word
            == "NOTE=has a new forwarder, because the old one ended (killed by signal 9); its connections were lost"
        )
        # Whoever comes meanwhile waits in the socket's queue.
        assert found.get().startswith(b"HTTP/1.1 200")
        assert found.forwarder() != first


def test_a_forwarder_that_ends_again_and_again_is_given_up_with_the_reason() -> None:
    heard, notify = os.pipe()
    started: list[int] = []

    def start() -> int:
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        started.append(pid)
        return pid

    forwarder = Forwarder(start, notify)
    current: int | None = forwarder.pid
    while current is not None:
        _, status = os.waitpid(current, 0)
        current = forwarder.ended(status)
    # It is told once, whoever asks again.
    assert forwarder.ended(status) is None
    os.close(notify)
    with os.fdopen(heard) as words:
        *notes, last = words.read().splitlines()
    assert len(started) == len(notes) + 1 >= 4
    assert last == "FAILED=cannot be reached: its forwarder ended again and again (exit code 7)"


def test_where_no_process_can_be_made_nothing_is_said_because_the_container_ends() -> None:
    """The kernel kills the forwarder before it tells that the container's first process has ended."""
    heard, notify = os.pipe()
    pid = os.fork()
    if pid == 0:
        # The first process of a namespace has ended: no other can be made there.
        kernel.unshare(
            kernel.CLONE_NEWPID if os.geteuid() == 0 else kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID
        )
        forwarder = Forwarder(_ends_at_once, notify)
        _, status = os.waitpid(forwarder.pid, 0)
        os._exit(forwarder.ended(status) is not None)
    os.close(notify)
    assert os.waitpid(pid, 0)[1] == 0
    with os.fdopen(heard) as words:
        assert words.read() == ""


def _ends_at_once() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return pid
