"""CDI without a container: documents, choosing, and what becomes of a runtime specification."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import FormatError, RuntimeFailure, UsageError
from corten.events import Note
from corten.runtime.cdi.apply import with_edits
from corten.runtime.cdi.choose import Gpus, edits_for, gpu_devices, parse_gpus
from corten.runtime.cdi.model import DeviceNode, Edits, Found, Hook, Mount
from corten.runtime.cdi.nodes import completed
from corten.runtime.cdi.parse import HOOKS, is_qualified, parse_specification
from corten.runtime.cdi.read import directories, parse_yaml, read_specifications
from corten.runtime.cdi.wanted import wanted_edits
from corten.runtime.identity import Identity
from support.vendor import KIND, vendor, write_vendor

SPEC: dict[str, Any] = {
    "process": {"env": ["PATH=/bin", "NVIDIA_VISIBLE_DEVICES=all"], "user": {"uid": 7, "gid": 8}},
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc", "options": []}],
    "linux": {"resources": {"devices": [{"allow": False, "access": "rwm"}]}},
}


def small(**more: Any) -> dict[str, Any]:
    """A valid document with changes."""
    device = {"name": "a", "containerEdits": {"env": ["A=1"]}}
    return {"cdiVersion": "1.0.0", "kind": "vendor.com/net", "devices": [device], **more}


def found(*documents: dict[str, Any], priorities: tuple[int, ...] = ()) -> Found:
    """Specifications as if read from files."""
    each = zip(documents, priorities or (0,) * len(documents), strict=True)
    return Found(
        tuple(
            parse_specification(item, f"/{number}.json", place) for number, (item, place) in enumerate(each)
        ),
        directories=("/etc/cdi",),
    )


def with_device(**edits: Any) -> dict[str, Any]:
    return small(devices=[{"name": "a", "containerEdits": edits}])


def node(**more: Any) -> dict[str, Any]:
    return with_device(deviceNodes=[{"path": "/dev/x", **more}])


def hook(**more: Any) -> dict[str, Any]:
    return with_device(hooks=[{"hookName": "prestart", "path": "/bin/x", **more}])


@pytest.mark.parametrize(
    "document",
    [
        [],
        None,
        small(cdiVersion="1.x"),
        small(cdiVersion=1.0),
        small(cdiVersion="2.0.0"),
        small(cdiVersion="0.2.0"),
        small(kind="vendor.com"),
        small(kind="vendor.com/a/b"),
        small(kind="-x.com/a"),
        small(kind="vendor.com/" + "a" * 64),
        small(kind="vendor.com/a.b", cdiVersion="0.5.0"),
        small(annotations={"a": "b"}, cdiVersion="0.5.0"),
        small(devices=[]),
        small(devices={}),
        small(devices=[{"name": "a"}]),
        small(devices=[{"name": "a b", "containerEdits": {"env": ["A=1"]}}]),
        small(devices=[{"name": "0", "containerEdits": {"env": ["A=1"]}}], cdiVersion="0.4.0"),
        small(devices=[{"name": "a", "containerEdits": {"env": ["A=1"]}}] * 2),
        with_device(env=["=x"]),
        with_device(env=["A"]),
        with_device(env="A=1"),
        with_device(netDevices=[{"hostInterfaceName": "a", "name": "b"}]),
        with_device(additionalGids=[-1]),
        with_device(additionalGids=[True]),
        small(containerEdits={"additionalGids": [5]}, cdiVersion="0.6.0"),
        small(containerEdits={"intelRdt": {"closID": "x"}}, cdiVersion="0.6.0"),
        with_device(mounts=[{"hostPath": "relative", "containerPath": "/x"}]),
        with_device(mounts=[{"hostPath": "/x", "containerPath": "x"}]),
        with_device(mounts=[{"hostPath": "/x", "containerPath": "/a/../../x"}]),
        with_device(mounts=[{"containerPath": "/x"}]),
        small(containerEdits={"mounts": [{"hostPath": "/x", "containerPath": "/x", "type": "bind"}]}, cdiVersion="0.3.0"),
        node(type="x"),
        node(permissions="rx"),
        node(major="1"),
        node(fileMode=0o100660),
        node(path=""),
        {**node(hostPath="/dev/y"), "cdiVersion": "0.4.0"},
        hook(hookName="whenever"),
        hook(path="x"),
        hook(timeout=0),
        hook(env=["x"]),
    ],
)  # fmt: skip
def test_documents_that_break_the_specification_are_refused(document: Any) -> None:
    with pytest.raises(FormatError) as caught:
        parse_specification(document, "/x.json", 0)
    assert caught.value.message


def test_every_edit_is_read(tmp_path: Path) -> None:
    document = small(
        containerEdits={
            "env": ["A=b=c"],
            "deviceNodes": [{"path": "/dev/a", "hostPath": "/dev/b", "type": "b", "major": 1, "minor": 2, "fileMode": 432, "permissions": "none", "uid": 3, "gid": 4}],
            "mounts": [{"hostPath": "tmpfs", "containerPath": "/m", "type": "tmpfs", "options": ["ro"]}],
            "hooks": [{"hookName": name, "path": "/h", "args": ["h", ""], "env": ["X="], "timeout": 2} for name in HOOKS],
            "additionalGids": [0, 44],
            "intelRdt": {"closID": "x"},
        }
    )  # fmt: skip
    edits = parse_specification(document, "/x", 0).edits
    assert edits.environment == (("A", "b=c"),)
    assert edits.devices == (DeviceNode("/dev/a", "/dev/b", "b", 1, 2, 0o660, "", 3, 4),)
    assert edits.mounts == (Mount("tmpfs", "/m", "tmpfs", ("ro",)),)
    assert edits.hooks == tuple(Hook(name, "/h", ("h", ""), ("X=",), 2) for name in HOOKS)
    assert edits.groups == (44,)
    assert len(edits.notes) == 1
    parse_specification(vendor(tmp_path), "/x", 0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["cdiVersion", "kind", "devices", "name", "containerEdits", "env", "mounts", "hooks"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_hostile_documents(value: Any) -> None:
    for document in (value, small(containerEdits=value), small(devices=value), with_device(hooks=[value])):
        try:
            parse_specification(document, "/x", 0)
        except FormatError:
            continue


def test_files_of_all_kinds_are_read_and_broken_ones_named(tmp_path: Path) -> None:
    low, high = tmp_path / "etc", tmp_path / "run"
    low.mkdir()
    high.mkdir()
    (low / "a.json").write_text(json.dumps(small()))
    (low / "b.yaml").write_text(
        'cdiVersion: "0.6.0"\nkind: v.com/y\ndevices:\n- name: "0"\n  containerEdits: {env: [A=1]}\n'
    )
    (low / "c.yml").write_text("a: &x [1]\nb: *x\n")
    (low / "d.json").write_text("{")
    (low / "e.yaml").write_text("[" * 100_000)
    (low / "f.json").write_text("[" * 100_000)
    (low / "g.yaml").write_text("!!python/object/apply:os.system [true]")
    (low / "h.txt").write_text("no")
    os.mkfifo(low / "i.json")
    (high / "j.json").write_text(json.dumps(small(kind="v.com/z")))
    seen = read_specifications((str(low), str(high), str(tmp_path / "none")))
    assert [(item.kind, item.priority) for item in seen.specifications] == [
        ("vendor.com/net", 0), ("v.com/y", 0), ("v.com/z", 1),
    ]  # fmt: skip
    assert sorted(Path(path).name[0] for path, _ in seen.broken) == ["c", "d", "e", "f", "g", "i"]
    assert "aliases" in dict(seen.broken)[str(low / "c.yml")]
    assert directories({}) == ("/etc/cdi", "/var/run/cdi")
    assert directories({"CORTEN_CDI_DIRS": "/a::/b"}) == ("/a", "/b")


@given(st.binary(max_size=60))
def test_hostile_yaml(content: bytes) -> None:
    try:
        parse_yaml(content)
    except FormatError:
        return


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("all", Gpus(everything=True)),
        ("2", Gpus(count=2)),
        ("count=2", Gpus(count=2)),
        ("0,1", Gpus(names=("0", "1"))),
        ('"0,1"', Gpus(names=("0", "1"))),
        ("device=0", Gpus(names=("0",))),
        ('"device=0,GPU-1"', Gpus(names=("0", "GPU-1"))),
        ("MIG-5f0e", Gpus(names=("MIG-5f0e",))),
        ("1:0", Gpus(names=("1:0",))),
        ("amd.com/gpu=0", Gpus(names=("amd.com/gpu=0",))),
    ],
)
def test_gpus_as_people_write_them(text: str, value: Gpus) -> None:
    assert parse_gpus(text) == value


@pytest.mark.parametrize("text", ["", "0", ",", "a b", "device=", "../x", "a" * 300])
def test_gpus_that_nobody_means(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_gpus(text)
    assert caught.value.hint


def test_gpus_are_chosen_from_what_is_there(tmp_path: Path) -> None:
    machine = found(vendor(tmp_path), small(kind="amd.com/gpu"))
    assert gpu_devices(Gpus(everything=True), machine) == (f"{KIND}=all",)
    assert gpu_devices(Gpus(count=2), machine) == (f"{KIND}=0", f"{KIND}=1")
    assert gpu_devices(Gpus(names=("GPU-8d1f", "amd.com/gpu=a")), machine) == (
        f"{KIND}=GPU-8d1f",
        "amd.com/gpu=a",
    )
    with pytest.raises(RuntimeFailure, match="3 GPUs are asked for, and 2 are there"):
        gpu_devices(Gpus(count=3), machine)
    for kind in ("amd.com/gpu", "intel.com/gpu", "gpu.intel.com/xe"):
        only = found(small(), small(kind=kind))
        assert gpu_devices(Gpus(everything=True), only) == (f"{kind}=a",)
        assert gpu_devices(Gpus(count=1), only) == (f"{kind}=a",)
    with pytest.raises(
        RuntimeFailure, match="no CDI specification of GPUs was found in '/etc/cdi'"
    ) as caught:
        gpu_devices(Gpus(everything=True), found(small()))
    assert "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml" in str(caught.value.hint)


def test_devices_are_found_by_the_rules_of_precedence() -> None:
    other = small(devices=[{"name": "a", "containerEdits": {"env": ["A=2"]}}])
    assert edits_for(["vendor.com/net=a"], found(small(), other, priorities=(0, 1))).environment == (
        ("A", "2"),
    )
    assert edits_for(["vendor.com/net=a"], found(small(), other, priorities=(1, 0))).environment == (
        ("A", "1"),
    )
    with pytest.raises(RuntimeFailure, match=r"defined twice, in '/0\.json' and '/1\.json'"):
        edits_for(["vendor.com/net=a"], found(small(), other))
    with pytest.raises(RuntimeFailure, match=r"there is no device 'vendor\.com/net=b'") as caught:
        edits_for(["vendor.com/net=b"], found(small()))
    assert caught.value.hint == "there are: a"
    with pytest.raises(RuntimeFailure, match=r"no CDI specification of 'other\.com/x'"):
        edits_for(["other.com/x=b"], found(small()))
    broken = Found((), (("/etc/cdi/n.json", "it is not JSON"),), ("/etc/cdi",))
    with pytest.raises(RuntimeFailure, match=r"'/etc/cdi/n\.json' cannot be used: it is not JSON"):
        edits_for(["nvidia.com/gpu=0"], broken)


def test_common_edits_are_made_once_and_first() -> None:
    document = small(
        devices=[{"name": name, "containerEdits": {"env": [f"{name}=1"]}} for name in "ab"],
        containerEdits={"env": ["COMMON=1"]},
    )
    names = ["vendor.com/net=b", "vendor.com/net=a", "vendor.com/net=b"]
    assert [name for name, _ in edits_for(names, found(document)).environment] == ["COMMON", "b", "a"]


def test_a_specification_gets_what_the_edits_say() -> None:
    before = copy.deepcopy(SPEC)
    edits = Edits(
        environment=(("NVIDIA_VISIBLE_DEVICES", "void"),),
        devices=(
            DeviceNode("/dev/g", "/dev/h", "c", 195, 0, 0o666),
            DeviceNode("/dev/g", "/dev/h", "c", 195, 1, 0o666, "r", 0, 5),
            DeviceNode("/dev/pipe", "/dev/pipe", "p"),
        ),
        mounts=(
            Mount("/a", "/x/y/z"),
            Mount("/b", "/x", None, ("ro", "bind")),
            Mount("proc", "/proc", "proc"),
        ),
        hooks=(Hook("prestart", "/h", ("h",), ("A=1",), 3), Hook("prestart", "/i"), Hook("poststop", "/j")),
        groups=(44, 44),
    )
    spec = with_edits(SPEC, edits, makes_nodes=True)
    assert before == SPEC
    assert spec["process"]["env"] == ["PATH=/bin", "NVIDIA_VISIBLE_DEVICES=void"]
    assert spec["process"]["user"] == {"uid": 7, "gid": 8, "additionalGids": [44]}
    assert spec["linux"]["devices"] == [
        {"path": "/dev/g", "type": "c", "major": 195, "minor": 1, "fileMode": 0o666, "uid": 0, "gid": 5},
        {"path": "/dev/pipe", "type": "p", "uid": 7, "gid": 8},
    ]
    assert spec["linux"]["resources"]["devices"] == [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 195, "minor": 0, "access": "rwm"},
        {"allow": True, "type": "c", "major": 195, "minor": 1, "access": "r"},
    ]
    assert [(item["destination"], item["options"]) for item in spec["mounts"]] == [
        ("/x", ["ro", "bind"]), ("/proc", []), ("/x/y/z", ["rbind"]),
    ]  # fmt: skip
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert spec["hooks"] == {
        "prestart": [
            {"path": "/h", "args": ["h"], "env": [path, "A=1"], "timeout": 3},
            {"path": "/i", "env": [path]},
        ],
        "poststop": [{"path": "/j", "env": [path]}],
    }
    rootless = with_edits(SPEC, edits, makes_nodes=False)
    assert "devices" not in rootless["linux"]
    assert {
        "destination": "/dev/g",
        "type": "bind",
        "source": "/dev/h",
        "options": ["bind", "rprivate"],
    } in rootless["mounts"]
    assert with_edits(SPEC, Edits(), makes_nodes=True) is SPEC


def test_what_a_file_leaves_open_is_looked_up(tmp_path: Path) -> None:
    edits = completed(
        Edits(devices=(DeviceNode("/dev/x", "/dev/null"), DeviceNode("/dev/y", "/nowhere", "c", 5, 6)))
    )
    assert edits.devices[0].kind == "c"
    assert (edits.devices[0].major, edits.devices[0].minor, edits.devices[0].mode) == (1, 3, 0o666)
    assert edits.devices[1].major == 5
    (tmp_path / "file").touch()
    stale: list[Callable[[], Edits]] = [
        lambda: Edits(devices=(DeviceNode("/dev/x", "/nowhere"),)),
        lambda: Edits(devices=(DeviceNode("/dev/x", "/dev/null", "b"),)),
        lambda: Edits(devices=(DeviceNode("/dev/x", str(tmp_path / "file")),)),
        lambda: Edits(mounts=(Mount("/nowhere", "/x"),)),
        lambda: Edits(hooks=(Hook("prestart", str(tmp_path / "file")),)),
    ]
    for make in stale:
        with pytest.raises(RuntimeFailure) as caught:
            completed(make())
        assert caught.value.hint


def test_groups_that_a_plain_user_does_not_have_are_told(tmp_path: Path) -> None:
    document = with_device(additionalGids=[44], intelRdt={"closID": "x"})
    (tmp_path / "a.json").write_text(json.dumps(document))
    said: list[Any] = []
    names, places = ["vendor.com/net=a"], (str(tmp_path),)
    single = Identity("single", ((0, 1000, 1),), ((0, 1000, 1),))
    assert wanted_edits(None, names, places, single, said.append).groups == ()
    assert [type(item) for item in said] == [Note, Note]
    assert wanted_edits(None, names, places, Identity("root"), said.append).groups == (44,)


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_a_folder_of_a_vendor(tmp_path: Path, suffix: str) -> None:
    places = (str(write_vendor(tmp_path, suffix=suffix)),)
    edits = wanted_edits(Gpus(everything=True), [], places, Identity("root"), lambda event: None)
    assert [item.path for item in edits.devices] == ["/dev/gpu-control", "/dev/gpu0", "/dev/gpu1"]
    assert edits.hooks[0].name == "createContainer"


@pytest.mark.parametrize(
    ("text", "is_cdi"),
    [
        ("nvidia.com/gpu=0", True),
        ("/dev/fuse", False),
        ("/dev/a:/dev/b=c", False),
        ("gpu=0", False),
        ("a/b=", False),
    ],
)
def test_full_names_are_told_from_paths(text: str, is_cdi: bool) -> None:
    assert is_qualified(text) is is_cdi


@given(st.text(max_size=30))
def test_hostile_words(text: str) -> None:
    try:
        gpus = parse_gpus(text)
    except UsageError:
        return
    assert gpus.everything or gpus.count or gpus.names
