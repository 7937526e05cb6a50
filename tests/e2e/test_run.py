"""`corten run` with a real engine: as root, as a plain user with subordinate IDs, and as one without."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from corten.store.store import Store
from support.command import Corten
from support.runner import Plain

pytestmark = pytest.mark.e2e
# A time that no other test's container sleeps.
LONG = 1_000_000 + os.getpid()
STATUS = "import os, re; s = open('/proc/self/status').read(); print(os.getuid(), *re.findall(r'(CapEff|CapBnd|NoNewPrivs|Seccomp):\\s*(\\w+)', s))"


@pytest.fixture
def image(runner: str) -> str:
    """A small image with Python, in the shared store."""
    return runner


@pytest.fixture
def plain(plain_runner: Plain) -> Plain:
    """The command as a plain user with a store of its own that has the same image."""
    return plain_runner


def test_the_cause_of_a_failure_is_the_last_line(corten: Corten, image: str) -> None:
    done = corten("run", image, "python", "-c", "print('out'); import cv2", code=1)
    assert done.stdout == "out\n"
    *_, error, hint = done.stderr.splitlines()
    assert error == "ModuleNotFoundError: No module named 'cv2'"
    assert hint.startswith("hint: no installed package has the module 'cv2': add opencv-python")
    assert (
        corten("run", image, "python", "-c", "raise SystemExit('my own words')", code=1).stderr
        == "my own words\n"
    )


def test_root_is_isolated(corten: Corten, image: str) -> None:
    out = corten("run", image, "--", "python", "-c", STATUS).stdout.split(" ", 1)
    assert out[0] == "65532"
    assert re.findall(r"'(\w+)'\)", out[1]) == ["0" * 16, "0" * 16, "1", "2"]
    said = corten(
        "run",
        image,
        "--",
        "sh",
        "-c",
        "touch /x; touch /usr/x; touch /tmp/ok $HOME/ok && echo ok; ls /proc | grep -c '^[0-9]'",
    )
    assert said.stdout.split()[0] == "ok"
    assert int(said.stdout.split()[1]) < 8
    assert said.stderr.count("Read-only file system") == 2
    # An application may write below /app, unless the caller says otherwise.
    write = ("run", "--read-only", image, "--", "touch", "/app/x")
    assert "Read-only file system" in corten(*write, code=1).stderr
    assert corten("run", image, "--", "sh", "-c", "mkdir /app/new && touch /app/new/x").stderr == ""
    links = corten(
        "run", image, "--", "python", "-c", "import socket; print([n for _, n in socket.if_nameindex()])"
    )
    assert links.stdout.strip() == "['lo']"
    assert corten("run", image, "--", "sh", "-c", "cat /proc/timer_list /proc/kcore; true").stdout == ""
    unshare = "import ctypes; print(ctypes.CDLL(None).unshare(0x10000000))"
    assert corten("run", image, "--", "python", "-c", unshare).stdout.strip() == "-1"


def test_plain_users_are_isolated(plain: Plain) -> None:
    done = plain("run", "runner", "--", "python", "-c", STATUS)
    assert done.returncode == 0, done.stderr
    uid, rest = done.stdout.split(" ", 1)
    assert uid in ("65532", "0")
    assert re.findall(r"'(\w+)'\)", rest) == ["0" * 16, "0" * 16, "1", "2"]
    assert plain("run", "runner", "--", "sh", "-c", "touch /tmp/a && touch /x").returncode == 1
    # An application may write below /app, whoever starts it; what its image has there, too.
    done = plain("run", "runner", "--", "sh", "-c", "mkdir /app/new && touch /app/new/x && rm -r /app/new")
    assert done.returncode == 0, done.stderr
    refused = plain("run", "--memory", "100m", "runner", "--", "true")
    assert refused.returncode == 125
    assert "cannot be enforced" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_plain_user_writes_to_a_mounted_folder_as_itself(plain: Plain, open_directory: Path) -> None:
    user = plain.user
    shared = open_directory / f"shared-{user.pw_name}"
    shared.mkdir()
    os.chown(shared, user.pw_uid, user.pw_gid)
    done = plain("run", "-v", f"{shared}:/data", "runner", "--", "sh", "-c", "echo hi > /data/out")
    assert done.returncode == 0, done.stderr
    assert (shared / "out").stat().st_uid == user.pw_uid


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--", "sh", "-c", "exit 7"], 7, ""),
        (["-e", "CODE=8", "IMAGE", "sh", "-c", "exit $CODE"], 8, ""),
        (["--", "nosuch"], 127, "no program 'nosuch'"),
        (["--", "/etc/passwd"], 126, "not an executable file"),
        (["-p", "0:80", "--network", "host", "--", "true"], 0, "-p has no effect with --network host"),
        (["-p", "0:80", "--network", "none", "--", "true"], 2, "ports of a private network"),
        (["--network", "lan", "--", "true"], 2, "unknown network 'lan'"),
        (["-u", "nobody-here", "--", "true"], 125, "no user 'nobody-here'"),
        (["-v", "/nowhere:/x", "--", "true"], 2, "does not exist"),
        (["--memory", "lots", "--", "true"], 2, "not an amount of memory"),
        (["-w", "relative", "--", "true"], 2, "not an absolute path"),
        (["python", "-V"], 1, "no image 'python'"),
    ],
)
def test_exit_codes(corten: Corten, image: str, arguments: list[str], code: int, says: str) -> None:
    words = [image if word == "IMAGE" else word for word in arguments]
    if "--" in words:
        words.insert(words.index("--"), image)
    done = corten("run", *words, code=code)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_standard_input_environment_workdir_and_user(corten: Corten, image: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\nFROM_FILE=1\n")
    script = "import os, sys; print(sys.stdin.read(), os.environ['A'], os.environ['FROM_FILE'], os.getcwd(), os.getuid())"
    done = corten(
        "run", "-e", "A=x y", "--env-file", tmp_path / "env", "-w", "/tmp", "-u", "1234", image, "--", "python", "-c", script,
        stdin=None, input="typed",
    )  # fmt: skip
    assert done.stdout.strip() == "typed x y 1 /tmp 1234"


def test_volumes(corten: Corten, image: str, tmp_path: Path) -> None:
    (tmp_path / "in put").mkdir()
    (tmp_path / "in put/file").write_text("data")
    os.chown(tmp_path / "in put", 4242, 4242)
    mount = f"{tmp_path}/in put:/data"
    assert corten("run", "-v", f"{mount}:ro", image, "--", "cat", "/data/file").stdout == "data"
    corten("run", "-v", f"{mount}:ro", image, "--", "sh", "-c", "echo x > /data/new", code=2)
    corten("run", "-v", mount, image, "--", "sh", "-c", "echo x > /data/new")
    assert (tmp_path / "in put/new").stat().st_uid == 4242


def test_read_write_is_dropped(corten: Corten, image: str) -> None:
    corten(
        "run",
        "-u",
        "0",
        "--read-write",
        image,
        "--",
        "sh",
        "-c",
        "echo x > /etc/marker && test -f /etc/marker",
    )
    corten("run", image, "--", "test", "!", "-e", "/etc/marker")


def test_limits(corten: Corten, image: str) -> None:
    killed = corten(
        "run", "--memory", "64m", image, "--", "python", "-c", "x = bytearray(200 << 20)", code=137
    )
    assert "64 MiB of memory" in killed.stderr
    many = "import subprocess; [subprocess.Popen(['sleep', '1']) for _ in range(40)]"
    assert (
        "BlockingIOError"
        in corten("run", "--pids-limit", "20", image, "--", "python", "-c", many, code=1).stderr
    )
    busy = (
        "import time, os; t = time.monotonic()\nwhile time.monotonic() - t < 1: pass\nprint(os.times().user)"
    )
    used = float(corten("run", "--cpus", "0.3", image, "--", "python", "-c", busy).stdout)
    assert used < 0.7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_program(corten: Corten, image: str, number: signal.Signals) -> None:
    code = (
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *a: sys.exit(40))\n"
        # A handler waits for the next call of Python where the signal comes just before a long one.
        "print('ready', flush=True)\nwhile True: time.sleep(0.05)"
    )
    process = subprocess.Popen(
        corten.command("run", image, "--", "python", "-c", code),
        env=corten.variables(),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    assert process.wait(60) == 40


def test_a_terminal(corten: Corten, image: str) -> None:
    """On a terminal the program has one too, of the same size, and Ctrl-C is its own."""
    pid, terminal = pty.fork()
    if pid == 0:
        command = corten.command(
            "run",
            image,
            "--",
            "python",
            "-c",
            "import os, sys; print(sys.stdin.isatty(), os.get_terminal_size().columns); input()",
        )
        os.execve(command[0], command, corten.variables())
    import fcntl
    import struct
    import termios

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 91, 0, 0))
    said = b""
    deadline = time.monotonic() + 60
    while b"\n" not in said and time.monotonic() < deadline:
        said += os.read(terminal, 1000)
    assert b"True 91" in said
    # Python loses an interrupt that comes just before `input` begins to read (it is noticed after the read): press again.
    while b"KeyboardInterrupt" not in said and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            os.write(terminal, b"\x03")
        if select.select([terminal], [], [], 0.3)[0]:
            try:
                said += os.read(terminal, 1000)
            except OSError:
                break
    assert b"KeyboardInterrupt" in said
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) in (1, 130)


def test_a_terminal_that_goes_away_takes_its_container_with_it(corten: Corten, image: str) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        command = corten.command(
            "run", "--name", "hung-up", image, "--", "sh", "-c", f"echo up; exec sleep {LONG}"
        )
        os.execve(command[0], command, corten.variables())
    said = b""
    while b"up" not in said:
        said += os.read(terminal, 1000)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) in (128 + signal.SIGHUP, -signal.SIGHUP)
    assert "hung-up" not in corten("ps").stdout
    assert f"sleep\0{LONG}\0" not in all_commands()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_program_without_handlers_ends_at_a_signal(
    corten: Corten, image: str, number: signal.Signals
) -> None:
    """As it would outside, though the kernel shields the first process of a container."""
    process = subprocess.Popen(
        corten.command("run", image, "--", "sh", "-c", "echo ready; exec sleep 30"),
        env=corten.variables(),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    assert process.wait(60) == 128 + number


def test_what_a_caller_would_not_expect_to_matter(corten: Corten, image: str, tmp_path: Path) -> None:
    """A strict umask, a program in a mounted folder, a home with files in it, an exit code that looks like a kill."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/mine").write_text("#!/bin/sh\ncat ~/main.py; touch ~/new; exit 137\n")
    (tmp_path / "tools/mine").chmod(0o755)
    tmp_path.chmod(0o755)
    before = os.umask(0o077)
    try:
        done = corten(
            "run", "-v", f"{tmp_path}/tools:/deep/er/tools:ro", "-e", "PATH=/deep/er/tools:/usr/bin:/bin", "-e",
            "HOME=/app", "-u", "0", "--memory", "64m", image, "--", "mine", code=137,
        )  # fmt: skip
    finally:
        os.umask(before)
    assert done.stdout == "print('main')\n"
    assert "touch" not in done.stderr
    assert "memory" not in done.stderr
    user = corten("run", "-v", f"{tmp_path}/tools:/deep/er/tools:ro", image, "--", "ls", "/deep/er/tools")
    assert user.stdout == "mine\n"


