"""What people ask of a container: read, refused with a hint, and found again in the specification."""

from __future__ import annotations

import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from corten.errors import FormatError, RuntimeFailure, UsageError
from corten.runtime.initial import find_init, is_static
from corten.runtime.mounts import (
    Device,
    NamedVolume,
    Tmpfs,
    Volume,
    parse_device,
    parse_mount,
    parse_tmpfs,
    parse_volume,
    split_mounts,
)
from corten.runtime.names_inside import name_files
from corten.runtime.options import (
    Limits,
    RunOptions,
    parse_cpuset,
    parse_dns,
    parse_host,
    parse_hostname,
    parse_shm_size,
    parse_swap,
)
from corten.runtime.privileges import (
    CAPABILITIES,
    UNLIMITED,
    Security,
    Ulimit,
    check_ulimits,
    granted,
    parse_capability,
    parse_security,
    parse_ulimit,
)
from corten.runtime.seccomp import custom_seccomp
from corten.runtime.spec import MASKED, ROOT_CAPABILITIES, runtime_spec
from corten.runtime.users import User
from runtime.test_decisions import CONTAINER

ALL = (1 << len(CAPABILITIES)) - 1
MIB = 1 << 20


def mount_at(spec: dict[str, object], place: str) -> dict[str, object]:
    """The last mount at `place`, which is the one that counts."""
    mounts = spec["mounts"]
    assert isinstance(mounts, list)
    return [item for item in mounts if item["destination"] == place][-1]


def test_capabilities_are_names_with_or_without_their_prefix() -> None:
    assert [parse_capability(text) for text in ("net_raw", "CAP_NET_RAW", "all")] == [
        "CAP_NET_RAW",
        "CAP_NET_RAW",
        "ALL",
    ]
    with pytest.raises(UsageError) as caught:
        parse_capability("SYS_ADMN")
    assert caught.value.hint == "did you mean 'SYS_ADMIN'?"


def test_granted_capabilities() -> None:
    assert granted(ROOT_CAPABILITIES, (), ("CAP_CHOWN",), ALL) == tuple(
        name for name in granted(ROOT_CAPABILITIES, (), (), ALL) if name != "CAP_CHOWN"
    )
    assert granted(ROOT_CAPABILITIES, ("CAP_NET_RAW",), ("ALL",), ALL) == ("CAP_NET_RAW",)
    assert len(granted((), ("ALL",), (), ALL)) == len(CAPABILITIES)
    assert "CAP_MKNOD" not in granted((), ("ALL",), ("CAP_MKNOD",), ALL)
    # `ALL` is what there is; one by its name must be there.
    lacking = ALL & ~(1 << CAPABILITIES.index("SYS_RESOURCE"))
    assert "CAP_SYS_RESOURCE" not in granted((), ("ALL",), (), lacking)
    with pytest.raises(UsageError, match="'CAP_SYS_RESOURCE' cannot be given"):
        granted((), ("CAP_SYS_RESOURCE",), (), lacking)


def test_a_capability_reaches_a_user_that_is_not_root() -> None:
    sets = runtime_spec(replace(CONTAINER, capabilities=("CAP_NET_RAW",)))["process"]["capabilities"]
    assert sets["ambient"] == sets["inheritable"] == sets["effective"] == ["CAP_NET_RAW"]
    root = replace(CONTAINER, user=User(0, 0), capabilities=("CAP_NET_RAW",))
    assert "ambient" not in runtime_spec(root)["process"]["capabilities"]


