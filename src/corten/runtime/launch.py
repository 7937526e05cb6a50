"""A container's processes on this machine, from `fork` to the exit code.

    corten ── shim ── engine ── the container's first process
                 └── forwarder (for a command's port)

The shim is a forked copy of this process. It enters the user namespace of a plain user, and for everybody mount and
process namespaces of the container's own; there it mounts the layers and starts the engine as process 1. So whatever is
killed, and how: when the shim is gone, the kernel ends the engine and everything in the container, and unmounts.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from corten.errors import CortenError, RuntimeFailure, UsageError
from corten.runtime import cgroups, log_keeper
from corten.runtime.attend import FORWARDED, Receiver, attend, shorten_log
from corten.runtime.descriptors import close_others, pass_on, redirect
from corten.runtime.engine import Engine
from corten.runtime.forwarder import Forwarder, Probe, start_forwarder
from corten.runtime.identity import Identity, write_mappings
from corten.runtime.monitor import Monitor, become, begin
from corten.runtime.overlay import enter_mount_namespace, mount_limited, mount_overlay
from corten.runtime.processes import FIRST, note_inside
from corten.runtime.streams import Streams, replaced_files
from corten.sandbox import kernel
from corten.store.disk import remove_tree
from corten.values import dataclass, replace

if TYPE_CHECKING:
    from corten.runtime.network.wire import Wire, Wiring
    from corten.runtime.sharing import Shared

STARTED = "started"
RAN_OUT_OF_MEMORY = "ran-out-of-memory"
"""A file of this name appears in a container's directory when its memory limit ended it."""

Prepare = Callable[[str], None]
Ended = Callable[[int], None]


class NotFound(RuntimeFailure):
    """The image has no such program (a shell's exit code 127)."""


class NotExecutable(RuntimeFailure):
    """The image's file is no program (a shell's exit code 126)."""


# Errors of these kinds keep them on the way from the shim.
KINDS: dict[str, type[CortenError]] = {
    kind.__name__: kind for kind in (NotFound, NotExecutable, UsageError, RuntimeFailure)
}


@dataclass(frozen=True, slots=True)
class Launch:
    """What the shim needs. `directory` is the container's own, with `rootfs`, `upper`, `work`, `names`, `bundle`; `layers`
    are trees from bottom to top. `forward` is the port inside that `listener` leads to; without it the listener becomes
    descriptor 3 of the container's process. `notify` is a pipe, descriptor 4 there or the forwarder's, for the word that it is
    ready, and `ready` what the forwarder asks for that; `drains` is as in `Passed`. `output`: the descriptor for its standard output and error. `lock`: the
    descriptor that says that the container lives, held until the shim ends; `monitor`: who holds it instead of the shim, which
    ends when the container has started. `scope`: the name of systemd's scope that is to be started for it. `wiring`: how its
    network is made, where that is not the engine's affair; `open`: the container has this machine's. `shared`: the process numbers or
    the IPC of others that it has. `formers`: how many logs that have grown too long are kept where the shim keeps its log."""

    engine: Engine
    identity: Identity
    name: str
    directory: str
    layers: tuple[str, ...]
    listener: int | None = None
    forward: int | None = None
    output: int | None = None
    session: bool = False
    detached: bool = False
    lock: int = -1
    storage: int | None = None
    monitor: Monitor | None = None
    scope: str | None = None
    wiring: Wiring | None = None
    notify: int | None = None
    ready: str | None = None
    drains: bool = False
    open: bool = False
    shared: Shared | None = None
    formers: int = 1

    @property
    def joins(self) -> tuple[str, ...]:
        """The directories of the containers of which it shares something."""
        network = (self.wiring.shared,) if self.wiring is not None and self.wiring.shared is not None else ()
        return (*network, *(self.shared.directories if self.shared is not None else ()))

    @property
    def has_own_numbers(self) -> bool:
        """Whether it has a process namespace of its own."""
        return self.shared is None or self.shared.pid is None


