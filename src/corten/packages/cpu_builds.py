"""Packages with CUDA in them, and what stands for them on machines without it. Pure functions over lines and names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from corten.lazy import regex

TORCH = frozenset(("torch", "torchvision", "torchaudio", "triton", "pytorch-triton"))
"""What PyTorch's own index has in builds for CPUs."""
SIBLINGS = {
    "xgboost": "xgboost-cpu",
    "faiss-gpu": "faiss-cpu",
    "faiss-gpu-cu11": "faiss-cpu",
    "faiss-gpu-cu12": "faiss-cpu",
    "onnxruntime-gpu": "onnxruntime",
}
"""Packages with CUDA, or that bring it, each with its sibling without it."""
_ASKING = regex(
    r"vllm|flash-attn|tensorrt.*|cupy(?:-cuda.*)?|nvidia-(?:dali|cuml|cudf|modulus).*|cudf.*|cuml.*|pycuda|xformers|bitsandbytes|"
    r"deepspeed|auto-gptq|triton-.*|nvidia-pyindex|jax-cuda.*"
)
_NAME = regex(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?")
_LOCAL = regex(r"(==\s*[0-9][\w.!]*)\+(cu\d+|rocm[\d.]+)")
_LARGEST_LIBRARY = regex(r"nvidia-(?!ml-py)[a-z0-9-]+")


def is_cuda(names: Iterable[str]) -> list[str]:
    """The packages that are NVIDIA's libraries."""
    return sorted(name for name in names if _LARGEST_LIBRARY.fullmatch(name))


def asks_for_gpu(lines: Sequence[str]) -> bool:
    """Whether requirements name what is of no use without a GPU, or a build for one."""
    return any(
        _ASKING.fullmatch(_name(line))
        or "and-cuda" in line.partition(";")[0]
        or _LOCAL.search(line) is not None
        for line in lines
    )


def pinned_note(names: Iterable[str], file: str) -> str | None:
    """What is said where `file` pins packages of CUDA for a machine without a GPU; None where it pins none."""
    there = set(names)
    cuda = is_cuda(there)
    if not cuda:
        return None
    ways = [f"'{SIBLINGS[name]}' stands for '{name}'" for name in sorted(SIBLINGS.keys() & there)]
    ways += ["torch has builds for CPUs on an index of its own"] if "torch" in there else []
    more = f" and {len(cuda) - 3} more" if len(cuda) > 3 else ""
    return f"'{file}' pins packages of CUDA, and this machine has no GPU: {', '.join(cuda[:3])}{more}" + (
        f"; without them: {', '.join(ways)}" if ways else ""
    )


def without_cuda(lines: Sequence[str], siblings: Mapping[str, str] = SIBLINGS) -> tuple[str, ...]:
    """`lines` with the `siblings` in the place of what has CUDA, and without the libraries of NVIDIA that PyTorch brings (a list of
    what was installed has them)."""
    brings = any(_name(line) in TORCH for line in lines)
    found = []
    for line in lines:
        name = _name(line)
        if brings and (name in ("triton", "pytorch-triton") or is_cuda([name])):
            continue
        sibling = siblings.get(name)
        if sibling is not None:
            line = _NAME.sub(lambda match, sibling=sibling: sibling + (match[2] or ""), line, count=1)  # type: ignore[misc]
        found.append(line)
    return tuple(found)


def matching(pins: Mapping[str, str], builds: Mapping[str, Sequence[str]]) -> list[str]:
    """Constraints that choose among the `builds` for CPUs of each package (their versions, `2.1.0+cpu`): the one of the version
    that is resolved, else the newest."""
    from packaging.version import Version

    found = []
    for name, versions in sorted(builds.items()):
        if not versions:
            continue
        same = [item for item in versions if Version(item).public == pins.get(name)]
        found.append(f"{name}=={max(same or versions, key=Version)}")
    return found


def _name(line: str) -> str:
    match = _NAME.match(line)
    return re.sub(r"[-_.]+", "-", match[1]).lower() if match else ""
