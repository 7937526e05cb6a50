"""Builds for CPUs in the place of CUDA, where a machine has no GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.lock.accelerators import builds, has_gpu
from corten.packages.cpu_builds import asks_for_gpu, is_cuda, matching, without_cuda
from corten.packages.files import Wheel
from corten.packages.wheels import PREFER_CPU


def wheel(name: str) -> Wheel:
    return Wheel(name, "1.0", f"{name}-1.0-py3-none-any.whl", 1, "0" * 64)


def test_what_is_cuda() -> None:
    assert is_cuda(["torch", "nvidia-cublas-cu12", "nvidia-ml-py", "numpy"]) == ["nvidia-cublas-cu12"]


@pytest.mark.parametrize(
    "line",
    ["vllm", "cupy-cuda12x==13.0", "tensorflow[and-cuda]==2.15", "torch==2.1.0+cu118", "xformers", "flash-attn>=2", "bitsandbytes==0.43"],
)  # fmt: skip
def test_what_asks_for_a_gpu(line: str) -> None:
    assert asks_for_gpu(["numpy", line])
    assert builds("auto", [line], (), False) == "auto"


@pytest.mark.parametrize(
    "line", ["torch==2.1.0", "torch==2.1.0+cpu", "nvidia-cublas-cu12==12.1", "onnxruntime-gpu", "numpy"]
)
def test_what_does_not_ask_for_one(line: str) -> None:
    assert not asks_for_gpu([line])
    assert builds("auto", [line], (), False) == PREFER_CPU


def test_a_gpu_a_written_value_and_the_last_lock_stand_above() -> None:
    assert builds("auto", ["torch"], (), True) == "auto"
    assert builds("any", ["torch"], (), False) == "any"
    assert builds("cu126", ["torch"], (), False) == "cu126"
    assert builds("auto", ["torch"], (wheel("nvidia-cublas-cu12"),), False) == "auto"
    assert builds("auto", ["torch"], (wheel("torch"),), False) == PREFER_CPU


@pytest.mark.parametrize("device", ["dev/nvidia0", "dev/kfd", "dev/dxg"])
def test_a_machine_with_a_gpu(tmp_path: Path, device: str) -> None:
    assert not has_gpu(str(tmp_path))
    (tmp_path / device).parent.mkdir(parents=True)
    (tmp_path / device).write_text("")
    assert has_gpu(str(tmp_path))


def test_lines_without_cuda() -> None:
    lines = [
        "torch==2.1.0",
        "nvidia-cublas-cu12==12.1.3.1",
        "triton==2.1.0",
        "xgboost[plotting]>=2",
        "faiss-gpu",
        "onnxruntime-gpu==1.16",
        "nvidia-ml-py",
        "numpy",
    ]
    assert without_cuda(lines) == (
        "torch==2.1.0",
        "xgboost-cpu[plotting]>=2",
        "faiss-cpu",
        "onnxruntime==1.16",
        "nvidia-ml-py",
        "numpy",
    )
    # Named by itself, the library is wanted.
    assert without_cuda(["nvidia-cublas-cu12", "numpy"]) == ("nvidia-cublas-cu12", "numpy")


def test_the_build_of_the_resolved_version_is_taken() -> None:
    found = {
        "torch": ["2.0.1+cpu", "2.4.0+cpu", "2.10.0+cpu"],
        "torchvision": [],
        "torchaudio": ["2.0+cpu", "2.9+cpu"],
    }
    assert matching({"torch": "2.4.0", "torchaudio": "1.0"}, found) == [
        "torch==2.4.0+cpu",
        "torchaudio==2.9+cpu",
    ]