def start_shim(launch: Launch, prepare: Prepare, ended: Ended | None = None) -> int:
    """Fork the shim and return its process ID. `prepare(root)` is called in it between mounting and starting, and writes
    the bundle's config.json; `ended(code)` is called in it at the end. Raises RuntimeFailure with the reason when it fails before the engine starts."""
    told, tell = os.pipe2(os.O_CLOEXEC)
    waits, go = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        os.close(go)
        _shim(launch, prepare, ended, tell, waits)
    os.close(tell)
    os.close(waits)
    with os.fdopen(told, "rb") as reading:
        try:
            first = reading.read(1) if launch.identity.kind != "root" else b""
            if first == b"u":
                if not launch.joins:
                    write_mappings(pid, launch.identity)
                if launch.scope is not None:
                    # Few have one, and every start would pay for this.
                    from corten.runtime.delegation import start_scope

                    start_scope(launch.scope, pid)
                os.write(go, b"m")
        except BaseException:
            os.close(go)
            os.waitpid(pid, 0)
            raise
        os.close(go)
        # Whatever came first was the beginning of a reason, unless it was the word that there is a namespace.
        failure = first.removeprefix(b"u") + reading.read()
    if failure:
        os.waitpid(pid, 0)
        kind, message, hint = json.loads(failure)
        raise KINDS.get(kind, RuntimeFailure)(message, hint=hint)
    return pid


def _shim(launch: Launch, prepare: Prepare, ended: Ended | None, tell: int, waits: int) -> NoReturn:
    code = 125
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, {*FORWARDED, signal.SIGCHLD})
        # Engines make missing mount points: those must be open to the container's user whatever the caller's mask is.
        os.umask(0o022)
        if launch.session or launch.detached:
            os.setsid()
        if launch.detached:
            # Whoever reads our output to its end, as `$(corten up --detach)` does, must not wait for the container.
            redirect(launch.output if launch.output is not None else os.open(os.devnull, os.O_WRONLY))
            # The same for a lock or a pipe that this process was started with.
            close_others(
                {
                    descriptor
                    for descriptor in (
                        *(launch.output, launch.lock, tell, waits, launch.listener, launch.notify),
                        *((*launch.wiring.descriptors, launch.wiring.notify) if launch.wiring else ()),
                    )
                    if descriptor is not None
                }
            )
        _enter_user_namespace(launch.identity, tell, waits, launch.joins)
        if not launch.detached:
            kernel.die_with_parent(signal.SIGKILL)
        code = _contain(launch, prepare, tell)
        if launch.monitor is not None:
            os._exit(code)
        _clean(launch)
        if ended:
            ended(code)
    except CortenError as error:
        _tell(tell, error.message, error.hint, type(error).__name__)
    except OSError as error:
        what = f" ('{error.filename}')" if error.filename else ""
        reason = (error.strerror or str(error)).lower()
        _tell(
            tell,
            f"the container cannot be started: {reason}{what}",
            "run 'corten doctor' to see what this machine allows",
        )
    except BaseException:
        import traceback

        _tell(tell, f"the container cannot be started: {traceback.format_exc()}", None)
    os._exit(code)


def _tell(tell: int, message: str, hint: str | None, kind: str = "RuntimeFailure") -> None:
    with contextlib.suppress(OSError):
        os.write(tell, json.dumps([kind, message, hint]).encode())


