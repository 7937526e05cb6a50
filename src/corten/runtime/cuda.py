"""Whether the CUDA that an image was built for works with a machine's driver and devices: a decision table, pure.

| what is compared | source |
| --- | --- |
| CUDA 11 and later needs the first driver of its major version at least; one that is older than the toolkit's own works but for PTX that the toolkit made | NVIDIA, "CUDA Compatibility", minor version compatibility, table 1 |
| the driver that belongs to each toolkit | NVIDIA, "CUDA Toolkit Release Notes", table "CUDA Toolkit and Corresponding Driver Versions" (Linux, x86-64) |
| CUDA 10 needs the toolkit's own driver | "CUDA Compatibility", table 2 |
| machine code for capability X.y runs on X.z with z ≥ y alone; PTX is translated for any later one | NVIDIA, "CUDA C++ Programming Guide", binary and PTX compatibility |
| which capabilities PyTorch's wheels have code for, by their CUDA | PyTorch, `.ci/manywheel/build_cuda.sh`, and `torch.cuda.get_arch_list()` of its wheels |
| no CUDA 12 for capabilities below 5.0, no CUDA 13 below 7.5 | "CUDA Toolkit Release Notes", deprecated and dropped features |
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import takewhile

from corten.lazy import regex
from corten.runtime.doctor import Finding
from corten.values import dataclass

Version = tuple[int, ...]

_SERIES: dict[int, Version] = {11: (450, 80, 2), 12: (525, 60, 13), 13: (580, 65, 6)}
"""The oldest driver that any minor version of a CUDA works with."""

_OWN: dict[Version, Version] = {
    (10, 0): (410, 48),
    (10, 1): (418, 39),
    (10, 2): (440, 33),
    (11, 0): (450, 51, 6),
    (11, 1): (455, 32),
    (11, 2): (460, 32, 3),
    (11, 3): (465, 19, 1),
    (11, 4): (470, 82, 1),
    (11, 5): (495, 29, 5),
    (11, 6): (510, 47, 3),
    (11, 7): (515, 48, 7),
    (11, 8): (520, 61, 5),
    (12, 0): (525, 60, 13),
    (12, 1): (530, 30, 2),
    (12, 2): (535, 54, 3),
    (12, 3): (545, 23, 6),
    (12, 4): (550, 54, 14),
    (12, 5): (555, 42, 2),
    (12, 6): (560, 28, 3),
    (12, 8): (570, 26),
    (12, 9): (575, 51, 3),
    (13, 0): (580, 65, 6),
}
_LEAST_CAPABILITY: dict[int, Version] = {12: (5, 0), 13: (7, 5)}
_OLD = ((3, 7), (5, 0), (6, 0), (7, 0), (7, 5), (8, 0), (8, 6), (9, 0))
_TORCH: dict[Version, tuple[Version, ...]] = {
    (11, 8): _OLD,
    (12, 1): _OLD[1:],
    (12, 4): _OLD[1:],
    (12, 6): _OLD[1:],
    (12, 8): (*_OLD[4:], (10, 0), (12, 0)),
    (12, 9): (*_OLD[4:], (10, 0), (12, 0)),
    (13, 0): (*_OLD[4:], (10, 0), (12, 0)),
}
"""What every wheel of that CUDA has; a few have 7.0 beside."""

_PACKAGE = regex(r"(?P<name>[a-z0-9_.-]+?)-(?P<version>[0-9][^-]*)\.dist-info", re.IGNORECASE)
_LOCAL = regex(r"\+cu(?P<major>[0-9]{2})(?P<minor>[0-9])")
_RUNTIME = regex(r"nvidia[_.-]cuda[_.-]runtime(?:[_.-]cu[0-9]+)?", re.IGNORECASE)
_IN_NAME = regex(
    r"(?:cupy|jax|onnxruntime|xgboost|torch|nvidia)[a-z_.-]*?[_-]?cu(?:da)?(?P<major>1[0-9])x?(?:[_.-].*)?"
)


@dataclass(frozen=True, slots=True)
class Need:
    """A CUDA that an image was built for; `version` is (major, minor) or (major,); `said_by` is the package or variable
    that tells; `capabilities` are those that its machine code is for, where they are known."""

    version: Version
    said_by: str
    capabilities: tuple[Version, ...] = ()


@dataclass(frozen=True, slots=True)
class Gpu:
    """A device; `capability` is None where nothing tells."""

    name: str
    capability: Version | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """NVIDIA's driver, None without one, and its devices. `amd`: there is AMD's compute driver."""

    driver: Version | None
    gpus: tuple[Gpu, ...] = ()
    amd: bool = False


def needs_of(packages: Iterable[str], environment: Iterable[str]) -> list[Need]:
    """What an image needs, by the names of its packages' folders (`torch-2.5.1+cu124.dist-info`), or where those do not
    tell, by the variable `CUDA_VERSION` of NVIDIA's base images. Highest version first."""
    needs = [need for name in packages if (need := _need(name)) is not None]
    if not needs:
        for variable in environment:
            name, _, value = variable.partition("=")
            if name == "CUDA_VERSION" and (version := parse_version(value)):
                needs.append(Need(version[:2], "CUDA_VERSION"))
    return sorted(dict.fromkeys(needs), key=lambda need: need.version, reverse=True)


