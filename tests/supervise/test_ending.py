"""Ending a service whose supervisor does not end by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from corten.runtime.options import RunOptions
from corten.store.store import Store
from corten.supervise import ending, services
from corten.supervise.services import House, Plan, State

HOLD = """
import os, sys
from pathlib import Path
from corten.store.store import Store
from corten.supervise.services import reserve
reserve(Store(Path(sys.argv[1])), 'iris', numbered=False)
print("held", flush=True)
sys.stdin.read()
"""
PLAN = Plan("iris", "iris:latest", "sha256:" + "0" * 64, None, RunOptions(), "127.0.0.1", 8000)
STATE = State(PLAN, 0, "boot", True, "http://127.0.0.1:8000", "ready", 1.0, 2.0)


def test_a_supervisor_that_does_not_answer_is_killed_by_whatever_name_the_store_has(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    store = Store(tmp_path / "link")
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "real")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        House(services.directory_of(store) / "iris", -1).write(replace(STATE, pid=process.pid))
        ending.end(store, "iris", -ending._PATIENCE)
        assert process.wait(20) == -9
        assert services.services(store) == []
    finally:
        process.kill()
        process.communicate()


# Holds the service's lock, and listens when a line comes; then it ends as it is told.
STARTS = HOLD.replace(
    "sys.stdin.read()",
    """
from corten.supervise.control import Control
sys.stdin.readline()
control = Control(Path(sys.argv[1]) / "services" / "iris")
while (conversation := control.accept()) is None:
    pass
while (said := conversation.hear()) is None:
    pass
conversation.answer(ending=True)
sys.exit(said["do"] == "end" and 5)
""",
)


def test_a_supervisor_that_is_only_starting_is_told_when_it_listens(tmp_path: Path) -> None:
    """It was killed instead, after fifteen seconds."""
    store = Store(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", STARTS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"held\n"
        House(services.directory_of(store) / "iris", -1).write(STATE)
        thread = threading.Thread(target=ending.end, args=(store, "iris", 20.0))
        thread.start()
        time.sleep(0.1)  # Most likely it has been tried by now; the result is the same.
        process.stdin.write(b"listen\n")
        process.stdin.flush()
        thread.join()
        assert process.wait(20) == 5
        assert services.services(store) == []
    finally:
        process.kill()
        process.communicate()


def test_a_stranger_with_its_number_is_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    house = services.reserve(store, "iris", numbered=False)
    house.write(replace(STATE, pid=os.getppid()))
    (service,) = services.services(store)
    assert ending._holder(service) is None
    house.write(replace(STATE, pid=os.getpid()))
    assert ending._holder(service) == os.getpid()
    house.remove()