def _enter_user_namespace(identity: Identity, tell: int, waits: int, joins: Sequence[str] = ()) -> None:
    """Enter a new user namespace, or that of the containers in the directories `joins`."""
    if identity.kind == "root":
        return
    try:
        if joins:
            # Few share one, and every start would pay for this.
            from corten.runtime.sharing import enter_users

            enter_users(joins)
        else:
            kernel.unshare(kernel.CLONE_NEWUSER)
    except OSError as error:
        from corten.runtime.identity import why_no_namespace

        raise RuntimeFailure(
            f"this machine refuses a user namespace to this user ({(error.strerror or '').lower()})",
            hint=why_no_namespace(),
        ) from error
    os.write(tell, b"u")
    if os.read(waits, 1) != b"m":
        os._exit(125)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _contain(launch: Launch, prepare: Prepare, tell: int) -> int:
    directory = launch.directory
    streams = _streams(launch)
    wire = _wire(launch)
    alone = launch.forward is not None and not launch.open
    machine = ""
    extra = kernel.CLONE_NEWPID | (kernel.CLONE_NEWNET if alone else 0)
    if launch.shared is not None:
        # Few share, and every start would pay for this.
        from corten.runtime.sharing import join

        machine = os.readlink("/proc/self/ns/mnt")
        enter_mount_namespace()
        # Before there is a new process namespace: whoever is forked first is 1 there.
        join(launch.shared, directory)
        if not launch.has_own_numbers:
            extra &= ~kernel.CLONE_NEWPID
        kernel.unshare(extra)
    else:
        enter_mount_namespace(extra)
    upper, work = f"{directory}/upper", f"{directory}/work"
    if launch.storage is not None:
        upper, work = mount_limited(work, launch.storage, in_user_namespace=launch.identity.kind != "root")
    mount_overlay(
        launch.layers,
        f"{directory}/rootfs",
        upper,
        work,
        f"{directory}/names",
        userxattr=launch.identity.kind != "root",
    )
    prepare(f"{directory}/rootfs")
    if alone:
        # Only a command's port needs this, and every start would pay for it.
        from corten.runtime.network.loopback import free_ports, raise_loopback

        raise_loopback()
        free_ports()
    if launch.monitor is not None:
        _hand_over(launch, launch.monitor, wire)
        return 0
    memory = cgroups.watch_memory(_group(launch)) if launch.identity.kind == "root" else None
    guarded, begin_engine = (-1, -1) if launch.has_own_numbers else os.pipe2(os.O_CLOEXEC)
    # First, so that it is process 1: a forwarder that ends must not take the container with it.
    engine = os.fork()
    if engine == 0:
        streams.take()
        if not launch.has_own_numbers:
            os.close(begin_engine)
            if os.read(guarded, 1) != b"g":
                os._exit(125)
        _engine(launch, tell, wire)
    streams.release()
    if wire is not None:
        wire.connect()
    guard = None
    if not launch.has_own_numbers:
        # Few share, and every start would pay for this.
        from corten.runtime.sharing import Guard

        kernel.adopt_orphans()
        guard = Guard(directory, machine, wire.helpers if wire is not None else (), launch.lock)
        os.close(guarded)
        os.write(begin_engine, b"g")
        os.close(begin_engine)
    forwarder = None
    if launch.forward is not None and launch.listener is not None:
        probe = Probe(launch.forward, launch.ready, enclosed=alone, drains=launch.drains)
        forwarder = Forwarder(partial(start_forwarder, launch.listener, probe, launch.notify), launch.notify)
    elif wire is not None:
        forwarder = wire.forwarder
    os.close(tell)
    own = launch.detached and not os.path.islink(f"{directory}/output.log")
    log = f"{directory}/output.log" if own else None
    code = attend(
        engine,
        forwarder.pid if forwarder is not None else None,
        renew=forwarder.ended if forwarder is not None else None,
        # The kernel keeps no signal from a process that is 1 nowhere.
        receiver=None if guard is None else lambda number: Receiver(engine, is_deaf=False),
        stand_in=None if guard is None else (guard.pid, partial(guard.end, lost=True)),
        log=log,
        formers=launch.formers,
    )
    if guard is not None:
        guard.end()
        guard.dismiss()
    streams.finish()
    shorten_log(log, launch.formers)
    if forwarder is not None:
        forwarder.kill()
    # A child may have been killed, which the exit code does not tell.
    if cgroups.has_counted(memory) or _memory_ran_out(launch, code):
        Path(directory, RAN_OUT_OF_MEMORY).touch()
    return code


def _streams(launch: Launch) -> Streams:
    """Pipes in place of files among the standard streams. runc makes its own, and a container's own terminal or log is none."""
    if launch.engine.name == "runc" or launch.detached or launch.output is not None or launch.monitor:
        return Streams()
    return replaced_files()


def _wire(launch: Launch) -> Wire | None:
    if launch.wiring is None:
        return None
    from corten.runtime.network.wire import Wire

    return Wire(launch.wiring, launch.identity)


