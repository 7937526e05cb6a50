"""One more process in a container that runs: it gets the namespaces, the limits and the restrictions of the first one, and
never more rights than that has."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

from corten.errors import FormatError, RuntimeFailure
from corten.oci.inside import Inside
from corten.runtime import enter, launch
from corten.runtime.attend import FORWARDED, SI_KERNEL, disarm, first_below_engine, shell_code
from corten.runtime.control import running
from corten.runtime.engine import Engine, complaint
from corten.runtime.formats import HEAD, UNKNOWN_HINT, is_unknown, may_execute, program_places, unknown_format
from corten.runtime.identity import current_identity
from corten.runtime.monitor import default_signals
from corten.runtime.probe import find_engine
from corten.runtime.processes import first_of, handle, has_own_numbers, inside, tree
from corten.runtime.streams import Streams, replaced_files
from corten.runtime.terminals import kept_terminal
from corten.runtime.users import resolve_user
from corten.store.disk import explained
from corten.store.store import Store
from corten.values import dataclass, replace


@dataclass(frozen=True, slots=True)
class Execution:
    """What is to be executed. `user` as `--user` writes it, None for the container's own; `terminal`: standard input and
    output are a terminal, of `size`, and so are the process's; `detached`: nobody waits for it, and what it prints is dropped."""

    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    workdir: str | None = None
    user: str | None = None
    terminal: bool = False
    size: tuple[int, int] | None = None
    detached: bool = False


def execute_detached(store: Store, name: str, what: Execution) -> None:
    """Start it in the container `name` and return; it lives until it ends, or the container does. Raises as `execute`."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        code = execute(store, name, replace(what, detached=True), output=null)
    finally:
        os.close(null)
    if code != 0:
        raise RuntimeFailure(f"'{what.command[0]}' did not start in '{name}'", hint="run it without -d")


def execute(
    store: Store,
    name: str,
    what: Execution,
    *,
    stdin: bool = False,
    output: int | None = None,
    timeout: float | None = None,
) -> int:
    """Execute in the container `name`, wait, and return the exit code as a shell gives it; signals that people send to
    this process are passed on. `stdin`: it reads this process's; `output`: the descriptor for what it prints;
    after `timeout` seconds it is killed. Raises RuntimeFailure (NotFound and NotExecutable for the program)."""
    _, directory = running(store, name)
    first = inside(directory)
    if first is None:
        raise RuntimeFailure(f"'{name}' is not running", hint="'corten ps --all' tells how it ended")
    if not (directory / "bundle" / "config.json").exists():
        raise RuntimeFailure(
            f"'{name}' runs without an OCI engine, where nothing can be started beside its program",
            hint="run it with crun or runc; 'corten doctor' says what they need here",
        )
    engine = find_engine(store, current_identity())
    token = os.urandom(4).hex()
    files = directory / f"exec-{token}.json", directory / f"exec-{token}.log"

    caller = os.getpid()
    shares, program = not has_own_numbers(first), first_of(directory)

    def act() -> int:
        config = json.loads((directory / "bundle" / "config.json").read_bytes())
        process = process_of(config["process"], what, f"{directory}/rootfs")
        _check_program(process, program if shares else first_below_engine())
        with explained(store.root):
            descriptor = os.open(files[0], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(process, file)
        # The caller gives its terminal back itself, unless it is killed.
        with kept_terminal(what.terminal):
            flags = ["--detach"] if what.detached else []
            return _attend(engine, directory.name, directory, files, flags, streams, stdin, output, caller)

    waited = {*FORWARDED, signal.SIGCHLD, signal.SIGALRM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    streams = Streams()
    try:
        # Here, with signals blocked: what writes to files must not end before the process, and Ctrl-C is for that one.
        streams = _streams(engine, what, stdin, output)
        try:
            middle, told = enter.fork_inside(first, act)
        finally:
            streams.release()
        if timeout is not None:
            signal.setitimer(signal.ITIMER_REAL, timeout)
        code = _wait(middle, waited)
        enter.check(told)
    finally:
        disarm()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        said = complaint(str(files[1]))
        for path in files:
            with contextlib.suppress(OSError):
                path.unlink()
    streams.finish()
    if said is not None and code in (1, 125, 126, 127, 255):
        raise _explained(said, what)
    return code


def _streams(engine: Engine, what: Execution, stdin: bool, output: int | None) -> Streams:
    """Pipes in place of files among the streams that the process gets of this one's. runc makes its own, and so does a terminal."""
    if engine.name == "runc" or what.terminal:
        return Streams()
    return replaced_files((*([0] if stdin else []), *([1, 2] if output is None else [])))


