"""bubblewrap and PRoot: what they refuse, their command lines, their filters; and with real ones, that no write reaches a layer."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from corten.errors import RuntimeFailure
from corten.oci.digest import Digest
from corten.runtime.fallback import confine
from corten.runtime.fallback.arguments import bwrap_arguments, proot_arguments
from corten.runtime.fallback.probing import loses_heap
from corten.runtime.fallback.refusals import refuse
from corten.runtime.fallback.scratch import Scratch, make_scratch, rooms_in
from corten.runtime.identity import Identity
from corten.runtime.mounts import Volume
from corten.runtime.options import Limits, RunOptions
from corten.runtime.privileges import Security
from corten.runtime.spec import Container
from corten.runtime.users import User
from corten.store.merged import Kind, merged
from corten.store.store import Store
from support.images import bare_layer


def container(root: Path, **changes: object) -> Container:
    plain = Container(
        root=str(root),
        hostname="box",
        arguments=("/bin/true",),
        environment=(("PATH", "/usr/bin:/bin"),),
        workdir="/",
        user=User(os.geteuid(), os.getegid()),
        capable=False,
        home="/home/me",
        home_is_kept=False,
        identity=Identity("root"),
        network="none",
        volumes=(),
        files=(),
        limits=Limits(),
        read_write=False,
        terminal=False,
        size=None,
        cgroup=None,
        kernel=(6, 1),
        seccomp=None,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "engines"),
    [
        (RunOptions(limits=Limits(memory=1 << 30)), ("bwrap", "proot")),
        (RunOptions(cap_add=("CAP_NET_ADMIN",)), ("bwrap", "proot")),
        (RunOptions(vendor_devices=("vendor.com/class=all",)), ("bwrap", "proot")),
        (RunOptions(security=Security(no_new_privileges=False)), ("bwrap", "proot")),
        (RunOptions(network="private"), ("bwrap", "proot")),
        (RunOptions(network="none"), ("proot",)),
        (RunOptions(hostname="other"), ("proot",)),
        (RunOptions(volumes=(Volume("/tmp", "/x", writable=False),)), ("proot",)),
    ],
)
def test_what_cannot_be_honoured_is_refused(options: RunOptions, engines: tuple[str, ...]) -> None:
    for engine in ("bwrap", "proot"):
        if engine in engines:
            with pytest.raises(RuntimeFailure, match="cannot honour"):
                refuse(engine, options)
        else:
            refuse(engine, options)


def test_what_can_be_honoured_is_not_refused() -> None:
    plain = RunOptions(
        command=("a",), environment=(("A", "b"),), workdir="/x", user="0", network="host", cap_drop=("ALL",)
    )
    beside = RunOptions(
        project_environment=(("A", "b"),),
        project_secrets=(("/project", "secrets.toml", "/app/secrets.toml"),),
        env_file_given=True,
        read_only=True,
    )
    for engine in ("bwrap", "proot"):
        refuse(engine, plain)
        refuse(engine, beside)
        refuse(engine, replace(plain, limits=Limits(memory=1 << 30), best_effort=True))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("proc", "sys", "dev", "tmp", "run", "home", "app/inner"):
        (tmp_path / "tree" / name).mkdir(parents=True)
    (tmp_path / "tree" / "app" / "file").write_text("x")
    (tmp_path / "tree" / "bin").symlink_to("usr/bin")
    return tmp_path / "tree"


def test_mount_points_that_the_tree_lacks_are_made_beside_it(tree: Path) -> None:
    box = container(tree, home=None, volumes=(Volume("/srv", "/app/data/deep"),))
    line = " ".join(bwrap_arguments("bwrap", box, Scratch(), 9))
    assert "--tmpfs / " in line
    assert f"--ro-bind {tree}/app/inner /app/inner" in line
    assert f"--ro-bind {tree}/app /app" not in line
    assert "--symlink usr/bin /bin" in line
    assert line.index("--bind /srv /app/data/deep") < line.index("--remount-ro / ")
    assert not (tree / "app" / "data").exists()
    whole = " ".join(bwrap_arguments("bwrap", replace(box, volumes=()), Scratch(), 9))
    assert f"--ro-bind {tree} /" in whole
    assert "--unshare-net" in whole
    assert "--unshare-net" not in " ".join(
        bwrap_arguments("bwrap", replace(box, network="host"), Scratch(), 9)
    )


def test_scratch_folders_are_the_containers_own(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "upper").mkdir()
    (tree / "home" / "me").mkdir()
    (tree / "home" / "me" / "kept").write_text("kept")
    box = container(tree, home_is_kept=True)
    rooms = rooms_in(["/app/inner", "/proc/x", "/", "/data/"], box)
    assert rooms == ("/app/inner", "/data")
    scratch = make_scratch(str(tmp_path), box, rooms, mounts=False)
    assert scratch.home is not None
    assert Path(scratch.home, "kept").read_text() == "kept"
    line = proot_arguments("proot", box, scratch, (5, 6))
    assert f"{scratch.home}:/home/me" in line
    assert line[line.index("-i") + 1] == "5:6"
    assert all(str(tmp_path) in place for place, _ in (*scratch.folders, *scratch.rooms))
    for place, _ in scratch.folders:
        assert stat.S_IMODE(os.stat(place).st_mode) == 0o1777


def run_filter(program: bytes, arch: int, number: int, argument: int = 0, *, first: int = 0) -> int:
    """What a classic BPF program answers, as the kernel's interpreter would; `argument` is the second."""
    data = struct.pack("<iIQ6Q", number, arch, 0, first, argument, 0, 0, 0, 0)
    code = [struct.unpack_from("<HBBI", program, place) for place in range(0, len(program), 8)]
    at = value = 0
    while True:
        operation, if_true, if_false, operand = code[at]
        at += 1
        if operation == 0x20:
            value = struct.unpack_from("<I", data, operand)[0]
        elif operation in (0x15, 0x35, 0x45):
            holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[operation]
            at += if_true if holds else if_false
        else:
            return int(operand)


