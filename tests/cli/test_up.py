"""`up` in the foreground, around a server that is a plain process here: what containers add is tried in tests/e2e/test_up.py."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from corten.cli import up
from corten.cli.context import Context
from corten.cli.serving_options import inner_port
from corten.cli.terminal import Terminal
from corten.errors import RuntimeFailure, UsageError
from corten.oci.config import ImageConfig
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.store.images import Image
from corten.supervise import asking, sockets
from corten.supervise.starting import Start, Starter

SOURCE = Path(__file__).parents[2] / "src"
GOOD = "def predict(x: float) -> float: return x * 2\n"
# `corten up` as a process of its own, so that it gets real signals.
DRIVER = """
import sys
sys.path[:0] = sys.argv[1:3]
from test_up import drive
sys.exit(drive(sys.argv[3], sys.argv[4:]))
"""


class ProcessServed:
    """A served project that is a process of this machine."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process, self.name, self.forwarded = process, "demo", False

    def poll(self) -> int | None:
        code = self.process.poll()
        return None if code is None else code if code >= 0 else 128 - code

    def signal(self, number: int) -> None:
        self.process.send_signal(number)


class Here(Context):
    """A context whose build is done: the project's code is in `path`."""

    def build(self, path: Path, *, without_models: bool = False) -> Image:
        kind = (path / "kind").read_text() if (path / "kind").exists() else "predict"
        labels = {"dev.corten.entry": kind} if kind != "none" else {}
        config = ImageConfig(Platform.host(), (), env=("PORT=8080",), labels=labels)
        return Image("demo", Digest.of(b""), Digest.of(b""), config, 0, 0.0)


def starter(path: Path) -> Starter:
    def start(image: Image, how: Start) -> ProcessServed:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(SOURCE),
            "CORTEN_PREDICT": "predict:predict",
            "CORTEN_APP": str(path),
            "CORTEN_WORKER_PYTHON": sys.executable,
            "LISTEN_FDS": "1",
            "CORTEN_NOTIFY_FD": "4",
            **dict(how.options.environment),
        }
        assert how.notify is not None
        given = (how.listener.fileno(), how.notify)
        away = f"a, b = (fcntl.fcntl(given, fcntl.F_DUPFD, 20) for given in {given})"
        shift = f"import fcntl, os, sys; {away}; os.dup2(a, 3); os.dup2(b, 4); os.execv(sys.executable, sys.argv[1:])"
        command = [sys.executable, "-m", "corten_serve"]
        if how.forward is not None:
            command = [sys.executable, str(path / "command.py"), str(how.forward)]
        process = subprocess.Popen(
            [sys.executable, "-c", shift, *command],
            env=environment,
            stdout=how.output,
            stderr=how.output,
            pass_fds=given,
            start_new_session=True,
        )
        (path / "pid").write_text(str(process.pid))
        return ProcessServed(process)

    return start


def drive(path: str, arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    up.add_arguments(parser)
    terminal = Terminal(sys.stdout, sys.stderr, live=False, colour=False)
    try:
        return up.run(parser.parse_args([path, *arguments]), Here(terminal), starter(Path(path)))
    except RuntimeFailure as error:
        terminal.error(error.message, error.hint)
        return 1


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project ü"
    folder.mkdir()
    (folder / "predict.py").write_text(GOOD)
    return folder


class Up:
    """A `corten up` that runs. `url` is what it printed."""

    def __init__(self, project: Path, *arguments: str, port: tuple[str, ...] = ("--port", "0")) -> None:
        here = Path(__file__).parent
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(SOURCE), str(here), str(project), *port, *arguments],
            env={**os.environ, "CORTEN_HOME": str(project.parent / "store")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.said: list[str] = []
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()
        self.url = self.process.stdout.readline().strip()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip("\n"))

    def wait(self) -> int:
        code = self.process.wait(60)
        self._listening.join(60)
        return code

    def has_said(self, text: str) -> bool:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if any(text in line for line in self.said):
                return True
            time.sleep(0.02)
        return False


