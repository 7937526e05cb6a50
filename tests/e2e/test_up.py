"""`corten up` as what keeps a project running: real containers, under load, killed in every way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.command import Corten
from support.kept import Kept, Run, kept, running_as, running_as_root
from support.load import Load
from support.plain_user import ROOT
from support.runner import Plain

pytestmark = pytest.mark.e2e
PREDICT = "class Predictor:\n    def predict(self, x: int) -> int:\n        return x + {}\n"
WEB = """\
import http.server, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(0.005)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer.request_queue_size = 100
time.sleep(0.3)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture
def run(corten: Corten) -> Run:
    return running_as_root(corten)


@pytest.fixture
def adder(project: Callable[..., Path]) -> Path:
    return project({"predict.py": PREDICT.format(1)}, "adder")


def test_an_update_under_load_loses_nothing(run: Run, adder: Path) -> None:
    with kept(run, adder) as service, Load(service.port) as load:
        for number in (10, 100):
            (adder / "predict.py").write_text(PREDICT.format(number))
            done = run("up", "--update", adder, code=0)
            assert done.stdout.strip() == service.status["url"]
            before = load.differences[number]
            service.until(lambda _, n=number, b=before: load.differences[n] > b + 20)  # type: ignore[misc]
        service.until(lambda status: len(status["containers"]) == 1)
        assert service.status["updates"] == 2
        # Whatever names the service means the container that serves for it now.
        name = service.status["name"]
        assert run("exec", name, "--", "echo", "inside", code=0).stdout == "inside\n"
        assert service.status["containers"][0] in run("stats", "--no-stream", name, code=0).stdout
        again = run("up", "--update", "--detach", adder, code=0)
        assert "runs this image already" in again.stderr
    assert load.failures == []
    assert set(load.differences) == {1, 10, 100}


def test_an_update_that_does_not_get_ready_changes_nothing(run: Run, adder: Path) -> None:
    with kept(run, adder) as service, Load(service.port) as load:
        (adder / "predict.py").write_text("import nothing_like_this\n" + PREDICT.format(10))
        done = run("up", "--update", adder, code=1)
        assert "No module named 'nothing_like_this'" in done.stderr
        assert "'adder' was not updated: the new container ended before it was ready" in done.stderr
        (adder / "predict.py").write_text("import time\ntime.sleep(600)\n" + PREDICT.format(10))
        done = run("up", "--update", adder, "--start-timeout", "1s", code=1)
        assert "the new container was not ready after 1 s\n" in done.stderr
        assert service.ask() == 2
        assert len(service.status["containers"]) == 1
    assert load.failures == []
    assert set(load.differences) == {1}


def given_up(run: Run, app: Path, *texts: str) -> tuple[subprocess.CompletedProcess[str], int]:
    """How `up` of what never gets ready fails, and after how many seconds: the fewest in which all of `texts` come to be said."""
    for limit in (1, 3, 10, 30, 100):
        failed = run("up", app, "--detach", "--port", "0", "--start-timeout", f"{limit}s", code=1)
        if all(text in failed.stderr for text in texts):
            break
    assert all(text in failed.stderr for text in texts), failed.stderr
    return failed, limit


def test_a_setup_that_hangs_is_given_up_with_what_it_said(run: Run, project: Callable[..., Path]) -> None:
    setup = (
        "    def setup(self):\n        print('loading', flush=True)\n        import time; time.sleep(600)\n"
    )
    app = project({"predict.py": PREDICT.format(1).replace("    def", setup + "    def", 1)}, "hang")
    failed, limit = given_up(run, app, "\nloading\n")
    assert f"'hang' was not ready after {limit} s\n" in failed.stderr
    assert "importing it and its 'setup' took longer" in failed.stderr
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(run, "up", app, "--detach", "--port", "0", code=1)
        end = time.monotonic() + 30
        while "starting" not in run("status").stdout:
            assert time.monotonic() < end
        run("down", "hang", code=0)
        assert "error: 'hang' was stopped before it was ready\n" in waiting.result().stderr


