"""Containers that share process numbers or IPC with this machine or with each other: what they see, and that nothing of them
stays, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.commander import Commander, processes, start, until

pytestmark = pytest.mark.e2e
SCRIPT = "sleep 87654 & (trap '' TERM HUP INT; sleep 87653 & sleep 87652) & wait"
"""A first process with children, and with some that have another parent soon, and ignore what they can."""


def marked(command: Commander) -> tuple[str, ...]:
    return "-e", f"MARK={command.home}"


def programs(command: Commander) -> list[str]:
    return sorted(line for line in processes(command).values() if line.startswith("sleep 8765"))


def test_pid_host_shows_the_processes_of_this_machine(command: Commander) -> None:
    script = (
        f"test -d /proc/{os.getpid()} && echo there; echo $$; readlink /proc/self/ns/pid; cat /proc/1/comm"
    )
    first = Path("/proc/1/comm").read_text()
    done = command("run", "--pid", "host", "runner", "--", "sh", "-c", script)
    there, number, namespace, comm = done.stdout.split("\n", 3)
    assert (there, namespace, comm) == ("there", os.readlink("/proc/self/ns/pid"), first)
    assert int(number) > 1
    # What the shell returns is the code, and another namespace is told from it.
    assert command("run", "--pid=host", "runner", "--", "sh", "-c", "exit 7", code=7).stderr == ""
    own = command("run", "--pid", "private", "runner", "--", "sh", "-c", "echo $$").stdout
    assert own == "1\n"


def test_what_it_opens_is_said_once(command: Commander) -> None:
    said = [command("run", "--pid", "host", "runner", "--", "true").stderr for _ in range(2)]
    assert "shows this machine's processes" not in said[1]


@pytest.mark.parametrize("mode", ["host", "container:life-first"])
def test_a_detached_one_is_looked_at_entered_and_stopped(command: Commander, mode: str) -> None:
    start(command, "life-first", "sleep", "87650")
    options = ("--pid", mode, *marked(command))
    start(command, "life-shares", "sh", "-c", f"echo begun; {SCRIPT}", options=options)
    until(lambda: command("logs", "life-shares").stdout == "begun\n")
    until(lambda: len(programs(command)) == 3)
    document = json.loads(command("inspect", "life-shares").stdout)
    assert Path(f"/proc/{document['pid']}/cmdline").read_bytes().startswith(b"sh\0")
    assert command.list()["life-shares"]["status"] == "running"
    stats = {item["name"]: item for item in json.loads(command("stats", "--no-stream", "--json").stdout)}
    assert stats["life-shares"]["pids"] >= 4
    # Both see each other where they share, and only there.
    look = "readlink /proc/self/ns/pid; cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    seen = command("exec", "life-shares", "--", "sh", "-c", look).stdout
    assert "sleep 87653" in seen
    assert "sleep 87650" in seen
    assert seen.split()[0] == os.readlink(f"/proc/{document['pid']}/ns/pid")
    others = command("exec", "life-first", "--", "sh", "-c", look).stdout
    assert ("sleep 87653" in others) is (mode != "host")
    command("exec", "-d", "life-shares", "--", "sleep", "87651")
    until(lambda: len(programs(command)) == 4)
    command("cp", "life-shares:/etc/hostname", "copied")
    assert (command.folder / "copied").read_text() == "life-shares\n"
    # Whatever ignores the signal, and whoever was started by exec, goes with the first process.
    command("stop", "--time", "10", "life-shares")
    assert command.list()["life-shares"]["exit_code"] == 143
    assert programs(command) == []
    assert command.list()["life-first"]["status"] == "running"
    command("restart", "life-shares")
    until(lambda: len(programs(command)) == 3)
    command("kill", "life-shares")
    until(lambda: command.list()["life-shares"]["status"] == "exited")
    assert command.list()["life-shares"]["exit_code"] == 137
    assert programs(command) == []


def is_guard(pid: int) -> bool:
    """Whether it leads a session of its own, and is a copy of the command."""
    leads = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3] == str(pid)
    return leads and b"corten" in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.parametrize(
    ("mode", "victim"), [("host", "shim"), ("container:life-first", "guard"), ("host", "engine")]
)
def test_nothing_of_it_stays_whatever_is_killed(command: Commander, mode: str, victim: str) -> None:
    start(command, "life-first", "sleep", "87650")
    network = "private" if victim == "shim" else "none"
    options = ("--pid", mode, "--network", network, *marked(command))
    start(command, "life-shares", "sh", "-c", SCRIPT, options=options)
    until(lambda: len(programs(command)) == 3)
    engine = command.inside("life-shares")
    shim = int(Path(f"/proc/{engine}/stat").read_text().rpartition(")")[2].split()[1])
    first = json.loads(command("inspect", "life-shares").stdout)["pid"]
    below = [int(pid) for pid in Path(f"/proc/{shim}/task/{shim}/children").read_text().split()]
    (guard,) = (pid for pid in below if pid != engine and is_guard(pid))
    os.kill({"shim": shim, "guard": guard, "engine": engine, "first": first}[victim], signal.SIGKILL)
    until(lambda: programs(command) == [], lambda: str(programs(command)))
    until(lambda: command.list()["life-shares"]["status"] == "exited")
    assert command.list()["life-shares"]["exit_code"] == 137
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in (shim, first, *below)))
    command("rm", "life-shares")


def test_nothing_of_a_foreground_one_stays_when_it_is_killed(command: Commander) -> None:
    run = command.argv(
        "run", "--name", "life-front", "--pid", "host", *marked(command), "runner", "--", "sh", "-c", SCRIPT
    )
    for number in (signal.SIGKILL, signal.SIGTERM):
        with subprocess.Popen(
            run, cwd=command.folder, env=command.environment or None, stdin=subprocess.DEVNULL
        ) as front:
            until(lambda: len(programs(command)) == 3)
            front.send_signal(number)
            assert front.wait(20) in (-9, 143)
        until(lambda: programs(command) == [])
        until(lambda: not any("life-front" in line for line in processes(command).values()))


def test_whoever_joins_goes_with_the_container_that_it_joined(command: Commander) -> None:
    start(command, "life-first", "sleep", "87650")
    start(
        command,
        "life-shares",
        "sh",
        "-c",
        SCRIPT,
        options=("--pid", "container:life-first", *marked(command)),
    )
    until(lambda: len(programs(command)) == 3)
    command("stop", "--time", "0", "life-first")
    until(lambda: programs(command) == [])
    until(lambda: command.list()["life-shares"]["status"] == "exited")
    refused = command("restart", "life-shares", code=1).stderr
    assert "'life-first' is not running, so its processes cannot be shared" in refused
    for kind in ("pid", "ipc"):
        for detached in ((), ("-d",)):
            refused = command(
                "run", *detached, f"--{kind}", "container:life-first", "runner", "--", "true", code=125
            )
            assert "'life-first' is not running" in refused.stderr
    assert (
        "no container 'life-none'"
        in command("run", "--pid", "container:life-none", "runner", "true", code=125).stderr
    )


def test_ipc_of_another_container_is_its_shared_memory_too(command: Commander) -> None:
    start(
        command,
        "life-first",
        "sh",
        "-c",
        "echo one > /dev/shm/one; sleep 100",
        options=("--ipc", "shareable"),
    )
    until(lambda: command("exec", "life-first", "--", "ls", "/dev/shm").stdout == "one\n")
    look = "readlink /proc/self/ns/ipc; cat /dev/shm/one; echo two > /dev/shm/two; echo $$"
    ipc, one, number = command(
        "run", "--ipc", "container:life-first", "runner", "--", "sh", "-c", look
    ).stdout.split()
    found = command(
        "exec", "life-first", "--", "sh", "-c", "readlink /proc/self/ns/ipc; cat /dev/shm/two"
    ).stdout
    assert (one, number) == ("one", "1")
    assert found == f"{ipc}\ntwo\n"
    # All three of one container.
    options = [f"--{kind}=container:life-first" for kind in ("network", "pid", "ipc")]
    look = "readlink /proc/self/ns/ipc /proc/self/ns/net; cat /dev/shm/two /proc/1/cmdline"
    done = command("run", *options, "runner", "--", "sh", "-c", look)
    net = command("exec", "life-first", "--", "readlink", "/proc/self/ns/net").stdout
    assert done.stdout.startswith(f"{ipc}\n{net}two\nsh\0-c\0echo one")
    start(command, "life-alone", "sleep", "100", options=("--ipc", "private"))
    refused = command("run", "--ipc", "container:life-alone", "runner", "--", "true", code=125).stderr
    assert "was started with --ipc private" in refused


def test_what_cannot_be_had_is_refused(command: Commander) -> None:
    for flag in ("-t", "-i", "--timeout=5"):
        done = command("run", "-d", flag, "--pid", "host", "runner", "--", "true", code=125)
        assert "nothing would end a container that shares process numbers" in done.stderr
    for flag in ("--pid=ns:/proc/1/ns/pid", "--pid=container:", "--ipc=none"):
        assert "is not here" in command("run", flag, "runner", "--", "true", code=2).stderr


def test_a_program_that_leaves_the_root_is_ended_too(command: Commander) -> None:
    """Another root hides what is mounted, and another session and parent say nothing of where it comes from."""
    script = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.chroot('/tmp')\n"
        "        time.sleep(87655)\n"
        "    os._exit(0)\n"
        "os.wait(); time.sleep(0.3)\n"
    )
    options = ("--pid", "host", "-u", "0", "--cap-add", "SYS_CHROOT", *marked(command))
    begun = time.monotonic()
    command("run", *options, "runner", "--", "python", "-c", script)
    assert time.monotonic() - begun < 60
    assert not [line for line in processes(command).values() if "87655" in line and "python -c" in line]
