"""An image's CUDA against a machine: drivers and devices are descriptions; the rules are NVIDIA's and PyTorch's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.runtime.cuda import Gpu, Machine, compare, needs_of, needs_rocm, parse_version
from corten.runtime.cuda_facts import installed_packages, machine, parse_devices, parse_driver

A100, RTX5090, GTX1080, K80 = (
    Gpu("A100", (8, 0)),
    Gpu("RTX 5090", (12, 0)),
    Gpu("GTX 1080", (6, 1)),
    Gpu("K80", (3, 7)),
)


@pytest.mark.parametrize(
    ("packages", "version"),
    [
        (["torch-2.5.1+cu124.dist-info", "numpy-2.0.dist-info"], (12, 4)),
        (["nvidia_cuda_runtime_cu12-12.8.57.dist-info", "torch-2.7.0.dist-info"], (12, 8)),
        (["nvidia_cuda_runtime-13.0.48.dist-info"], (13, 0)),
        (["cupy_cuda12x-13.3.0.dist-info"], (12,)),
        (["jax_cuda12_plugin-0.4.30.dist-info"], (12,)),
        (["torch-2.5.1+cpu.dist-info"], None),
        (["torch-2.5.1.dist-info", "cuda.txt", "-.dist-info"], None),
    ],
)
def test_packages_tell_what_they_were_built_for(packages: list[str], version: tuple[int, ...] | None) -> None:
    needs = needs_of(packages, [])
    assert (needs[0].version if needs else None) == version


def test_base_images_of_nvidia_tell_by_a_variable() -> None:
    assert needs_of([], ["PATH=/bin", "CUDA_VERSION=12.2.2"])[0].version == (12, 2)
    assert needs_of(["torch-2.5.1+cu124.dist-info"], ["CUDA_VERSION=11.8.0"])[0].version == (12, 4)


@pytest.mark.parametrize(
    ("package", "driver", "gpus", "verdicts", "says"),
    [
        ("torch-2.5.1+cu124", (550, 54, 14), (A100,), ["ok", "ok"], "works with driver 550.54.14"),
        ("torch-2.5.1+cu124", (535, 104, 5), (A100,), ["limited", "ok"], "older than the 550.54.14"),
        ("torch-2.5.1+cu124", (520, 61, 5), (A100,), ["missing", "ok"], "needs driver 525.60.13 or later, and 520.61.05"),
        ("torch-2.5.1+cu124", (450, 36), (), ["missing"], "needs driver 525.60.13"),
        ("torch-2.5.1+cu124", None, (), ["limited"], "runs without GPU"),
        ("torch-2.5.1+cu124", (570, 86, 10), (RTX5090,), ["ok", "missing"], "capability is 12.0, and torch 2.5.1+cu124 has code for"),
        ("torch-2.7.0+cu128", (570, 86, 10), (RTX5090, A100), ["ok", "ok", "ok"], ""),
        ("torch-2.7.0+cu128", (570, 86, 10), (GTX1080,), ["ok", "missing"], "6.1"),
        ("torch-2.6.0+cu126", (570, 86, 10), (GTX1080,), ["ok", "ok"], "capability 6.1"),
        ("torch-2.9.0+cu130", (575, 57, 8), (A100,), ["missing", "ok"], "needs driver 580.65.06"),
        ("nvidia_cuda_runtime-13.0.48", (580, 65, 6), (GTX1080,), ["ok", "missing"], "CUDA 13 begins at 7.5"),
        ("nvidia_cuda_runtime_cu12-12.1.105", (530, 30, 2), (K80,), ["ok", "missing"], "CUDA 12 begins at 5.0"),
        ("torch-1.12+cu102", (440, 33), (), ["ok"], ""),
        ("torch-1.12+cu102", (418, 87), (), ["missing"], "needs driver 440.33"),
        ("cupy_cuda12x-13.3.0", (525, 60, 13), (), ["ok"], ""),
        ("cupy_cuda14x-15.0", (580, 65, 6), (), ["ok"], ""),
    ],
)  # fmt: skip
def test_the_table(
    package: str, driver: tuple[int, ...] | None, gpus: tuple[Gpu, ...], verdicts: list[str], says: str
) -> None:
    findings = compare(needs_of([f"{package}.dist-info"], []), None, Machine(driver, gpus))
    assert [finding.verdict for finding in findings] == verdicts
    assert says in " ".join(finding.says for finding in findings)
    assert all(finding.mend for finding in findings if finding.verdict != "ok")


def test_the_mends_name_what_would_work() -> None:
    old = compare(needs_of(["torch-2.5.1+cu124.dist-info"], []), None, Machine((520, 61, 5), ()))
    assert old[0].mend == "install a driver of the 525 series or later, or build for CUDA 11.8"
    new = compare(needs_of(["torch-2.5.1+cu124.dist-info"], []), None, Machine((570, 86, 10), (RTX5090,)))
    assert new[1].mend == "build with a torch for CUDA 12.8"
    gone = compare(needs_of(["torch-2.7.0+cu128.dist-info"], []), None, Machine((570, 86, 10), (GTX1080,)))
    assert gone[1].mend == "build with a torch for CUDA 12.6"


def test_two_cudas_and_none_and_rocm() -> None:
    two = needs_of(["torch-2.5.1+cu124.dist-info", "cupy_cuda11x-13.dist-info"], [])
    assert "11 and 12" in compare(two, None, Machine((570,), ()))[1].says
    assert compare([], None, Machine(None))[0].verdict == "ok"
    rocm = needs_rocm(["torch-2.5.1+rocm6.2.dist-info"])
    assert compare([], rocm, Machine(None))[0].verdict == "limited"
    assert compare([], rocm, Machine(None, amd=True))[0].verdict == "ok"


def test_what_the_driver_says() -> None:
    closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\nGCC version: gcc 12.2.0\n"
    opened = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (root)\n"
    assert parse_driver(closed) == (550, 54, 14)
    assert parse_driver(opened) == (570, 86, 15)
    assert parse_driver("") == ()
    assert parse_devices("NVIDIA A100-SXM4-80GB, 8.0\nOld, Thing, [N/A]\n\n") == (
        Gpu("NVIDIA A100-SXM4-80GB", (8, 0)), Gpu("Old, Thing"),
    )  # fmt: skip


@given(st.text(max_size=60))
def test_hostile_words(text: str) -> None:
    parse_driver(text)
    parse_devices(text)
    parse_version(text)
    needs_of([text, f"torch-{text}.dist-info"], [text, f"CUDA_VERSION={text}"])


def test_packages_are_found_in_trees_without_following_links(tmp_path: Path) -> None:
    layer, outside = tmp_path / "layer", tmp_path / "outside"
    (layer / "opt/venv/lib/python3.12/site-packages/torch-2.5.1+cu124.dist-info").mkdir(parents=True)
    (outside / "python3.12/site-packages/other-1.dist-info").mkdir(parents=True)
    (layer / "usr/local").mkdir(parents=True)
    (layer / "usr/local/lib").symlink_to(outside)
    assert list(installed_packages([str(layer), str(tmp_path / "none")])) == ["torch-2.5.1+cu124.dist-info"]


def test_a_machine_as_the_kernel_shows_it(tmp_path: Path) -> None:
    root = f"{tmp_path}/"
    assert machine(root) == Machine(None)
    (tmp_path / "sys/module/nvidia").mkdir(parents=True)
    (tmp_path / "sys/module/nvidia/version").write_text("550.54.14\n")
    (tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0/information").write_text(
        "Model: \t\t NVIDIA A100\nIRQ: 3\n"
    )
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kfd").touch()
    found = machine(root)
    assert (found.driver, found.amd) == ((550, 54, 14), True)
    assert found.gpus == (Gpu("NVIDIA A100"),)
