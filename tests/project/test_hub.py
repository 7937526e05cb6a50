"""How a project names models of a hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corten.errors import ProjectError
from corten.lock.inputs import inputs_digest
from corten.project.hub import parse, spelled
from corten.project.load import load

Make = Callable[[dict[str, str | bytes]], Path]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf://gpt2", ("gpt2", "", "main")),
        ("hf://org/bert@v1.0", ("org/bert", "", "v1.0")),
        ("hf://org/llm/q4/model.gguf@main", ("org/llm", "q4/model.gguf", "main")),
    ],
)
def test_a_model_is_a_repository_a_file_and_a_revision(text: str, parts: tuple[str, str, str]) -> None:
    assert parse(text) == parts
    assert parse(spelled(*parts)) == parts


@pytest.mark.parametrize(
    "text",
    [
        "hf://",
        "hf://org/../x",
        "hf://org/bert@",
        "hf://org/bert@a/b",
        "hf://a--b",
        "s3://bucket/x",
        "hf:///x",
    ],
)
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ProjectError, match="is no model of a hub"):
        parse(text)


def test_models_of_a_hub_are_apart_from_files_and_part_of_what_a_lock_is_made_from(folder: Make) -> None:
    def project(models: str) -> Path:
        return folder({"main.py": "", "pyproject.toml": f"[tool.corten]\nmodels = [{models}]\n"})

    one = load(project('"hf://org/bert", "model.joblib"'))
    assert (one.models, one.hub) == (("model.joblib",), ("hf://org/bert@main",))
    assert inputs_digest(one) != inputs_digest(load(project('"hf://org/bert@v1", "model.joblib"')))
    assert inputs_digest(one) == inputs_digest(load(project('"other.joblib", "hf://org/bert@main"')))
