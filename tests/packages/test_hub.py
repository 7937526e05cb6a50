"""Models of a hub: found, hashed and fetched from a server that speaks the hub's file API."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corten.build.hub_layers import place_model
from corten.errors import FetchError
from corten.packages.hub import Hub, chosen_files, fetch_models
from corten.store.store import Store
from support.hub import HubServer, hub_server

WEIGHTS = bytes(range(256)) * 20
FILES = {
    "config.json": b'{"a": 1}\n',
    "model.safetensors": WEIGHTS,
    "README.md": b"x",
    "pytorch_model.bin": WEIGHTS,
}
NAME = "hf://org/bert@main"


@pytest.fixture
def server() -> Iterator[HubServer]:
    with hub_server() as server:
        server.models["org/bert"] = dict(FILES)
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "home")


def environment(server: HubServer, tmp_path: Path, **more: str) -> dict[str, str]:
    return {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf"), **more}


def test_a_model_is_found_fetched_and_placed_as_in_the_hubs_cache(
    server: HubServer, store: Store, tmp_path: Path
) -> None:
    around = environment(server, tmp_path)
    model = Hub(around).resolve(store, NAME, "org/bert", "", "main")
    assert (model.commit, [file.path for file in model.files]) == (
        "c" * 40,
        ["config.json", "model.safetensors"],
    )
    assert model.files[1].sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    # Of a large file the hub's own sha256 counts: it is not fetched for the lock.
    assert not any("safetensors" in path for path, _ in server.asked)
    fetch_models(store, [("org/bert", model)], environment=around)
    place_model("org/bert", "main", model, store, tmp_path / "fs")
    top = tmp_path / "fs" / "models" / "huggingface" / "hub" / "models--org--bert"
    assert (top / "refs" / "main").read_text() == "c" * 40
    assert (top / "snapshots" / ("c" * 40) / "model.safetensors").read_bytes() == WEIGHTS
    assert (top / "snapshots" / ("c" * 40) / "config.json").is_symlink()
    before = len(server.asked)
    fetch_models(store, [("org/bert", model)], environment=around)
    assert len(server.asked) == before


def test_one_file_of_a_model(server: HubServer, store: Store, tmp_path: Path) -> None:
    hub = Hub(environment(server, tmp_path))
    model = hub.resolve(
        store, "hf://org/bert/pytorch_model.bin@main", "org/bert", "pytorch_model.bin", "main"
    )
    assert [file.path for file in model.files] == ["pytorch_model.bin"]
    with pytest.raises(FetchError, match=r"has no file 'other\.bin' at 'main'"):
        hub.resolve(store, "x", "org/bert", "other.bin", "main")


def test_the_token_goes_to_the_hub_alone(server: HubServer, store: Store, tmp_path: Path) -> None:
    with hub_server() as elsewhere:
        elsewhere.models = server.models
        server.token, server.elsewhere = "hf_secret", elsewhere.url
        around = environment(server, tmp_path, HF_TOKEN="hf_secret")
        model = Hub(around).resolve(store, NAME, "org/bert", "", "main")
        fetch_models(store, [("org/bert", model)], environment=around)
        assert {login for _, login in server.asked} == {"Bearer hf_secret"}
        assert [login for _, login in elsewhere.asked] == [None]
    with pytest.raises(FetchError, match="that may be read from here") as caught:
        Hub(environment(server, tmp_path)).resolve(store, NAME, "org/bert", "", "main")
    assert "HF_TOKEN" in (caught.value.hint or "")


def test_the_token_of_the_hubs_own_command_counts(server: HubServer, store: Store, tmp_path: Path) -> None:
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text("hf_file\n")
    server.token = "hf_file"
    assert Hub(environment(server, tmp_path)).resolve(store, NAME, "org/bert", "", "main").commit == "c" * 40


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sha": "main"}, "damaged"),
        ({"siblings": "x"}, "damaged"),
        ({"siblings": [{"rfilename": "x", "size": -1}]}, "damaged"),
        ({"siblings": [{"rfilename": "x", "size": 1, "lfs": {"sha256": "../x"}}]}, "damaged"),
        (
            {"siblings": [{"rfilename": "../../etc/passwd", "size": 1, "lfs": {"sha256": "0" * 64}}]},
            "no files",
        ),
        ({"siblings": [{"rfilename": "/etc/x", "size": 1, "lfs": {"sha256": "0" * 64}}]}, "no files"),
        (
            {"siblings": [{"rfilename": "a", "size": 10**12, "lfs": {"sha256": "0" * 64}}]},
            "has 1000 GB of files",
        ),
    ],
)
def test_what_a_hub_says_is_checked(
    server: HubServer, store: Store, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    server.changed = changed
    with pytest.raises(FetchError, match=said):
        Hub(environment(server, tmp_path)).resolve(store, NAME, "org/bert", "", "main")


def test_a_directory_stands_in_for_the_hub(server: HubServer, store: Store, tmp_path: Path) -> None:
    model = Hub(environment(server, tmp_path)).resolve(store, NAME, "org/bert", "", "main")
    other, folder = Store.open(tmp_path / "other"), tmp_path / "offline"
    with pytest.raises(FetchError, match=r"has no 'config\.json' of 'org/bert'"):
        fetch_models(other, [("org/bert", model)], offline=folder)
    (folder / "hub").mkdir(parents=True)
    for file in model.files:
        (folder / "hub" / file.sha256).write_bytes(FILES[file.path])
    before = len(server.asked)
    fetch_models(other, [("org/bert", model)], offline=folder)
    assert all(other.files.path(file.sha256, "hub") for file in model.files)
    assert len(server.asked) == before


def test_another_file_under_the_name_is_refused(server: HubServer, store: Store, tmp_path: Path) -> None:
    around = environment(server, tmp_path)
    model = Hub(around).resolve(store, NAME, "org/bert", "", "main")
    server.models["org/bert"]["model.safetensors"] = WEIGHTS[::-1]
    with pytest.raises(FetchError, match="sha256"):
        fetch_models(store, [("org/bert", model)], environment=around)


def test_the_files_that_pytorchs_libraries_load_are_chosen() -> None:
    assert chosen_files(
        ["config.json", "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "README.md"]
    ) == [
        "config.json",
        "pytorch_model.bin",
    ]
    assert chosen_files(
        ["model.safetensors", "pytorch_model.bin", "onnx/model.onnx", "1_Pooling/config.json"]
    ) == [
        "1_Pooling/config.json",
        "model.safetensors",
    ]
    assert chosen_files(["model.gguf", ".gitattributes"]) == ["model.gguf"]
