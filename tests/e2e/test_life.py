"""Detached containers with a real engine and a real monitor, as root, as a plain user with subordinate IDs, and as one
without: every verb, and the truth after whatever was killed."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import termios
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.commander import Commander, start, until

pytestmark = pytest.mark.e2e


def test_a_life_from_run_to_rm(command: Commander) -> None:
    script = "rm -f /tmp/end; echo out; echo err >&2; while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 4"
    start(command, "life-a", "sh", "-c", script, options=("--label", "team=blue"))
    listed = command.list()["life-a"]
    assert (listed["status"], listed["exit_code"], listed["labels"]) == ("running", None, {"team": "blue"})
    with subprocess.Popen(
        command.argv("logs", "--follow", "life-a"),
        cwd=command.folder,
        env=command.environment or None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        assert (following.stdout.readline(), following.stderr.readline()) == ("out\n", "err\n")
        command("exec", "life-a", "--", "touch", "/tmp/end")
        assert (following.stdout.read(), following.stderr.read()) == ("", "")
        assert following.wait(60) == 0
    assert command("wait", "life-a").stdout == "4\n"
    ended = command.list()["life-a"]
    assert (ended["status"], ended["exit_code"], ended["reason"]) == ("exited", 4, None)
    assert abs(ended["finished"] - time.time()) < 60
    assert command("ps", "-q").stdout == ""
    assert "exited (4)" in command("ps", "--all").stdout
    stamped = command("logs", "--timestamps", "--tail", "1", "--since", "1h", "life-a")
    assert (stamped.stdout + stamped.stderr)[:2] == "20"
    assert "exists" in command("run", "-d", "--name", "life-a", "runner", "--", "true", code=2).stderr
    command("restart", "life-a")
    assert command.list()["life-a"]["status"] == "running"
    assert "is running" in command("rm", "life-a", code=2).stderr
    command("rm", "--force", "life-a")
    assert "there is no container" in command("logs", "life-a", code=1).stderr


def test_filters(command: Commander) -> None:
    start(command, "life-b1", "sleep", "100", options=("--label", "team=red"))
    start(command, "life-b2", "true", options=("--label", "team=blue"))
    command("wait", "life-b2")

    def names(*filters: str) -> list[str]:
        return sorted(command("ps", "-q", *(f"--filter={one}" for one in filters)).stdout.split())

    assert names("label=team=red") == ["life-b1"]
    assert names("status=exited") == ["life-b2"]
    assert names("name=life-b") == ["life-b1"]
    assert names("name=life-b", "status=exited", "status=running") == ["life-b1", "life-b2"]
    assert names("label=team=red", "status=exited") == []
    assert "is not a filter" in command("ps", "--filter", "size=1", code=2).stderr


def test_signals(command: Commander) -> None:
    script = "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: exit(9))\nsignal.signal(signal.SIGUSR1, lambda *_: print('usr1', flush=True))\nprint('ready', flush=True)\nwhile True: time.sleep(1)"
    start(command, "life-c", "python", "-c", script)
    until(lambda: "ready" in command("logs", "life-c").stdout)
    command("kill", "--signal", "USR1", "life-c")
    until(lambda: "usr1" in command("logs", "life-c").stdout)
    command("stop", "life-c")
    assert command.list()["life-c"]["exit_code"] == 9
    assert "not running" in command("kill", "life-c", code=1).stderr
    assert "is not a signal" in command("kill", "-s", "NONE", "life-c", code=2).stderr
    # Nobody handles SIGTERM here: it would take the grace of ten seconds otherwise.
    start(command, "life-d", "sleep", "100")
    command("stop", "--time", "1000", "life-d")
    start(
        command,
        "life-e",
        "python",
        "-c",
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(100)",
    )
    until(lambda: "deaf" in command("logs", "life-e").stdout)
    command("stop", "--time", "0.2", "life-e")
    assert command.list()["life-e"]["exit_code"] == 137


WAITER = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {15})\nprint('ready', flush=True)\nexit(signal.sigwait({15}) + 5)"
SAVER = "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(20))\nprint('ready', flush=True)\nwhile True: time.sleep(0.05)"


@pytest.mark.parametrize(
    ("options", "script"), [((), WAITER), (("--init",), SAVER)], ids=["sigwait", "an init"]
)
def test_sigterm_reaches_a_program_that_waits_for_it(
    command: Commander, options: tuple[str, ...], script: str
) -> None:
    """Whether the first process takes it from sigwait(3), or is an init that does and passes it on: detached and not."""
    start(command, "life-w", "python", "-c", script, options=options)
    until(lambda: "ready" in command("logs", "life-w").stdout)
    command("stop", "--time", "1000", "life-w")
    assert command.list()["life-w"]["exit_code"] == 20
    foreground = subprocess.Popen(
        command.argv("run", *options, "runner", "--", "python", "-c", script),
        cwd=command.folder,
        env=command.environment or None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert foreground.stdout is not None
    with foreground.stdout as said:
        assert said.readline() == b"ready\n"
        foreground.terminate()
        assert foreground.wait(60) == 20


def test_remove_at_the_end(command: Commander) -> None:
    start(command, "life-f", "sh", "-c", "mkdir -p /tmp/x; exit 3", options=("--rm",))
    until(lambda: os.listdir(command.home / "containers") == [])


def test_exec(command: Commander) -> None:
    start(command, "life-g", "sleep", "100")
    own = command(
        "exec",
        "life-g",
        "--",
        "sh",
        "-c",
        "id -u; pwd; echo $X; tr '\\0' ' ' < /proc/1/cmdline; grep -E 'NoNewPrivs|Seccomp:|CapEff' /proc/self/status",
    ).stdout
    assert "sleep 100" in own
    assert "CapEff:\t0000000000000000" in own
    assert "NoNewPrivs:\t1" in own
    assert "Seccomp:\t2" in own
    assert own.split()[0] == ("0" if command.kind == "none" else "65532")
    piped = command(
        "exec",
        "-i",
        "-e",
        "X=y",
        "-w",
        "/tmp",
        "life-g",
        "--",
        "sh",
        "-c",
        "cat; pwd; echo $X; exit 7",
        code=7,
        stdin=None,
        input="in\n",
    )
    assert piped.stdout == "in\n/tmp\ny\n"
    assert "has no program 'nosuch'" in command("exec", "life-g", "--", "nosuch", code=127).stderr
    assert "not an executable file" in command("exec", "life-g", "--", "/etc/passwd", code=126).stderr
    assert "not a terminal" in command("exec", "-t", "life-g", "--", "true", code=2).stderr.replace(
        "no terminal", "not a terminal"
    )
    if command.kind != "none":
        assert (
            command("exec", "-u", "0", "life-g", "--", "grep", "CapEff", "/proc/self/status").stdout.split()[
                1
            ]
            == "0" * 16
        )
    assert [path.name for path in (command.home / "containers" / "life-g").glob("exec-*")] == []
    command("stop", "life-g")
    assert "is not running" in command("exec", "life-g", "--", "true", code=125).stderr


def test_exec_into_one_in_the_foreground(command: Commander) -> None:
    argv = command.argv("run", "--name", "life-h", "runner", "--", "sh", "-c", "echo up; sleep 100")
    with subprocess.Popen(
        argv, cwd=command.folder, env=command.environment or None, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        assert command("exec", "life-h", "--", "echo", "hi").stdout == "hi\n"
        command("stop", "life-h")
        assert running.wait(20) == 143
    assert command.list() == {}


def test_a_terminal(command: Commander) -> None:
    start(command, "life-i", "sleep", "100")
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(command.folder)
        argv = command.argv(
            "exec", "-it", "life-i", "--", "sh", "-c", "stty size; tty; read x; echo got=$x; exit 5"
        )
        os.execvpe(argv[0], argv, {**os.environ, **command.environment})
    seen = read_until(master, b"/dev/pts/")
    assert b"/dev/pts/" in seen
    os.write(master, b"word\n")
    assert b"got=word" in read_until(master, b"got=word")
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 5


def test_a_terminal_is_given_back_after_a_kill(command: Commander) -> None:
    start(command, "life-x", "sleep", "100")
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(command.folder)
        argv = command.argv("exec", "-it", "life-x", "--", "sh", "-c", "tty; sleep 1000")
        os.execvpe(argv[0], argv, {**os.environ, **command.environment})
    before = termios.tcgetattr(master)[3] & (termios.ECHO | termios.ICANON)
    assert b"/dev/pts/" in read_until(master, b"/dev/pts/")
    until(lambda: termios.tcgetattr(master)[3] & (termios.ECHO | termios.ICANON) == 0)
    # A session whose leader is killed loses its terminal; a shell would be the leader.
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    until(lambda: termios.tcgetattr(master)[3] & (termios.ECHO | termios.ICANON) == before)
    programs = ("exec", "life-x", "--", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    until(lambda: "sleep 1000" not in command(*programs, code=None).stdout)
    assert "sleep 100" in command(*programs, code=None).stdout
    os.close(master)


def read_until(master: int, wanted: bytes) -> bytes:
    seen = b""
    end = time.monotonic() + 60
    while wanted not in seen and time.monotonic() < end:
        if select.select([master], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):
                seen += os.read(master, 4096)
    return seen


def test_attach(command: Commander) -> None:
    script = "while read x; do echo got $x; test $x = quit && exit 6; done"
    start(command, "life-j", "sh", "-c", script, options=("-i",))
    done = command("attach", "life-j", code=6, stdin=None, input="one\nquit\n")
    assert done.stdout == "got one\ngot quit\n"
    assert command("logs", "life-j").stdout == "got one\ngot quit\n"
    start(
        command,
        "life-k",
        "sh",
        "-c",
        "stty -echo; echo ready; read x; stty size; echo bye $x; sleep 100",
        options=("-it",),
    )
    until(lambda: "ready" in command("logs", "life-k").stdout)
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(command.folder)
        argv = command.argv("attach", "life-k")
        os.execvpe(argv[0], argv, {**os.environ, **command.environment})
    until(lambda: not termios.tcgetattr(master)[3] & termios.ICANON)
    os.write(master, b"word\n")
    assert b"bye word" in read_until(master, b"bye word")
    os.write(master, b"\x10")
    os.write(master, b"\x11")
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert command.list()["life-k"]["status"] == "running"


def test_copies(command: Commander, tmp_path: Path, open_directory: Path) -> None:
    outside = open_directory / f"copies-{command.kind}"
    outside.mkdir()
    outside.chmod(0o777)
    script = "mkdir -p /tmp/d/e; echo hi > /tmp/d/e/f; ln -s /etc/shadow /tmp/d/link; ln -s /tmp/d/e /tmp/named; echo r; sleep 100"
    start(command, "life-l", "sh", "-c", script)
    until(lambda: "r" in command("logs", "life-l").stdout)
    command("cp", "life-l:/tmp/d", f"{outside}/")
    assert (outside / "d/e/f").read_text() == "hi\n"
    assert os.readlink(outside / "d/link") == "/etc/shadow"
    command("cp", "life-l:/tmp/named", f"{outside}/named")
    assert (outside / "named/f").read_text() == "hi\n"
    assert "there is no '/tmp/none'" in command("cp", "life-l:/tmp/none", str(outside), code=1).stderr
    command("cp", f"{outside}/d", "life-l:/tmp/back")
    listed = command(
        "exec", "life-l", "--", "sh", "-c", "cat /tmp/back/e/f; id -u; stat -c %u /tmp/back/e/f"
    ).stdout.split()
    assert listed[0] == "hi"
    assert listed[1] == listed[2]
    # A link of the container leads where its programs see it, never to this machine's file.
    (outside / "secret").write_text("machine\n")
    command("exec", "life-l", "--", "ln", "-s", str(outside), "/tmp/out")
    assert "there is no" in command("cp", "life-l:/tmp/out/secret", f"{outside}/stolen", code=1).stderr
    assert not (outside / "stolen").exists()
    # A file takes the place of a file, also where a link leads to it, and never that of a pipe or a device.
    (outside / "file").write_text("old\n")
    (outside / "to-file").symlink_to("file")
    command("cp", "life-l:/tmp/d/e/f", f"{outside}/to-file")
    assert (outside / "to-file").is_symlink()
    assert (outside / "file").read_text() == "hi\n"
    os.mkfifo(outside / "fifo")
    (outside / "standard").symlink_to("/proc/self/fd/1")
    for name in ("fifo", "standard"):
        assert "neither a file" in command("cp", "life-l:/tmp/d/e/f", f"{outside}/{name}", code=2).stderr
    assert (outside / "fifo").is_fifo()
    assert (outside / "standard").is_symlink()
    command("stop", "life-l")
    command("cp", "life-l:/etc/hostname", f"{outside}/hostname")
    (outside / "new").write_text("new\n")
    command("cp", f"{outside}/new", "life-l:/opt/")
    command("cp", "life-l:/opt/new", f"{outside}/again")
    assert (outside / "again").read_text() == "new\n"
    command("restart", "life-l")
    assert command("exec", "life-l", "--", "cat", "/opt/new").stdout == "new\n"
    assert "a place in a container" in command("cp", "a", "b", code=2).stderr


def test_stats_and_inspect(command: Commander) -> None:
    start(command, "life-m", "python", "-c", "while True: pass", options=("-e", "MODE=x"))
    rows = json.loads(command("stats", "--no-stream", "--json", "life-m").stdout)
    assert [row["name"] for row in rows] == ["life-m"]
    assert rows[0]["cpu_percent"] > 5
    assert rows[0]["memory"] > 1 << 20
    assert rows[0]["pids"] >= 1
    assert "life-m" in command("stats", "--no-stream").stdout
    document = json.loads(command("inspect", "--type", "container", "life-m").stdout)
    assert document["status"] == "running"
    assert document["monitor"] == "conmon"
    assert document["options"]["environment"] == [["MODE", "x"]]
    assert b"while True" in Path(f"/proc/{document['pid']}/cmdline").read_bytes()
    assert json.loads(command("inspect", "life-m").stdout)["name"] == "life-m"
    assert "layers" in json.loads(command("inspect", "runner").stdout)


def test_restarts(command: Commander, open_directory: Path) -> None:
    start(command, "life-n", "sh", "-c", "echo again; exit 3", options=("--restart", "on-failure:2"))
    assert command("wait", "life-n").stdout == "3\n"
    assert command.list()["life-n"]["restarts"] == 2
    assert command("logs", "life-n").stdout == "again\n" * 3
    # The third life stays until it is stopped.
    state = open_directory / f"lives-{command.kind}"
    state.mkdir()
    state.chmod(0o777)
    script = "echo life >> /state/lives; test $(wc -l < /state/lives) -lt 3 || exec sleep 100"
    options = ("--restart", "always", "-v", f"{state}:/state")
    start(command, "life-o", "sh", "-c", script, options=options)
    until(lambda: command.list()["life-o"]["restarts"] == 2)
    command("wait", "--condition", "running", "life-o")
    command("stop", "life-o")
    assert command.list()["life-o"]["status"] == "exited"
    start(command, "life-p", "sleep", "100", options=("--restart", "on-failure"))
    os.kill(command.inside("life-p"), signal.SIGKILL)
    until(
        lambda: command.list()["life-p"]["restarts"] == 1 and command.list()["life-p"]["status"] == "running"
    )
    assert "contradict" in command("run", "-d", "--rm", "--restart", "always", "runner", code=2).stderr


def test_health(command: Commander) -> None:
    options = ("--health-cmd", "test ! -e /tmp/bad", "--health-interval", "200ms", "--health-retries", "2")
    start(command, "life-q", "sleep", "100", options=options)
    until(lambda: command.list()["life-q"]["health"] == "healthy")
    command("exec", "life-q", "--", "touch", "/tmp/bad")
    until(lambda: command.list()["life-q"]["health"] == "unhealthy")
    assert command("ps", "-q", "--filter", "health=unhealthy").stdout == "life-q\n"


def test_a_time_limit(command: Commander) -> None:
    start(command, "life-r", "sleep", "100", options=("--timeout", "0.3s"))
    assert command("wait", "life-r").stdout == "137\n"
    assert command.list()["life-r"]["reason"] == "its time was over"
    assert command("run", "--timeout", "0.3s", "runner", "--", "sleep", "100", code=143).stdout == ""


def test_whatever_is_killed(command: Commander) -> None:
    start(command, "life-s", "sleep", "100")
    os.kill(json.loads(command("inspect", "life-s").stdout)["pid"], signal.SIGKILL)
    until(lambda: command.list()["life-s"]["status"] == "exited")
    assert (command.list()["life-s"]["exit_code"], command.list()["life-s"]["reason"]) == (137, None)
    start(command, "life-t", "sleep", "100")
    os.kill(command.inside("life-t"), signal.SIGKILL)
    until(lambda: command.list()["life-t"]["status"] == "exited")
    killed = command.list()["life-t"]
    assert (killed["exit_code"], killed["reason"]) == (137, "its monitor was killed")
    start(command, "life-u", "sleep", "100")
    state = command.home / "containers" / "life-u" / "state.json"
    os.kill(command.inside("life-u"), signal.SIGKILL)
    until(lambda: command.list()["life-u"]["status"] == "exited")
    state.write_text(
        state.read_text().replace(Path("/proc/sys/kernel/random/boot_id").read_text().strip(), "another")
    )
    rebooted = command.list()["life-u"]
    assert (rebooted["status"], rebooted["exit_code"], rebooted["reason"]) == (
        "exited",
        None,
        "the machine was restarted",
    )


def test_what_cannot_be_started_leaves_nothing(command: Commander) -> None:
    assert "no program" in command("run", "-d", "runner", "--", "nosuch", code=127).stderr
    assert "not an executable" in command("run", "-d", "runner", "--", "/etc/passwd", code=126).stderr
    assert command.list() == {}
    assert "'often' is not a way" in command("run", "-d", "--restart", "often", "runner", code=2).stderr
    assert "for detached containers" in command("run", "--restart", "always", "runner", code=2).stderr
    assert "is not a time" in command("run", "--timeout", "soon", "runner", code=2).stderr
    assert "no image" in command("run", "--pull", "never", "registry.example/none", code=1).stderr


def test_out_of_memory_is_told(command: Commander) -> None:
    bomb = ("python", "-c", "x = bytearray(300 << 20)")
    if command.kind != "root":
        refused = command("run", "-d", "--memory", "64m", "runner", "--", *bomb, code=None)
        if (
            refused.returncode != 0
        ):  # a plain user's limits hold where systemd delegates, and are refused elsewhere
            assert "--memory" in refused.stderr
            assert command.list() == {}
            return
        command("rm", "-f", refused.stdout.strip())
    start(command, "life-w", *bomb, options=("--memory", "64m"))
    command("wait", "life-w")
    ended = command.list()["life-w"]
    assert (ended["exit_code"], ended["out_of_memory"]) == (137, True)


def test_many_at_once(whole: Commander, command: Commander) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = [
            done.stdout.strip()
            for done in pool.map(
                lambda n: command("run", "-d", "runner", "--", "sh", "-c", f"exit {n}"), range(50)
            )
        ]
    assert len(set(names)) == 50
    codes = [int(line) for line in command("wait", *names).stdout.splitlines()]
    assert codes == list(range(50))
