"""Links, pipes and devices that a project has in place of its own files: nothing outside is written, and nothing is waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corten.errors import FormatError, ProjectError, UsageError
from corten.inference.batch import Job, prepare
from corten.inference.operations import Operation
from corten.lock.format import LOCK_NAME, encode, read_lock, write_lock
from support.locks import sample_lock


@pytest.mark.parametrize("there", ["nothing", "a lock", "something else"])
def test_a_lock_that_is_a_link_out_of_the_project_is_neither_written_nor_read(
    tmp_path: Path, there: str
) -> None:
    outside, root = tmp_path / "outside", tmp_path / "project"
    outside.mkdir()
    root.mkdir()
    target = outside / "profile"
    before = {"nothing": None, "a lock": encode(sample_lock(wheels=1)), "something else": "precious"}[there]
    if before is not None:
        target.write_text(before)
    (root / LOCK_NAME).symlink_to("../outside/profile")
    for action in (read_lock, lambda path: write_lock(path, sample_lock())):
        with pytest.raises(ProjectError, match="a link that leads out of the project"):
            action(root / LOCK_NAME)
    assert (target.read_text() if target.exists() else None) == before
    assert len(list(outside.iterdir())) == (before is not None)


def test_a_lock_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LOCK_NAME)
    with pytest.raises(FormatError, match="not a file"):
        read_lock(tmp_path / LOCK_NAME)


@pytest.mark.parametrize("ending", [".part", ".part.json"])
@pytest.mark.parametrize("there", [True, False])
def test_results_of_predict_are_not_written_through_links_beside_them(
    tmp_path: Path, ending: str, there: bool
) -> None:
    rows, outside = tmp_path / "rows.jsonl", tmp_path / "outside"
    rows.write_text("{}\n")
    if there:
        outside.write_text("precious\n")
    target = tmp_path / "out.jsonl"
    (tmp_path / f"out.jsonl{ending}").symlink_to(outside)
    with pytest.raises(UsageError, match="is a link"):
        prepare(Job(rows, target, Operation("/predict", {}, {}), "an image", 1))
    assert (outside.read_text() if outside.exists() else None) == ("precious\n" if there else None)
