"""Entering the namespaces of a container from outside, in a forked process that does one thing there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
from collections.abc import Callable

from corten.errors import CortenError, RuntimeFailure
from corten.runtime import launch
from corten.sandbox import kernel

_KINDS = (
    ("user", kernel.CLONE_NEWUSER),
    # The engine's, where it was started in a network that it did not make: it starts others in its own.
    ("net", kernel.CLONE_NEWNET),
    ("mnt", kernel.CLONE_NEWNS),
    ("pid", kernel.CLONE_NEWPID),
)
_NS_GET_USERNS = 0xB701


def enter(pid: int) -> None:
    """Enter the user, network, mount and process namespaces of `pid`; the last holds for children. Those that are the same stay.
    Raises OSError."""
    opened: list[tuple[int, int]] = []
    try:
        for name, kind in _KINDS:
            path = f"/proc/{pid}/ns/{name}"
            if os.readlink(path) != os.readlink(f"/proc/self/ns/{name}"):
                opened.append((os.open(path, os.O_RDONLY | os.O_CLOEXEC), kind))
        for descriptor, kind in opened:
            kernel.setns(descriptor, kind)
            if kind == kernel.CLONE_NEWUSER:
                os.setresgid(0, 0, 0)
                os.setresuid(0, 0, 0)
    finally:
        for descriptor, _ in opened:
            os.close(descriptor)


def enter_network(pid: int) -> None:
    """Enter the network namespace of `pid`, a process of this user, and keep everything else. The right to do so is held in the
    user namespace that it belongs to (ioctl_ns(2)). Raises OSError."""
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel.setns(network, kernel.CLONE_NEWNET)
    except PermissionError:
        owner = fcntl.ioctl(network, _NS_GET_USERNS)
        kernel.setns(owner, kernel.CLONE_NEWUSER)
        os.close(owner)
        kernel.setns(network, kernel.CLONE_NEWNET)
    finally:
        os.close(network)


def fork_inside(pid: int, act: Callable[[], int]) -> tuple[int, int]:
    """Fork a process that enters the namespaces of `pid` and exits with what `act()` returns there. It is asked to end
    (SIGTERM) when this one ends. Returns its number and a descriptor for `check`."""

    def work(tell: int) -> int:
        enter(pid)
        # The kernel forgets this at a change of credentials.
        kernel.die_with_parent(signal.SIGTERM)
        return act()

    return forked(work)


def forked(act: Callable[[int], int]) -> tuple[int, int]:
    """Fork a process that exits with what `act(tell)` returns. What it raises is told, and raised here by `check`; so is
    what a child of its own tells by `tell_failure(tell, error)`."""
    told, tell = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child:
        os.close(tell)
        return child, told
    code = 125
    try:
        os.close(told)
        code = act(tell)
    except BaseException as error:
        tell_failure(tell, error)
    os._exit(code)


def tell_failure(tell: int, error: BaseException) -> None:
    """Tell the parent what went wrong."""
    hint = None
    if isinstance(error, CortenError):
        kind, message, hint = type(error).__name__, error.message, error.hint
    elif isinstance(error, OSError):
        what = f" ('{os.fsdecode(error.filename)}')" if error.filename else ""
        kind, message = "RuntimeFailure", f"in the container: {(error.strerror or str(error)).lower()}{what}"
    else:
        # In the container's own root nothing can be imported any more, so this is told without `traceback`.
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace is not None else ""
        kind = "RuntimeFailure"
        message = f"the container cannot be entered: {type(error).__name__}: {error}{where}"
    with contextlib.suppress(OSError):
        os.write(tell, json.dumps([kind, message, hint]).encode())


def check(told: int) -> None:
    """Raise what the forked process told before it ended; it has, when this returns."""
    with os.fdopen(told, "rb") as reading:
        said = reading.read(1 << 16)
    if said:
        kind, message, hint = json.loads(said)
        raise launch.KINDS.get(kind, RuntimeFailure)(message, hint=hint)
