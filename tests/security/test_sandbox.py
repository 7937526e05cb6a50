"""What a program in a sandbox can reach: nothing that it was not given. The program is a real interpreter that tries."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from corten.errors import NoSandbox
from corten.sandbox.confinement import Bind, Confinement, Limits
from corten.sandbox.process import run, start
from support.confined import (
    PYTHON,
    ROOT_WITHOUT,
    WITH_NAMESPACES,
    WITHOUT_NAMESPACES,
    Caller,
    python,
)

TRY = """
import os, socket, sys
def attempt(name, call):
    try:
        call()
        print(name, "worked")
    except (OSError, ValueError) as error:
        print(name, "refused")
"""

everybody = pytest.mark.parametrize("caller", WITH_NAMESPACES, ids=lambda caller: caller.name)
nowhere = pytest.mark.parametrize("caller", WITHOUT_NAMESPACES, ids=lambda caller: caller.name)


def attempts(caller: Caller, confinement: Confinement) -> list[str]:
    done = caller.run(confinement)
    assert done.code == 0, done
    return done.output.decode().splitlines()


@everybody
def test_nothing_can_be_written(caller: Caller, open_directory: Path) -> None:
    """Not below its root, where everybody may write on this machine, not in a file system of its own making."""
    place = open_directory / f"written-{caller.name}"
    place.mkdir(exist_ok=True)
    place.chmod(0o777)
    code = f"""{TRY}
for path in ({str(place)!r}, "/tmp", "/var/tmp", "/dev/shm", "/run", "/"):
    attempt(path, lambda: os.close(os.open(path + "/file", os.O_WRONLY | os.O_CREAT)))
attempt("link", lambda: os.symlink("x", {str(place)!r} + "/link"))
attempt("mode", lambda: os.chmod({str(place)!r}, 0o700))
import ctypes
libc = ctypes.CDLL(None)
print("unshare", libc.unshare(0x10000000), libc.unshare(0x20000))
print("mount", libc.mount(b"none", b"/tmp", b"tmpfs", 0, None))
print("memfd", libc.memfd_create(b"x", 0))
"""
    limits = Limits(seconds=30, processes=1)
    said = attempts(caller, Confinement(python(code), root="/", limits=limits))
    assert [line for line in said if "worked" in line] == []
    assert said[-3:] == ["unshare -1 -1", "mount -1", "memfd -1"]
    assert list(place.iterdir()) == []


@everybody
def test_nobody_can_be_reached(caller: Caller, open_directory: Path) -> None:
    """No network, no abstract socket, no process of this machine; no capability, and none can be had."""
    name = f"\0corten-test-{os.getpid()}"
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as abstract:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        abstract.bind(name)
        abstract.listen()
        code = f"""{TRY}
attempt("tcp", lambda: socket.create_connection(("127.0.0.1", {tcp.getsockname()[1]}), 5))
attempt("abstract", lambda: socket.socket(socket.AF_UNIX).connect({name!r}))
attempt("signal", lambda: os.kill({os.getpid()}, 0))
attempt("parent", lambda: os.kill(os.getppid() or 99999, 0))
print(os.getpid(), os.getuid(), sorted(os.environ))
attempt("setuid", lambda: os.setuid(0))
attempt("fork", os.fork)
import ctypes
data = (ctypes.c_uint32 * 6)()
ctypes.CDLL(None).capget((ctypes.c_uint32 * 2)(0x20080522, 0), data)
print("capabilities", list(data))
"""
        limits = Limits(seconds=30, processes=1)
        said = attempts(caller, Confinement(python(code), root="/", limits=limits, environment={"ONLY": "1"}))
    assert [line for line in said if "worked" in line] == []
    assert "1 65534 ['LC_CTYPE', 'ONLY']" in said or "1 65534 ['ONLY']" in said
    assert said[-1] == "capabilities [0, 0, 0, 0, 0, 0]"


@everybody
def test_only_what_was_given_is_there(caller: Caller, open_directory: Path) -> None:
    """A root of binds: one of them writable, scratch space of a fixed size, and nothing else of this machine."""
    place = open_directory / f"given-{caller.name}"
    (place / "read").mkdir(parents=True, exist_ok=True)
    (place / "write").mkdir(exist_ok=True)
    (place / "write").chmod(0o777)
    code = f"""{TRY}