@pytest.mark.parametrize(
    ("machine", "arch", "ioctl", "statx", "clone"),
    [("x86_64", 0xC000003E, 16, 332, 56), ("aarch64", 0xC00000B7, 29, 291, 220)],
)
def test_filters(machine: str, arch: int, ioctl: int, statx: int, clone: int) -> None:
    allow, absent, refused = 0x7FFF0000, 0x50000 | 38, 0x50000 | 1
    paths, old = confine.path_filter(machine), confine.path_filter(machine, loses_heap=True)
    for program in (confine.terminal_filter(machine), paths, old):
        assert run_filter(program, arch, 0) == allow
        assert run_filter(program, arch, ioctl, 0x5401) == allow
        assert run_filter(program, arch, ioctl, 0x5412) == refused
        assert run_filter(program, 0x40000003, 0) == absent
        assert run_filter(program, arch, 0x40000000) == absent
    for program in (paths, old):
        assert [run_filter(program, arch, number) for number in (statx, 425, 437, 439, 452, 600)] == [
            absent
        ] * 6
        assert [run_filter(program, arch, number) for number in (434, 436, 441, 449)] == [allow] * 4
        # clone3, whose threads PRoot does not know for such; fork, a thread, vfork, and posix_spawn.
        assert run_filter(program, arch, 435) == absent
        assert run_filter(program, arch, clone, first=0x1200011) == allow
        assert run_filter(program, arch, clone, 0x7F0012345670, first=0x3D0F00) == allow
        assert run_filter(program, arch, clone, first=0x4111) == allow
        spawned = run_filter(program, arch, clone, 0x7F0012345670, first=0x4111)
        assert spawned == (absent if program == old else allow)
    assert run_filter(confine.terminal_filter(machine), arch, 437) == allow


@pytest.mark.parametrize(
    ("said", "loses"),
    [("5.1.0", True), ("v5.2.0-alpha", False), ("5.4.0", False), ("10.0.1", False), ("nothing", True)],
)
def test_the_age_of_proot(tmp_path: Path, said: str, loses: bool) -> None:
    program = tmp_path / "proot"
    program.write_text(
        f"#!/bin/sh\necho '|__| {said.replace('v', '')}'\necho 'Copyright (C) 2014, licensed under GPL v2'\n"
    )
    program.chmod(0o755)
    assert loses_heap(str(program)) == loses
    assert loses_heap(str(tmp_path / "absent"))


