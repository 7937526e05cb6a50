"""Logs that begin anew: the former one stays whole, and nobody who follows loses a line in silence."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.runtime.attend import LOG_SIZE, shorten_log
from corten.runtime.log_keeper import FORMER, LOG, formers_of, prepare, settle
from corten.runtime.logs import LOST, entries, follow
from support.file_systems import cuts_heads

STAMP = "2026-01-31T10:00:00.000000000+00:00 stdout F "


class Conmon:
    """What conmon 2.1 does with a log."""

    def __init__(self, directory: Path) -> None:
        prepare(str(directory))
        self.directory = directory
        self.written = 0

    def write(self, lines: int = 3) -> None:
        with open(self.directory / LOG, "a", encoding="ascii") as log:
            for _ in range(lines):
                log.write(f"{STAMP}{self.written}\n")
                self.written += 1

    def begin_anew(self) -> None:
        (self.directory / f"{LOG}.tmp").write_text("")
        os.rename(self.directory / f"{LOG}.tmp", self.directory / LOG)


def numbers(path: Path) -> list[int]:
    return [int(entry.text) for entry in entries(path)]


@pytest.mark.parametrize("times", [1, 2])
def test_the_former_log_stays_whole_also_when_two_begin_before_anybody_looks(
    tmp_path: Path, times: int
) -> None:
    conmon = Conmon(tmp_path)
    for _ in range(times):
        conmon.write()
        conmon.begin_anew()
    conmon.write()
    # Before the keeper has seen it as well.
    assert numbers(tmp_path / LOG) == list(range(conmon.written))
    settle(str(tmp_path))
    kept = list(range(conmon.written - 6, conmon.written))
    assert numbers(tmp_path / LOG) == kept
    assert [line.rsplit(" ", 1)[1] for line in (tmp_path / FORMER).read_text().splitlines()] == [
        str(number) for number in kept[:3]
    ]
    # And so on, from the state that it is in then; a restart finds it too.
    conmon.begin_anew()
    conmon.write(1)
    prepare(str(tmp_path))
    assert numbers(tmp_path / LOG) == list(range(conmon.written - 4, conmon.written))


@pytest.mark.parametrize("at_once", [1, 2])
def test_so_many_former_logs_are_kept_as_are_asked_for_and_read_in_order(
    tmp_path: Path, at_once: int
) -> None:
    conmon = Conmon(tmp_path)
    for _ in range(6):
        for _ in range(at_once):
            conmon.write()
            conmon.begin_anew()
        settle(str(tmp_path), formers_of(4))
    conmon.write(1)
    assert numbers(tmp_path / LOG) == list(range(conmon.written - 10, conmon.written))
    assert {path.name for path in tmp_path.glob(f"{LOG}.[0-9]*")} == {
        f"{LOG}.{number}" for number in (1, 2, 3)
    }
    # A kill in the middle leaves a gap, which closes again.
    os.rename(tmp_path / f"{LOG}.2", tmp_path / f"{LOG}.9")
    os.unlink(tmp_path / f"{LOG}.9")
    conmon.begin_anew()
    settle(str(tmp_path), formers_of(4))
    assert numbers(tmp_path / LOG) == [
        *range(conmon.written - 10, conmon.written - 7),
        *range(conmon.written - 4, conmon.written),
    ]


def test_a_log_that_is_made_shorter_keeps_so_many_former_ones(folder: Path) -> None:
    log = folder / LOG
    written = 0
    for _ in range(4):
        with open(log, "a", encoding="ascii") as file:
            while file.tell() <= LOG_SIZE:
                file.write(f"{written} {LINE * 50}\n")
                written += 1
        shorten_log(str(log), formers_of(3))
    found = [int(line.split()[0]) for line in b"".join(entry.text for entry in entries(log)).splitlines()]
    assert found == list(range(written - len(found), written))
    assert len(found) > 2 * LOG_SIZE // len(LINE * 50) - 5
    assert {path.name for path in folder.glob(f"{LOG}.[0-9]")} == {f"{LOG}.1", f"{LOG}.2"}


def test_who_follows_gets_every_line_over_new_beginnings(tmp_path: Path) -> None:
    conmon = Conmon(tmp_path)
    conmon.write()
    turns = iter(range(100))

    def alive() -> bool:
        turn = next(turns)
        if turn < 5:
            conmon.write()
            conmon.begin_anew()
            if turn % 2:
                settle(str(tmp_path))
            conmon.write()
        return turn < 8

    found = [entry.text for entry in follow(tmp_path / LOG, alive, since=None, tail=None)]
    assert found == [f"{number}\n".encode() for number in range(conmon.written)]


def test_who_follows_too_slowly_is_told(tmp_path: Path) -> None:
    conmon = Conmon(tmp_path)
    conmon.write()
    turns = iter(range(100))

    def alive() -> bool:
        turn = next(turns)
        for _ in range(4 if turn == 1 else 0):
            conmon.begin_anew()
            settle(str(tmp_path))
            conmon.write()
        return turn < 4

    found = [entry.text for entry in follow(tmp_path / LOG, alive, since=None, tail=None)]
    assert found == [b"0\n", b"1\n", b"2\n", LOST, *(f"{number}\n".encode() for number in range(9, 15))]


LINE = "x" * 1000


@pytest.fixture(params=["a disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system that cuts heads off files, where the machine has one, and on one that cannot."""
    if request.param == "a disk":
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        yield Path(place)