def test_security_options(tmp_path: Path) -> None:
    assert parse_security([]) == Security()
    assert parse_security(["no-new-privileges"]).no_new_privileges
    assert not parse_security(["no-new-privileges=false"]).no_new_privileges
    assert not parse_security(["no-new-privileges:false"]).no_new_privileges
    assert parse_security(["seccomp=unconfined"]).seccomp == "unconfined"
    (tmp_path / "p.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    assert parse_security(["seccomp=p.json"], str(tmp_path)).seccomp == (
        '{"defaultAction": "SCMP_ACT_ALLOW"}'
    )
    assert parse_security(["mask=/a:/b", "unmask=ALL"]) == Security(mask=("/a", "/b"), unmask=("all",))
    (tmp_path / "bad").write_text("[")
    (tmp_path / "other").write_text("{}")
    for text in (
        "seccomp=nowhere",
        "seccomp=bad",
        "seccomp=other",
        "apparmor=x",
        "privileged",
        "mask=rel",
        "seccomp=",
        "no-new-privileges=maybe",
    ):
        with pytest.raises(UsageError) as caught:
            parse_security([text], str(tmp_path))
        assert caught.value.hint


def test_security_in_the_specification() -> None:
    shown = Security(no_new_privileges=False, unmask=("/proc/s*",), mask=("/opt/secret",))
    spec = runtime_spec(replace(CONTAINER, security=shown, seccomp=None))
    assert spec["process"]["noNewPrivileges"] is False
    assert "seccomp" not in spec["linux"]
    hidden = spec["linux"]["maskedPaths"]
    assert "/opt/secret" in hidden
    assert "/proc/scsi" not in hidden
    assert "/proc/kcore" in hidden
    assert "/proc/sys" not in spec["linux"]["readonlyPaths"]
    everything = runtime_spec(replace(CONTAINER, security=Security(unmask=("all",))))
    assert everything["linux"]["maskedPaths"] == everything["linux"]["readonlyPaths"] == []
    assert runtime_spec(CONTAINER)["linux"]["maskedPaths"] == list(MASKED)


