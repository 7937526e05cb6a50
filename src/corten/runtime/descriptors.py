"""What a process passes on to the program that it becomes, and what it keeps to itself."""

from __future__ import annotations

import fcntl
import os
import socket

from corten.values import dataclass


@dataclass(frozen=True, slots=True)
class Passed:
    """A listening socket for a container. `forward` is the port inside that `listener` leads to; without it the listener
    becomes descriptor 3 of its process. `notify`: a pipe for the word that it is ready (forward.py, corten_serve's notify.py).
    `ready`: the path that is asked to find that out, `tcp`, or None (readiness.py). `drains`: at SIGTERM the program answers what it
    has and closes its connections itself, as Corten's model server does."""

    listener: int | None = None
    forward: int | None = None
    notify: int | None = None
    ready: str | None = None
    drains: bool = False


NOTHING_PASSED = Passed()


def pass_on(listener: int, notify: int | None) -> int:
    """Make them descriptors 3 and 4, which a program that is executed inherits; how many there are.

    Where there is `notify`, whoever gave the socket holds it for another container as well, and 3 is a Unix socket on which it
    waits (unix(7), SCM_RIGHTS). runc is the reason: it makes what it passes on blocking (os.File.Fd of Go), for everybody who
    has that socket, and a server that is about to accept from it would hang."""
    if notify is not None:
        ours, theirs = socket.socketpair()
        socket.send_fds(ours, [b"l"], [listener])
        ours.close()
        listener = theirs.detach()
    given = [descriptor for descriptor in (listener, notify) if descriptor is not None]
    # First out of the way, so that putting one in its place never overwrites the other.
    away = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10) for descriptor in given]
    for place, descriptor in enumerate(away, 3):
        os.dup2(descriptor, place)
    return len(given)


def close_others(kept: set[int]) -> None:
    """Close every descriptor from 3 up that is not in `kept`."""
    start = 3
    for descriptor in sorted(kept):
        os.closerange(start, descriptor)
        start = max(start, descriptor + 1)
    os.closerange(start, os.sysconf("SC_OPEN_MAX"))


def redirect(output: int) -> None:
    """Standard input is empty from here on; standard output and error go to the descriptor `output`."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(output, 1)
    os.dup2(output, 2)