def post(url: str, value: object) -> object:
    request = urllib.request.Request(url + "/predict", json.dumps(value).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_says_how_to_call_it_and_stops_cleanly(project, number):
    running = Up(project)
    assert running.url.startswith("http://127.0.0.1:")
    assert post(running.url, {"x": 2}) == 4.0
    assert running.has_said("Ctrl-C stops it")
    example = next(line.strip() for line in running.said if "curl" in line)
    assert example == f"""curl {running.url}/predict -H 'content-type: application/json' -d '{{"x": 1.5}}'"""
    shown = subprocess.run(["sh", "-c", example + " -s"], capture_output=True, text=True, check=True)
    assert shown.stdout == "3.0"
    assert running.has_said("POST /predict 200"), "the server's log is followed"
    running.process.send_signal(number)
    assert running.wait() == 0
    with pytest.raises(OSError):
        post(running.url, {"x": 2})


def test_what_is_in_flight_is_finished_and_a_second_interrupt_is_not_waited_for(project):
    (project / "predict.py").write_text(
        "import time\ndef predict(x: float) -> float: time.sleep(x); return x\n"
    )
    for impatient in (False, True):
        running = Up(project)
        answers: list[object] = []

        def ask(
            url: str = running.url, answers: list[object] = answers, x: float = 6 if impatient else 0.6
        ) -> None:
            try:
                answers.append(post(url, {"x": x}))
            except OSError as error:
                answers.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.3)
        running.process.send_signal(signal.SIGINT)
        assert running.has_said("what is in flight is finished first")
        if impatient:
            running.process.send_signal(signal.SIGINT)
        assert running.wait() == 0
        asking.join(5)
        assert answers == [0.6] if not impatient else isinstance(answers[0], OSError)


def test_a_predictor_that_fails_is_told_at_once_with_its_traceback(project):
    (project / "predict.py").write_text(
        "def predict(x: float) -> float: return x\nraise RuntimeError('no weights')\n"
    )
    running = Up(project)
    assert running.url == ""
    assert running.wait() == 1
    text = "\n".join(running.said)
    assert 'predict.py", line 2, in <module>' in text
    assert "cannot be imported: RuntimeError: no weights" in text
    assert "ended before it was ready, with exit code 1" in text


def test_the_cause_of_a_failed_start_is_the_hint(project):
    (project / "predict.py").write_text("import cv2\n")
    running = Up(project)
    assert running.wait() == 1
    assert running.said[-1].startswith("hint: no installed package has the module 'cv2': add opencv-python")


def test_one_that_is_killed_is_started_again_and_who_comes_meanwhile_waits(project):
    (project / "predict.py").write_text("import time\ntime.sleep(0.5)\n" + GOOD)
    running = Up(project)
    os.kill(int((project / "pid").read_text()), signal.SIGKILL)
    assert post(running.url, {"x": 3}) == 6.0
    assert running.has_said("'demo' ended with exit code 137; starting again")
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0