def test_a_profile_of_ones_own_is_taken_as_it_is() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 5,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["read", "io_uring_setup"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        ],
    }
    found = custom_seccomp(profile, "amd64", (), (6, 1))
    assert found["syscalls"] == [{"names": ["read", "io_uring_setup"], "action": "SCMP_ACT_ALLOW"}]
    assert found["defaultErrnoRet"] == 5
    assert found["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert len(custom_seccomp(profile, "amd64", ("CAP_SYS_ADMIN",), (6, 1))["syscalls"]) == 2
    with pytest.raises(FormatError):
        custom_seccomp({"defaultAction": "x", "syscalls": [{}]}, "amd64", (), (6, 1))


def test_ulimits() -> None:
    assert parse_ulimit("nofile=10:20") == Ulimit("nofile", 10, 20)
    assert parse_ulimit("RLIMIT_CORE=-1") == Ulimit("core", UNLIMITED, UNLIMITED)
    for text in ("nofile", "nofile=x", "nofile=20:10", "open=5", "nofile=:5"):
        with pytest.raises(UsageError) as caught:
            parse_ulimit(text)
        assert caught.value.hint
    spec = runtime_spec(replace(CONTAINER, ulimits=(Ulimit("nofile", 10, 20),)))
    assert spec["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}]
    assert "rlimits" not in runtime_spec(CONTAINER)["process"]


def test_ulimits_that_this_process_may_not_set() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    check_ulimits([Ulimit("nofile", 5, most)], may_raise=False)
    with pytest.raises(UsageError, match="above what this process may set") as caught:
        check_ulimits([Ulimit("nofile", 5, most + 1)], may_raise=False)
    assert str(most) in (caught.value.hint or "")
    # Beyond this not even root may go.
    with pytest.raises(UsageError, match="above what"):
        check_ulimits([Ulimit("nofile", 5, UNLIMITED)], may_raise=True)


def test_names() -> None:
    options = RunOptions(
        hostname=parse_hostname("box.example"),
        hosts=(parse_host("db:10.0.0.5"), parse_host("v6:[::1]")),
        dns=(parse_dns("9.9.9.9"),),
    )
    texts = name_files("calm-oak", "private", options)
    assert texts["hostname"] == "box.example\n"
    assert texts["hosts"].startswith("10.0.0.5 db\n::1 v6\n127.0.0.1 localhost")
    assert texts["resolv.conf"] == "nameserver 9.9.9.9\n"
    with pytest.raises(UsageError, match="no use without a network"):
        name_files("calm-oak", "none", options)
    for bad in (
        lambda: parse_hostname("-x"),
        lambda: parse_hostname("a" * 64),
        lambda: parse_hostname("a b"),
        lambda: parse_host("db"),
        lambda: parse_host("db:10.0.0.500"),
        lambda: parse_host("db:gateway"),
        lambda: parse_host("a b:10.0.0.1"),
        lambda: parse_dns("dns.example"),
    ):
        with pytest.raises(UsageError) as caught:
            bad()
        assert caught.value.hint


def test_limits_that_people_mistype() -> None:
    online = {0, 1, 3}
    assert parse_cpuset("0-1,3", online) == "0-1,3"
    assert parse_swap("-1", 64 * MIB) == -1
    assert parse_swap("128m", 64 * MIB) == 128 * MIB
    assert parse_shm_size("2g") == 2 << 30
    for bad in (
        lambda: parse_cpuset("0-", online),
        lambda: parse_cpuset("1-0", online),
        lambda: parse_cpuset("2", online),
        lambda: parse_swap("32m", 64 * MIB),
        lambda: parse_swap("128m", None),
        lambda: parse_shm_size("0"),
        lambda: parse_shm_size("much"),
    ):
        with pytest.raises(UsageError) as caught:
            bad()
        assert caught.value.hint


def test_limits_in_the_specification() -> None:
    limits = Limits(64 * MIB, 0.5, 9, swap=-1, reservation=32 * MIB, cpuset="0-1")
    resources = runtime_spec(replace(CONTAINER, limits=limits))["linux"]["resources"]
    assert resources["memory"] == {"limit": 64 * MIB, "swap": -1, "reservation": 32 * MIB}
    assert resources["cpu"] == {"quota": 50_000, "period": 100_000, "cpus": "0-1"}
    assert not Limits()
    assert Limits(cpuset="0")


def test_mounts_are_written_in_several_ways(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    there = str(tmp_path)
    bind = Volume(f"{tmp_path}/data", "/d", writable=False)
    assert parse_volume("./data:/d:ro", there) == bind
    assert parse_mount("type=bind,src=./data,dst=/d,readonly", there) == bind
    assert parse_mount("type=bind,source=data,target=/d,ro=true", there) == bind
    assert parse_volume("models:/m", there) == NamedVolume("models", "/m")
    assert parse_mount("source=models,target=/m", there) == NamedVolume("models", "/m")
    assert parse_mount("type=volume,source=data,target=/m,volume-nocopy", there) == NamedVolume(
        "data", "/m", seeded=False
    )
    tmpfs = Tmpfs("/t", ("nosuid", "nodev", "noexec", "mode=1777", "size=64m"))
    assert parse_mount("type=tmpfs,target=/t,tmpfs-size=64m") == parse_tmpfs("/t:size=64m") == tmpfs
    assert parse_tmpfs("/t:exec,mode=700,ro").options == ("nosuid", "nodev", "exec", "mode=700", "ro")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("-v data:/d", "may be the folder here or the volume"),
        ("-v /nowhere:/d", "does not exist"),
        ("-v ../:/", "cannot be mounted at '/'"),
        ("-v vol:/proc/x", "cannot be mounted at"),
        ("-v vol:rel", "not an absolute path"),
        ("-m type=bind,source=./nowhere,target=/d", "does not exist"),
        ("-m type=bind,target=/d", "has no source"),
        ("-m type=bind,source=./data", "has no target"),
        ("-m type=nfs,source=x,target=/d", "'nfs' is no type"),
        ("-m type=bind,source=./data,target=/d,bind-propagation=shared", "has no 'bind-propagation'"),
        ("-m type=bind,source=./data,target=/d,readonly=maybe", "neither true nor false"),
        ("-m type=bind,source=./data,source=x,target=/d", "given twice"),
        ("-m type=volume,source=../x,target=/d", "not a volume's name"),
        ("-t /t:size=much", "not an option of a tmpfs"),
        ("-t /t:mpol=bind", "not an option of a tmpfs"),
        ("-t /", "cannot be mounted at '/'"),
        ("-t /dev/x", "cannot be mounted at"),
        ("-d /dev/nope", "is not there"),
        ("-d /etc/passwd", "is not a device"),
        ("-d /dev/null:rwx", "is not a device"),
        ("-d null", "is not a device"),
    ],
)
def test_mounts_that_people_mistype(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "data").mkdir()
    flag, _, value = text.partition(" ")
    read = {
        "-v": lambda: parse_volume(value, str(tmp_path)),
        "-m": lambda: parse_mount(value, str(tmp_path)),
        "-t": lambda: parse_tmpfs(value),
        "-d": lambda: parse_device(value),
    }[flag]
    with pytest.raises(UsageError, match=says) as caught:
        read()
    assert caught.value.hint


def test_two_mounts_at_one_place_are_refused() -> None:
    with pytest.raises(UsageError, match="two mounts are to lie at '/t'"):
        split_mounts([parse_tmpfs("/t"), NamedVolume("x", "/t")])


def test_mounts_in_the_specification() -> None:
    outer, inner = Volume("/src", "/data"), Volume("/other", "/data/t/x")
    spec = runtime_spec(
        replace(CONTAINER, volumes=(inner, outer), tmpfs=(parse_tmpfs("/data/t"),), shm_size=MIB)
    )
    asked = [item["destination"] for item in spec["mounts"][-3:]]
    assert asked == ["/data", "/data/t", "/data/t/x"]
    assert f"size={MIB}" in mount_at(spec, "/dev/shm")["options"]  # type: ignore[operator]
    room = mount_at(runtime_spec(replace(CONTAINER, rooms=("/var/lib/x",))), "/var/lib/x")
    assert room["source"] == "/rootfs/var/lib/x"


def test_devices_are_nodes_for_root_and_shown_to_others() -> None:
    (null,) = parse_device("/dev/null:/dev/nothing:r")
    status = os.stat("/dev/null")
    assert null == Device("/dev/null", "/dev/nothing", "r", "c", 1, 3, status.st_mode & 0o7777, 0, 0)
    spec = runtime_spec(replace(CONTAINER, devices=(null,)))
    assert spec["linux"]["devices"][0]["path"] == "/dev/nothing"
    allowed = {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}
    assert spec["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}, allowed]
    plain = replace(CONTAINER.identity, kind="range", uid_map=((0, 1000, 1),))
    shown = runtime_spec(replace(CONTAINER, devices=(null,), identity=plain, cgroup=None))
    assert "devices" not in shown["linux"]
    assert mount_at(shown, "/dev/nothing")["source"] == "/dev/null"
    assert "nodev" not in mount_at(shown, "/dev/nothing")["options"]  # type: ignore[operator]


def test_only_a_static_init_will_do(tmp_path: Path) -> None:
    def elf(kind: int) -> bytes:
        head = b"\x7fELF\x02\x01" + bytes(26) + (64).to_bytes(8, "little") + bytes(14)
        head += (56).to_bytes(2, "little") + (1).to_bytes(2, "little")
        return head.ljust(64, b"\0") + kind.to_bytes(4, "little") + bytes(52)

    for name, content in (("static", elf(1)), ("dynamic", elf(3)), ("script", b"#!/bin/sh\n" * 20)):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o755)
    assert [is_static(str(tmp_path / name)) for name in ("static", "dynamic", "script", "none")] == [
        True,
        False,
        False,
        False,
    ]
    assert find_init((f"{tmp_path}/dynamic", f"{tmp_path}/static")) == f"{tmp_path}/static"
    with pytest.raises(RuntimeFailure, match="no small init") as caught:
        find_init((f"{tmp_path}/dynamic",))
    assert "apt install" in (caught.value.hint or "")
