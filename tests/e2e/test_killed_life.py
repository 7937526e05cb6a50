"""Corten killed at every step of a container's start, stop, restart and removal: at each change below `containers/`, and before
each process that it starts. `ps` tells the truth after each, `rm` cleans, and nothing is left on the machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.commander import Commander, left_behind, namespaces, processes, until
from support.plain_user import ROOT

pytestmark = pytest.mark.e2e
PROGRAM = ("sleep", "87654")
WIDTH = 3
STEPS_OF_PLAIN_USERS = 3
"""Every third: what differs for them is in the shim, and every step there is taken by one of the two kinds."""


class Killer:
    """Runs the command and kills the process of Corten's that takes the N-th step, wherever that is."""

    def __init__(self, command: Commander, folder: Path) -> None:
        self.command, self.folder = command, folder

    def __call__(self, step: int, *arguments: str) -> int:
        """Kill at this step (0: never), and return how many have been taken."""
        counter = self.folder / f"{step}-{'-'.join(arguments[:4])}".replace("/", "_")
        counter.write_bytes(bytes(8))
        counter.chmod(0o666)
        if self.command.environment:
            paths = self.command.environment.get("PYTHONPATH", "")
        else:
            paths = next(
                item.partition("=")[2] for item in self.command.prefix if item.startswith("PYTHONPATH=")
            )
        killing = self.command.with_variables(
            CORTEN_KILL=f"{counter}:{step}:{self.command.home}/containers",
            PYTHONPATH=f"{ROOT}/tests/support/killing:{paths}",
        )
        subprocess.run(
            killing.argv(*arguments),
            cwd=self.command.folder,
            env=killing.environment or None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        return int.from_bytes(counter.read_bytes(), "little")


@pytest.fixture
def killer(command: Commander, open_directory: Path, request: pytest.FixtureRequest) -> Killer:
    folder = open_directory / f"{request.node.name}-counters".replace("[", "-").replace("]", "")
    folder.mkdir()
    folder.chmod(0o777)
    return Killer(command, folder)


def steps(command: Commander, count: int) -> range:
    """Those at which it is killed, of `count`."""
    assert count > 3
    if command.kind == "root":
        return range(1, count + 1)
    return range(1 + ["subuids", "none"].index(command.kind), count + 1, STEPS_OF_PLAIN_USERS)


def started(name: str, command: Commander) -> tuple[str, ...]:
    mark = f"MARK={command.home}"
    return ("run", "-d", "--name", name, "-e", mark, "-e", f"WHICH={name}", "runner", "--", *PROGRAM)


def programs(command: Commander) -> set[str]:
    """The containers whose program runs, as the machine sees it."""
    found = set()
    for pid, line in processes(command).items():
        if line.split()[:2] == list(PROGRAM):
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            found |= {item[6:].decode() for item in variables if item.startswith(b"WHICH=")}
    return found


def check_truth(command: Commander) -> None:
    """What `ps` calls running has its program and the reverse, and the rest has ended for good."""

    def differs() -> str:
        listed = command.list()
        running = {name for name, item in listed.items() if item["status"] == "running"}
        odd = {name: item["status"] for name, item in listed.items()
               if item["status"] not in ("running", "exited", "created")}  # fmt: skip
        return "" if running == programs(command) and not odd else f"{listed} but {programs(command)}"

    until(lambda: not differs(), differs)


def check_nothing_is_left(command: Commander) -> None:
    """Everything can be removed, and all that the machine had for it goes."""
    here = namespaces([os.getpid()])
    used = namespaces(processes(command)) - here
    command("rm", "--force", "--all")
    nothing: dict[str, list[str]] = {"processes": [], "names": [], "groups": [], "mounts": []}
    until(lambda: left_behind(command) == nothing, lambda: str(left_behind(command)))
    until(lambda: not users(used), lambda: f"{users(used)}")


def users(used: set[str]) -> dict[int, str]:
    """The processes in these namespaces, whosever they are."""
    found = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        if namespaces([pid]) & used:
            with contextlib.suppress(OSError):
                found[pid] = Path(f"/proc/{pid}/cmdline").read_text() or Path(f"/proc/{pid}/stat").read_text()
    return found


def each(found: range, act: Callable[[int], object]) -> None:
    with ThreadPoolExecutor(WIDTH) as pool:
        list(pool.map(act, found))


def test_killed_at_every_step_of_a_start(killer: Killer, command: Commander) -> None:
    count = killer(0, *started("life-0", command))
    until(lambda: programs(command) == {"life-0"})
    each(steps(command, count), lambda step: killer(step, *started(f"life-{step}", command)))
    check_truth(command)
    check_nothing_is_left(command)


def test_killed_at_every_step_of_a_stop(killer: Killer, command: Commander) -> None:
    command(*started("life-0", command))
    count = killer(0, "stop", "life-0")
    found = steps(command, count)
    each(found, lambda step: command(*started(f"life-{step}", command)))
    each(found, lambda step: killer(step, "stop", f"life-{step}"))
    check_truth(command)
    each(found, lambda step: command("stop", f"life-{step}"))
    assert {item["status"] for item in command.list().values()} == {"exited"}
    check_nothing_is_left(command)


def test_killed_at_every_step_of_a_removal(killer: Killer, command: Commander) -> None:
    command(*started("life-0", command))
    count = killer(0, "rm", "--force", "life-0")
    # Most of them remove one file of many: those are alike.
    found = range(1, count + 1, 4 if command.kind == "root" else 12)
    each(found, lambda step: command(*started(f"life-{step}", command)))
    each(found, lambda step: killer(step, "rm", "--force", f"life-{step}"))
    check_truth(command)
    check_nothing_is_left(command)


def test_killed_at_every_step_of_a_restart(killer: Killer, command: Commander) -> None:
    """Each begins with what the last one, killed, has left."""
    command(*started("life-0", command))
    count = killer(0, "restart", "life-0")
    for step in steps(command, count)[:: 2 if command.kind == "root" else 3]:
        killer(step, "restart", "life-0")
    check_truth(command)
    command("restart", "life-0")
    until(lambda: programs(command) == {"life-0"})
    assert command.list()["life-0"]["status"] == "running"
    check_nothing_is_left(command)


CALLS = {
    "mount": "mount",
    "make folders": "mkdir,mkdirat",
    "rename": "rename",
    "write": "write",
    "start": "clone,clone3,vfork",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_whoever_makes_a_call_is_killed(call: str, command: Commander) -> None:
    """strace kills each process at its n-th call of a kind: Corten's, the monitor's and the engine's alike. It ends when all
    of them have, so the program is a short one."""

    def killed(nth: int) -> None:
        trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
        trace += ["-e", f"inject={call}:signal=KILL:when={nth}"]
        argv = [*command.argv(*started(f"life-{nth}", command))[: -len(PROGRAM)], "sleep", "0.5"]
        subprocess.run(
            [*trace, *argv],
            cwd=command.folder,
            env=command.environment or None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=20,
            check=False,
        )

    with ThreadPoolExecutor(WIDTH) as pool:
        list(pool.map(killed, (1, 2, 3, 5, 8) if command.kind == "root" else (2, 4)))
    check_truth(command)
    assert all(item["status"] != "running" for item in command.list().values())
    check_nothing_is_left(command)
