"""Packages in a project's folders run from where they lie, with their commands, their metadata and what they require."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import Corten

pytestmark = pytest.mark.e2e
CODE = """\
import importlib.metadata as metadata
import subprocess
import demo_code, one
print(one.__file__, metadata.version("one"), [item.name for item in metadata.entry_points(group="demo.plugins")])
for tool in ("one-tool", "one-window", "own-window"):
    print(subprocess.run([tool], capture_output=True, text=True).stdout, end="")
"""
ONE = """\
[project]
name = "one"
version = "1.5"
dependencies = ["two"]
scripts = { one-tool = "one:main" }
gui-scripts = { one-window = "one:main" }
entry-points = { "demo.plugins" = { first = "one:main" } }
[tool.uv.sources]
two = { path = "../two" }
"""


def test_packages_in_folders(corten: Corten, project: Callable[..., Path]) -> None:
    root = project(
        {
            "main.py": CODE,
            "requirements.txt": "-e .\n./libs/one\n",
            "pyproject.toml": '[project]\nname = "demo"\nversion = "1"\ngui-scripts = { own-window = "demo_code:main" }\n'
            '[tool.setuptools]\npackage-dir = { "" = "python" }\n[tool.corten]\ncommand = ["python", "main.py"]\n',
            "python/demo_code.py": "def main():\n    print('own')\n",
            "libs/one/pyproject.toml": ONE,
            "libs/one/src/one/__init__.py": "import two\ndef main():\n    print('one', two.VALUE)\n",
            "libs/two/setup.py": "from setuptools import setup, find_packages\nsetup(name='two', packages=find_packages())\n",
            "libs/two/two/__init__.py": "VALUE = 2\n",
        },
        "local",
    )
    done = corten("run", root)
    assert done.stdout == "/app/libs/one/src/one/__init__.py 1.5 ['first']\none 2\none 2\nown\n"
    assert "'libs/one', 'libs/two' are used in place" in done.stderr
    # A change of their code needs no other lock.
    (root / "libs/two/two/__init__.py").write_text("VALUE = 3\n")
    corten("build", "--locked", root)
    assert "one 3\none 3\n" in corten("run", root).stdout
    (root / ".dockerignore").write_text("libs/two\n")
    refused = corten("build", "--locked", root, code=1)
    assert "requires the package in 'libs/two', and that folder is kept out of the image" in refused.stderr
