"""Ctrl-C while indexes of Debian are read."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from corten.packages.debian.archive import DebianArchive
from corten.store.store import Store


class Slow:
    """Mirrors whose indexes are never read to the end, until they are let go."""

    def __init__(self) -> None:
        self.first = threading.Lock()
        self.let_go = threading.Event()
        self.ended = threading.Event()

    def index(self, *_: object) -> None:
        if self.first.acquire(blocking=False):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        self.let_go.wait()
        self.ended.set()


def test_an_interrupt_does_not_wait_for_an_index(tmp_path: Path) -> None:
    archive = DebianArchive(Store(tmp_path))
    slow = Slow()
    archive.mirrors = slow  # type: ignore[assignment]
    try:
        with pytest.raises(KeyboardInterrupt):
            archive.catalogue("bookworm", "amd64")
        assert not slow.ended.is_set()
    finally:
        slow.let_go.set()
