"""What this machine can do for containers, and how to mend what it cannot: findings as values.

Every finding comes from trying the thing itself, for this user, not from guessing by versions."""

from __future__ import annotations

import os
import shutil
from typing import Literal

from corten.errors import CortenError, RuntimeFailure
from corten.runtime import launch, limits
from corten.runtime.cdi.choose import NVIDIA_HINT
from corten.runtime.cdi.read import directories, read_specifications
from corten.runtime.engine import CANDIDATES, FALLBACKS, PACKAGES, chosen, installed, may_choose
from corten.runtime.fallback.refusals import MISSING
from corten.runtime.identity import (
    Identity,
    current_identity,
    find_program,
    subordinate_ranges,
    why_no_namespace,
)
from corten.runtime.network.plan import survey
from corten.runtime.overlay import enter_mount_namespace, mount_overlay
from corten.runtime.probe import probe
from corten.sandbox import kernel
from corten.store.store import Store
from corten.values import dataclass, replace

Verdict = Literal["ok", "limited", "missing"]
_LITTLE_SPACE = 5 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `ok`: it works; `limited`: Corten works without it; `missing`: it does not.
    `mend` says what to do where the verdict is not `ok`."""

    subject: str
    verdict: Verdict
    says: str
    mend: str | None = None


def examine(store: Store) -> list[Finding]:
    """Everything about this machine and user that containers depend on."""
    identity = current_identity()
    findings = [_namespaces(identity), _subordinate(identity), _overlay(store, identity)]
    findings = [*_mildly([*findings, *_engines(store, identity)]), _monitor()]
    findings += [_limits(identity), _network(identity), _gpus(), _disk(store)]
    return findings


def _namespaces(identity: Identity) -> Finding:
    subject = "user namespaces"
    if identity.kind == "root":
        return Finding(subject, "ok", "not needed: this user is root")
    try:
        launch.in_namespace(
            Identity("single", ((0, os.geteuid(), 1),), ((0, os.getegid(), 1),)), lambda: None, what="refused"
        )
    except (CortenError, OSError):
        return Finding(subject, "missing", "refused to this user", why_no_namespace())
    return Finding(subject, "ok", "this user may make them")


def _subordinate(identity: Identity) -> Finding:
    subject = "subordinate IDs"
    if identity.kind == "root":
        return Finding(subject, "ok", "not needed: this user is root")
    subuids, subgids = subordinate_ranges()
    if find_program("newuidmap") is None:
        return Finding(subject, "limited", "newuidmap is not installed", "apt install uidmap")
    if not subuids or not subgids:
        return Finding(
            subject,
            "limited",
            "none for this user: inside a container there is one user, which is you",
            "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER",
        )
    return Finding(subject, "ok", f"{sum(count for _, count in subuids)} user IDs")


def _overlay(store: Store, identity: Identity) -> Finding:
    subject = "overlay"

    def attempt() -> None:
        enter_mount_namespace()
        root = str(directory)
        mount_overlay(
            (f"{root}/layer",),
            f"{root}/rootfs",
            f"{root}/upper",
            f"{root}/work",
            f"{root}/names",
            userxattr=identity.kind != "root",
        )

    try:
        with store.temporary_directory("doctor") as directory:
            for part in ("layer", "upper", "work", "rootfs", "names"):
                (directory / part).mkdir()
            launch.in_namespace(identity, attempt, what="refused")
    except (CortenError, OSError):
        return Finding(
            subject,
            "missing",
            "layers cannot be mounted here",
            "modprobe overlay as root; or set CORTEN_HOME to a directory on a local disk",
        )
    return Finding(subject, "ok", f"works in '{store.root}' (Linux {'.'.join(map(str, kernel.version()))})")


def _engines(store: Store, identity: Identity) -> list[Finding]:
    wanted = chosen(None)
    unsafe = []
    if wanted is None and not may_choose("proot") and find_program("proot"):
        says = "not used by itself: it isolates nothing, and nothing around it does (no container, no pod)"
        mend = "--engine proot or CORTEN_ENGINE=proot, for programs that you trust with all your files"
        unsafe = [Finding("engine proot", "missing", says, mend)]
    try:
        engines = installed(wanted)
    except RuntimeFailure as error:
        return [Finding("engine", "missing", error.message, error.hint), *unsafe]
    choices = [name for name in (*CANDIDATES, *FALLBACKS) if may_choose(name)]
    reasons = {engine.name: probe(engine, store, identity) for engine in engines}
    works = [name for name, reason in reasons.items() if reason is None]
    findings = []
    for name, reason in reasons.items():
        subject = f"engine {name}"
        if reason is not None:
            others = [candidate for candidate in choices if candidate not in reasons]
            install = f"apt install {PACKAGES[others[0]]}" if others else "use another machine"
            mend = f"'{works[0]}' is used instead" if works else install
            findings.append(Finding(subject, "limited" if works else "missing", reason, mend))
        elif name not in FALLBACKS:
            findings.append(Finding(subject, "ok", "starts containers"))
        elif works[0] in CANDIDATES:
            findings.append(Finding(subject, "ok", f"would start containers where '{works[0]}' did not"))
        else:
            used = "is used" if works[0] == name else f"would be used if '{works[0]}' were not there"
            mend = "see above what crun and runc need here"
            findings.append(Finding(subject, "limited", f"{used}: {MISSING[name]}", mend))
    # One that is never used by itself is nothing to mend while another one works.
    return [*findings, *(replace(finding, verdict="ok") if works else finding for finding in unsafe)]


def _monitor() -> Finding:
    if find_program("conmon") is None:
        return Finding(
            "monitor conmon",
            "limited",
            "not installed: a detached container takes some 15 MB for its monitor, and has no terminal",
            "apt install conmon",
        )
    return Finding("monitor conmon", "ok", "watches detached containers")


def _mildly(findings: list[Finding]) -> list[Finding]:
    """With an engine that works although namespaces or overlays are refused, those are no more than missed."""
    if not any(
        finding.subject.startswith("engine ") and finding.verdict != "missing" for finding in findings
    ):
        return findings
    return [
        replace(finding, verdict="limited") if finding.verdict == "missing" else finding
        for finding in findings
    ]


def _limits(identity: Identity) -> Finding:
    subject, machine = "limits", limits.describe(identity)
    holds, lacks, mend = limits.enforceable(machine, identity)
    said = f"cgroups {machine.version}: {', '.join(holds)} can be enforced"
    if not holds:
        return Finding(subject, "limited", f"cgroups {machine.version}: none can be enforced", mend)
    if lacks:
        return Finding(subject, "limited", f"{said}, {', '.join(lacks)} not", mend)
    return Finding(subject, "ok", said)


def _network(identity: Identity) -> Finding:
    """Whether a private network has a way out, which published ports of a plain user need as well."""
    subject, machine = "private networks", survey()
    lacks = "published ports work, but there is no way out" if identity.kind == "root" else "there are none"
    if machine.pasta is None:
        return Finding(subject, "limited", f"pasta is not installed: {lacks}", "apt install passt")
    if not machine.tun:
        mend = (
            "modprobe tun, and chmod 0666 /dev/net/tun"
            if identity.kind == "root"
            else "as root: chmod 0666 /dev/net/tun"
        )
        return Finding(subject, "limited", f"this user may not open /dev/net/tun: {lacks}", mend)
    return Finding(subject, "ok", "with a way out through pasta")


def _gpus() -> Finding:
    found = read_specifications(directories())
    kinds = sorted({item.kind for item in found.specifications})
    if found.broken:
        path, reason = found.broken[0]
        return Finding(
            "GPUs",
            "limited",
            f"the CDI file '{path}' cannot be used: {reason}",
            f"for NVIDIA's: {NVIDIA_HINT}",
        )
    if kinds:
        return Finding("GPUs", "ok", f"CDI specifications of {', '.join(kinds[:5])}")
    if os.path.exists("/dev/nvidiactl"):
        return Finding(
            "GPUs",
            "limited",
            "there is an NVIDIA device, and no CDI specification for it",
            NVIDIA_HINT,
        )
    return Finding("GPUs", "ok", "none, and none needed")


def _disk(store: Store) -> Finding:
    place = store.root
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    said = f"{free / 1e9:.0f} GB free for '{store.root}'"
    if not os.access(place, os.W_OK):
        return Finding(
            "store", "missing", f"'{place}' is not writable", "set CORTEN_HOME to a directory of yours"
        )
    if free < _LITTLE_SPACE:
        return Finding("store", "limited", said, "run 'corten prune', or set CORTEN_HOME to a larger disk")
    return Finding("store", "ok", said)