def test_killed_runs_leave_nothing(corten: Corten, image: str) -> None:
    process = subprocess.Popen(
        corten.command("run", "--name", "to-be-killed", image, "--", "sh", "-c", f"echo up; sleep {LONG}"),
        env=corten.variables(),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert "to-be-killed" in corten("ps").stdout
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while "to-be-killed" in corten("ps").stdout and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "to-be-killed" not in corten("ps").stdout
    assert f"sleep\0{LONG}\0" not in all_commands()
    assert "to-be-killed" not in Path("/proc/self/mountinfo").read_text()
    corten("run", image, "--", "true")
    assert not (corten.home / "containers" / "to-be-killed").exists()


def all_commands() -> str:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text())
        except OSError:
            continue
    return "\n".join(found)


def test_many_at_once_and_prune_beside_them(corten: Corten, image: str) -> None:
    processes = [
        subprocess.Popen(
            corten.command("run", image, "--", "sh", "-c", "sleep 1; cat /etc/os-release"),
            env=corten.variables(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    assert [process.communicate(timeout=30)[0].startswith("PRETTY_NAME") for process in processes] == [
        True
    ] * 4


def test_a_running_container_keeps_its_layers(corten: Corten, base_home: Path, tmp_path: Path) -> None:
    own = corten.at(tmp_path / "own")
    subprocess.run(["cp", "-al", base_home, own.home], check=True)
    running = subprocess.Popen(
        own.command("run", "-i", "runner", "--", "sh", "-c", "echo up; read go; cat /app/main.py"),
        env=own.variables(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "up\n"
    for item in json.loads(own("images", "--json").stdout):
        own("rmi", item["name"])
    own("prune")
    assert running.communicate("go\n", timeout=20)[0] == "print('main')\n"
    own("prune")
    assert Store.open(own.home).layers.all() == []


@pytest.mark.parametrize("engine", ["no-such-engine", "/bin/false"])
def test_no_engine(corten: Corten, image: str, engine: str, tmp_path: Path) -> None:
    done = corten.at(corten.home, CORTEN_ENGINE=engine)("run", image, "--", "true", code=125)
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor(corten: Corten, plain: Plain) -> None:
    document = json.loads(corten("doctor", "--json").stdout)
    assert document["ok"] is True
    assert {item["subject"] for item in document["findings"]} >= {"overlay", "limits", "store", "GPUs"}
    assert all(item["mend"] for item in document["findings"] if item["verdict"] != "ok")
    said = plain("doctor")
    assert said.returncode == 0, said.stdout
    assert "user namespaces: this user may make them" in said.stdout
