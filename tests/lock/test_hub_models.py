"""Which models of a hub a lock gets: those that the project says, and those that its code names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from corten.errors import FetchError
from corten.events import Event, Note
from corten.lock.hub import MOST_UNASKED, lock_models
from corten.packages.files import HubModel
from corten.project.load import load
from corten.project.model import Project
from corten.store.store import Store
from support.hub import HubServer, hub_server
from support.locks import sample_lock

CODE = "from transformers import AutoModel\nm = AutoModel.from_pretrained('org/bert')\n"


@pytest.fixture
def server() -> Iterator[HubServer]:
    with hub_server() as server:
        server.models = {"org/bert": {"config.json": b"{}"}, "org/said": {"config.json": b"{}"}}
        yield server


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    root.mkdir()
    (root / "main.py").write_text(CODE)
    (root / "pyproject.toml").write_text('[tool.corten]\nmodels = ["hf://org/said"]\n')
    return load(root)


def locked(
    project: Project, url: str, tmp_path: Path, before: tuple[HubModel, ...] = ()
) -> tuple[list[str], list[Event]]:
    events: list[Event] = []
    previous = replace(sample_lock(wheels=1, platforms=1), models=before)
    environment = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path)}
    models = lock_models(project, Store.open(tmp_path / "home"), previous, events.append, environment)
    return [model.name for model in models], events


def test_what_the_project_says_and_what_its_code_names(
    server: HubServer, project: Project, tmp_path: Path
) -> None:
    names, events = locked(project, server.url, tmp_path)
    assert names == ["hf://org/bert@main", "hf://org/said@main"]
    assert events == [Note("adds the model org/bert of the hub, 0.0 MB: the code loads it by name")]


def test_without_the_hub_what_is_locked_stays_and_what_the_code_names_is_left_out(
    server: HubServer, project: Project, tmp_path: Path
) -> None:
    nowhere = "http://127.0.0.1:9"
    said = (HubModel("hf://org/said@main", "a" * 40, ()),)
    assert locked(project, nowhere, tmp_path, said)[0] == ["hf://org/said@main"]
    bert = (*said, HubModel("hf://org/bert@main", "b" * 40, ()))
    assert locked(project, nowhere, tmp_path, bert)[0] == ["hf://org/bert@main", "hf://org/said@main"]


def test_a_model_that_the_project_says_and_the_hub_has_not_is_an_error(
    server: HubServer, project: Project, tmp_path: Path
) -> None:
    del server.models["org/said"]
    with pytest.raises(FetchError, match="the hub has no 'org/said' at 'main'"):
        locked(project, server.url, tmp_path)


def test_a_very_large_model_is_taken_only_where_the_project_says_it(
    server: HubServer, project: Project, tmp_path: Path
) -> None:
    server.changed = {
        "siblings": [{"rfilename": "a.gguf", "size": MOST_UNASKED + 1, "lfs": {"sha256": "0" * 64}}]
    }
    assert locked(project, server.url, tmp_path)[0] == ["hf://org/said@main"]
