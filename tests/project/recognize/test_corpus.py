"""What is recognised in the projects of tests/corpus, without building them."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.project.load import load
from corten.project.model import Command, Predictor
from support import corpus


@pytest.mark.parametrize(
    "project", [pytest.param(item, id=item.name) for item in corpus.projects() if item.expect]
)
def test_a_project_is_recognised(tmp_path: Path, project: corpus.Project) -> None:
    expected = dict(project.expect)
    found = load(project.copy(tmp_path))
    argv = found.entry.argv if isinstance(found.entry, Command) else ()
    target = found.entry.target if isinstance(found.entry, Predictor) else None
    assert found.kind == expected.pop("kind")
    assert " ".join(argv) == expected.pop("command", "")
    assert target == expected.pop("predict", None)
    assert found.workdir == expected.pop("workdir", "/app")
    assert [item.requirement for item in found.implied] == expected.pop("implied", [])
    assert found.env == expected.pop("env", {})
    for key, value in expected.items():
        have = getattr(found, key)
        assert (list(have) if isinstance(have, tuple) else have) == value, key
