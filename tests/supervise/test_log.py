"""Logs of services, which their containers hold open and may do anything with."""

from __future__ import annotations

import os
from pathlib import Path

from corten.supervise.log import last_lines


def test_the_end_of_a_log_is_read_and_not_all_that_its_size_claims(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    log.write_text("one\ntwo\n")
    assert last_lines(log) == ["one", "two"]
    os.truncate(log, 1 << 42)
    with log.open("a") as file:
        file.write("\nthree\n")
    assert last_lines(log)[-1] == "three"
