"""What setup.py and setup.cfg require, read and not run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.project.setup_files import requires

TEMPLATE = """
from setuptools import find_packages, setup
HYPHEN_E_DOT = "-e ."
def get_requirements(file_path):
    with open(file_path) as file_obj:
        return [line for line in file_obj if line != HYPHEN_E_DOT]
setup(name="mlproject", packages=find_packages(), install_requires=get_requirements("requirements.txt"))
"""


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ()),
        ({"setup.py": "from setuptools import setup\nsetup(name='x')"}, ()),
        (
            {"setup.py": "import setuptools\nsetuptools.setup(install_requires=['flask>=1', 'numpy'])"},
            ("flask>=1", "numpy"),
        ),
        (
            {"setup.py": "from setuptools import setup\nNEEDED = ('a', 'b')\nsetup(install_requires=NEEDED)"},
            ("a", "b"),
        ),
        ({"setup.py": TEMPLATE}, ()),
        ({"setup.py": "setup(install_requires=compute())"}, None),
        ({"setup.py": "setup(install_requires=['a', 1])"}, None),
        ({"setup.py": "setup(install_requires=["}, None),
        (
            {"setup.cfg": "[options]\ninstall_requires =\n    flask>=1\n    # why\n    numpy\n"},
            ("flask>=1", "numpy"),
        ),
        ({"setup.cfg": "[options]\ninstall_requires = file: requirements.txt\n"}, ()),
        ({"setup.cfg": "install_requires"}, None),
        ({"setup.cfg": "[metadata]\nname = x\n", "setup.py": "setup()"}, ()),
    ],
)
def test_what_they_require(tmp_path: Path, files: dict[str, str], expected: tuple[str, ...] | None) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert requires(tmp_path) == expected


@given(st.text(max_size=80), st.booleans())
def test_any_text_is_read_without_failing(
    tmp_path_factory: pytest.TempPathFactory, text: str, config: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name in ("setup.py", "setup.cfg"):
        (folder / name).unlink(missing_ok=True)
    (folder / ("setup.cfg" if config else "setup.py")).write_text(
        f"install_requires{text}", encoding="utf-8", errors="replace"
    )
    requires(folder)
