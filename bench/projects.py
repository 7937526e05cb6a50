"""The projects that are built: the same files for every tool."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

SETS = {
    "S": "scikit-learn, pandas, fastapi, uvicorn",
    "L": "S with torch (CPU) and transformers",
}
DEPENDENCY = "tabulate==0.9.0"
"""The small dependency that is added: one wheel, no dependencies of its own, in neither set."""

_BLOCK = 64 << 20
"""Bytes after which the large file repeats itself."""
_SETS_DIRECTORY = Path(__file__).with_name("sets")
_APP = '''"""The service."""

from fastapi import FastAPI

app = FastAPI()
ANSWER = "0"


@app.get("/")
def root() -> dict[str, str]:
    return {"answer": ANSWER}
'''
_PREDICTOR = '''"""The predictor."""


def predict(x: float) -> float:
    return x + 1
'''


def requirements(size: str) -> list[str]:
    """The pins of a set."""
    lines = (_SETS_DIRECTORY / f"{size}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def write_project(directory: Path, pins: list[str], *, note: str = "", predictor: bool = False) -> Path:
    """A web application (or, with `predictor`, a predictor) with these pins. `note` makes its requirements file unlike
    any other's."""
    directory.mkdir(parents=True)
    head = [f"# {note}"] if note else []
    (directory / "requirements.txt").write_text("\n".join([*head, *pins, ""]))
    if predictor:
        (directory / "predict.py").write_text(_PREDICTOR)
    else:
        (directory / "app.py").write_text(_APP)
    return directory


def write_large(directory: Path, size: int) -> Path:
    """A program beside a file of `size` bytes that no compressor makes smaller."""
    directory.mkdir(parents=True)
    (directory / "main.py").write_text("print(1)\n")
    (directory / "pyproject.toml").write_text('[tool.corten]\ncommand = ["python3", "main.py"]\n')
    # Never in this process's memory: a command started later would have its peak in the kernel's account (vfork).
    with open(directory / "weights.bin", "wb") as file, tempfile.TemporaryFile() as block:
        for _ in range(_BLOCK >> 20):
            block.write(os.urandom(1 << 20))
        block.flush()
        while size:
            size -= os.sendfile(file.fileno(), block.fileno(), 0, min(size, _BLOCK))
    return directory


def change_code(project: Path, value: str) -> None:
    """Change one line of the application's code."""
    path = project / "app.py"
    lines = path.read_text().splitlines(keepends=True)
    changed = [f'ANSWER = "{value}"\n' if line.startswith("ANSWER") else line for line in lines]
    path.write_text("".join(changed))


def copy_project(source: Path, target: Path) -> Path:
    """The same project at another place."""
    shutil.copytree(source, target)
    return target
