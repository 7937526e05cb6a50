"""The Python of a model of MLflow: `python: 3.10.12` in `python_env.yaml`, beside `MLmodel`."""

from __future__ import annotations

from corten.lazy import regex
from corten.project.hints.hint import Hint, Reads

FILE = "python_env.yaml"
_PYTHON = regex(r"python\s*:\s*[\"']?(3\.\d{1,2})(?:\.\d+)?[\"']?\s*")


def read(folder: Reads) -> tuple[Hint, ...]:
    """The Python, found by its line: no library is needed for that."""
    text = folder.text(FILE) if folder.exists("MLmodel") else None
    for number, line in enumerate((text or "").split("\n"), 1):
        found = _PYTHON.fullmatch(line)
        if found:
            return (Hint("python", found[1], FILE, number),)
    return ()