def process_of(own: dict[str, Any], what: Execution, root: str) -> dict[str, Any]:
    """The `process` of the runtime specification (config.md) for `what`, from that of the container's first process. `root` is
    where its root lies. Raises RuntimeFailure for an unknown user."""
    environment = dict(item.split("=", 1) for item in own["env"])
    process = {**own, "args": list(what.command), "terminal": what.terminal}
    process.pop("consoleSize", None)
    if what.user is not None:
        user = resolve_user(what.user, _read(root, "/etc/passwd"), _read(root, "/etc/group"))
        process["user"] = {"uid": user.uid, "gid": user.gid}
        if user.groups:
            process["user"]["additionalGids"] = list(user.groups)
        environment |= {"USER": user.name or f"user{user.uid}", "HOME": user.home or "/"}
    if process["user"]["uid"] not in (0, own["user"]["uid"]):
        process["capabilities"] = {key: [] for key in own.get("capabilities", {})}
    if what.terminal:
        environment.setdefault("TERM", os.environ.get("TERM", "xterm"))
        if what.size:
            process["consoleSize"] = {"width": what.size[0], "height": what.size[1]}
    environment |= dict(what.environment)
    # The first process's socket is not passed on.
    for key in ("LISTEN_FDS", "LISTEN_PID"):
        environment.pop(key, None)
    process["env"] = [f"{key}={value}" for key, value in environment.items()]
    if what.workdir is not None:
        process["cwd"] = what.workdir
    return process


def _check_program(process: dict[str, Any], first: int | None) -> None:
    """Raise NotExecutable for a program that the kernel cannot run: runc tells that with the code of a program that ran. Looked for
    where the container's `first` process would find it, so in its volumes too. Called in the engine's mounts, where that has this number."""
    if first is None:
        return
    path = dict(item.split("=", 1) for item in process["env"]).get("PATH", "")
    with contextlib.suppress(OSError, FormatError), Inside(f"/proc/{first}/root") as inside:
        for place in program_places(process["args"][0], process["cwd"], path):
            found = inside.resolve(place)
            status = inside.status(found) if found is not None else None
            if found is None or status is None or not may_execute(status):
                continue
            head = inside.read(found, HEAD)
            if is_unknown(head):
                raise launch.NotExecutable(unknown_format(process["args"][0]), hint=UNKNOWN_HINT)
            return


def _read(root: str, path: str) -> bytes:
    """A file of the container, whose programs may be changing the tree meanwhile; empty where there is none."""
    with Inside(root) as inside, contextlib.suppress(OSError):
        return inside.read(inside.resolve(path) or path, 1 << 20)
    return b""


def _attend(
    engine: Engine,
    name: str,
    directory: Path,
    files: tuple[Path, Path],
    flags: list[str],
    streams: Streams,
    stdin: bool,
    output: int | None,
    caller: int,
) -> int:
    """Start the engine, and pass signals on to it until it ends: it passes them on to the process."""
    state = f"{directory}/engine"
    command = engine.command(state, str(files[1]), "exec", *flags, "--process", str(files[0]), name)
    pid = os.fork()
    if pid == 0:
        try:
            streams.take()
            if not stdin:
                null = os.open(os.devnull, os.O_RDONLY)
                os.dup2(null, 0)
            if output is not None:
                os.dup2(output, 1)
                os.dup2(output, 2)
            default_signals()
            path = os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            os.execve(command[0], command, {"PATH": path, "XDG_RUNTIME_DIR": state})
        finally:
            os._exit(125)
    streams.release()
    return _wait(pid, {*FORWARDED, signal.SIGCHLD}, caller)


def _wait(pid: int, waited: set[signal.Signals], caller: int | None = None) -> int:
    """Wait for the child `pid`; without its `caller` it is killed, and a terminal's process is hung up on by that."""
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return shell_code(status)
        info = signal.sigwaitinfo(waited)
        if info.si_signo == signal.SIGCHLD:
            continue
        if caller is not None and os.getppid() != caller:
            # Its number is nobody else's before it is waited for.
            os.kill(pid, signal.SIGKILL)
        elif info.si_signo == signal.SIGALRM:
            # The engine first, and last what it started in the container: it would live on there.
            late = [handle(partial(_below, pid, child)) for child in tree(pid)]
            os.kill(pid, signal.SIGKILL)
            for descriptor in late:
                if descriptor is not None:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    os.close(descriptor)
        elif info.si_code != SI_KERNEL:
            # A terminal tells all of its processes itself.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, info.si_signo)


def _below(pid: int, child: int) -> int | None:
    return child if child in tree(pid) else None


def _explained(said: str, what: Execution) -> RuntimeFailure:
    program = what.command[0]
    if what.workdir is not None and ("chdir" in said or "cwd" in said):
        return launch.NotFound(
            f"the container has no folder '{what.workdir}' that its user can enter", hint="give another -w"
        )
    if "executable file not found" in said or "No such file" in said or "no such file" in said:
        return launch.NotFound(
            f"the container has no program '{program}'", hint="give its path, or check its name"
        )
    if "ermission denied" in said:
        return launch.NotExecutable(
            f"'{program}' in the container is not an executable file", hint="run it with its interpreter"
        )
    if "xec format error" in said:
        return launch.NotExecutable(unknown_format(program), hint=UNKNOWN_HINT)
    return RuntimeFailure(
        f"the engine says: {said}", hint="run 'corten doctor' to see what this machine allows"
    )
