"""The processes of a container under bubblewrap or PRoot.

    corten ── shim ── engine ── the container's first process
                 ├── guard, for PRoot
                 └── forwarder, for a command's port

Under bubblewrap the kernel ends everything when the shim is gone, as under an OCI engine: the engine dies with its parent, and
with it the process namespace. PRoot has no namespace: when it is killed, what it traced would go on, and see this
machine's files. So a guard waits beside it, and kills what it traces as soon as the first process or the shim has ended.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

from corten.errors import CortenError, RuntimeFailure, UsageError
from corten.runtime import launch
from corten.runtime.attend import FORWARDED, Receiver, attend
from corten.runtime.descriptors import close_others, pass_on, redirect
from corten.runtime.engine import Engine
from corten.runtime.enter import enter_network
from corten.runtime.forwarder import Forwarder, Probe, start_forwarder
from corten.runtime.processes import children, first_process, handles, note_inside, read_proc
from corten.runtime.streams import Streams, replaced_files
from corten.sandbox import kernel
from corten.store.disk import remove_tree
from corten.values import dataclass

_KINDS: dict[str, type[CortenError]] = {
    kind.__name__: kind for kind in (launch.NotFound, launch.NotExecutable, UsageError, RuntimeFailure)
}
_PIDFD_GET_INFO, _PIDFD_INFO_EXIT = 0xC040FF0B, 8


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is executed in the child that becomes the engine: `command` in `environment`, after `confine` has taken its
    rights away. `inherited` are descriptors that it keeps beside the standard ones and the listener."""

    command: list[str]
    environment: dict[str, str]
    confine: Callable[[], None]
    inherited: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Watched:
    """What the shim needs to know. The fields are those of `launch.Launch`; `enclosed`: the container has a network of its own,
    where the port `forward` is."""

    engine: Engine
    directory: str
    listener: int | None = None
    forward: int | None = None
    output: int | None = None
    session: bool = False
    detached: bool = False
    kept: tuple[int, ...] = ()
    notify: int | None = None
    ready: str | None = None
    enclosed: bool = False
    drains: bool = False


def start_shim(
    watched: Watched, prepare: Callable[[], Prepared], ended: Callable[[int], None] | None = None
) -> int:
    """Fork the shim and return its process ID; as `launch.start_shim`. `prepare` and `ended` are called in it.
    Raises what `prepare` raises."""
    told, tell = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        _shim(watched, prepare, ended, tell)
    os.close(tell)
    with os.fdopen(told, "rb") as reading:
        failure = reading.read()
    if failure:
        os.waitpid(pid, 0)
        kind, message, hint = json.loads(failure)
        raise _KINDS.get(kind, RuntimeFailure)(message, hint=hint)
    return pid


def _shim(
    watched: Watched, prepare: Callable[[], Prepared], ended: Callable[[int], None] | None, tell: int
) -> NoReturn:
    code = 125
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, {*FORWARDED, signal.SIGCHLD})
        os.umask(0o022)
        if watched.session or watched.detached:
            os.setsid()
        if watched.detached and watched.output is not None:
            redirect(watched.output)
            kept = {
                watched.output,
                tell,
                *watched.kept,
                *([watched.notify] if watched.notify is not None else []),
            }
            close_others(kept | ({watched.listener} if watched.listener is not None else set()))
        if not watched.detached:
            kernel.die_with_parent(signal.SIGKILL)
        code = _contain(watched, prepare(), tell)
        for part in ("upper", "work"):
            remove_tree(Path(watched.directory, part))
        if ended:
            ended(code)
    except CortenError as error:
        _tell(tell, type(error).__name__, error.message, error.hint)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        where = f" ('{error.filename}')" if error.filename else ""
        _tell(
            tell, "RuntimeFailure", f"the container cannot be started: {reason}{where}", "run 'corten doctor'"
        )
    except BaseException:
        import traceback

        _tell(tell, "RuntimeFailure", f"the container cannot be started: {traceback.format_exc()}", None)
    os._exit(code)


def _tell(tell: int, kind: str, message: str, hint: str | None) -> None:
    with contextlib.suppress(OSError):
        os.write(tell, json.dumps([kind, message, hint]).encode())


def _contain(watched: Watched, prepared: Prepared, tell: int) -> int:
    traced = watched.engine.name == "proot"
    alive, here = os.pipe2(os.O_CLOEXEC)
    # The engine starts when nobody else has the other end open: when the guard is ready.
    waits, go = os.pipe2(os.O_CLOEXEC)
    # PRoot isolates nothing, and what it leaves behind would hold the pipes.
    passed = traced or watched.detached or watched.output is not None
    streams = Streams() if passed else replaced_files()
    engine = os.fork()
    if engine == 0:
        os.close(go)
        os.read(waits, 1)
        streams.take()
        _engine(watched, prepared, tell)
    streams.release()
    guard = _Guard(engine, alive, watched.directory, go) if traced else None
    os.close(alive)
    os.close(waits)
    os.close(go)
    forwarder = None
    if watched.forward is not None and watched.listener is not None:
        inside = partial(_enter_network, engine) if watched.enclosed else None
        probe = Probe(watched.forward, watched.ready, watched.enclosed, watched.drains)
        forwarder = Forwarder(
            partial(start_forwarder, watched.listener, probe, watched.notify, inside), watched.notify
        )
    os.close(tell)
    code = attend(
        engine,
        forwarder.pid if forwarder is not None else None,
        renew=forwarder.ended if forwarder is not None else None,
        receiver=partial(_receiver, engine, traced),
        stand_in=(guard.pid, partial(_end, engine)) if guard is not None else None,
    )
    streams.finish()
    if guard is not None:
        found = guard.result()
        code = code if found is None else found
    if forwarder is not None:
        forwarder.kill()
    os.close(here)
    return code


