"""Waiting for a container in the foreground: its exit code, and signals on their way to it."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from corten.runtime.log_keeper import CUT, make_room
from corten.runtime.processes import children, handles, read_proc
from corten.values import dataclass

FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
"""The signals that people send to a program to tell it something."""
SI_KERNEL = 0x80
_COLLAPSE_RANGE = 0x08
"""FALLOC_FL_COLLAPSE_RANGE of <linux/falloc.h>."""
_GRACE = 10.0
_LOOK_EVERY = 1.0
"""Seconds between two looks at the size of a log, and two attempts to start a forwarder."""
LOG_SIZE = 10 << 20
"""A log longer than this many bytes begins anew."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who gets a signal: the process `pid`, and whether it would be dropped there, where it would end anything else."""

    pid: int
    is_deaf: bool


def attend(
    engine: int,
    forwarder: int | None = None,
    *,
    renew: Callable[[int], int | None] | None = None,
    receiver: Callable[[int], Receiver] | None = None,
    stand_in: tuple[int, Callable[[], None]] | None = None,
    log: str | None = None,
    formers: int = 1,
) -> int:
    """Wait for the engine, and pass on signals that people send. What a terminal sends goes to all of us anyway. SIGTERM goes
    to the forwarder first, which ends when it has passed all answers on, and then to the container. Where the forwarder ends unasked,
    `renew` gets its wait status and returns the process ID of a new one; where it returns None it is called again after a second.

    The kernel drops a signal that the first process of a container neither handles nor blocks, even one that would end it anywhere
    else: `sleep 100` could not be interrupted. So where it would have ended, it is ended here, with a shell's code.
    `receiver(number)` tells who gets a signal; without it the engine does. `stand_in` is a child beside the engine that stands for
    the container: when somebody kills it, the call beside it ends everything. `log`: what it prints to, which is kept short,
    with so many `formers`."""
    receiver = receiver or partial(_receiver, engine)
    waited = {*FORWARDED, signal.SIGCHLD}
    ended_by = 0
    parting = False
    lost: int | None = None
    while True:
        seconds = _LOOK_EVERY if log is not None or lost is not None else None
        info = signal.sigwaitinfo(waited) if seconds is None else signal.sigtimedwait(waited, seconds)
        if info is None:
            shorten_log(log, formers)
            if lost is not None and renew is not None and not parting:
                forwarder = renew(lost)
                lost = lost if forwarder is None else None
            continue
        number, cause = info.si_signo, info.si_code
        if number == signal.SIGCHLD:
            while True:
                try:
                    pid, status = os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    return 125
                if pid == 0:
                    break
                if stand_in is not None and pid == stand_in[0] and os.WIFSIGNALED(status):
                    ended_by = signal.SIGKILL
                    stand_in[1]()
                if pid == forwarder:
                    forwarder = None
                    if parting:
                        number, cause = signal.SIGTERM, 0
                    elif renew is not None:
                        forwarder = renew(status)
                        lost = status if forwarder is None else None
                if pid == engine:
                    return 128 + ended_by if ended_by else shell_code(status)
            if number == signal.SIGCHLD:
                continue
        elif number == signal.SIGTERM and forwarder is not None and not parting:
            parting = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(forwarder, signal.SIGTERM)
            continue
        with contextlib.suppress(ProcessLookupError):
            found = receiver(number)
            if found.is_deaf:
                ended_by = number
                os.kill(found.pid, signal.SIGKILL)
            elif cause != SI_KERNEL:
                os.kill(found.pid, number)


def disarm() -> None:
    """Stop the timer of this process, while SIGALRM is blocked. One that has come already is taken: it would end the process
    as soon as it is not blocked any more."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.sigtimedwait({signal.SIGALRM}, 0)


def shell_code(status: int) -> int:
    """The exit code of a wait status as a shell gives it: 128 and the signal's number for a process that one ended."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _receiver(engine: int, number: int) -> Receiver:
    return Receiver(engine, is_deaf=not _is_handled(number))


