"""conmon, the monitor of a detached container: how it is called, and how a container begins under it.

It becomes process 1 of the container's process namespace, below which the engine makes the container. It keeps the log,
holds the terminal or the standard input for whoever attaches, and writes the exit code down. It also holds the descriptor of
the container's lock, so that who lives is known by the same lock as in the foreground. When it is killed, the kernel
ends everything in its namespace.

exit/<name>     the exit code, written whole (conmon's --exit-dir)
output.log      what it printed, in the format of Kubernetes' container logs
bundle/attach   the socket of whoever attaches, bundle/ctl the pipe for the terminal's size
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
from typing import NoReturn

from corten.errors import RuntimeFailure
from corten.runtime.attend import LOG_SIZE
from corten.runtime.engine import Engine, complaint
from corten.runtime.processes import note_inside
from corten.sandbox import kernel
from corten.values import dataclass

_LISTENER = 3


@dataclass(frozen=True, slots=True)
class Monitor:
    """How a container is monitored. `path` is conmon's program; `terminal`: it has a terminal; `stdin`: its standard
    input stays open for whoever attaches; `timeout` in seconds; `remove`: nothing of it is kept after its end; `log_size`:
    the bytes at which its log begins anew, None for the usual; `formers`: how many logs before that are kept;
    without `log` it has none."""

    path: str
    terminal: bool = False
    stdin: bool = False
    timeout: int | None = None
    remove: bool = False
    log_size: int | None = None
    formers: int = 1
    log: bool = True


def arguments(monitor: Monitor, engine: Engine, name: str, directory: str, preserved: int) -> list[str]:
    """The command line for the container `name` in `directory`, to which `preserved` descriptors from 3 up are passed."""
    engine_command = engine.command(f"{directory}/engine", f"{directory}/engine.log")
    command = [monitor.path, "--api-version", "1", "--cid", name, "--cuuid", name, "--name", name, "--sync"]
    command += ["--runtime", engine.path, *(f"--runtime-arg={item}" for item in engine_command[1:])]
    command += ["--bundle", f"{directory}/bundle", "--container-pidfile", f"{directory}/bundle/pid"]
    command += ["--full-attach", "--exit-dir", f"{directory}/exit", "--persist-dir", f"{directory}/exit"]
    if monitor.log:
        size = monitor.log_size or LOG_SIZE
        command += ["--log-path", f"k8s-file:{directory}/output.log", "--log-size-max", str(size)]
    else:
        command += ["--log-path", "none"]
    # Flushing a log to the disk at every end would cost more than the container.
    command += ["--no-sync-log"]
    if preserved:
        command += ["--runtime-opt=--preserve-fds", f"--runtime-opt={preserved}"]
    if monitor.terminal:
        command.append("--terminal")
    if monitor.stdin:
        command += ["--stdin", "--leave-stdin-open"]
    if monitor.timeout is not None:
        command += ["--timeout", str(monitor.timeout)]
    if monitor.remove:
        command += ["--exit-command", sys.executable]
        command += [f"--exit-command-arg={item}" for item in ("-P", "-m", "corten.runtime.leave", directory)]
    return command


def become(
    monitor: Monitor, engine: Engine, name: str, directory: str, *, lock: int, sync: int, listener: int | None
) -> NoReturn:
    """Turn this process, the first of its process namespace, into the monitor. Raises OSError."""
    note_inside(directory)
    kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    # Above whatever is passed on: these are inherited, and the engine closes them before the container's process.
    for descriptor in (lock, sync):
        kept = fcntl.fcntl(descriptor, fcntl.F_DUPFD, 20)
        os.set_inheritable(kept, True)
        if descriptor == sync:
            sync = kept
    command = arguments(monitor, engine, name, directory, 1 if listener is not None else 0)
    if listener is not None:
        os.dup2(listener, _LISTENER)
        os.set_inheritable(_LISTENER, True)
    default_signals()
    environment = _environment(directory) | {"_OCI_SYNCPIPE": str(sync)}
    if monitor.remove:
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    os.execve(monitor.path, command, environment)


def begin(engine: Engine, name: str, directory: str, heard: int) -> None:
    """Wait until the engine has made the container, as the monitor says on `heard`, and start it. Called in the parent of
    the monitor. Raises RuntimeFailure with the engine's words."""
    with os.fdopen(heard, "rb") as reading:
        said = reading.readline(1 << 16)
    try:
        made = int(json.loads(said)["data"]) > 0
    except (ValueError, KeyError, TypeError):
        made = False
    log = f"{directory}/engine.log"
    if not made:
        raise RuntimeFailure(
            f"the engine says: {complaint(log) or 'nothing'}",
            hint="run 'corten doctor' to see what this machine allows",
        )
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(OSError):
            default_signals()
            command = engine.command(f"{directory}/engine", log, "start", name)
            os.execve(command[0], command, _environment(directory))
        os._exit(125)
    _, status = os.waitpid(pid, 0)
    # A program that cannot be executed is told here by crun, while runc lets the container end with its own words.
    # One that has already ended took its process namespace along, and this engine with it.
    ended = os.path.exists(f"{directory}/exit/{name}")
    if os.waitstatus_to_exitcode(status) != 0 and not ended:
        raise RuntimeFailure(
            f"the engine says: {complaint(log) or 'nothing'}",
            hint="run 'corten doctor' to see what this machine allows",
        )


def _environment(directory: str) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        "XDG_RUNTIME_DIR": f"{directory}/engine",
        # GLib reads its arguments in the locale's encoding, and refuses a path that does not fit.
        "LC_ALL": "C.UTF-8",
    }


def default_signals() -> None:
    """Leave no signal blocked or ignored for the program that this process becomes."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # Python ignores the first two, and a program would inherit that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