def test_an_update_that_is_interrupted_changes_nothing(corten: Corten, run: Run, adder: Path) -> None:
    with kept(run, adder) as service:
        (adder / "predict.py").write_text("import time\ntime.sleep(600)\n" + PREDICT.format(10))
        process = subprocess.Popen(
            corten.command("up", "--update", adder), env=corten.variables(), stderr=subprocess.DEVNULL
        )
        service.until(lambda status: status["state"] == "updating")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert service.until(lambda status: status["state"] == "ready")["updates"] == 0
        service.until(lambda status: len(status["containers"]) == 1)
        assert service.ask() == 2


def test_a_killed_container_is_started_again_and_who_comes_meanwhile_waits(run: Run, adder: Path) -> None:
    with kept(run, adder) as service:
        for _ in range(2):
            (name,) = service.status["containers"]
            before = service.status["restarts"]
            run("kill", "-s", "KILL", name, code=0)
            assert service.ask(5) == 6
            service.until(lambda status, n=before: status["restarts"] == n + 1 and status["state"] == "ready")  # type: ignore[misc]
        assert "exit code 137" in service.status["reason"]
        assert "starting again" in run("logs", "adder").stdout


def test_when_the_supervisor_is_killed_the_truth_is_told_and_down_and_up_work(
    corten: Corten, run: Run, adder: Path
) -> None:
    with kept(run, adder) as service:
        port = service.port
        for mend in ("up", "down"):
            os.kill(service.supervisor(corten.home), signal.SIGKILL)
            found = service.until(lambda status: not status["supervised"])
            assert (found["state"], found["reason"]) == ("unsupervised", "its supervisor was killed")
            assert service.ask() == 2
            refused = run("up", "--update", adder, code=1)
            assert "no supervisor any more" in refused.stderr
            if mend == "up":
                run("up", adder, "--detach", "--port", str(port), "--name", "adder", code=0)
                assert service.status["state"] == "ready"
                assert service.ask() == 2
        run("down", "adder", code=0)
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_an_idle_one_sleeps_and_the_next_connection_starts_it(run: Run, adder: Path) -> None:
    with kept(run, adder, "--idle", "1s") as service:
        for _ in range(2):
            found = service.until(lambda status: status["state"] == "idle" and not status["containers"])
            assert found["memory"] is None
            run("prune", code=0)
            assert service.ask(3) == 4
        # One who is at work is not idle.
        (adder / "predict.py").write_text(PREDICT.format("(__import__('time').sleep(3) or 1)"))
        run("up", "--update", adder, code=0)
        assert service.ask(3) == 4


def test_a_command_is_kept_running_and_updated_too(run: Run, project: Callable[..., Path]) -> None:
    settings = '[project]\nname = "web"\nversion = "1"\n[tool.corten]\ncommand = "python main.py"\n'
    web = project({"main.py": WEB.format("one"), "pyproject.toml": settings}, "web")
    with kept(run, web) as service:
        with Load(service.port, "/", keep=False) as load:
            (web / "main.py").write_text(WEB.format("two"))
            run("up", "--update", web, code=0)
            service.until(lambda _: load.bodies[b"two"] > 20)
        assert load.failures == []
        assert set(load.bodies) == {b"one", b"two"}
        service.until(lambda status: len(status["containers"]) == 1)
        (name,) = service.status["containers"]
        run("kill", "-s", "KILL", name, code=0)
        with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/", timeout=60) as answer:
            assert answer.read() == b"two"
        refused = run("up", "--update", web, "--workers", "2")
        assert refused.returncode == 2
        assert "--workers is for predictors" in refused.stderr


LOOP = """\
import os, socket, time
print("no such application", flush=True)
listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
while True:
    if os.fork() == 0:
        time.sleep(0.05)
        os._exit(3)
    os.wait()
"""


