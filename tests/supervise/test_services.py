"""Services on the disk: names, locks, states, and what is left of killed supervisors."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from corten.errors import RuntimeFailure, UsageError
from corten.runtime.cdi.choose import Gpus
from corten.runtime.options import Limits, RunOptions
from corten.store.store import Store
from corten.supervise import control, services
from corten.supervise.control import Control, Refused, tell
from corten.supervise.services import Plan, State, find, read, reserve, the_service

OPTIONS = RunOptions(environment=(("A", "b"),), limits=Limits(memory=1 << 30), gpus=Gpus(count=2))
PLAN = Plan("iris", "iris:latest", "sha256:" + "0" * 64, None, OPTIONS, "127.0.0.1", 8000, "/srv/iris", 600.0)
STATE = State(
    PLAN, os.getpid(), "boot", True, "http://127.0.0.1:8000", "ready", 1.0, 2.0, ("sha256:" + "1" * 64,)
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_state_is_read_as_it_was_written(store: Store) -> None:
    house = reserve(store, "iris", numbered=False)
    house.write(STATE)
    assert read(house.directory) == STATE
    assert (house.directory / "state.json").stat().st_mode & 0o077 == 0
    # A later version may say more.
    document = json.loads((house.directory / "state.json").read_text())
    (house.directory / "state.json").write_text(json.dumps({**document, "version": 2, "more": [1]}))
    assert read(house.directory) == STATE


@pytest.mark.parametrize("text", ["", "{", "[]", '{"plan": 3}', '{"version": 1}'])
def test_a_damaged_state_is_none(store: Store, text: str) -> None:
    house = reserve(store, "iris", numbered=False)
    (house.directory / "state.json").write_text(text)
    assert read(house.directory) is None
    assert find(store, "iris").status == "starting"


def test_a_name_is_taken_as_long_as_its_supervisor_lives(store: Store) -> None:
    house = reserve(store, "iris", numbered=False)
    with pytest.raises(UsageError, match="'iris' is running") as error:
        reserve(store, "iris", numbered=False)
    assert "--update" in str(error.value.hint)
    with pytest.raises(UsageError):
        services.check_free(store, "iris")
    second = reserve(store, "iris", numbered=True)
    assert second.name == "iris-2"
    house.remove()
    services.check_free(store, "iris")
    assert reserve(store, "iris", numbered=False).name == "iris"


def test_what_a_killed_supervisor_left_is_told_and_gives_its_name_away(store: Store) -> None:
    code = (
        "import os, sys; from pathlib import Path; from corten.store.store import Store\n"
        "from corten.supervise.services import reserve\n"
        "reserve(Store(Path(sys.argv[1])), 'iris', numbered=False); print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(store.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    directory = services.directory_of(store) / "iris"
    services.House(directory, -1).write(STATE)
    assert find(store, "iris").status == "ready"
    process.kill()
    process.communicate()
    assert find(store, "iris").status == "ended"
    assert services.layers_in_use(store) == set()
    assert reserve(store, "iris", numbered=False).name == "iris"
    assert not (directory / "state.json").exists()


def test_what_one_in_the_foreground_left_is_litter(store: Store) -> None:
    house = reserve(store, "iris", numbered=False)
    house.write(replace(STATE, detached=False))
    assert len(services.services(store)) == 1
    house.release()
    assert services.services(store) == []
    assert list(services.directory_of(store).iterdir()) == []


def test_layers_of_the_living_stay(store: Store) -> None:
    house = reserve(store, "iris", numbered=False)
    house.write(STATE)
    assert {str(layer) for layer in services.layers_in_use(store)} == set(STATE.layers)


def test_which_service_is_meant(store: Store, tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure, match="no service is running"):
        the_service(store, None)
    for name in ("iris", "flowers"):
        folder = tmp_path / name
        folder.mkdir()
        reserve(store, name, numbered=False).write(
            replace(STATE, plan=replace(PLAN, name=name, path=os.path.realpath(folder)))
        )
    assert the_service(store, "iris").name == "iris"
    assert the_service(store, None, tmp_path / "flowers").name == "flowers"
    with pytest.raises(UsageError, match="which service"):
        the_service(store, None, tmp_path)
    with pytest.raises(RuntimeFailure, match="is not being served"):
        the_service(store, None, tmp_path, strictly=True)
    with pytest.raises(RuntimeFailure, match="no service 'rose'") as error:
        the_service(store, "rose")
    assert error.value.hint == "there are: flowers, iris"


def test_a_supervisor_is_told_over_its_socket_however_long_the_path(tmp_path: Path) -> None:
    directory = tmp_path / ("a" * 120) / ("b" * 120)
    directory.mkdir(parents=True)
    listening = Control(directory)

    def serve() -> None:
        for document in ({"updated": True}, None, {"failed": "no", "hint": "yes", "lines": ["x"]}):
            conversation = None
            while conversation is None:
                conversation = listening.accept()
            while (heard := conversation.hear()) is None:
                pass
            assert heard == {"do": "update", "plan": {"name": "ü"}}
            if document is None:
                conversation.close()
            else:
                conversation.answer(**document)

    thread = threading.Thread(target=serve)
    thread.start()
    said = {"do": "update", "plan": {"name": "ü"}}
    assert tell(directory, **said) == {"updated": True}
    with pytest.raises(RuntimeFailure, match="does not answer"):
        tell(directory, **said)
    with pytest.raises(Refused, match="no") as error:
        tell(directory, **said)
    assert (error.value.hint, error.value.lines) == ("yes", ("x",))
    thread.join()
    listening.close()


@pytest.mark.parametrize("said", [b"", b"nonsense\n", b"[1]\n", b"x" * (2 << 20)])
def test_nonsense_ends_a_conversation(said: bytes) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    conversation = control.Conversation(theirs)

    def write() -> None:
        with contextlib.suppress(BrokenPipeError):
            ours.sendall(said)
            ours.shutdown(socket.SHUT_WR)

    writing = threading.Thread(target=write)
    writing.start()
    with pytest.raises(EOFError):
        _until_heard(conversation)
    theirs.close()
    writing.join()
    ours.close()


def _until_heard(conversation: control.Conversation) -> None:
    while conversation.hear() is None:
        pass


def test_the_lock_of_one_that_was_removed_meanwhile_removes_no_other(store: Store) -> None:
    house = reserve(store, "iris", numbered=False)
    lock = services.lock_path(house.directory)
    waiting = threading.Thread(target=services._remove, args=(house.directory,))
    waiting.start()  # It tries for a while to take the lock that it has opened.
    until = time.monotonic() + 60
    while len([name for name in os.listdir("/proc/self/fd") if _leads_to(name, lock)]) < 2:
        assert time.monotonic() < until
    house.remove()
    held = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    house.directory.mkdir()
    waiting.join()
    os.close(held)
    assert house.directory.exists()
    assert lock.exists()


def _leads_to(descriptor: str, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/self/fd/{descriptor}") == str(path)
    return False