@pytest.mark.parametrize("behind", [0, 1, 30])
def test_who_follows_a_log_that_is_made_shorter_goes_on_where_it_was(folder: Path, behind: int) -> None:
    """As Corten's own monitor does it: the program holds the file. The reader has seen all of it, all but a line, or less."""
    log = folder / LOG
    log.write_text("".join(f"{number} {LINE}\n" for number in range(100)))
    turns = iter(range(100))
    wanted = LOG_SIZE // 1007 + 50

    def alive() -> bool:
        turn = next(turns)
        with open(log, "a", encoding="ascii") as file:
            if turn == 1:
                file.writelines(f"{number} {LINE}\n" for number in range(100, wanted - behind))
            if turn == 2:
                file.writelines(f"{number} {LINE}\n" for number in range(wanted - behind, wanted))
        if turn == 2:
            shorten_log(str(log))
            assert log.stat().st_size < 1 << 20
            with open(log, "a", encoding="ascii") as file:
                file.write(f"{wanted} {LINE}\n")
        return turn < 5

    said = b"".join(entry.text for entry in follow(log, alive, since=None, tail=None))
    assert [int(line.split()[0]) for line in said.splitlines()] == list(range(wanted + 1))
    assert {line.split()[1] for line in said.splitlines()} == {LINE.encode()}


def test_a_log_that_is_made_shorter_loses_no_line_that_is_printed_meanwhile(tmp_path: Path) -> None:
    if not cuts_heads(tmp_path):
        pytest.skip("the file system cannot cut the head off a file")
    log = tmp_path / LOG
    script = (
        "import sys\n"
        "with open(sys.argv[1], 'ab', 0) as log:\n"
        "    for n in range(30000): log.write(b'%07d %s\\n' % (n, b'x' * 1000))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(log)]) as program:
        while program.poll() is None:
            shorten_log(str(log))
    shorten_log(str(log))
    assert (tmp_path / FORMER).exists()
    text = b"".join(entry.text for entry in entries(log)).splitlines()
    assert [int(line.split()[0]) for line in text] == list(range(30000 - len(text), 30000))
    assert {len(line) for line in text} == {1008}
    last = [entry.text for entry in entries(log, tail=1)]
    assert b"".join(last) == b"0029999 " + b"x" * 1000 + b"\n"
    assert sum(path.stat().st_size for path in tmp_path.glob(f"{LOG}*")) <= 3 * LOG_SIZE