def shorten_log(log: str | None, formers: int = 1) -> None:
    """Move the end of a log that has grown too long to `LOG.1`, the former ones to `LOG.2` and so on up to `formers`, and begin the log anew in the same file, which the program holds
    open for appending. Where the file system can cut the head off a file (ext4, xfs), no line that is printed meanwhile is lost, and a line
    may begin in one file and end in the other. Elsewhere the log is emptied, and what is printed in that moment is lost."""
    if log is None:
        return
    with contextlib.suppress(OSError):
        size = os.stat(log).st_size
        if size <= LOG_SIZE:
            return
        with open(log, "r+b") as file, open(f"{log}.1.new", "wb") as older:
            # The kernel cuts whole blocks, and never all of a file.
            block = os.fstatvfs(file.fileno()).f_bsize
            cut = (size - 1) // block * block
            file.seek(max(0, cut - formers * LOG_SIZE))
            skips = file.tell() > 0
            if skips or (formers == 1 and os.path.exists(f"{log}.1")):
                # The line began before.
                file.readline()
            begins = file.tell()
            _copy(file, older, cut - begins)
            # Whoever reads on goes on from there.
            Path(f"{log}.1.begins").write_text(str(begins), encoding="ascii")
            cut_mark = Path(log).with_name(CUT)
            if skips:
                # It alone is as long as all former ones may be: nothing before it stays, or lines would be missing in between.
                for number in range(formers, 0, -1):
                    Path(f"{log}.{number}").unlink(missing_ok=True)
                cut_mark.unlink(missing_ok=True)
            elif formers > 1 and os.path.exists(f"{log}.{formers}"):
                # That one goes, and the next may begin with the end of its last line.
                cut_mark.touch()
            make_room(log, formers)
            os.rename(f"{log}.1.new", f"{log}.1")
            try:
                cut_head(file.fileno(), cut)
            except OSError:
                _copy(file, older, sys.maxsize)
                os.truncate(log, 0)


def _copy(source: BinaryIO, target: BinaryIO, length: int) -> None:
    while length > 0 and (piece := source.read(min(length, 1 << 20))):
        target.write(piece)
        length -= len(piece)
    target.flush()


def cut_head(descriptor: int, length: int) -> None:
    """Remove the first `length` bytes of a file, in one step for all who have it open. Raises OSError where the file system cannot."""
    import ctypes

    fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    while fallocate(descriptor, _COLLAPSE_RANGE, 0, length) != 0:
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))


def _is_handled(number: int) -> bool:
    """Whether the container's first process gets the signal, by /proc, where the engine has mounted that of
    its own process namespace. While it is only being made, nobody does."""
    try:
        os.readlink("/proc/self")
    except OSError:
        pass
    else:
        return False
    first = first_below_engine()
    if first is None:
        return False
    with contextlib.suppress(OSError), read_proc(first, "comm") as file:
        if file.read().startswith("runc:["):
            return False
    return handles(first, number)


def first_below_engine() -> int | None:
    """The number of the container's first process beside the engine, which is 1: its child that is 1 in a namespace."""
    for thread in os.listdir("/proc/1/task"):
        try:
            with open(f"/proc/1/task/{thread}/children", encoding="utf-8") as file:
                children = file.read().split()
            for child in children:
                with read_proc(child, "status") as file:
                    numbers = next((line.split()[1:] for line in file if line.startswith("NSpid:")), [])
                if len(numbers) > 1 and numbers[-1] == "1":
                    return int(child)
        except OSError:
            continue
    return None


def wait(pid: int, timeout: float | None = None, late: Callable[[], None] = lambda: None) -> int:
    """Wait for a shim in the foreground and return the container's exit code; signals that people send to this process
    are passed on. After `timeout` seconds `late` is called, the container is asked to end, and killed ten seconds later."""
    waited = {*FORWARDED, signal.SIGCHLD, signal.SIGALRM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    asked = False
    if timeout is not None:
        signal.setitimer(signal.ITIMER_REAL, timeout)
    try:
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return shell_code(status)
            info = signal.sigwaitinfo(waited)
            if info.si_signo == signal.SIGALRM:
                if not asked:
                    late()
                asked = _out_of_time(pid, asked)
                continue
            # A terminal that goes away tells only the leader of its session, which this process may be.
            told = info.si_code == SI_KERNEL and info.si_signo != signal.SIGHUP
            if info.si_signo != signal.SIGCHLD and not told:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, info.si_signo)
    finally:
        if timeout is not None:
            disarm()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _out_of_time(pid: int, asked: bool) -> bool:
    """Ask the container of the shim `pid` to end; at the second time its engine is killed, which the shim sees."""
    with contextlib.suppress(OSError):
        if not asked:
            os.kill(pid, signal.SIGTERM)
            signal.setitimer(signal.ITIMER_REAL, _GRACE)
        else:
            for child in children(pid):
                os.kill(child, signal.SIGKILL)
    return True
