"""What a supervisor makes of containers that get ready, or end, in an unusual order."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from corten.oci.config import ImageConfig
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.runtime.options import RunOptions
from corten.store.images import Image
from corten.store.store import Store
from corten.supervise.decide import Step
from corten.supervise.services import House, Plan
from corten.supervise.starting import Start
from corten.supervise.supervisor import Supervisor, Surroundings

PLAN = Plan("iris", "iris:latest", "sha256:" + "0" * 64, None, RunOptions(), "127.0.0.1", 8000)
IMAGE = Image("iris:latest", Digest.of(b""), Digest.of(b""), ImageConfig(Platform.host(), ()), 0, 0.0)


class Container:
    """A container without processes: it says on its pipe and ends with what a test wants."""

    forwarded = False

    def __init__(self, name: str, notify: int) -> None:
        self.name, self.pipe = name, os.dup(notify)
        self.code: int | None = None

    def poll(self) -> int | None:
        return self.code

    def signal(self, number: int) -> None:
        self.code = 128 + number


@contextlib.contextmanager
def supervised(folder: Path) -> Iterator[tuple[Supervisor, list[Container], list[str]]]:
    """A supervisor, the containers that it has started, and those that were told to be ready."""
    made: list[Container] = []
    ready: list[str] = []

    def start(image: Image, how: Start) -> Container:
        assert how.notify is not None
        made.append(Container(f"iris-{len(made) + 1}", how.notify))
        return made[-1]

    with socket.create_server(("127.0.0.1", 0)) as listener, open(os.devnull, "wb") as output:
        store, house = Store(folder / "store"), House(folder, -1)
        around = Surroundings(
            store, house, listener, start, output.fileno(), False, lambda text: None, ready.append
        )
        yield Supervisor(PLAN, IMAGE, around), made, ready
        for container in made:
            os.close(container.pipe)


def test_an_update_that_overtakes_the_first_start_is_the_first_to_be_ready(tmp_path: Path) -> None:
    with supervised(tmp_path) as (supervisor, made, ready):
        supervisor._start()
        supervisor._look()
        assert ready == []
        supervisor._next = supervisor._make(PLAN, IMAGE, 1)
        os.write(made[1].pipe, b"READY=1\n")
        supervisor._look()
        assert ready == ["iris-2"], "whoever waits for the first start is told"
        made[1].code = 1
        supervisor._look()  # Its end is one that is followed by another start, and not that of the service.
        assert supervisor._state.phase == "restarting"
        supervisor._start()
        os.write(made[2].pipe, b"READY=1\n")
        supervisor._look()
        assert supervisor._state.container == "iris-3"
        assert ready == ["iris-2"], "once"


def test_a_word_right_before_the_one_that_it_is_ready_delays_nothing(tmp_path: Path) -> None:
    """As every forwarder says at first why it is not ready. The word that it was came to be heard five seconds later."""
    with supervised(tmp_path) as (supervisor, made, ready):
        supervisor._start()
        os.write(made[0].pipe, b"STATUS=it listens on no TCP port\n")
        supervisor._look()
        os.write(made[0].pipe, b"READY=1\n")
        begun = time.monotonic()
        while not ready:
            supervisor._wait(Step("wait"))
            supervisor._look()
        assert time.monotonic() - begun < 4
