"""What is decided and read about a container's life: records, logs, restarts, health."""

from __future__ import annotations

import errno
import json
import os
import re
import time
from pathlib import Path

import pytest

from corten.cli.living import parse_restart, parse_time
from corten.errors import RuntimeFailure, UsageError
from corten.runtime import inventory, launch, records
from corten.runtime.control import parse_signal
from corten.runtime.identity import current_identity
from corten.runtime.inventory import Ending, look
from corten.runtime.logs import entries, follow, parse_since
from corten.runtime.options import Limits, RunOptions
from corten.runtime.processes import INSIDE, handles, inside, note_inside
from corten.runtime.records import Health, Record, Restart
from corten.runtime.supervise import FIRST_DELAY, LONGEST_DELAY, delay, is_due, next_health
from corten.runtime.tree_stream import receive, send
from corten.store.store import Store

LINE = "2026-01-31T10:00:0{}.5+00:00 {} {} {}\n"


def record(name: str = "calm-oak-001") -> Record:
    return records.new(
        name=name,
        image="iris",
        id="sha256:1",
        layers=(),
        created=1.0,
        started=2.0,
        kind="conmon",
        uid=0,
        labels=(("a", "b"),),
        restart=Restart("on-failure", 3),
        health=Health(("true",), interval=1.5),
    )


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    options = RunOptions(command=("a", "b"), limits=Limits(memory=1 << 30), environment=(("K", "V"),))
    records.write(tmp_path, record(), options)
    assert records.read(tmp_path) == record()
    assert records.read_options(tmp_path) == options
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600


def test_records_are_read_tolerantly(tmp_path: Path) -> None:
    records.write(tmp_path, record(), RunOptions())
    document = json.loads((tmp_path / "state.json").read_text())
    (tmp_path / "state.json").write_text(json.dumps({**document, "version": 9, "later": [1]}))
    assert records.read(tmp_path) == record()
    for field in ("labels", "health", "restart", "timeout"):
        fewer = {key: value for key, value in document.items() if key != field}
        (tmp_path / "state.json").write_text(json.dumps(fewer))
        assert records.read(tmp_path) is not None
    for damaged in (
        "",
        "{",
        "[]",
        "7",
        json.dumps({**document, "started": "soon"}),
        json.dumps({**document, "layers": 3}),
    ):
        (tmp_path / "state.json").write_text(damaged)
        assert records.read(tmp_path) is None
        assert look(tmp_path) is None
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(RuntimeFailure, match="cannot be read"):
        records.read_options(tmp_path)


def test_a_container_that_never_began_and_one_whose_monitor_was_killed(tmp_path: Path) -> None:
    directory = tmp_path / "calm-oak-001"
    (directory / "exit").mkdir(parents=True)
    records.write(directory, record(), RunOptions())
    seen = look(directory)
    assert seen is not None
    assert (seen.status, seen.running) == ("created", False)
    (directory / INSIDE).write_text("1 1")
    seen = look(directory)
    assert seen is not None
    assert seen.ending is not None
    assert (seen.status, seen.ending.code, seen.ending.reason) == ("exited", 137, "its monitor was killed")
    (directory / "exit" / "calm-oak-001").write_text("5")
    seen = look(directory)
    assert seen is not None
    assert seen.ending is not None
    assert (seen.ending.code, seen.ending.reason) == (5, None)


def test_processes_are_known_by_their_start(tmp_path: Path) -> None:
    note_inside(str(tmp_path))
    assert inside(tmp_path) == os.getpid()
    pid, started = (tmp_path / INSIDE).read_text().split()
    (tmp_path / INSIDE).write_text(f"{pid} {int(started) + 1}")
    assert inside(tmp_path) is None
    assert handles(os.getpid(), 2)


