"""Which limits hold on which machine, for whom: decided from a description, most of them not this machine's."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.errors import RuntimeFailure
from corten.runtime import cgroups, delegation
from corten.runtime.bounds import processes
from corten.runtime.identity import Identity
from corten.runtime.limits import Machine, describe, enforceable, plan_limits
from corten.runtime.options import Limits
from corten.values import replace

ROOT = Identity("root")
PLAIN = Identity("range", ((0, 1000, 1), (1, 100000, 65536)), ((0, 1000, 1), (1, 100000, 65536)))
EVERYTHING = frozenset({"memory", "swap", "cpu", "cpuset", "pids"})
MIB = 1 << 20
ASKED = Limits(memory=64 * MIB, cpus=1.5, pids=20, swap=128 * MIB, reservation=32 * MIB, cpuset="0")


def machine(
    version: cgroups.Version = "v2",
    controllers: frozenset[str] = EVERYTHING,
    writable: bool = True,
    delegated: frozenset[str] | None = None,
) -> Machine:
    return Machine(version, controllers, writable, delegated)


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
def test_root_limits_with_every_version(version: cgroups.Version) -> None:
    plan = plan_limits(machine(version), ROOT, "oak", ASKED)
    assert (plan.limits, plan.cgroup, plan.scope, plan.dropped) == (ASKED, "/corten/oak/limited", None, ())
    assert plan_limits(machine(version), ROOT, "oak", Limits(pids=5)).cgroup == "/corten/oak"


def test_containers_without_limits_run_anywhere() -> None:
    assert plan_limits(machine("none", frozenset(), writable=False), ROOT, "oak", Limits()).cgroup is None
    for version in ("v1", "v2", "hybrid", "none"):
        plan = plan_limits(machine(version), PLAIN, "oak", Limits())  # type: ignore[arg-type]
        assert (plan.cgroup, plan.scope) == (None, None)


@pytest.mark.parametrize(
    ("described", "identity", "says", "hint"),
    [
        (machine("v1"), PLAIN, "a plain user cannot make cgroups of version v1", "unified_cgroup_hierarchy"),
        (machine("hybrid"), PLAIN, "a plain user cannot make cgroups of version hybrid", "run as root"),
        (machine("v2"), PLAIN, "this user has no systemd", "loginctl enable-linger"),
        (machine("v2", delegated=frozenset()), PLAIN, "no cgroup controllers", "delegate.conf"),
        (machine("v2", writable=False), ROOT, "cgroups cannot be made here", "leave the limits out"),
        (machine("none", frozenset()), ROOT, "cgroups cannot be made here", "--best-effort"),
    ],
)
def test_what_cannot_be_enforced_is_refused_or_named(
    described: Machine, identity: Identity, says: str, hint: str
) -> None:
    with pytest.raises(RuntimeFailure, match=r"--memory, .*--pids-limit cannot be enforced") as caught:
        plan_limits(described, identity, "oak", ASKED)
    assert says in caught.value.message
    assert hint in (caught.value.hint or "")
    plan = plan_limits(described, identity, "oak", ASKED, best_effort=True)
    assert not plan.limits
    assert plan.dropped == (
        "--memory",
        "--memory-swap",
        "--memory-reservation",
        "--cpus",
        "--cpuset-cpus",
        "--pids-limit",
    )
    assert says in plan.reason
    assert plan.scope is None


def test_a_plain_user_limits_through_its_systemd() -> None:
    described = machine(delegated=frozenset({"memory", "pids"}))
    plan = plan_limits(described, PLAIN, "oak", Limits(memory=64 * MIB, pids=20))
    assert (plan.scope, plan.cgroup, plan.dropped) == ("corten-oak.scope", "/oak/limited", ())
    with pytest.raises(RuntimeFailure, match="--cpus cannot be enforced: there is no 'cpu' cgroup") as caught:
        plan_limits(described, PLAIN, "oak", Limits(memory=64 * MIB, cpus=2))
    assert "Delegate=cpu cpuset io memory pids" in (caught.value.hint or "")
    kept = plan_limits(described, PLAIN, "oak", Limits(memory=64 * MIB, cpus=2), best_effort=True)
    assert (kept.limits, kept.dropped) == (Limits(memory=64 * MIB), ("--cpus",))
    assert kept.scope == "corten-oak.scope"


def test_the_usual_number_of_processes_holds_where_something_can_hold_it() -> None:
    none = Limits()
    root = plan_limits(machine("v1"), ROOT, "oak", none, usual=4096)
    assert (root.limits.pids, root.processes, root.unbounded) == (4096, None, "")
    # A plain user's is counted in its user namespace: no group, and nobody is asked for one.
    for described in (machine("hybrid"), machine("v2", delegated=EVERYTHING - {"swap"})):
        plain = plan_limits(described, PLAIN, "oak", none, usual=4096)
        assert (plain.limits, plain.cgroup, plain.scope, plain.processes) == (none, None, None, 4096)
    # In a group that there is anyway.
    grouped = plan_limits(
        machine("v2", delegated=frozenset({"memory", "pids"})),
        PLAIN,
        "oak",
        Limits(memory=64 * MIB),
        usual=4096,
    )
    assert (grouped.limits.pids, grouped.processes) == (4096, None)
    # Before Linux 5.14 the limit would count what the user does elsewhere: a group, or nothing.
    old = replace(machine("v2", delegated=frozenset({"pids"})), counts_by_namespace=False)
    assert plan_limits(old, PLAIN, "oak", none, usual=4096).limits.pids == 4096
    nothing = plan_limits(replace(machine("v1"), counts_by_namespace=False), PLAIN, "oak", none, usual=4096)
    assert (nothing.limits, nothing.processes) == (none, None)
    assert "a plain user cannot make cgroups" in nothing.unbounded


def test_the_usual_number_of_processes_is_no_reason_to_refuse() -> None:
    bare = machine("none", frozenset(), writable=False)
    plan = plan_limits(bare, ROOT, "oak", Limits(), usual=4096)
    assert (plan.cgroup, plan.processes, plan.unbounded) == (None, None, "cgroups cannot be made here")
    missing = machine("v2", EVERYTHING - {"pids"})
    assert plan_limits(missing, ROOT, "oak", Limits(), usual=4096).unbounded


def test_another_number_of_processes_comes_in_place_of_the_usual_one() -> None:
    assert plan_limits(machine(), ROOT, "oak", Limits(pids=7), usual=4096).limits.pids == 7
    free = plan_limits(machine("v1"), PLAIN, "oak", Limits(pids=-1), usual=4096)
    assert (free.limits.pids, free.processes, free.unbounded) == (None, None, "")
    assert not Limits(pids=-1)


def test_the_usual_number_of_processes_grows_with_the_processors() -> None:
    assert [processes(count) for count in (1, 32, 33, 128)] == [4096, 4096, 4224, 16384]


def test_swap_that_is_not_counted_is_not_limited_in_silence() -> None:
    described = machine("v1", EVERYTHING - {"swap"})
    with pytest.raises(RuntimeFailure, match="--memory-swap cannot be enforced"):
        plan_limits(described, ROOT, "oak", ASKED)
    # Without having been asked for, it is left to the machine: writing what is not counted would fail.
    assert plan_limits(described, ROOT, "oak", Limits(memory=64 * MIB)).limits.swap == 0
    best = plan_limits(described, ROOT, "oak", ASKED, best_effort=True)
    assert (best.limits.swap, best.dropped) == (0, ("--memory-swap",))


def test_swap_alone_is_never_left_behind() -> None:
    described = machine("v1", frozenset({"swap"}))
    plan = plan_limits(described, ROOT, "oak", Limits(memory=64 * MIB, swap=-1), best_effort=True)
    assert plan.limits == Limits()


def test_what_doctor_tells() -> None:
    holds, lacks, mend = enforceable(machine("v1", frozenset({"memory", "swap", "pids"})), ROOT)
    assert holds == ("--memory", "--memory-swap", "--memory-reservation", "--pids-limit")
    assert lacks == ("--cpus", "--cpuset-cpus")
    assert mend
    holds, lacks, mend = enforceable(machine(delegated=frozenset({"memory", "pids"})), PLAIN)
    assert "--memory-swap" in holds
    assert "--cpus" in lacks
    assert "user@.service.d" in (mend or "")
    assert enforceable(machine(), ROOT)[1:] == ((), None)


def test_machines_are_told_apart_by_their_files(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert describe(ROOT, root) == Machine("none", frozenset(), True)
    for name in ("memory", "pids"):
        (tmp_path / name).mkdir()
    assert describe(ROOT, root) == Machine("v1", frozenset({"memory", "pids"}), True)
    (tmp_path / "memory/memory.memsw.limit_in_bytes").touch()
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified/cgroup.controllers").touch()
    assert describe(ROOT, root) == Machine("hybrid", frozenset({"memory", "pids", "swap"}), True)
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids\n")
    assert describe(ROOT, root) == Machine("v2", EVERYTHING, True)


def test_systemd_is_asked_for_a_scope() -> None:
    command = delegation.scope_command("/usr/bin/busctl", "corten-oak.scope", 77)
    assert command[:3] == ["/usr/bin/busctl", "--user", "--quiet"]
    assert command[command.index("StartTransientUnit") :] == [
        "StartTransientUnit",
        "ssa(sv)a(sa(sv))",
        "corten-oak.scope",
        "fail",
        "3",
        *["PIDs", "au", "1", "77"],
        *["Delegate", "b", "true"],
        *["CollectMode", "s", "inactive-or-failed"],
        "0",
    ]


def test_a_systemd_that_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "busctl"
    program.write_text("#!/bin/sh\necho 'Call failed: Access denied' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/0")
    with pytest.raises(RuntimeFailure, match="gives this user no cgroup: Call failed: Access denied"):
        delegation.start_scope("corten-oak.scope", 1)
    with pytest.raises(RuntimeFailure, match="limits cannot be enforced in"):
        delegation.step_aside(frozenset({"memory"}), str(tmp_path / "no-cgroups"))
