"""An application finds `.env` and Streamlit's secrets beside its code and writes there, whatever runs the container."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import Corten

pytestmark = pytest.mark.e2e
CODE = """\
import os, sqlite3
database = sqlite3.connect("notes.db")
database.execute("CREATE TABLE notes (text TEXT)")
os.makedirs("logs/today")
open("data/counts.csv", "a").write("1")
print(os.environ["GREETING"], os.environ["PORT"], open(".streamlit/secrets.toml").read())
"""


@pytest.mark.parametrize("engine", ["runc", "bwrap", "proot"])
def test_an_application_reads_and_writes_beside_its_code(
    corten: Corten, project: Callable[..., Path], engine: str
) -> None:
    files = {"main.py": CODE, "data/counts.csv": "n", ".env": "GREETING=hello\nPORT=9\n"}
    root = project({**files, ".streamlit/secrets.toml": "word = 1"}, "beside")
    done = corten("run", "--engine", engine, root)
    assert done.stdout == "hello 8080 word = 1\n"
    assert not (root / "notes.db").exists()
    refused = corten("run", "--engine", engine, "--env-file", "/dev/null", root, code=1)
    assert "KeyError: 'GREETING'" in refused.stderr