def _need(folder: str) -> Need | None:
    match = _PACKAGE.fullmatch(folder)
    if match is None:
        return None
    name, version = match["name"], match["version"]
    said_by = f"{name} {version}"
    local = _LOCAL.search(version)
    if local:
        cuda = (int(local["major"]), int(local["minor"]))
        return Need(cuda, said_by, _TORCH.get(cuda, ()) if name.lower() == "torch" else ())
    if _RUNTIME.fullmatch(name):
        found = parse_version(version)
        return Need(found[:2], said_by) if found else None
    inside = _IN_NAME.fullmatch(name.lower())
    return Need((int(inside["major"]),), said_by) if inside else None


def needs_rocm(packages: Iterable[str]) -> str | None:
    """The package that was built for AMD's ROCm, as `name version`."""
    for folder in packages:
        match = _PACKAGE.fullmatch(folder)
        if match and "+rocm" in match["version"]:
            return f"{match['name']} {match['version']}"
    return None


def parse_version(text: str) -> Version:
    """The leading numbers of a version; empty where it has none."""
    return tuple(int(part) for part in takewhile(str.isdecimal, text.strip()[:40].split(".")))


def compare(needs: list[Need], rocm: str | None, machine: Machine) -> list[Finding]:
    """What will go wrong with an image that has these needs on `machine`, or that nothing will."""
    findings = []
    if rocm is not None:
        findings.append(_rocm(rocm, machine))
    if not needs:
        return findings or [Finding("image's CUDA", "ok", "it has no package that was built for CUDA")]
    need = needs[0]
    findings.append(_driver(need, machine.driver))
    majors = {item.version[0] for item in needs}
    if len(majors) > 1:
        both = f"{needs[0].said_by} and {needs[-1].said_by}"
        findings.append(
            Finding(
                "image's CUDA",
                "limited",
                f"packages for CUDA {_words(majors)}: {both}",
                "use packages for one CUDA",
            )
        )
    if machine.driver is not None:
        compiled = next((item for item in needs if item.capabilities), need)
        findings += [_device(compiled, gpu) for gpu in machine.gpus if gpu.capability is not None]
    return findings


def _rocm(package: str, machine: Machine) -> Finding:
    if machine.amd:
        return Finding("image's ROCm", "ok", f"{package}, and AMD's driver is loaded")
    return Finding(
        "image's ROCm",
        "limited",
        f"{package} needs AMD's driver, which is not loaded (/dev/kfd)",
        "modprobe amdgpu as root",
    )


def _driver(need: Need, driver: Version | None) -> Finding:
    subject = f"image's CUDA {_text(need.version)}"
    if driver is None:
        return Finding(
            subject, "limited", f"{need.said_by} needs NVIDIA's driver, which this machine has not loaded: it runs without GPU",
            f"install driver {_text(_least(need.version))} or later, or build for the CPU",
        )  # fmt: skip
    least, own = _least(need.version), _OWN.get(need.version)
    if least and driver < least:
        newest = max((cuda for cuda in _OWN if _least(cuda) <= driver), default=None)
        instead = f", or build for CUDA {_text(newest)}" if newest else ""
        return Finding(
            subject, "missing", f"{need.said_by} needs driver {_text(least)} or later, and {_text(driver)} is loaded",
            f"install a driver of the {least[0]} series or later{instead}",
        )  # fmt: skip
    if own and driver < own:
        return Finding(
            subject, "limited",
            f"driver {_text(driver)} is older than the {_text(own)} of this CUDA: what compiles for the device at run time may fail",
            f"install driver {_text(own)} or later, or build for an older CUDA {need.version[0]}",
        )  # fmt: skip
    return Finding(subject, "ok", f"{need.said_by} works with driver {_text(driver)}")


def _device(need: Need, gpu: Gpu) -> Finding:
    assert gpu.capability is not None
    capability = _text(gpu.capability)
    subject = f"GPU {gpu.name}"
    least = _LEAST_CAPABILITY.get(need.version[0])
    if least and gpu.capability < least:
        return Finding(
            subject, "missing", f"its capability is {capability}, and CUDA {need.version[0]} begins at {_text(least)}",
            f"build for CUDA {need.version[0] - 1}",
        )  # fmt: skip
    if not need.capabilities:
        return Finding(subject, "ok", f"capability {capability}")
    if any(code[0] == gpu.capability[0] and code[1] <= gpu.capability[1] for code in need.capabilities):
        return Finding(subject, "ok", f"capability {capability}, for which {need.said_by} has code")
    newer = gpu.capability > max(need.capabilities)
    fitting = [
        cuda
        for cuda, codes in _TORCH.items()
        if any(code[0] == gpu.capability[0] and code <= gpu.capability for code in codes)
    ]
    instead = (
        f"build with a torch for CUDA {_text(min(fitting) if newer else max(fitting))}"
        if fitting
        else "build it from source for this device"
    )
    return Finding(
        subject, "missing",
        f"its capability is {capability}, and {need.said_by} has code for {', '.join(_text(code) for code in need.capabilities)}",
        instead,
    )  # fmt: skip


def _least(cuda: Version) -> Version:
    return _SERIES.get(cuda[0]) or _OWN.get(cuda) or (max(_SERIES.values()) if cuda[0] > max(_SERIES) else ())


def _text(version: Iterable[int]) -> str:
    """A version as people know it; drivers write their later parts with two digits."""
    first, *rest = version
    digits = 2 if first >= 100 else 1
    return ".".join([str(first), *(f"{part:0{digits}}" for part in rest)])


def _words(majors: Iterable[int]) -> str:
    return " and ".join(map(str, sorted(majors)))