def test_a_command_is_ready_when_it_answers_wherever_it_listens(
    run: Run, project: Callable[..., Path]
) -> None:
    settings = '[project]\nname = "web"\nversion = "1"\n[tool.corten]\ncommand = "python main.py"\n'
    silent = "import time\nprint('working on it', flush=True)\ntime.sleep(600)\n"
    web = project({"main.py": silent, "pyproject.toml": settings}, "web")
    reason = "it listens on no TCP port; $PORT says 8080"
    failed, limit = given_up(run, web, "working on it", reason)
    assert f"was not ready after {limit} s: {reason}" in failed.stderr
    assert "raise --start-timeout" in failed.stderr
    assert "monitor" not in failed.stderr
    # Gradio's own port and address.
    (web / "main.py").write_text(WEB.format("one").replace('int(os.environ["PORT"])', "7860"))
    with kept(run, web) as service, Load(service.port, "/", clients=2, keep=False) as load:
        said = "listens on 127.0.0.1:7860, not on port 8080 as $PORT says; requests go there"
        assert run("logs", "web", code=0).stdout.count(said) == 1
        (web / "main.py").write_text(LOOP)
        failed = run("up", "--update", web, code=1)
        assert "no such application" in failed.stderr
        assert "'web' was not updated: the new container restarts its processes" in failed.stderr
        before = load.answered
        service.until(lambda _: load.answered > before)
    assert load.failures == []


def test_a_plain_users_service(plain_runner: Plain) -> None:
    run = running_as(plain_runner)
    root = plain_runner.home / "adder"
    root.mkdir(exist_ok=True)
    (root / "predict.py").write_text(PREDICT.format(1))
    subprocess.run(["chown", "-R", f"{plain_runner.user.pw_uid}", root], check=True)
    with kept(run, root, "--idle", "5m", "--workers", "2") as service:
        assert service.status["workers"] == 2
        with Load(service.port) as load:
            (root / "predict.py").write_text(PREDICT.format(10))
            run("up", "--update", root, code=0)
            service.until(lambda _: load.differences[10] > 20)
            service.until(lambda status: len(status["containers"]) == 1)
        assert load.failures == []
        assert service.status["workers"] == 2
        (name,) = service.status["containers"]
        run("kill", "-s", "KILL", name, code=0)
        assert service.ask() == 11
        os.kill(service.supervisor(plain_runner.home / "store"), signal.SIGKILL)
        assert service.until(lambda status: not status["supervised"])["state"] == "unsupervised"
        assert service.ask() == 11


def test_what_is_in_the_way_is_said_with_the_way_out(run: Run, adder: Path, tmp_path: Path) -> None:
    nothing = run("up", "--update", adder, code=1)
    assert "adder' is not being served" in nothing.stderr
    assert "corten up --detach" in nothing.stderr
    with kept(run, adder) as service:
        port = str(service.port)
        for arguments, message, hint in (
            (("--port", port), f"port {port} is in use: 'adder' is served there", "corten up --update"),
            (("--port", "0", "--name", "adder"), "a service called 'adder' is running", "corten down adder"),
            (("--update", "--port", "1"), "an update keeps the socket", "corten down"),
            (("--update", "--name", "rose"), "there is no service 'rose'", "there are: adder"),
            (("--port", "0", "--workers", "many"), "'many' is not a number of workers", "'auto'"),
            (("--port", "0", "--idle", "soon"), "'soon' is not a time", "10"),
        ):
            done = run("up", adder, "--detach", *arguments)
            if "--update" in arguments:
                done = run("up", adder, *arguments)
            assert done.returncode in (1, 2), (arguments, done.stderr)
            assert f"error: {message}" in done.stderr, arguments
            assert "hint:" in done.stderr, arguments
            if "idle" not in str(arguments):
                assert hint in done.stderr, (arguments, done.stderr)
    for verb in (("down", "rose"), ("status", "rose")):
        assert "there is no service 'rose'" in run(*verb, code=1).stderr


def test_stop_ends_a_service_by_its_name_or_its_containers(run: Run, adder: Path) -> None:
    for renewed in (False, True):
        with kept(run, adder) as service:
            if renewed:
                (adder / "predict.py").write_text(PREDICT.format(7))
                run("up", "--update", adder, code=0)
            (name, *_) = service.status["containers"]
            assert run("stop", name, code=0).stdout.strip() == name
            assert run("status", "adder").returncode == 1
            run("up", adder, "--detach", "--port", "0", "--name", "adder", code=0)


