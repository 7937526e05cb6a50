"""Weights of a hub are in the image, at the commit of the lock, and the hub's own library finds them there without a network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.lock.format import read_lock
from support.command import Corten
from support.hub import hub_server

pytestmark = pytest.mark.e2e
VOCABULARY = {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "[UNK]": 2}, "unk_token": "[UNK]"}
CODE = """\
import os
from huggingface_hub import hf_hub_download, snapshot_download

config = hf_hub_download("org/bert", "config.json")
print(open(config).read(), os.environ["HF_HUB_OFFLINE"])
folder = snapshot_download("org/said", revision="v1")
print(sorted(os.listdir(folder)), os.path.getsize(os.path.join(folder, "model.safetensors")))
"""


def test_the_hubs_library_finds_what_the_lock_has(
    corten: Corten, project: Callable[..., Path], tmp_path: Path
) -> None:
    toml = '[tool.corten]\ncommand = "python main.py"\nmodels = ["hf://org/said@v1"]\n'
    root = project(
        {"main.py": CODE, "requirements.txt": "huggingface_hub\n", "pyproject.toml": toml}, "hubbed"
    )
    with hub_server() as server:
        server.models = {
            "org/bert": {"config.json": b"{}", "README.md": b"x"},
            "org/said": {"config.json": b"{}", "model.safetensors": bytes(5000)},
        }
        with_hub = Corten(
            corten.home, {**corten.environment, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path)}
        )
        done = with_hub("run", root, cwd=tmp_path)
        with_hub("lock", root, "--download", tmp_path / "offline", cwd=tmp_path)
    # Of `config.json`, both have the same bytes.
    assert len(list((tmp_path / "offline" / "hub").iterdir())) == 2
    assert "adds the model org/bert of the hub" in done.stderr
    assert done.stdout.splitlines() == ["{} 1", "['config.json', 'model.safetensors'] 5000"]
    models = read_lock(root / "corten.lock").models
    assert [(model.name, model.commit) for model in models] == [
        ("hf://org/bert/config.json@main", "c" * 40),
        ("hf://org/said@v1", "c" * 40),
    ]
    # The hub is gone: what is locked and fetched is enough.
    (root / "main.py").write_text(CODE + "print('again')\n")
    gone = Corten(corten.home, {**corten.environment, "HF_ENDPOINT": "http://127.0.0.1:9"})
    assert gone("run", root, cwd=tmp_path).stdout.splitlines()[-1] == "again"
    # One that the code names since then is said, by a build that makes something of the code, and before the first start.
    (root / "main.py").write_text(
        CODE + 'if "NEW" in os.environ:\n    hf_hub_download("org/new", "x.json")\n'
    )
    line = (
        "fetches org/new from the Hugging Face hub when it runs ('main.py:9'), and the container has no way out: "
        "'corten lock' brings it into the image if the hub answers"
    )
    assert line in gone("build", root, cwd=tmp_path).stderr
    assert line not in gone("build", root, cwd=tmp_path).stderr
    assert line in gone("run", root, cwd=tmp_path).stderr
    assert line not in gone("run", root, cwd=tmp_path).stderr


def test_a_model_that_the_project_says_must_be_there(
    corten: Corten, project: Callable[..., Path], tmp_path: Path
) -> None:
    toml = '[tool.corten]\ncommand = "python main.py"\nmodels = ["hf://org/none"]\n'
    root = project({"main.py": "", "pyproject.toml": toml}, "hubless")
    with hub_server() as server:
        with_hub = Corten(
            corten.home, {**corten.environment, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path)}
        )
        done = with_hub("lock", root, cwd=tmp_path, code=1)
    assert "the hub has no 'org/none' at 'main' that may be read from here" in done.stderr
    assert not (root / "corten.lock").exists()


@pytest.mark.long
def test_transformers_loads_what_the_code_names(
    corten: Corten, project: Callable[..., Path], tmp_path: Path
) -> None:
    code = """\
from transformers import AutoConfig, AutoTokenizer
print(AutoConfig.from_pretrained("org/tiny").hidden_size, AutoTokenizer.from_pretrained("org/tiny")("b a")["input_ids"])
"""
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": VOCABULARY,
    }
    root = project({"main.py": code, "requirements.txt": "transformers\n"}, "transformed")
    with hub_server() as server:
        server.models["org/tiny"] = {
            "config.json": b'{"model_type": "bert", "hidden_size": 8, "num_attention_heads": 2}',
            "tokenizer.json": json.dumps(tokenizer).encode(),
            "tokenizer_config.json": b'{"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}',
        }
        with_hub = Corten(
            corten.home, {**corten.environment, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path)}
        )
        assert with_hub("run", root, cwd=tmp_path).stdout == "8 [1, 0]\n"
