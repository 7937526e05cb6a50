"""Dependency files of other tools that lead out of a project: nothing of what they lead to is read before it is confirmed."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.errors import CortenError
from corten.lock.inputs import inputs_digest
from corten.lock.wanted import refuse_links_out
from corten.project.load import load

CONTENT = {
    "poetry.lock": "[[zebra",
    "pdm.lock": "[[zebra",
    "Pipfile.lock": "{zebra",
    "Pipfile": "[[zebra",
    "pylock.toml": "[[zebra",
    "environment.yml": "dependencies: zebra",
    "setup.py": "setup(install_requires=['zebra'])",
    "setup.cfg": "[options]\ninstall_requires = zebra",
}


@pytest.mark.parametrize("name", CONTENT)
def test_a_dependency_file_that_leads_out_of_the_project_is_not_read(tmp_path: Path, name: str) -> None:
    outside, root = tmp_path / "outside", tmp_path / "project"
    outside.mkdir()
    root.mkdir()
    (outside / "file").write_text(CONTENT[name])
    (root / name).symlink_to("../outside/file")
    (root / "main.py").touch()
    project = load(root)
    assert "zebra" not in repr(project)
    if name.startswith(("setup", "environment")):
        assert project.dependencies.kind == "none"
        return
    for action in (lambda: refuse_links_out(project), lambda: inputs_digest(project)):
        with pytest.raises(CortenError) as caught:
            action()
        assert "outside" in caught.value.message + str(caught.value.hint)
        assert "zebra" not in caught.value.message
