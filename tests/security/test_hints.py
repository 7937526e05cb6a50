"""Files of other tools, from which hints are taken, are a project's and may be hostile (docs/hints.md)."""

from __future__ import annotations

import importlib
import time
from collections.abc import Collection
from pathlib import Path

import pytest

from corten.project.hints.sources import SOURCES
from corten.project.load import load

SIZE = 100_000
UNITS = (" ", "a", '"\\', "/*", "\n", "${A:-", "a:\n\t", "'", "RUN a && ", "x = ")


class Memory(dict[str, str]):
    """A project's folder without a disk."""

    def files(self, ending: str = "") -> Collection[str]:
        return [path for path in self if path.endswith(ending)]

    def has_file(self, path: str) -> bool:
        return path in self

    def has_folder(self, path: str) -> bool:
        return path == ""

    def exists(self, path: str) -> bool:
        return path in self

    def text(self, path: str, limit: int = 0) -> str | None:
        return self.get(path)


@pytest.mark.parametrize("source", [pytest.param(source, id=source.name) for source in SOURCES])
def test_no_file_of_another_tool_can_hold_up_a_command(source: object) -> None:
    module, _, function = source.reader.partition(":")  # type: ignore[attr-defined]
    read = getattr(importlib.import_module(f"corten.project.hints.{module}"), function)
    starts = {"Dockerfile": "FROM python\nRUN ", "compose": "services:\n  a:\n    build: .\n    command: "}
    begin = time.process_time()
    for unit in UNITS:
        text = starts.get(source.name, "") + unit * (SIZE // len(unit))  # type: ignore[attr-defined]
        read(Memory({source.names[0]: text, "a.py": ""}))  # type: ignore[attr-defined]
    # Each takes milliseconds; an expression that takes the square of the size would take hours.
    assert time.process_time() - begin < 60


def test_a_key_of_a_dockerfile_or_a_compose_file_stays_out_of_the_image(tmp_path: Path) -> None:
    key = "Tk3Jh8Qw1Zx9Lm5Nn2Bb7"
    (tmp_path / "Dockerfile").write_text(f"FROM python:3.11\nENV API_KEY={key} MODE=x\n")
    (tmp_path / "compose.yaml").write_text(
        f"services:\n  a:\n    build: .\n    command: python a.py\n    environment: {{SECRET_TOKEN: {key}}}\n"
    )
    (tmp_path / "a.py").write_text("")
    assert load(tmp_path).env == {"MODE": "x"}


@pytest.mark.parametrize(
    "files",
    [
        {"Procfile": "web: cd /etc && python a.py\n"},
        {"Procfile": "web: cd ../other && python a.py\n"},
        {"Dockerfile": "FROM python:3.11\nCOPY ../other /x\nWORKDIR /x\nCMD python secret.py\n"},
        {"Dockerfile": "FROM python:3.11\nRUN pip install -r ../other/requirements.txt -r /etc/passwd\n"},
        {"compose.yaml": "services:\n  a:\n    build: ../other\n    command: python secret.py\n"},
        {
            "compose.yaml": "services:\n  a:\n    build: .\n    command: python /x/secret.py\n    volumes: ['../other:/x']\n"
        },
    ],
)
def test_no_hint_leads_out_of_the_project(tmp_path: Path, files: dict[str, str]) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "secret.py").write_text("")
    (tmp_path / "other" / "requirements.txt").write_text("flask\n")
    root = tmp_path / "project"
    root.mkdir()
    for name, text in {**files, "one.py": "", "two.py": ""}.items():
        (root / name).write_text(text)
    project = load(root)
    assert (project.entry, project.workdir, project.dependencies.files) == (None, "/app", ())


def test_a_link_out_of_the_project_is_not_read(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    (tmp_path / "outside").write_text("FROM python:3.13\nENV A=b\n")
    (root / "Dockerfile").symlink_to(tmp_path / "outside")
    (root / "main.py").write_text("")
    project = load(root)
    assert (project.env, project.python) == ({}, None)