print(sorted(os.listdir("/")))
attempt("read", lambda: open("/read/file", "w"))
attempt("root", lambda: open("/file", "w"))
open("/write/file", "w").write("from inside")
open("/dev/null", "w").write("x")
attempt("scratch", lambda: open("/scratch/file", "wb", buffering=0).write(bytes(1 << 20)))
attempt("too much", lambda: [open("/scratch/" + str(n), "wb", buffering=0).write(bytes(1 << 20)) for n in range(9)] and os.fsync(1))
print(len([name for name in os.listdir("/proc") if name.isdecimal()]))
"""
    system = [Bind(path, path) for path in ("/usr", "/lib", "/lib64") if os.path.exists(path)]
    confinement = Confinement(
        python(code),
        binds=(*system, Bind(str(place / "read"), "/read"), Bind(str(place / "write"), "/write", True)),
        scratch=(("/scratch", 2 << 20),),
        devices=True,
        proc=True,
        limits=Limits(seconds=30, file_size=None),
    )
    said = attempts(caller, confinement)
    assert said[0] == str(sorted({"read", "write", "scratch", "dev", "proc", "usr", "lib", "lib64"}))
    assert said[1:4] == ["read refused", "root refused", "scratch worked"]
    assert said[4:] == ["too much refused", "1"]
    assert (place / "write/file").read_text() == "from inside"
    assert list((place / "read").iterdir()) == []


@everybody
def test_its_time_and_its_memory_end(caller: Caller) -> None:
    """A program that starts others and waits: all of them are gone when its time is up."""
    code = "import os, time\nfor _ in range(5): os.fork()\ntime.sleep(600)"
    done = caller.run(Confinement(python(code), root="/", limits=Limits(seconds=1)))
    assert done.late
    code = "x = bytearray(1 << 30)"
    done = caller.run(Confinement(python(code), root="/", limits=Limits(memory=256 << 20, seconds=60)))
    assert b"MemoryError" in done.errors


def test_too_much_is_not_heard() -> None:
    code = "import sys\nwhile True: sys.stdout.buffer.write(bytes(1 << 16))"
    done = run(Confinement(python(code), root="/", limits=Limits(seconds=60)), most=1 << 20)
    assert done.overlong
    assert len(done.output) == 1 << 20


def test_what_it_started_ends_with_it() -> None:
    """Processes that left its session and closed their pipes are gone when `end` comes back; so are they when Corten is killed."""
    tag = f"corten-test-{os.getpid()}-{time.monotonic_ns()}"
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        print('ready', flush=True)\n"
        "        [os.close(n) for n in (0, 1, 2)]\n"
        "        time.sleep(600)\n"
        "    os._exit(0)\n"
        "time.sleep(600)\n"
    )
    confined = start(Confinement((*python(code), tag), root="/"))
    with confined:
        assert confined.process.stdout is not None
        assert confined.process.stdout.readline() == b"ready\n"
        assert len(_processes(tag)) >= 2
        confined.end()
        assert _processes(tag) == []

    script = (
        "import sys\nfrom corten.sandbox.confinement import Confinement\nfrom corten.sandbox.process import start\n"
        f"c = start(Confinement(({PYTHON!r}, '-I', '-S', '-c', {code!r}, {tag!r}), root='/'))\n"
        "print(c.process.stdout.readline(), flush=True)\nsys.stdin.read()\n"
    )
    corten = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert corten.stdout is not None
    corten.stdout.readline()
    os.kill(corten.pid, signal.SIGKILL)
    corten.wait()
    for _ in range(1000):
        if not _processes(tag):
            break
        time.sleep(0.01)
    assert _processes(tag) == []


def _processes(tag: str) -> list[str]:
    found = []
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if name.isdecimal() and tag.encode() in Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0"):
                found.append(name)
    return found


@nowhere
def test_without_namespaces_nothing_starts(caller: Caller) -> None:
    with pytest.raises(NoSandbox, match="cannot be confined here"):
        caller.run(Confinement(python("print(1)"), root="/"))


@nowhere
def test_without_namespaces_a_filter_lets_it_read_and_compute(caller: Caller, open_directory: Path) -> None:
    """It cannot write, connect, start a process or signal one. It can read what its user can; as root it is another user."""
    place = open_directory / f"filter-{caller.name}"
    place.mkdir(exist_ok=True)
    place.chmod(0o777)
    (place / "existing").write_text("old")
    (place / "existing").chmod(0o666)
    code = f"""{TRY}
print("read", open({str(place / "existing")!r}).read())
for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC):
    attempt("open", lambda: os.open({str(place / "existing")!r}, flags))
attempt("create", lambda: os.open({str(place / "new")!r}, os.O_RDONLY | os.O_CREAT))
attempt("mkdir", lambda: os.mkdir({str(place / "folder")!r}))
attempt("unlink", lambda: os.unlink({str(place / "existing")!r}))
attempt("rename", lambda: os.rename({str(place / "existing")!r}, {str(place / "renamed")!r}))
attempt("mode", lambda: os.chmod({str(place / "existing")!r}, 0))
attempt("socket", lambda: socket.socket())
attempt("signal", lambda: os.kill(os.getppid(), 0))
attempt("fork", os.fork)
attempt("limit", lambda: __import__("resource").setrlimit(0, (1, 1)))
"""
    command = python(code)
    confinement = Confinement(
        command, root="/", unrooted=command, isolation="filter", limits=Limits(processes=1, seconds=30)
    )
    said = attempts(caller, confinement)
    assert said[0] == "read old"
    assert len(said) == 13
    assert [line for line in said if "worked" in line] == []
    assert [path.name for path in place.iterdir()] == ["existing"]
    assert (place / "existing").read_text() == "old"


def test_without_namespaces_root_is_another_user(open_directory: Path) -> None:
    secret = open_directory / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    code = f"{TRY}\nprint(os.getuid(), os.getgid())\nattempt('read', lambda: open({str(secret)!r}))\n"
    confinement = Confinement(python(code), root="/", isolation="filter", limits=Limits(seconds=30))
    assert attempts(ROOT_WITHOUT, confinement) == ["65534 65534", "read refused"]


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        run(Confinement(("/nowhere/program",), root="/"))