WRITES = """
import os, sys
def attempt(call, *arguments):
    try:
        call(*arguments)
    except OSError:
        pass
def write(path, flags):
    descriptor = os.open(path, flags, 0o666)
    os.write(descriptor, b"evil")
    os.close(descriptor)
for parent, names, files in os.walk("/", topdown=True):
    names[:] = [name for name in names if os.path.join(parent, name) not in ("/proc", "/sys", "/dev", "/lib", "/lib64", "/usr")]
    attempt(os.chmod, parent, 0o777)
    for name in files:
        path = os.path.join(parent, name)
        attempt(os.chmod, path, 0o666)
        attempt(write, path, os.O_WRONLY)
        attempt(write, path, os.O_WRONLY | os.O_TRUNC)
        attempt(write, path, os.O_WRONLY | os.O_APPEND)
        attempt(os.truncate, path, 1)
        attempt(os.utime, path, (1, 1))
        attempt(os.setxattr, path, "user.evil", b"1")
        attempt(os.link, path, path + ".link")
        attempt(os.rename, path, path + ".moved")
        attempt(os.unlink, path)
    attempt(write, os.path.join(parent, "new"), os.O_WRONLY | os.O_CREAT)
print("wrote")
"""


def state(root: Path) -> str:
    found = []
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        text = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        values = (
            status.st_mode,
            status.st_uid,
            status.st_mtime_ns,
            sorted(os.listxattr(path, follow_symlinks=False)),
        )
        found.append(f"{path} {values} {hashlib.sha256(text).hexdigest()}")
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[Store, list[Digest]]]:
    """Two layers with files of every mode and this machine's Python shown in them, in a store."""
    made = Store(tmp_path / "store")
    digests = []
    for number in range(2):
        digest = Digest.of(str(number).encode())
        layer = bare_layer(made, digest)
        for name in ("app", "home/me", "tmp", "run", "proc", "sys", "dev", "usr", "lib", "lib64", "etc"):
            (layer / name).mkdir(parents=True)
        for mode in (0o644, 0o755, 0o600, 0o444, 0o666):
            (layer / "app" / f"{number}-{mode:o}").write_text("good")
            (layer / "app" / f"{number}-{mode:o}").chmod(mode)
        (layer / "home" / "me" / "kept").write_text("good")
        digests.append(digest)
    yield made, digests
    shutil.rmtree(tmp_path / "store", ignore_errors=True)


@pytest.mark.parametrize(("engine", "kind"), [("bwrap", "linked"), ("proot", "copied")])
@pytest.mark.parametrize("read_write", [False, True])
def test_no_write_of_the_same_user_reaches_a_layer(
    store: tuple[Store, list[Digest]], tmp_path: Path, engine: str, kind: Kind, read_write: bool
) -> None:
    made, digests = store
    (tmp_path / "upper").mkdir()
    before = state(made.layers.directory)
    used = merged(made, digests, kind)
    interpreter = (
        os.path.realpath("/usr/bin/python3") if os.path.exists("/usr/bin/python3") else sys.executable
    )
    shown = tuple(Volume(place, place) for place in ("/usr", "/lib", "/lib64") if os.path.exists(place))
    box = container(
        used.path,
        arguments=(interpreter, "-c", WRITES),
        volumes=shown,
        home_is_kept=True,
        read_write=read_write,
    )
    scratch = make_scratch(str(tmp_path), box, mounts=engine == "bwrap")
    path = shutil.which(engine)
    assert path is not None
    if engine == "bwrap":
        descriptor = confine.filter_file(confine.terminal_filter())
        command = bwrap_arguments(path, box, scratch, descriptor)
        # What is shown of this machine for the test stays as it is.
        command = ["--ro-bind" if word == "--bind" and command[place + 1] in ("/usr", "/lib", "/lib64") else word
                   for place, word in enumerate(command)]  # fmt: skip
        done = subprocess.run(command, pass_fds=[descriptor], capture_output=True, text=True, check=False)
    else:
        command = proot_arguments(path, box, scratch, None)

        def confined() -> None:
            if os.geteuid() == 0:
                confine.keep_capabilities(())
            confine.install_filter(confine.path_filter())

        done = subprocess.run(command, preexec_fn=confined, capture_output=True, text=True, check=False)
    assert done.stdout == "wrote\n", done.stderr
    assert state(made.layers.directory) == before
    if kind == "linked":
        assert sorted(os.listdir(used.path / "app")) == sorted(
            os.listdir(merged(made, digests, kind).path / "app")
        )
    again = merged(made, digests, kind)
    assert {path.read_text() for path in (again.path / "app").iterdir()} == {"good"}
    assert (again.path == used.path) == (engine == "bwrap" or read_write)