def _enter_network(engine: int) -> None:
    """Wait for the first process of `engine`, and enter its network. Raises OSError."""
    own = os.readlink("/proc/self/ns/net")
    while not _has_ended(engine):
        first = first_process(engine)
        if first is not None and os.readlink(f"/proc/{first}/ns/net") != own:
            enter_network(first)
            return
        time.sleep(0.002)
    raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))


def _engine(watched: Watched, prepared: Prepared, tell: int) -> NoReturn:
    try:
        if watched.engine.name != "proot":
            kernel.die_with_parent(signal.SIGKILL)
            note_inside(watched.directory)
        if watched.output is not None:
            redirect(watched.output)
        served = watched.listener is not None and watched.forward is None
        # Above whatever is passed on, so that 3 is free.
        for descriptor in prepared.inherited:
            os.set_inheritable(descriptor, True)
        if served and watched.listener is not None:
            pass_on(watched.listener, watched.notify)
        prepared.confine()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.chdir("/")
        os.execve(prepared.command[0], prepared.command, prepared.environment)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        _tell(
            tell,
            "RuntimeFailure",
            f"'{watched.engine.name}' cannot be started: {reason}",
            "run 'corten doctor'",
        )
    os._exit(125)


def _receiver(engine: int, traced: bool, number: int) -> Receiver:
    """The first process gets a signal itself: neither bubblewrap nor PRoot passes any on."""
    first = _first(engine, traced)
    if first is None:
        return Receiver(engine, is_deaf=True)
    return Receiver(first, is_deaf=not traced and not handles(first, number))


def _first(engine: int, traced: bool) -> int | None:
    if not traced:
        return first_process(engine)
    try:
        return next(iter(children(engine)), None)
    except OSError:
        return None


class _Guard:
    """A process that waits for the end of PRoot's first tracee, or of the shim (whose pipe `alive` closes then), and kills
    what PRoot traces. PRoot itself would wait for all of them, and end with the code of whichever was last. To the outside the
    guard is the container's process: who kills it kills the container, while PRoot still holds what it traces."""

    def __init__(self, engine: int, alive: int, directory: str, go: int) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._reading = reading
        self.pid = os.fork()
        if self.pid == 0:
            try:
                note_inside(directory)
                close_others({alive, writing, go})
                os.setsid()
                os.close(go)
                code = _watch(engine, alive)
                if code is not None:
                    os.write(writing, str(code).encode())
            finally:
                os._exit(0)
        os.close(writing)

    def result(self) -> int | None:
        """How the first process ended, as a shell tells it; None where the kernel (before Linux 6.15) does not say."""
        with os.fdopen(self._reading, "rb") as file:
            text = file.read()
        return int(text) if text else None


def _watch(engine: int, alive: int) -> int | None:
    first, looked = None, 0
    while first is None:
        # Often, because the first process may live for a few milliseconds only, and how it ended is asked of itself.
        if select.select([alive], [], [], 0.0003)[0]:
            _end(engine)
            return None
        first = _first(engine, traced=True)
        looked += 1
        if first is None and (_has_ended(engine) or (looked % 100 == 0 and _traced_by(engine))):
            # It was too short even for that: PRoot's own code must do.
            _end(engine)
            return None
    try:
        descriptor = os.pidfd_open(first)
    except OSError:
        # It has ended already, or the call is forbidden here: PRoot's own code must do.
        while not select.select([alive], [], [], 0.02)[0] and not _has_ended(first):
            pass
        _end(engine)
        return None
    ready, _, _ = select.select([alive, descriptor], [], [])
    _end(engine)
    return None if alive in ready else _exit_of(descriptor)


def _exit_of(pidfd: int) -> int | None:
    """The exit code behind a descriptor of a process that was reaped by somebody else (PIDFD_GET_INFO, <linux/pidfd.h>)."""
    for _ in range(200):
        answer = bytearray(struct.pack("<Q", _PIDFD_INFO_EXIT) + bytes(56))
        try:
            fcntl.ioctl(pidfd, _PIDFD_GET_INFO, answer)
        except OSError:
            return None
        if struct.unpack_from("<Q", answer)[0] & _PIDFD_INFO_EXIT:
            code = os.waitstatus_to_exitcode(struct.unpack_from("<i", answer, 60)[0])
            return code if code >= 0 else 128 - code
        time.sleep(0.005)
    return None


def _has_ended(pid: int) -> bool:
    try:
        with read_proc(pid, "stat") as file:
            return file.read().rpartition(")")[2].split()[0] in ("Z", "X")
    except OSError:
        return True


def _end(engine: int) -> None:
    """Kill everything that `engine` traces. It ends by itself then, and is killed where it traces nothing."""
    for _ in range(1000):
        found = _traced_by(engine)
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if _has_ended(engine):
            return
        if not found:
            # It is only beginning, or its last process is just gone.
            time.sleep(0.02)
            if not _traced_by(engine):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(engine, signal.SIGKILL)
                return
        time.sleep(0.002)


def _traced_by(engine: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with read_proc(name, "status") as file:
                if any(line.split() == ["TracerPid:", str(engine)] for line in file):
                    found.append(int(name))
        except OSError:
            continue
    return found
