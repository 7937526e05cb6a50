"""A service's processes are killed and its disk is full, while clients ask all the time."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.command import Corten
from support.kept import Kept, Run, kept, running_as_root
from support.load import Load

pytestmark = pytest.mark.e2e
CLIENTS = 6
PREDICT = """\
class Predictor:
    def predict(self, x: int) -> int:
        print("asked for", x, "." * 200)
        return x + {}
"""


@pytest.fixture
def run(corten: Corten) -> Run:
    return running_as_root(corten)


@pytest.fixture
def adder(project: Callable[..., Path]) -> Path:
    return project({"predict.py": PREDICT.format(1)}, "adder")


def more(service: Kept, load: Load, number: int = 1) -> float:
    """Seconds until that many answers, and a few, are there."""
    begun, before = time.perf_counter(), load.differences[number]
    service.until(lambda _: load.differences[number] > before + 20)
    return time.perf_counter() - begun


def below(pid: int) -> Iterator[int]:
    """The processes that a process has started, and theirs."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            yield child
            yield from below(child)


def named(pid: int, text: bytes) -> list[int]:
    """Processes below `pid` whose command line has `text`."""
    return [each for each in below(pid) if text in Path(f"/proc/{each}/cmdline").read_bytes()]


@pytest.mark.parametrize("victim", ["worker", "server", "container"])
def test_whatever_is_killed_comes_back_and_nobody_is_refused(
    corten: Corten, run: Run, adder: Path, victim: str, record_property: Callable[[str, object], None]
) -> None:
    kills, slowest = 2, 0.0
    with kept(run, adder) as service, Load(service.port, clients=CLIENTS) as load:
        supervisor = service.supervisor(corten.home)
        for number in range(1, kills + 1):
            more(service, load)
            if victim == "container":
                (name,) = service.status["containers"]
                run("kill", "-s", "KILL", name, code=0)
            else:
                pattern = b"corten_serve.worker.main" if victim == "worker" else b"corten_serve\0serve"
                os.kill(named(supervisor, pattern)[0], signal.SIGKILL)
            slowest = max(slowest, more(service, load))
            if victim != "worker":
                service.until(lambda status, n=number: status["restarts"] == n and status["state"] == "ready")  # type: ignore[misc]
    record_property(f"{victim} killed: 20 answers more after, s", round(slowest, 3))
    assert set(load.differences) == {1}
    assert not [failure for failure in load.failures if "ConnectionRefused" in failure]
    assert len(load.failures) <= kills * CLIENTS
    record_property(f"{victim} killed twice: requests lost", len(load.failures))


def test_a_killed_supervisor_is_noticed_by_nobody_who_asks(
    corten: Corten, run: Run, adder: Path, record_property: Callable[[str, object], None]
) -> None:
    with kept(run, adder) as service:
        port = service.port
        with Load(port, clients=CLIENTS) as load:
            more(service, load)
            os.kill(service.supervisor(corten.home), signal.SIGKILL)
            found = service.until(lambda status: not status["supervised"])
            assert (found["state"], found["reason"]) == ("unsupervised", "its supervisor was killed")
            more(service, load)
        assert load.failures == []
        assert set(load.differences) == {1}
        # What was accepted is answered while another takes over; new connections may be refused for a moment.
        with Load(port, clients=CLIENTS) as load:
            more(service, load)
            begun = time.perf_counter()
            run("up", adder, "--detach", "--port", str(port), "--name", "adder", code=0)
            record_property(
                "up again after its supervisor was killed, s", round(time.perf_counter() - begun, 3)
            )
            assert service.status["state"] == "ready"
            more(service, load)
        assert set(load.differences) == {1}
        assert all("ConnectionRefused" in each or "Reset" in each for each in load.failures), load.failures[
            :3
        ]


def test_a_full_disk_for_logs_ends_nothing(corten: Corten, run: Run, adder: Path) -> None:
    """The folder of services has 200 KB; the predictor prints more than that in no time."""
    place = corten.home / "services"
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", place], check=True)
    try:
        with kept(run, adder) as service, Load(service.port, clients=CLIENTS) as load:
            service.until(lambda _: os.statvfs(place).f_bavail == 0)
            more(service, load)
            assert service.status["state"] == "ready"
            (adder / "predict.py").write_text(PREDICT.format(10))
            done = run("up", "--update", adder)
            assert done.returncode == 0, done.stderr
            more(service, load, 10)
        assert load.failures == []
        assert set(load.differences) == {1, 10}
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_an_update_and_a_kill_at_once(run: Run, adder: Path) -> None:
    """The old container is killed while the new one starts: who asks meanwhile waits for the new one."""
    with kept(run, adder) as service, Load(service.port, clients=CLIENTS) as load:
        more(service, load)
        (name,) = service.status["containers"]
        (adder / "predict.py").write_text("import time\ntime.sleep(0.5)\n" + PREDICT.format(10))
        updating = []
        thread = threading.Thread(target=lambda: updating.append(run("up", "--update", adder)))
        thread.start()
        service.until(lambda status: len(status["containers"]) == 2)
        run("kill", "-s", "KILL", name, code=0)
        thread.join()
        assert updating[0].returncode == 0, updating[0].stderr
        more(service, load, 10)
        assert service.until(lambda status: len(status["containers"]) == 1)["state"] == "ready"
    assert set(load.differences) == {1, 10}
    assert len(load.failures) <= CLIENTS
    assert not [failure for failure in load.failures if "ConnectionRefused" in failure]