def test_logs(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    texts = [
        ("1", "stdout", "F", "one"),
        ("2", "stderr", "F", "two"),
        ("3", "stdout", "P", "thr"),
        ("3", "stdout", "F", "ee"),
        ("4", "stdout", "F", ""),
    ]
    log.write_text("".join(LINE.format(*text) for text in texts))
    assert [(entry.stream, entry.text) for entry in entries(log)] == [
        ("stdout", b"one\n"),
        ("stderr", b"two\n"),
        ("stdout", b"thr"),
        ("stdout", b"ee\n"),
        ("stdout", b"\n"),
    ]
    assert b"".join(entry.text for entry in entries(log, tail=2)) == b"three\n\n"
    assert list(entries(log, tail=0)) == []
    since = parse_since("2026-01-31T10:00:03+00:00", time.time())
    assert b"".join(entry.text for entry in entries(log, since=since)) == b"three\n\n"
    log.write_bytes(b"printed as it was\nwithout times")
    assert b"".join(entry.text for entry in entries(log)) == b"printed as it was\nwithout times"
    with pytest.raises(RuntimeFailure, match="keeps no log"):
        list(entries(tmp_path / "none"))
    assert parse_since("10m", 1000.0) == 400.0
    with pytest.raises(UsageError, match="is not a time"):
        parse_since("yesterday", 0)


def test_a_log_that_begins_anew_is_followed(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    log.write_text(LINE.format(1, "stdout", "F", "old"))
    steps = iter(["turn", "write", "end"])

    def alive() -> bool:
        step = next(steps)
        if step == "turn":
            (tmp_path / "new").write_text(LINE.format(2, "stdout", "F", "new"))
            (tmp_path / "new").rename(log)
        elif step == "write":
            with open(log, "a") as file:
                file.write(LINE.format(3, "stdout", "F", "more"))
        return step != "end"

    assert [entry.text for entry in follow(log, alive, since=None, tail=None)] == [
        b"old\n",
        b"new\n",
        b"more\n",
    ]


def test_restarts_are_decided() -> None:
    failed, well = Ending(3, 0.0), Ending(0, 0.0)
    assert not is_due(Restart(), failed, 0)
    assert is_due(Restart("always"), well, 1000)
    assert is_due(Restart("on-failure"), failed, 1000)
    assert not is_due(Restart("on-failure"), well, 0)
    assert is_due(Restart("on-failure", 2), failed, 1)
    assert not is_due(Restart("on-failure", 2), failed, 2)
    assert [delay(0), delay(1), delay(1000)] == [FIRST_DELAY, 2 * FIRST_DELAY, LONGEST_DELAY]
    assert parse_restart("on-failure:5") == Restart("on-failure", 5)
    for text in ("often", "always:3", "on-failure:", "on-failure:x"):
        with pytest.raises(UsageError, match="is not a way to restart"):
            parse_restart(text)


def test_health_is_decided() -> None:
    health = Health(("true",), retries=2, start_period=10)
    assert next_health(health, "starting", 0, False, 5) == ("starting", 0)
    assert next_health(health, "starting", 0, False, 11) == ("starting", 1)
    assert next_health(health, "starting", 1, False, 11) == ("unhealthy", 2)
    assert next_health(health, "unhealthy", 2, True, 11) == ("healthy", 0)
    assert next_health(health, "healthy", 0, False, 5) == ("healthy", 1)


def test_what_people_write() -> None:
    assert [parse_time(text) for text in ("90", "500ms", "1.5s", "2m", "1h")] == [90, 0.5, 1.5, 120, 3600]
    for text in ("0", "-1", "soon", "1d"):
        with pytest.raises(UsageError, match="is not a time"):
            parse_time(text)
    assert [parse_signal(text) for text in ("9", "KILL", "sigterm")] == [9, 9, 15]
    for text in ("0", "65", "NONE", ""):
        with pytest.raises(UsageError, match="is not a signal"):
            parse_signal(text)


def test_a_stream_of_files_follows_no_link(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_text("text")
    (source / "file").write_text("other")
    (source / "file").chmod(0o4755)
    (source / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe")
    target.mkdir()
    with open(tmp_path / "stream", "wb") as stream:
        send(str(source), stream)
    with open(tmp_path / "stream", "rb") as stream:
        receive(stream, str(target), "copy")
    assert (target / "copy/sub/file").read_text() == "text"
    assert (target / "copy/file").stat().st_mode & 0o7777 == 0o755
    assert os.readlink(target / "copy/link") == "/etc/passwd"
    assert (target / "copy/pipe").is_fifo()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (target / "trap").mkdir()
    (target / "trap/sub").symlink_to(elsewhere)
    with open(tmp_path / "stream", "rb") as stream, pytest.raises(OSError, match="directory"):
        receive(stream, str(target), "trap")
    assert list(elsewhere.iterdir()) == []


def test_what_begins_while_it_is_swept_stays(tmp_path: Path) -> None:
    """A sweep looks at a container before and after it has its lock: in between one may have been started, and ended."""
    directory = tmp_path / "containers" / "oak"
    directory.mkdir(parents=True)
    inventory.remove_dead(directory, lambda place: False)
    assert directory.is_dir()
    inventory.sweep(Store(tmp_path))
    assert not directory.exists()


def test_what_cannot_be_removed_keeps_nothing_else(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in ("a", "b", "c"):
        (store.containers_directory / name).mkdir(parents=True)
    (store.containers_directory / "b.lock").symlink_to("missing/b.lock")  # cannot be opened, whoever asks
    inventory.sweep(store)
    assert sorted(os.listdir(store.containers_directory)) == ["b", "b.lock"]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/where"),
            "it failed: no space left on device ('/where')",
        ),
        (UsageError("that is wrong", hint="do it right"), "it failed: that is wrong"),
        (ValueError("odd"), "it failed: ValueError: odd"),
    ],
)
def test_what_went_wrong_in_a_namespace_is_told(error: Exception, says: str) -> None:
    def act() -> None:
        raise error

    with pytest.raises(RuntimeFailure, match=re.escape(says)):
        launch.in_namespace(current_identity(), act, what="it failed")
