"""What the runtime decides without touching the machine: users, options, identities, seccomp, the specification."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import CortenError, RuntimeFailure, UsageError
from corten.oci.config import ImageConfig
from corten.oci.platform import Platform
from corten.runtime.decide import rooms_of
from corten.runtime.identity import Identity, check_ids, decide_identity, parse_subordinate
from corten.runtime.mounts import Volume, parse_volume
from corten.runtime.options import (
    Limits,
    RunOptions,
    parse_cpus,
    parse_memory,
    parse_name,
    parse_pids,
    parse_variable,
)
from corten.runtime.rootfs import Root
from corten.runtime.seccomp import default_profile, oci_seccomp
from corten.runtime.spec import ROOT_CAPABILITIES, Container, runtime_spec
from corten.runtime.users import User, resolve_user

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nann:x:1000:50:Ann:/home/ann:/bin/sh\nbroken\n"
GROUP = b"root:x:0:\nstaff:x:50:\nvideo:x:44:bob,ann\n"
ROOT = Identity("root")
CONTAINER = Container(
    root="/rootfs",
    hostname="calm-oak-001",
    arguments=("python", "-V"),
    environment=(("PATH", "/bin"),),
    workdir="/app",
    user=User(65532, 65532),
    capable=True,
    home="/home/nonroot",
    home_is_kept=False,
    identity=ROOT,
    network="none",
    volumes=(),
    files=(),
    limits=Limits(),
    read_write=False,
    terminal=False,
    size=None,
    cgroup="/corten/x",
    kernel=(6, 1),
    seccomp={},
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", User(0, 0, (), "root", "/root")),
        ("ann", User(1000, 50, (44,), "ann", "/home/ann")),
        ("1000", User(1000, 50, (44,), "ann", "/home/ann")),
        ("1000:44", User(1000, 44, (), "ann", "/home/ann")),
        ("ann:video", User(1000, 44, (), "ann", "/home/ann")),
        ("65532:65532", User(65532, 65532)),
        ("7", User(7, 0)),
    ],
)
def test_users_are_resolved_as_docker_does(text: str, expected: User) -> None:
    assert resolve_user(text, PASSWD, GROUP) == expected


@pytest.mark.parametrize("text", ["nobody", "ann:nobody", "-1", "99999999999", "1:-5"])
def test_unknown_users_are_errors(text: str) -> None:
    with pytest.raises(RuntimeFailure, match="the image has no"):
        resolve_user(text, PASSWD, GROUP)


@given(st.text(max_size=20), st.binary(max_size=200), st.binary(max_size=200))
def test_hostile_passwd_files(text: str, passwd: bytes, group: bytes) -> None:
    try:
        user = resolve_user(text, passwd, group)
    except CortenError:
        return
    assert 0 <= user.uid < 2**31
    assert 0 <= user.gid < 2**31


@pytest.mark.parametrize(
    ("text", "value"), [("512m", 512 << 20), ("1.5g", 3 << 29), ("2GiB", 2 << 30), ("7000000", 7000000)]
)
def test_memory(text: str, value: int) -> None:
    assert parse_memory(text) == value


@pytest.mark.parametrize(
    "bad",
    [
        lambda: parse_memory("much"),
        lambda: parse_memory("1k"),
        lambda: parse_cpus("0"),
        lambda: parse_cpus("nan"),
        lambda: parse_pids("0"),
        lambda: parse_pids("-2"),
        lambda: parse_name("../x"),
        lambda: parse_name(""),
        lambda: parse_variable("=x", {}),
        lambda: parse_volume("/nowhere-at-all:/x"),
        lambda: parse_volume("/tmp"),
        lambda: parse_volume("/tmp:relative"),
        lambda: parse_volume("/tmp:/proc/x"),
        lambda: parse_volume("/tmp:/"),
        lambda: parse_volume("/tmp:/x:rwx"),
    ],
)
def test_values_that_people_mistype(bad: object) -> None:
    with pytest.raises(UsageError) as caught:
        bad()  # type: ignore[operator]
    assert caught.value.hint


def test_volumes_and_variables(tmp_path: Path) -> None:
    assert parse_volume(".:/data/../app:ro", str(tmp_path)) == Volume(str(tmp_path), "/app", False)
    assert parse_variable("A=b=c", {}) == ("A", "b=c")
    assert parse_variable("HOME", {"HOME": "/h"}) == ("HOME", "/h")
    assert parse_variable("NOPE", {}) is None


def test_identities() -> None:
    assert decide_identity(0, 0, True, [], [], True).kind == "root"
    ranged = decide_identity(1000, 1000, False, [(100000, 65536)], [(100000, 65536)], True)
    assert ranged.uid_map == ((0, 1000, 1), (1, 100000, 65536))
    assert ranged.has_uid(65532)
    assert not ranged.has_uid(65537)
    check_ids(ranged, 65532, 65532)
    with pytest.raises(RuntimeFailure, match="outside this user's subordinate IDs"):
        check_ids(ranged, 70000, 0)
    assert decide_identity(1000, 1000, False, [(100000, 65536)], [(100000, 65536)], False).kind == "single"
    assert parse_subordinate("# x\nann:100:5\n1000:7:9\nbob:1:1\nann:x:y\n", 1000, "ann") == [
        (100, 5),
        (7, 9),
    ]


def test_a_root_of_links_is_never_left(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").symlink_to("/../secret")
    (root / "etc/group").symlink_to("../../secret")
    (root / "loop").symlink_to("loop")
    (root / "abs").symlink_to("/etc/real")
    (root / "etc/real").write_text("real")
    inside = Root(str(root))
    assert inside.read("/etc/passwd") == b""
    assert inside.read("/etc/group") == b""
    assert inside.read("/loop") == b""
    assert inside.read("/abs") == b"real"


def test_seccomp_for_no_capabilities() -> None:
    profile = oci_seccomp(default_profile(), "amd64", (), (6, 1))
    actions = {
        name: rule["action"] for rule in profile["syscalls"] for name in rule["names"] if "args" not in rule
    }
    assert actions["openat"] == "SCMP_ACT_ALLOW"
    for call in ("mount", "bpf", "keyctl", "init_module", "io_uring_setup", "unshare", "setns", "reboot"):
        # Not known to the profile at all is refused too, by the default action.
        assert actions.get(call, profile["defaultAction"]) == "SCMP_ACT_ERRNO", call
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    admin = oci_seccomp(default_profile(), "amd64", ("CAP_SYS_ADMIN",), (6, 1))
    allowed = {
        name for rule in admin["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]
    }
    assert "mount" in allowed


def test_the_default_container_may_do_nothing() -> None:
    spec = runtime_spec(CONTAINER)
    assert spec["process"]["noNewPrivileges"] is True
    assert all(not names for names in spec["process"]["capabilities"].values())
    assert spec["root"] == {"path": "/rootfs", "readonly": True}
    assert {item["type"] for item in spec["linux"]["namespaces"]} == {"pid", "mount", "ipc", "uts", "network"}
    assert "/proc/kcore" in spec["linux"]["maskedPaths"]
    assert "/proc/sys" in spec["linux"]["readonlyPaths"]
    writable = {item["destination"] for item in spec["mounts"] if item["type"] == "tmpfs"}
    assert writable == {"/dev", "/dev/shm", "/tmp", "/run", "/home/nonroot"}
    assert "resources" in spec["linux"]


def test_an_application_may_write_to_its_folder_and_a_predictor_may_not() -> None:
    def rooms(entry: str, options: RunOptions) -> tuple[str, ...]:
        labels = {"dev.corten.entry": entry}
        return rooms_of(ImageConfig(Platform.host(), (), labels=labels, volumes=("/data",)), options)

    assert rooms("command", RunOptions()) == ("/app", "/data")
    assert rooms("command", RunOptions(read_only=True)) == ("/data",)
    assert rooms("predict", RunOptions()) == ("/data",)


def test_root_inside_has_the_short_list_unless_a_folder_made_it_root() -> None:
    spec = runtime_spec(replace(CONTAINER, user=User(0, 0)))
    assert spec["process"]["capabilities"]["effective"] == list(ROOT_CAPABILITIES)
    assert "CAP_SYS_ADMIN" not in ROOT_CAPABILITIES
    spec = runtime_spec(replace(CONTAINER, user=User(0, 0), capable=False))
    assert spec["process"]["capabilities"]["effective"] == []


def test_networks_volumes_and_limits() -> None:
    host = runtime_spec(replace(CONTAINER, network="host"))
    assert "network" not in {item["type"] for item in host["linux"]["namespaces"]}
    volume = Volume("/src", "/data", False)
    spec = runtime_spec(replace(CONTAINER, volumes=(volume,), limits=Limits(1 << 30, 1.5, 100)))
    assert spec["mounts"][-1]["options"][-2:] == ["ro", "rro"]
    assert spec["linux"]["resources"]["memory"] == {"limit": 1 << 30, "swap": 1 << 30}
    assert spec["linux"]["resources"]["cpu"] == {"quota": 150_000, "period": 100_000}
    assert spec["linux"]["resources"]["pids"] == {"limit": 100}