def test_a_socket_of_systemd_is_taken_and_systemd_is_told(project, tmp_path):
    """As systemd starts it: descriptor 3, LISTEN_PID the process's own, and a socket for READY=1 (sd_notify(3))."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard,
    ):
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(20)
        here = Path(__file__).parent
        number = listener.fileno()
        begin = (
            f"import fcntl, os, sys; os.dup2(fcntl.fcntl({number}, fcntl.F_DUPFD, 20), 3); "
            "os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.executable, sys.argv[1:])"
        )
        command = [sys.executable, "-c", DRIVER, str(SOURCE), str(here), str(project)]
        variables = {
            "CORTEN_HOME": str(tmp_path / "store"),
            "LISTEN_FDS": "1",
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
        }
        process = subprocess.Popen(
            [sys.executable, "-c", begin, *command],
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(number,),
            text=True,
        )
        assert heard.recv(100) == b"READY=1"
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url == f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert post(url, {"x": 4}) == 8.0
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        process.stdout.close()
        # The socket is systemd's and goes on listening.
        with socket.create_connection(listener.getsockname()):
            pass


def test_two_sockets_or_none_that_listens_are_refused():
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"}
    with pytest.raises(UsageError, match="2 sockets"):
        sockets.adopt(environment)
    assert environment == {}
    assert sockets.adopt({"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "1"}) is None
    assert sockets.adopt({}) is None


def test_a_command_is_served_when_its_port_answers(project):
    (project / "kind").write_text("command")
    (project / "command.py").write_text(
        "import http.server, socket, sys, time\n"
        "assert sys.argv[1] == '9001'\n"
        "time.sleep(0.3)\n"
        "class Handler(http.server.SimpleHTTPRequestHandler): pass\n"
        "server = http.server.HTTPServer(('', 0), Handler, bind_and_activate=False)\n"
        "server.socket = socket.socket(fileno=3)\n"
        "import os; os.write(4, b'READY=1\\n')\n"
        "server.serve_forever()\n"
    )
    running = Up(project, "-e", "PORT=9001")
    assert running.has_said(f"curl {running.url}/")
    with urllib.request.urlopen(running.url, timeout=60) as answer:
        assert answer.status == 200
    running.process.send_signal(signal.SIGINT)
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0


def test_an_exception_that_was_printed_before_it_answers_is_said(project):
    (project / "kind").write_text("command")
    (project / "command.py").write_text(
        "import http.server, os, socket, sys, traceback\n"
        "try:\n    import cv2_is_not_here\nexcept ImportError:\n    traceback.print_exc()\n"
        "sys.stderr.flush()\n"
        "server = http.server.HTTPServer(('', 0), http.server.SimpleHTTPRequestHandler, bind_and_activate=False)\n"
        "server.socket = socket.socket(fileno=3)\n"
        "os.write(4, b'READY=1\\n')\n"
        "server.serve_forever()\n"
    )
    running = Up(project, "-e", "PORT=9001")
    assert running.has_said(
        "warning: 'demo' answers, and has printed an exception: ModuleNotFoundError: No module named 'cv2_is_not_here'"
    )
    assert running.has_said("hint: no installed package has the module 'cv2_is_not_here'")
    running.process.send_signal(signal.SIGINT)
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0


def test_nothing_to_serve_is_an_error(project):
    (project / "kind").write_text("none")
    terminal = Terminal(io.StringIO(), io.StringIO(), live=False, colour=False)
    parser = argparse.ArgumentParser()
    up.add_arguments(parser)
    with pytest.raises(UsageError, match="nothing to serve"):
        up.run(parser.parse_args([str(project), "--port", "0"]), Here(terminal), starter(project))


def test_a_port_in_use_is_told_with_another_one():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(sockets.PortInUse, match=f"port {port} is in use on 127.0.0.1") as error:
            sockets.listen("127.0.0.1", port)
    assert error.value.hint is not None
    assert "--port" in error.value.hint


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "::zz"])
def test_addresses_that_are_not_ours(host):
    with pytest.raises(UsageError) as error:
        sockets.listen(host, 0)
    assert error.value.hint


def test_every_address_is_reached_by_loopback():
    with sockets.listen("0.0.0.0", 0) as listener:
        assert sockets.url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_silence_and_nonsense_are_not_http():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()[:2]

        def answer(data: bytes) -> None:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(data)
            connection.close()

        for data, expected in ((b"", None), (b"SSH-2.0\r\n", None), (b"HTTP/1.1 204 No\r\n\r\n", (204, b""))):
            thread = threading.Thread(target=answer, args=(data,))
            thread.start()
            assert asking.get(address, "/") == expected
            thread.join()


def test_a_port_is_read_whole() -> None:
    def inner(text: str) -> int:
        config = ImageConfig(Platform.host(), (), env=(f"PORT={text}",))
        image = Image("demo", Digest.of(b""), Digest.of(b""), config, 0, 0.0)
        return inner_port(image, ())

    assert inner("65535") == 65535
    for text in ("65536", "0", "00008012345", "", "\u0663", "-1"):
        with pytest.raises(UsageError, match="is not a port"):
            inner(text)