def test_an_image_is_served_as_well(run: Run, adder: Path) -> None:
    run("build", adder, "--name", "adding:1.0", code=0)
    done = run("up", "adding:1.0", "--detach", "--port", "0", code=0)
    try:
        service = Kept(run, "adding")
        assert service.status["url"] == done.stdout.strip()
        assert service.ask() == 2
        assert service.status["path"] is None
        # The socket is bound outside of the container; it says there that it is the loopback interface's.
        asked = urllib.request.Request(f"{service.status['url']}/status", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(asked, timeout=20)
        assert refused.value.code == 403
    finally:
        run("down", "adding", code=0)


def test_a_unit_of_a_service_says_what_it_was_started_with(run: Run, adder: Path, tmp_path: Path) -> None:
    with kept(run, adder, "-e", "A=b c", "--idle", "10m"):
        text = run("export", "systemd", "adder", code=0).stdout
    assert f"{adder} --name adder --env-prefix CORTEN_ENV_ --idle 600s\n" in text
    assert '\nCORTEN_ENV_A="b c"\n' in text
    (tmp_path / "units").mkdir(mode=0o777)
    (tmp_path / "units").chmod(0o777)
    (tmp_path / "units" / "corten-adder.service").write_text("of an earlier version")
    done = run("export", "systemd", adder, "--port", "8123", "--output", tmp_path / "units", code=0)
    assert (tmp_path / "units" / "corten-adder.service").stat().st_mode & 0o777 == 0o644
    assert [Path(line).name for line in done.stdout.split()] == [
        "corten-adder.socket",
        "corten-adder.service",
    ]
    assert "ListenStream=127.0.0.1:8123" in (tmp_path / "units" / "corten-adder.socket").read_text()


def test_as_systemd_starts_it(corten: Corten, adder: Path, tmp_path: Path) -> None:
    """The words of the unit's ExecStart, with the socket as descriptor 3, in an environment that has just the unit's."""
    import shlex
    import sys

    text = corten("export", "systemd", adder, "-e", "TOKEN=s3cret").stdout
    (line,) = [line.removeprefix("ExecStart=") for line in text.splitlines() if line.startswith("ExecStart=")]
    words = shlex.split(line.replace("%%", "%").replace("$$", "$"))
    assert words[0] == sys.executable
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard,
    ):
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(120)
        number = listener.fileno()
        begin = (
            f"import fcntl, os, sys; os.dup2(fcntl.fcntl({number}, fcntl.F_DUPFD, 20), 3); "
            "os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.argv[1], sys.argv[1:])"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", begin, *words],
            env={
                "CORTEN_HOME": str(corten.home),
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT / "src"),
                "CORTEN_ENV_TOKEN": "s3cret",
                "LISTEN_FDS": "1",
                "NOTIFY_SOCKET": str(tmp_path / "notify"),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(number,),
        )
        try:
            assert heard.recv(100) == b"READY=1"
            with Load(listener.getsockname()[1], clients=2) as load:
                time.sleep(0.2)
            assert load.failures == []
            assert load.answered > 0
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


KEEPS = """\
from pathlib import Path
class Predictor:
    def predict(self, x: int) -> int:
        with open("/app/data/asked", "a") as file:
            file.write("x")
        return x + len(Path("/settings/step").read_text())
"""


def test_up_is_a_run_with_volumes_and_there_is_one_of_a_project(
    run: Run, project: Callable[..., Path], tmp_path: Path
) -> None:
    """A folder of this machine by `-v`, a volume by the project, kept over an update; a second `up` refuses."""
    settings = '[tool.corten]\nvolumes = { keeps-data = "/app/data" }\n'
    root = project({"predict.py": KEEPS, "pyproject.toml": settings}, "keeps")
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "step").write_text("111")
    with kept(run, root, "-v", f"{tmp_path}/settings:/settings:ro", "--ulimit", "nofile=2048") as service:
        assert service.ask() == 4
        second = run("up", root, "--detach", "--port", "0")
        assert second.returncode == 2
        assert "'keeps' serves this project already" in second.stderr
        assert "corten up --update" in second.stderr
        (tmp_path / "settings" / "step").write_text("22222")
        (root / "predict.py").write_text(KEEPS.replace("x + len", "1 + x + len"))
        run("up", "--update", root, code=0)
        service.until(lambda status: len(status["containers"]) == 1)
        assert service.ask() == 7
        (name,) = service.status["containers"]
        assert run("exec", name, "--", "cat", "/app/data/asked", code=0).stdout == "xx"
        assert "keeps-data" in run("volume", "ls", code=0).stdout
    run("volume", "rm", "keeps-data", code=0)
