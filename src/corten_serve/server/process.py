"""Worker processes as the server sees them: started with a socket and a board, spoken to in frames, and reaped."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from corten_serve.frames import BOARD_SIZE, HELD_AT, HELD_SIZE, FrameError, Item, Reader
from corten_serve.server.files import give_back
from corten_serve.server.machine import accelerators, cpus
from corten_serve.settings import Settings, SettingsError

_CHANNEL, _BOARD = 3, 4  # as in corten_serve.worker.main, which is not imported into the server
_CODE = (
    "import sys; sys.path.append(sys.argv.pop()); from corten_serve.worker.main import main; sys.exit(main())"
)
_RESTORED = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGXFSZ)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_OURS_ALONE = (
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "CORTEN_NOTIFY_FD",
    "CORTEN_FORWARDED",
    "PYTHONHOME",
)


@dataclass(slots=True)
class Spawned:
    """A worker process that has been started. `channel` is our end of its socket, not blocking. `model` and `number` say
    for what: numbers start at 0 in each model."""

    pid: int
    channel: socket.socket
    board: mmap.mmap
    model: str
    number: int

    def working_on(self) -> int:
        """The id of the request that the worker began last; 0 before the first."""
        return int.from_bytes(self.board[:8], "little")

    def held(self) -> list[Item]:
        """What the worker has finished and not sent: to be asked when it has ended, or does not come back from what it does."""
        size = self.board[HELD_AT - 8 : HELD_AT]
        length = int.from_bytes(size[:4], "little")
        if not 4 < length <= HELD_SIZE:
            return []
        frame = bytes(self.board[HELD_AT + 4 : HELD_AT + length])
        if self.board[HELD_AT - 8 : HELD_AT] != size:
            return []  # It does come back.
        try:
            return Reader().items(frame)
        except FrameError:
            return []

    def interrupt(self, id: int) -> None:
        """Ask code that is no coroutine to stop working on `id`. Where it works on another by then, nothing happens."""
        self.board[8:16] = id.to_bytes(8, "little")
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR1)

    def kill(self) -> None:
        """End the process at once. It is no error when it has ended already."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def kill_family(self) -> None:
        """End the processes that this one started and that stayed in its group. To be called before it is reaped, while
        its number cannot be anybody else's."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def spawn_first(settings: Settings, environment: Mapping[str, str]) -> list[Spawned]:
    """Start the workers that every model begins with: all that were asked for, one where their number is found out."""
    return [
        spawn(settings, environment, model, number)
        for model, _ in settings.models
        for number in range(settings.workers or max(1, len(accelerators(environment))))
    ]


def variables(settings: Settings, environment: Mapping[str, str], model: str, number: int) -> dict[str, str]:
    """The environment of one worker. Where there are several accelerators, each worker sees one."""
    mine = {name: value for name, value in environment.items() if name not in _OURS_ALONE}
    mine["CORTEN_PREDICT"] = dict(settings.models)[model]
    mine["CORTEN_MODEL"] = model
    mine["CORTEN_MODELS"] = ",".join(name for name, _ in settings.models)
    mine["CORTEN_WORKER"] = str(number)
    devices = accelerators(environment)
    if len(devices) > 1 and settings.workers != 1:
        mine["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
    return mine | threads(settings.workers or max(len(devices), number + 1), mine)


def threads(workers: int, environment: Mapping[str, str]) -> dict[str, str]:
    """How many threads libraries of numbers may start in one of several workers: its share of the processors. Each of them
    would start one for each processor. What the user has set stays, and says it for all of them."""
    if workers < 2 or any(environment.get(name) for name in _THREADS):
        return {}
    return dict.fromkeys(_THREADS, str(max(1, cpus() // workers)))


def spawn(settings: Settings, environment: Mapping[str, str], model: str, number: int) -> Spawned:
    """Start a worker in a session of its own, so that a terminal's Ctrl-C does not reach it while it still has work.

    Raises SettingsError where the interpreter cannot be started."""
    theirs: socket.socket | None = None
    ours: socket.socket | None = None
    open_here: list[int] = []
    try:
        ours, theirs = socket.socketpair()
        descriptor = os.memfd_create("corten-board")
        open_here.append(descriptor)
        os.ftruncate(descriptor, BOARD_SIZE)
        board = mmap.mmap(descriptor, BOARD_SIZE)
        # Descriptors above the targets, so that putting one in its place never overwrites the other.
        import fcntl

        high = [fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, 10)]
        open_here += high
        high.append(fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10))
        open_here.append(high[1])
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        pid = _start(
            [settings.python, "-c", _CODE, package],
            variables(settings, environment, model, number),
            high,
        )
    except OSError as error:
        if ours is not None:
            ours.close()
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM):
            raise SettingsError(
                f"no worker can be started: {(error.strerror or str(error)).lower()}"
            ) from error
        raise SettingsError(
            f"the worker's interpreter '{settings.python}' cannot be started: {(error.strerror or str(error)).lower()}",
            hint="rebuild the image, or set CORTEN_WORKER_PYTHON",
        ) from error
    finally:
        if theirs is not None:
            theirs.close()
        for fd in open_here:
            os.close(fd)
    give_back(pid)
    ours.setblocking(False)
    return Spawned(pid, ours, board, model, number)


def _start(command: list[str], environment: dict[str, str], high: Sequence[int]) -> int:
    """The number of a process that executes `command`, with `high` as its channel and board. Raises OSError."""
    try:
        return os.posix_spawn(
            command[0],
            command,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, high[0], _CHANNEL),
                (os.POSIX_SPAWN_DUP2, high[1], _BOARD),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=_RESTORED,
        )
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
    # The C library's posix_spawn shares memory with the child, which is refused where PRoot would not survive it.
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(high[0], _CHANNEL)
            os.dup2(high[1], _BOARD)
            for number in _RESTORED:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.execve(command[0], command, environment)
        finally:
            os._exit(127)
    return pid


def ending(status: int) -> str:
    """A wait status in words: `was killed by SIGSEGV`, `exited with code 3`."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (
        ", perhaps for using too much memory" if -code == signal.SIGKILL else ""
    )
