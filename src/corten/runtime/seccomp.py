"""The system calls that a container may use: docker's default profile, turned into what OCI runtimes take.

The profile (`data/seccomp.json`, docker's format, see `data/NOTICE`) names rules with conditions on architecture, kernel
and capabilities; OCI's format (runtime-spec, config-linux.md, "Seccomp") has none, so the conditions are decided here.

Corten differs from the profile in five points:
- calls that Linux gained after it was written and that newer C libraries use are allowed (`NEWER`);
- io_uring is not, as in docker since version 25: too many ways out of a container went through it;
- sockets of the family AF_VSOCK, which reach the host of a virtual machine past every network namespace, are not either;
- a call that nobody has heard of fails with ENOSYS, so that programs fall back, and only one that is known and refused
  with EPERM;
- only the machine's own kind of calls is let through, not the 32-bit ones beside it: Corten's images have none of their
  programs, and loading a filter for three architectures costs an engine 12 ms at every start.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from typing import Any

from corten.errors import FormatError

NEWER = (
    "cachestat",
    "fchmodat2",
    "futex_requeue",
    "futex_wait",
    "futex_wake",
    "lsm_get_self_attr",
    "lsm_list_modules",
    "map_shadow_stack",
    "mseal",
    "set_mempolicy_home_node",
    "statmount",
    "listmount",
)
"""Harmless calls of Linux 5.17 to 6.10."""

REFUSED = ("io_uring_enter", "io_uring_register", "io_uring_setup")

AF_VSOCK = 40
EPERM, ENOSYS = 1, 38
_KERNEL_NAMES = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}


def default_profile() -> dict[str, Any]:
    """The profile as it ships, in docker's format."""
    with open(os.path.join(os.path.dirname(__file__), "data", "seccomp.json"), "rb") as file:
        profile: dict[str, Any] = json.load(file)
    return profile


def oci_seccomp(
    profile: dict[str, Any], architecture: str, capabilities: Collection[str], kernel: tuple[int, int]
) -> dict[str, Any]:
    """`profile` for processes that hold `capabilities` at most, on `architecture` (Go's word) and `kernel`, as the value
    of `linux.seccomp`. Raises FormatError for a profile that docker would not take."""
    try:
        return _convert(profile, architecture, frozenset(capabilities), kernel)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise FormatError("the seccomp profile does not have docker's form") from error


def custom_seccomp(
    profile: dict[str, Any], architecture: str, capabilities: Collection[str], kernel: tuple[int, int]
) -> dict[str, Any]:
    """A profile of the caller's own, taken as it is but for its conditions. Raises FormatError as `oci_seccomp` does."""
    try:
        rules = [
            _rule(rule, rule["names"] if "names" in rule else [rule["name"]])
            for rule in profile.get("syscalls") or ()
            if _applies(rule, architecture, capabilities, kernel)
        ]
        converted: dict[str, Any] = {
            "defaultAction": str(profile["defaultAction"]),
            "architectures": _architectures(profile, architecture),
            "syscalls": rules,
        }
        if profile.get("defaultErrnoRet") is not None:
            converted["defaultErrnoRet"] = int(profile["defaultErrnoRet"])
        return converted
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise FormatError("the seccomp profile does not have docker's form") from error


def _architectures(profile: dict[str, Any], architecture: str) -> list[str]:
    own = _KERNEL_NAMES[architecture]
    for entry in profile.get("archMap") or ():
        if entry["architecture"] == own:
            return [own, *map(str, entry.get("subArchitectures") or ())]
    return [str(item) for item in profile.get("architectures") or ()] or [own]


def _rule(rule: dict[str, Any], names: list[str]) -> dict[str, Any]:
    converted: dict[str, Any] = {"names": [str(name) for name in names], "action": str(rule["action"])}
    if rule.get("args"):
        converted["args"] = [_argument(argument) for argument in rule["args"]]
    if rule.get("errnoRet") is not None:
        converted["errnoRet"] = int(rule["errnoRet"])
    return converted


def _convert(
    profile: dict[str, Any], architecture: str, capabilities: frozenset[str], kernel: tuple[int, int]
) -> dict[str, Any]:
    rules: list[dict[str, Any]] = []
    known: set[str] = set()
    allowed: set[str] = set()
    for rule in profile["syscalls"]:
        names = rule["names"] if "names" in rule else [rule["name"]]
        known.update(names)
        if not _applies(rule, architecture, capabilities, kernel):
            continue
        names = [name for name in names if name not in REFUSED and name != "socket"]
        if not names:
            continue
        rules.append(_rule(rule, names))
        allowed.update(names)
    rules.append({"names": list(NEWER), "action": "SCMP_ACT_ALLOW"})
    not_vsock = {"index": 0, "value": AF_VSOCK, "op": "SCMP_CMP_NE"}
    rules.append({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [not_vsock]})
    refused = sorted(known - allowed - {"socket"})
    rules.append({"names": refused, "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM})
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": ENOSYS,
        "architectures": [_KERNEL_NAMES[architecture]],
        "syscalls": rules,
    }


def _applies(
    rule: dict[str, Any], architecture: str, capabilities: Collection[str], kernel: tuple[int, int]
) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if includes.get("arches") and architecture not in includes["arches"]:
        return False
    if architecture in (excludes.get("arches") or ()):
        return False
    if not frozenset(capabilities).issuperset(includes.get("caps") or ()):
        return False
    if frozenset(capabilities).intersection(excludes.get("caps") or ()):
        return False
    if includes.get("minKernel"):
        major, minor = str(includes["minKernel"]).split(".")[:2]
        return kernel >= (int(major), int(minor))
    return True


def _argument(argument: dict[str, Any]) -> dict[str, Any]:
    converted = {"index": int(argument["index"]), "value": int(argument["value"]), "op": str(argument["op"])}
    if argument.get("valueTwo"):
        converted["valueTwo"] = int(argument["valueTwo"])
    return converted
