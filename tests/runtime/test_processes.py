"""Finding and signalling processes by /proc, with real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corten.runtime import attend, processes
from support.commander import until


@contextmanager
def python(script: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that has printed its first line."""
    process = subprocess.Popen([sys.executable, "-S", "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


WAITS = "print('ready', flush=True); signal.pause()"


@pytest.mark.parametrize(
    ("prepares", "gets"),
    [
        ("signal.signal(15, lambda *_: None)", True),
        ("signal.signal(15, signal.SIG_IGN)", True),
        ("signal.pthread_sigmask(signal.SIG_BLOCK, {15})", True),
        ("signal.pthread_sigmask(signal.SIG_BLOCK, {10})", False),
        ("", False),
    ],
)
def test_a_signal_is_got_by_whoever_handles_ignores_or_blocks_it(prepares: str, gets: bool) -> None:
    with python(f"import signal\n{prepares}\n{WAITS}") as process:
        assert processes.handles(process.pid, signal.SIGTERM) is gets


def test_a_signal_is_got_by_whoever_waits_for_it() -> None:
    """As tini does: the kernel shows it neither as blocked nor as handled then."""
    waits = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {15})\nprint('ready', flush=True)\nsignal.sigwait({15})"
    with python(waits) as process:
        until(lambda: "sigtimedwait" in Path(f"/proc/{process.pid}/wchan").read_text())
        assert processes.handles(process.pid, signal.SIGTERM)


def test_a_busy_process_gets_no_signal_that_it_does_not_ask_for() -> None:
    with python("print('ready', flush=True)\nwhile True: pass") as process:
        assert not processes.handles(process.pid, signal.SIGTERM)


def test_a_signal_that_is_blocked_for_a_moment_is_not_got() -> None:
    """A C library blocks every signal while it forks; the kernel drops after it what the first process does not ask for."""
    forks = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {10, 15})\nprint('ready', flush=True)\nsignal.sigwait({10})\n"
    with python(f"{forks}signal.pthread_sigmask(signal.SIG_UNBLOCK, {{15}})\nsignal.pause()") as process:

        def goes_on(_: float) -> None:
            os.kill(process.pid, signal.SIGUSR1)
            until(lambda: not is_blocked())

        def is_blocked() -> bool:
            status = Path(f"/proc/{process.pid}/status").read_text()
            return bool(int(status.partition("SigBlk:")[2].split()[0], 16) >> 14 & 1)

        assert is_blocked()
        assert not processes.handles(process.pid, signal.SIGTERM, goes_on)


def test_a_process_name_that_is_cut_inside_a_character_is_read() -> None:
    """The kernel keeps 15 bytes of a name: here the eighth character loses its second byte."""
    name = "import ctypes, signal; ctypes.CDLL(None).prctl(15, 'ä'.encode() * 8, 0, 0, 0)\n"
    with python(name + WAITS) as process:
        comm = Path(f"/proc/{process.pid}/comm").read_bytes()
        with pytest.raises(UnicodeDecodeError):
            comm.decode()
        assert not processes.handles(process.pid, signal.SIGTERM)
        assert processes.parent(process.pid) == os.getpid()
        assert not processes.has_own_numbers(process.pid)
        assert processes.send(lambda: process.pid, signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM


def answers(*found: int | None) -> Callable[[], int | None]:
    """What a search finds, from one time to the next."""
    left = list(found)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_a_process_that_is_somebody_else_by_the_time_it_is_signalled_is_left_alone() -> None:
    with python("import signal\n" + WAITS) as stranger, python("import signal\n" + WAITS) as sought:
        assert not processes.send(answers(stranger.pid, None), signal.SIGTERM)
        assert processes.wait_for_end(answers(stranger.pid, None), None)
        assert processes.send(answers(stranger.pid, sought.pid), signal.SIGTERM)
        assert sought.wait(20) == -signal.SIGTERM
        assert stranger.poll() is None


def forked(act: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(7)
    return child


def test_a_shim_that_was_killed_is_told_as_a_shell_does() -> None:
    assert attend.wait(forked(lambda: os.kill(os.getpid(), signal.SIGKILL))) == 137


@pytest.mark.parametrize("seconds", [60.0, 1e-6])
def test_the_alarm_of_a_timeout_is_disarmed_at_the_end(seconds: float) -> None:
    """Also one that went off in the last moment, while the container had ended by itself. In a process of its own, which has
    one thread as the real one does: another thread would take the signal."""
    script = f"""
import os, signal
from corten.runtime import attend
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGALRM, signal.SIGTERM}})
child = os.fork()
if child == 0:
    os._exit(7)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
assert attend.wait(child, {seconds}) == 7
assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
assert signal.SIGALRM not in signal.sigpending()
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
