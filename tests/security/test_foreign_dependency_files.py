"""Dependency files of other tools: nothing that they lead to outside the project is read before it is confirmed, and none holds up a command."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import corten
from corten.build.source_wheels import _build_system
from corten.errors import CortenError
from corten.lock.format import read_lock
from corten.lock.inputs import inputs_digest
from corten.lock.inputs import read_pyproject as read_inputs
from corten.lock.pylock import read_pylock
from corten.lock.uvlock import read_uv_lock
from corten.lock.wanted import refuse_links_out
from corten.packages.sources import Source
from corten.project.formats.lines import toml
from corten.project.hints import pythons
from corten.project.load import load, read_pyproject
from corten.project.local_packages import describe
from corten.project.recognize.folder import Folder

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


LONG_KEY = "a" + ".a" * 1000 + " = 1\n"
READERS: dict[str, Callable[[Path], object]] = {
    "project": lambda file: read_pyproject(file.parent),
    "inputs": lambda file: read_inputs(file.parent),
    "local": lambda file: describe(file.parent, ""),
    "pylock": read_pylock,
    "uv.lock": read_uv_lock,
    "corten.lock": read_lock,
    "others": lambda file: toml(file.read_text(), file.name),
    "source": lambda file: _build_system(Source("x", "1", "0" * 64, file), file.read_text()),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_key_of_very_many_parts_is_refused(tmp_path: Path, reader: str) -> None:
    """Python's own reader takes an hour for such a key of a mebibyte."""
    file = tmp_path / "pyproject.toml"
    file.write_text(LONG_KEY + 'version = 1\nlock-version = "1.0"\n[project]\nname = "x"\n')
    with pytest.raises(CortenError, match=r"not (valid )?TOML|cannot be read: Key of more than 32 parts"):
        READERS[reader](file)


def test_a_hint_is_not_looked_for_behind_such_a_key(tmp_path: Path) -> None:
    wanted = '[requires]\npython_version = "3.11"\n'
    for text, found in ((wanted, 1), (LONG_KEY + wanted, 0)):
        (tmp_path / "Pipfile").write_text(text)
        with Folder(str(tmp_path)) as folder:
            assert len(pythons.read(folder)) == found


def test_all_toml_of_others_is_read_in_bounded_time() -> None:
    """The two others read what uv says, and the user's own configuration."""
    top = Path(corten.__file__).parent
    direct = {
        path.relative_to(top).as_posix()
        for path in top.rglob("*.py")
        if re.search(r"tomllib\.loads?\(", path.read_text())
    }
    assert direct == {"toml.py", "packages/uv.py", "packages/debian/sources.py"}
