"""When a command counts as ready, and which of its ports is forwarded to: real programs in a network namespace of their own."""

from __future__ import annotations

from pathlib import Path

from corten.runtime.forwarder import Probe
from corten.runtime.listening import Socket, in_words, parse, ranked
from support.forwarded import forwarded

SERVER = """
import http.server, os, pathlib, socket, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        status = 503 if self.path == "/health" and not READY.exists() else 404
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_):
        pass
def serve(host, port, family=socket.AF_INET):
    class Server(http.server.ThreadingHTTPServer):
        address_family = family
    threading.Thread(target=Server((host, port), Handler).serve_forever).start()
READY = pathlib.Path({flag!r})
def wait():
    while not READY.exists():
        time.sleep(0.01)
"""


def program(flag: Path, code: str) -> str:
    return SERVER.replace("{flag!r}", repr(str(flag))) + code


def test_a_server_whose_application_never_loads_is_not_ready(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    code = """
first = socket.create_server(("127.0.0.1", 8080))
wait()
server = http.server.HTTPServer(("127.0.0.1", 8080), Handler, bind_and_activate=False)
server.socket = first
server.serve_forever()
"""
    with forwarded(program(flag, code)) as found:
        assert found.until("STATUS=it listens on 127.0.0.1:8080").endswith("does not answer GET /")
        assert "READY=1" not in found.words
        flag.touch()
        found.until("READY=1")
        assert found.get().startswith(b"HTTP/1.1 404")


def test_a_server_that_restarts_its_workers_again_and_again_has_failed() -> None:
    code = """
import os, socket, time
listener = socket.create_server(("127.0.0.1", 8080))
while True:
    if os.fork() == 0:
        time.sleep(0.1)
        os._exit(3)
    os.wait()
"""
    with forwarded(code) as found:
        word = found.until("FAILED=")
        assert "restarts its processes again and again" in word
        assert "does not answer GET /; listens on 127.0.0.1:8080" in word
        assert "READY=1" not in found.words


def test_other_programs_that_a_program_waits_for_are_no_restart_loop(tmp_path: Path) -> None:
    code = """
import subprocess
first = socket.create_server(("127.0.0.1", 8080))
for _ in range(8):
    subprocess.run(["sleep", "0.1"])
first.close()
serve("127.0.0.1", 8080)
"""
    with forwarded(program(tmp_path / "flag", code)) as found:
        found.until("READY=1")


def test_a_program_that_ignores_port_is_found_where_it_listens(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    with forwarded(
        program(flag, 'serve("127.0.0.1", 7860)\nwait()\nserve("::1", 8080, socket.AF_INET6)')
    ) as found:
        found.until("READY=1")
        assert (
            found.words.count(
                "NOTE=listens on 127.0.0.1:7860, not on port 8080 as $PORT says; requests go there"
            )
            == 1
        )
        assert found.get().startswith(b"HTTP/1.1 404")
        flag.touch()
        found.until("NOTE=listens on [::1]:8080 now, which $PORT says; requests go there")
        assert found.get().startswith(b"HTTP/1.1 404")


def test_a_port_that_nobody_opens_is_said() -> None:
    with forwarded("import time; time.sleep(600)") as found:
        assert found.until("STATUS=") == "STATUS=it listens on no TCP port; $PORT says 8080"


def test_a_chosen_path_waits_for_more_than_a_server_error(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    with forwarded(program(flag, 'serve("0.0.0.0", 8080)'), "/health") as found:
        found.until("STATUS=it listens on 0.0.0.0:8080, and does not answer GET /health")
        flag.touch()
        found.until("READY=1")


def test_a_program_that_speaks_another_protocol_is_ready_when_it_accepts() -> None:
    code = """
import socket
listener = socket.create_server(("127.0.0.1", 8080))
while True:
    connection, _ = listener.accept()
    if data := connection.recv(100):
        connection.sendall(data[::-1])
    connection.close()
"""
    with forwarded(code, "tcp") as found:
        found.until("READY=1")
        assert found.exchange(b"\x01\x02abc") == b"cba\x02\x01"


def test_any_answer_counts_but_a_server_error_of_a_chosen_path() -> None:
    for answer in (b"HTTP/1.1 200 OK", b"HTTP/1.0 404 ", b"HTTP/1.1 503 ", b"\0\0\x12\4\0", b"-ERR unknown"):
        assert Probe(8080).accepts(answer)
        assert Probe(8080, "/health").accepts(answer) is (b"503" not in answer)
    assert not Probe(8080).accepts(b"")


def test_listening_sockets_are_read_from_proc() -> None:
    four = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1EB4 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 00000000:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   2: 0100007F:1EB4 0100007F:8235 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   3: nonsense 00000000:0000 0A
"""
    six = """
   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0 0 0 0
   1: 0000000000000000FFFF00000100007F:0050 00000000000000000000000000000000:0000 0A 0 0 0 0
   2: 00000000000000000000000000000000:2135 00000000000000000000000000000000:0000 0A 0 0 0 0
"""
    assert parse(four) == [Socket("127.0.0.1", 7860), Socket("0.0.0.0", 5000)]
    assert parse(six) == [Socket("::1", 8080), Socket("127.0.0.1", 80), Socket("::", 8501)]
    assert [item.port for item in ranked([*parse(four), *parse(six)], 80)] == [80, 8080, 5000, 7860, 8501]
    assert Socket("::", 1).reached_at == ("127.0.0.1", "::1")
    assert in_words(parse(four)) == "listens on 127.0.0.1:7860 and 0.0.0.0:5000"
