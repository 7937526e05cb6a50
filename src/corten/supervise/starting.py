"""Where a service meets the runtime: an image and a `Start` become a container that serves."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from corten.errors import RuntimeFailure, UsageError
from corten.events import Observer
from corten.runtime import container, inventory, launch, records
from corten.runtime.descriptors import Passed
from corten.runtime.options import RunOptions
from corten.store.images import Image
from corten.store.store import Store
from corten.supervise.sockets import url_of
from corten.values import dataclass, replace


@dataclass(frozen=True, slots=True)
class Start:
    """How an image is to be started for serving.

    `listener` is the listening socket. A predictor gets it as descriptor 3 (`LISTEN_FDS=1`) and no network; a command
    (`forward` is the port that it listens on) has a network of its own, in which Corten's forwarder passes on what
    arrives at the socket. `notify` is the writing end of a pipe: `READY=1` comes there, and `BUSY=1` while it works.
    `ready` is the path that a command is asked until it answers, or `tcp`; None: what the image says, else `/`.
    `output` is where its standard output and error go. `log`, the file behind that, makes it live on without this process.
    `service` is what it serves for."""

    listener: socket.socket
    forward: int | None
    options: RunOptions
    output: int
    notify: int | None = None
    ready: str | None = None
    log: Path | None = None
    service: str | None = None


class Served(Protocol):
    """A container that serves, as far as its supervisor needs to know it."""

    @property
    def name(self) -> str: ...

    @property
    def forwarded(self) -> bool:
        """Whether Corten's forwarder has the pipe of its `Start`, and not the container."""

    def poll(self) -> int | None:
        """Its exit code as a shell gives it, or None while it runs."""

    def signal(self, number: int) -> None:
        """Send a signal to its first process. It is no error when it has ended."""


Starter = Callable[[Image, Start], Served]
"""Starts an image as asked. Raises RuntimeFailure where that is not possible."""


READY = "dev.corten.ready"
"""The label with a project's `ready`."""


def checked_ready(text: str, where: str) -> str:
    """The same, if it is a path to ask or `tcp`. Raises UsageError, which says that it stands in `where`."""
    import re

    from corten.project.kinds import READY as PATTERN

    if not re.fullmatch(PATTERN, text):
        raise UsageError(
            f"{where} is '{text[:80]}', which is no path",
            hint="use a path such as /health, page:/, or tcp, streamlit, shiny, running",
        )
    return text


def ready_of(plan_ready: str | None, image: Image) -> str | None:
    """What a command of `image` is asked until it is ready: what the plan says, else the image's label; None: `/`."""
    return plan_ready if plan_ready is not None else image.config.labels.get(READY)


def starter(store: Store, observe: Observer) -> Starter:
    """Starts images of `store` in containers."""

    def start(image: Image, how: Start) -> Served:
        inventory.sweep(store)
        ready = how.ready
        if ready is None and how.forward is not None and READY in image.config.labels:
            ready = checked_ready(image.config.labels[READY], f"the label '{READY}' of '{image.name}'")
        while True:
            name = free_name(how.service or image.name, running(store))
            try:
                return container.start(
                    image,
                    replace(how.options, name=name),
                    store,
                    observe,
                    serving=Passed(how.listener.fileno(), how.forward, how.notify, ready),
                    output=how.output,
                    log=how.log,
                    url=url_of(how.listener),
                    service=how.service,
                )
            except UsageError:
                # Another one may have taken the name in between.
                if name not in running(store):
                    raise

    return start


def running(store: Store) -> set[str]:
    """The names of the containers that run."""
    return {item.name for item in inventory.list_containers(store) if item.running}


def free_name(image: str, taken: set[str]) -> str:
    """What people will call a container of `image`: the last part of its name, `iris` of `team/iris:1.0`, with a number
    when there is such a one already."""
    name = image.partition("@")[0].rpartition("/")[2].partition(":")[0][:58]
    while name.endswith(".lock"):  # so locks end, beside what they are for
        name = name.removesuffix(".lock") or "service"
    return next(
        candidate
        for number in range(1, len(taken) + 2)
        if (candidate := name if number == 1 else f"{name}-{number}") not in taken
    )


def bury(store: Store, name: str, *, kept: bool, killed: bool = False) -> tuple[bool, str | None]:
    """Clear away what is left of a container that has ended. Tells whether somebody asked it to end, and why it did where that
    was not its own doing. `kept`: nobody but who asked has removed it already. `killed`: the caller has killed it, and knows why."""
    directory = store.containers_directory / name
    record = records.read(directory)
    if record is None:
        return kept, None
    asked = (directory / inventory.STOPPED).exists()
    # The exit code of a container in the foreground is not recorded: only the process that waits for it has it.
    unknown = killed or record.kind == "foreground"
    ending = None if unknown else inventory.ending_of(directory, record)
    reason = ending.reason if ending is not None else None
    if (directory / launch.RAN_OUT_OF_MEMORY).exists():
        reason = inventory.memory_reason(directory)
    # What the disk does not give away now is swept with the next start; it is no reason to end.
    with suppress(OSError, RuntimeFailure):
        inventory.remove_dead(directory)
    return asked, reason
