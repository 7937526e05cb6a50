"""Logs that begin anew: the former one stays whole, and nobody who follows loses a line in silence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corten.runtime.attend import LOG_SIZE, shorten_log
from corten.runtime.log_keeper import FORMER, LOG, prepare, settle
from corten.runtime.logs import LOST, entries, follow

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


def test_who_follows_a_log_that_is_made_shorter_goes_on_where_it_was(tmp_path: Path) -> None:
    """As Corten's own monitor does it: the program holds the file, so it is copied and emptied."""
    log = tmp_path / LOG
    line = "x" * 1000
    log.write_text("".join(f"{number} {line}\n" for number in range(100)))
    turns = iter(range(100))
    wanted = LOG_SIZE // 1007 + 50

    def alive() -> bool:
        turn = next(turns)
        if turn == 1:
            with open(log, "a", encoding="ascii") as file:
                file.writelines(f"{number} {line}\n" for number in range(100, wanted))
            shorten_log(str(log))
            with open(log, "a", encoding="ascii") as file:
                file.write(f"{wanted} {line}\n")
        return turn < 4

    found = [int(entry.text.split()[0]) for entry in follow(log, alive, since=None, tail=None)]
    assert found == list(range(wanted + 1))
