"""A supervisor in the background: `python -m corten.supervise.process STORE NAME LOCK LISTENER TELL`, and starting that.

It holds the service's lock and socket, which it inherited from whoever started it, and has a session of its own. Until the
service is ready it says on the pipe TELL what happens, a JSON document in each line; after that in its log alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from corten.errors import CortenError, RuntimeFailure
from corten.events import Event, Note, Observer, Warned
from corten.runtime.forwarder import RAISES
from corten.store.disk import boot_identity
from corten.store.store import Store
from corten.supervise.causes import cause, raised
from corten.supervise.control import tell as tell_supervisor
from corten.supervise.log import last_lines
from corten.supervise.services import House, Plan, State, directory_of, read
from corten.supervise.sockets import url_of
from corten.supervise.starting import starter
from corten.supervise.supervisor import Supervisor, Surroundings
from corten.values import replace


class NotStarted(RuntimeFailure):
    """A service that did not get ready. `lines` are the end of what it printed."""

    def __init__(self, message: str, hint: str | None, lines: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.lines = lines


def detach(
    house: House,
    plan: Plan,
    store: Store,
    listener: socket.socket,
    observe: Observer,
) -> str:
    """Start a supervisor of `plan` in the background, and return the name of its container when that is ready. It keeps the
    lock of `house` and the socket; nothing of the service is left when this raises, also when it is interrupted. Raises
    NotStarted."""
    now = time.time()
    house.write(State(plan, 0, boot_identity(), True, url_of(listener), "starting", now, now))
    house.log.touch(0o600)
    told, tell = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        _become(house, store, listener, tell)
    os.close(tell)
    os.waitpid(child, 0)
    with os.fdopen(told, "rb", buffering=0) as reading:
        try:
            return _hear(reading.fileno(), house, observe)
        except BaseException:
            _end(reading.fileno(), house)
            house.remove()
            raise


def _end(reading: int, house: House) -> None:
    """End the supervisor, which may be only starting and hear nothing yet, and wait until its end of the pipe is closed."""
    told = False
    while True:
        if not told:
            with suppress(RuntimeFailure, OSError):
                tell_supervisor(house.directory, do="end", grace=0)
                told = True
        if select.select([reading], [], [], None if told else 0.05)[0] and not os.read(reading, 1 << 16):
            return


def _become(house: House, store: Store, listener: socket.socket, tell: int) -> None:
    """In a forked process: leave the caller's session, and execute the supervisor. Does not return."""
    try:
        os.setsid()
        # Its parent is process 1 of the machine, so nobody is left to wait for it.
        if os.fork():
            os._exit(0)
        kept = [fcntl.fcntl(item, fcntl.F_DUPFD, 100) for item in (house.lock, listener.fileno(), tell)]
        null = os.open(os.devnull, os.O_RDONLY)
        log = os.open(house.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for place, descriptor in enumerate((null, log, log)):
            os.dup2(descriptor, place)
        start = 3
        for descriptor in sorted(kept):
            os.closerange(start, descriptor)
            start = descriptor + 1
        os.closerange(start, os.sysconf("SC_OPEN_MAX"))
        os.chdir("/")
        command = [sys.executable, "-P", "-m", "corten.supervise.process", str(store.root), house.name]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        os.execve(sys.executable, [*command, *map(str, kept)], environment)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(125)


def _hear(reading: int, house: House, observe: Observer) -> str:
    rest = b""
    while True:
        data = os.read(reading, 1 << 16)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "ready" in said:
                return str(said["ready"])
            if "failed" in said:
                printed = _last_lines(house)
                found = cause(printed) or (None if RAISES in said["failed"] else raised(printed))
                raise NotStarted(said["failed"], found or said["hint"], printed)
            observe(Warned(said["text"], said["hint"]) if said["warned"] else Note(said["text"]))
        if not data:
            raise NotStarted(
                f"the supervisor of '{house.name}' ended unexpectedly",
                "its last lines are above",
                _last_lines(house),
            )


def _last_lines(house: House) -> tuple[str, ...]:
    try:
        return tuple(last_lines(house.log))
    except OSError:
        return ()


def _supervise(store: Store, house: House, listener: socket.socket, tell: Callable[..., None]) -> None:
    state = read(house.directory)
    if state is None:
        raise RuntimeFailure(f"the state of '{house.name}' cannot be read", hint="start it again")
    waiting = True

    def observe(event: Event) -> None:
        if isinstance(event, (Note, Warned)):
            hint = event.hint if isinstance(event, Warned) else None
            if waiting:
                tell(text=event.message, hint=hint, warned=isinstance(event, Warned))
            else:
                say(event.message)

    def say(text: str) -> None:
        if waiting:
            tell(text=text, hint=None, warned=False)
        moment = time.strftime("%Y-%m-%d %H:%M:%S")
        with suppress(OSError):
            os.write(2, f"corten {moment} {text}\n".encode())

    def ready(name: str) -> None:
        nonlocal waiting
        waiting = False
        tell(ready=name)

    image = replace(store.images.get(state.plan.image_id), name=state.plan.image)
    around = Surroundings(store, house, listener, starter(store, observe), 1, True, say, ready)
    Supervisor(state.plan, image, around).run()
    if waiting:
        tell(failed=f"'{house.name}' was stopped before it was ready", hint=None)


def main(root: str, name: str, *descriptors: str) -> None:
    """Supervise with what the caller has opened."""
    lock, listening, telling = map(int, descriptors)
    for descriptor in (lock, listening, telling):
        os.set_inheritable(descriptor, False)
    store = Store(Path(root))
    house = House(directory_of(store) / name, lock)

    def tell(**said: Any) -> None:
        with suppress(OSError):
            os.write(telling, json.dumps(said).encode() + b"\n")

    try:
        _supervise(store, house, socket.socket(fileno=listening), tell)
    except CortenError as error:
        # Whoever waits reads the log before it lets go of the name.
        tell(failed=error.message, hint=error.hint)
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    house.remove()


if __name__ == "__main__":
    main(*sys.argv[1:])
