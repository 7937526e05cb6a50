"""Starting the process that supervises a container (`supervise.py`), which costs memory, so only where it is asked for."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from corten.runtime.inventory import SUPERVISOR_LOCK, take
from corten.runtime.records import Record
from corten.store.store import Store


def needs_supervisor(record: Record) -> bool:
    """Whether somebody must restart the container or ask after its health."""
    return record.restart.policy != "no" or record.health is not None


def start_supervisor(store: Store, directory: Path) -> None:
    """Start it; it holds its lock from before this returns. Nothing happens where there is one already."""
    lock = os.open(directory / SUPERVISOR_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Whoever looks whether there is one holds it for a moment.
        take(lock)
    except BlockingIOError:
        os.close(lock)
        return
    child = os.fork()
    if child:
        os.close(lock)
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        # Its parent is process 1 of the machine, so nobody is left to wait for it.
        if os.fork():
            os._exit(0)
        kept = fcntl.fcntl(lock, fcntl.F_DUPFD, 10)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        os.closerange(3, kept)
        os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
        os.set_inheritable(kept, True)
        os.chdir("/")
        command = [sys.executable, "-P", "-m", "corten.runtime.supervise"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        os.execve(sys.executable, [*command, str(store.root), directory.name, str(kept)], environment)
    finally:
        os._exit(125)