def _hand_over(launch: Launch, monitor: Monitor, wire: Wire | None) -> None:
    """Start the container under its monitor, which lives on without this process. Raises RuntimeFailure."""
    heard, say = os.pipe2(os.O_CLOEXEC)
    if monitor.log:
        log_keeper.prepare(launch.directory, monitor.formers)
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(OSError):
            if wire is not None:
                wire.enter()
            become(
                monitor,
                launch.engine,
                launch.name,
                launch.directory,
                lock=launch.lock,
                sync=say,
                listener=launch.listener,
            )
        os._exit(125)
    os.close(say)
    try:
        if wire is not None:
            wire.connect()
        begin(launch.engine, launch.name, launch.directory, heard)
        if monitor.log:
            log_keeper.start(launch.directory, monitor.formers)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        # The first process of a namespace ends when all others there have been waited for, and pasta and the forwarder
        # are children of this process.
        while os.waitpid(-1, 0)[0] != pid:
            pass
        _clean(launch)
        raise
    Path(launch.directory, STARTED).touch()


def _memory_ran_out(launch: Launch, code: int) -> bool:
    if launch.scope is None:
        return cgroups.memory_ran_out(_group(launch), code)
    from corten.runtime.delegation import scope_of_shim

    return cgroups.memory_ran_out(_group(launch), code, scope_of_shim())


def _group(launch: Launch) -> str:
    return cgroups.group_name(Path(launch.directory))


def _clean(launch: Launch) -> None:
    """Remove what the container wrote. Its files may belong to subordinate IDs, so it is done here, where those exist."""
    kernel.unmount(f"{launch.directory}/rootfs")
    if launch.storage is not None:
        kernel.unmount(f"{launch.directory}/work")
    if launch.identity.kind == "root":
        # An engine that was killed leaves its groups behind.
        cgroups.remove(_group(launch))
    for part in ("upper", "work"):
        remove_tree(Path(launch.directory, part))


def redirected(launch: Launch, output: int) -> Launch:
    """The same with its output going to the descriptor `output`."""
    return replace(launch, output=output)


def in_namespace(identity: Identity, action: Callable[[], None], *, what: str) -> None:
    """Call `action` in a child process in a new user namespace. Raises RuntimeFailure when it fails: `what` says what cannot
    be done then, and the cause follows."""
    told, tell = os.pipe2(os.O_CLOEXEC)
    waits, go = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(told)
            os.close(go)
            _enter_user_namespace(identity, tell, waits)
            action()
            code = 0
        except CortenError as error:
            _tell(tell, error.message, error.hint)
        except OSError as error:
            name = f" ('{os.fsdecode(error.filename)}')" if isinstance(error.filename, (str, bytes)) else ""
            _tell(tell, f"{(error.strerror or str(error)).lower()}{name}", None)
        except BaseException as error:
            _tell(tell, f"{type(error).__name__}: {error}", None)
        finally:
            os._exit(code)
    os.close(tell)
    os.close(waits)
    try:
        with os.fdopen(told, "rb") as reading:
            first = reading.read(1)
            if first == b"u":
                write_mappings(pid, identity)
                os.write(go, b"m")
                first = b""
            failure = first + reading.read()
    finally:
        os.close(go)
        _, status = os.waitpid(pid, 0)
    if status != 0:
        _, reason, hint = json.loads(failure) if failure else (None, "the process ended without a word", None)
        raise RuntimeFailure(
            f"{what}: {reason}", hint=hint or "run 'corten doctor' to see what this machine allows"
        )


def _engine(launch: Launch, tell: int, wire: Wire | None) -> NoReturn:
    """Become the engine, as process 1 of the new process namespace."""
    try:
        kernel.die_with_parent(signal.SIGKILL)
        if wire is not None:
            wire.enter()
        note_inside(launch.directory)
        arguments = ["run", "--bundle", f"{launch.directory}/bundle"]
        if launch.has_own_numbers:
            kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
        else:
            arguments += ["--pid-file", f"{launch.directory}/{FIRST}"]
        if launch.output is not None:
            redirect(launch.output)
        if launch.listener is not None and launch.forward is None:
            arguments += ["--preserve-fds", str(pass_on(launch.listener, launch.notify))]
        state, log = f"{launch.directory}/engine", f"{launch.directory}/engine.log"
        command = launch.engine.command(state, log, *arguments, launch.name)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        # Python ignores the first two, and a program would inherit that.
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.execve(
            command[0],
            command,
            {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "XDG_RUNTIME_DIR": state},
        )
    except OSError as error:
        _tell(
            tell,
            f"the engine '{launch.engine.name}' cannot be started: {error.strerror}",
            "run 'corten doctor'",
        )
    os._exit(125)
