"""Saved models against the versions of a lock."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from corten.events import Warned
from corten.lock.model_versions import mismatches
from corten.packages.files import Wheel
from corten.project.model_files import Kind, Trace
from support.lock_world import World, said

FILES = Path(__file__).parents[1] / "project/model_files"


def wheel(text: str) -> Wheel:
    name, _, version = text.partition(" ")
    return Wheel(name, version, f"{name}-{version}-py3-none-any.whl", 1, "0" * 64)


@pytest.mark.parametrize(
    ("kind", "version", "locked", "message", "pin"),
    [
        ("keras", "2.11.0", ["keras 3.4.1", "tensorflow 2.17.0"], "was saved with Keras 2.11.0, and the lock has keras 3.4.1", "tensorflow<2.16; or add tf-keras"),
        ("keras", "2.11.0", ["tensorflow 2.15.0", "keras 2.15.0"], None, ""),
        ("keras", "2.11.0", ["keras 3.4.1", "tf-keras 2.17.0"], None, ""),
        ("keras", "3.6.0", ["keras 3.4.1"], "was saved with Keras 3.6.0, and the lock has keras 3.4.1", "keras>=3.6"),
        ("keras", "3.0.5", ["keras 3.4.1"], None, ""),
        ("tensorflow", "2.17.0", ["tensorflow-cpu 2.15.0"], "TensorFlow 2.17.0, and the lock has tensorflow-cpu 2.15.0", "tensorflow-cpu>=2.17"),
        ("xgboost", "2.1.0", ["xgboost 2.0.3"], "was saved with XGBoost 2.1.0, and the lock has xgboost 2.0.3", "xgboost>=2.1"),
        ("xgboost", "1.7.6", ["xgboost-cpu 3.0.0"], None, ""),
        ("xgboost-pickle", "1.7.6", ["xgboost-cpu 3.0.0"], "XGBoost 1.7.6, as a pickle, and the lock has xgboost-cpu 3.0.0", "xgboost-cpu==1.7.*; or save"),
        ("xgboost-pickle", "3.0.1", ["xgboost 3.0.0"], None, ""),
        ("lightgbm", "4", ["lightgbm 3.3.5"], "LightGBM in format v4, and the lock has lightgbm 3.3.5", "lightgbm>=4.0"),
        ("lightgbm", "3", ["lightgbm 4.5.0"], None, ""),
        ("onnx-opset", "21", ["onnxruntime 1.16.3"], "'m' has the operators of ONNX in version 21, and the lock has onnxruntime 1.16.3", "onnxruntime>=1.18"),
        ("onnx-opset", "17", ["onnxruntime 1.16.3"], None, ""),
        ("onnx-ir", "10", ["onnxruntime-gpu 1.17.0"], "'m' has ONNX's format in version 10", "onnxruntime-gpu>=1.18"),
        ("onnx-ir", "99", ["onnxruntime 1.17.0"], None, ""),
        ("lightning", "2.4.0", ["pytorch-lightning 2.1.0"], "PyTorch Lightning 2.4.0", "pytorch-lightning>=2.4"),
        ("numpy", "2.0", ["numpy 1.24.4"], "was saved with NumPy 2, and the lock has numpy 1.24.4", "numpy>=1.26"),
        ("numpy", "2.0", ["numpy 1.26.4"], None, ""),
        ("torch", "models.net", ["torch 2.6.0+cpu"], "'m' has whole objects (of 'models.net'), which torch.load of torch 2.6.0+cpu refuses", "torch<2.6"),
        ("torch", "models.net", ["torch 2.5.1"], None, ""),
        ("xgboost", "2.1.0", [], None, ""),
    ],
)  # fmt: skip
def test_what_does_not_load(
    kind: Kind, version: str, locked: list[str], message: str | None, pin: str
) -> None:
    found = mismatches([Trace("m", kind, version)] * 2, [wheel(item) for item in locked])
    if message is None:
        assert found == ()
        return
    ((said, hint),) = found
    assert message in said
    assert pin in hint


def test_code_that_says_how_much_is_loaded() -> None:
    assert mismatches([Trace("m", "torch", "models.net")], [wheel("torch 2.6.0")], loads_whole=True) == ()


def test_a_model_is_compared_when_a_project_is_locked(world: World) -> None:
    world.make("lightgbm", "3.3.5")
    world.make("xgboost", "3.2.0")
    world.write("pyproject.toml", '[tool.corten]\ncommand = ["python", "x.py"]\n')
    world.write("requirements.txt", "lightgbm\nxgboost\n")
    for name in ("lightgbm.txt", "xgboost.json"):
        shutil.copy(FILES / name, world.folder / name)
    lock = world.lock()
    (warned,) = [event for event in world.events if isinstance(event, Warned)]
    assert (
        warned.message
        == "'lightgbm.txt' was saved with LightGBM in format v4, and the lock has lightgbm 3.3.5"
    )
    assert warned.hint == "add to the dependencies: lightgbm>=4.0"
    world.events.clear()
    world.write("requirements.txt", "xgboost\n")
    world.lock(previous=lock)
    assert said(world) == []
