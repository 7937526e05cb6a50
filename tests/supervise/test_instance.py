"""What a container says on its pipe, be it a server's or not."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from corten.oci.config import ImageConfig
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.runtime.options import RunOptions
from corten.store.images import Image
from corten.supervise.instance import Instance
from corten.supervise.services import Plan
from corten.supervise.starting import Start

PLAN = Plan("iris", "iris:latest", "sha256:" + "0" * 64, None, RunOptions(), "127.0.0.1", 8000)
IMAGE = Image("iris:latest", Digest.of(b""), Digest.of(b""), ImageConfig(Platform.host(), ()), 0, 0.0)


class Silent:
    """A container that runs for ever. `pipe` is its end of the pipe."""

    name = "iris"
    forwarded = False

    def __init__(self, notify: int) -> None:
        self.pipe = os.dup(notify)

    def poll(self) -> int | None:
        return None

    def signal(self, number: int) -> None:
        pass


@pytest.fixture
def said() -> Iterator[tuple[Instance, int]]:
    """A container and its end of the pipe."""
    with open(os.devnull, "rb") as nothing:
        made: list[Silent] = []

        def start(image: Image, how: Start) -> Silent:
            assert how.notify is not None
            made.append(Silent(how.notify))
            return made[-1]

        # No socket is needed for what is said.
        how = Start(listener=nothing, forward=None, options=RunOptions(), output=1)  # type: ignore[arg-type]
        instance = Instance(PLAN, IMAGE, start, how)
        yield instance, made[0].pipe
        instance.close()


def test_a_flood_of_words_is_heard_twice_a_second(said: tuple[Instance, int]) -> None:
    instance, pipe = said
    os.write(pipe, b"READY=1\n")
    instance.listen()
    assert instance.ready
    heard = 0
    begun = time.monotonic()
    while time.monotonic() < begun + 1.2:
        os.write(pipe, b"BUSY=1\n")
        time.sleep(0.001)
        if instance.speaks:
            instance.listen()
            heard += 1
    assert 1 <= heard <= (time.monotonic() - begun) / 0.5
    before = instance.busy
    end = time.monotonic() + 60
    while instance.busy == before and time.monotonic() < end:
        if instance.speaks:
            instance.listen()
    assert instance.busy > before


def test_whoever_has_closed_the_pipe_speaks_no_more(said: tuple[Instance, int]) -> None:
    instance, pipe = said
    assert instance.speaks
    os.close(pipe)
    instance.listen()
    time.sleep(0.6)
    assert not instance.speaks
