"""Debian packages of a hostile lock, bundle, mirror or cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from corten.build.plan import compiler_identity, package_layers
from corten.errors import FetchError, SignatureError
from corten.events import ignore
from corten.lock.bundle import download
from corten.lock.format import LOCK_NAME, decode, encode, write_lock
from corten.lock.inputs import inputs_digest
from corten.lock.model import DebianBase, Lock, PlatformLock
from corten.network.settings import network_from
from corten.oci.platform import Platform
from corten.packages.debian.archive import DebianArchive
from corten.packages.debian.authentication import FOLDER, Authentication
from corten.packages.debian.lists import Lists
from corten.packages.debian.mirrors import lists_of
from corten.packages.fetch import fetch_debs, fetch_wheels
from corten.packages.files import STRICT, Accepted, Deb, Wheel
from corten.packages.http import Http, Patience
from corten.packages.indexes import read_indexes
from corten.project.load import load
from corten.store.prune import prune
from corten.store.store import Store
from corten.values import replace
from debian_parts import (
    NOW,
    Archive,
    File,
    clearsign,
    deb_of,
    make_deb,
    public,
    quick_http,
    signing_key,
    sources,
    stranger,
)
from support.command import Corten
from support.locks import sample_lock

KEYS = [public(signing_key())]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def test_a_file_fetched_as_a_wheel_is_never_used_as_a_debian_package(store: Store, tmp_path: Path) -> None:
    data = make_deb("python3.11-minimal", "3.11.2-6")
    sha256 = hashlib.sha256(data).hexdigest()
    bundle = tmp_path / "bundle"
    (bundle / "wheels").mkdir(parents=True)
    (bundle / "wheels" / "evil-1-py3-none-any.whl").write_bytes(data)
    indexes = read_indexes(tmp_path, {"HOME": str(tmp_path), "PATH": os.environ["PATH"]})
    wheel = Wheel("evil", "1", "evil-1-py3-none-any.whl", len(data), sha256)
    deb = deb_of("python3.11-minimal", "3.11.2-6", data)

    def nowhere(_: Deb) -> list[str]:
        return []

    assert fetch_wheels(store, [wheel], indexes, ignore, offline=bundle)
    with pytest.raises(FetchError):
        fetch_debs(store, [deb], nowhere, ignore)
    with pytest.raises(FetchError):
        fetch_debs(store, [deb], nowhere, ignore, offline=bundle)
    # The reverse: what came as a Debian package is no wheel.
    (bundle / "debs").mkdir()
    (bundle / "debs" / deb.file).write_bytes(data)
    assert fetch_debs(store, [deb], nowhere, ignore, offline=bundle)
    (bundle / "wheels" / wheel.file).unlink()
    other = Store.open(tmp_path / "other")
    assert fetch_debs(other, [deb], nowhere, ignore, offline=bundle)
    with pytest.raises(FetchError):
        fetch_wheels(other, [wheel], indexes, ignore, offline=bundle)


def test_files_of_a_store_that_did_not_keep_kinds_apart_are_not_used(store: Store, tmp_path: Path) -> None:
    data = make_deb("libc6")
    deb = deb_of("libc6", "1.0-1", data)
    old = store.root / "files" / deb.sha256[:2] / deb.sha256
    old.parent.mkdir(parents=True)
    old.write_bytes(data)
    with pytest.raises(FetchError):
        fetch_debs(store, [deb], lambda _: [], ignore)
    assert prune(store).files == 1
    assert not old.exists()


# --- nothing is unpacked or run that Debian has not signed ---------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path / "mirror")
    for architecture in made.architectures:
        made.add("python3.11-minimal", "3.11.2-6", depends="libc6", architecture=architecture)
        made.add("libpython3.11-minimal", "3.11.2-6", architecture=architecture)
        made.add("libc6", "2.36-9", architecture=architecture)
    return made.publish()


def debian(
    store: Store, root: Path, accepted: Accepted = STRICT, snapshot: str | None = None
) -> DebianArchive:
    found = sources(f"file://{root}", snapshot=snapshot)
    now = NOW + timedelta(hours=1)
    return DebianArchive(store, found, quick_http(), keys=KEYS, now=now, accepted=accepted)


def lock_of(debs: tuple[Deb, ...], compilers: dict[str, tuple[Deb, ...]] | None = None) -> Lock:
    part = PlatformLock(Platform.host(), DebianBase("bookworm", "minimal", "3.11.2", debs))
    return replace(sample_lock(), platforms=(part,), compilers=compilers or {})


def elf_that_writes(path: Path) -> bytes:
    """A program for this processor that makes the file `path` and ends: open(2), exit(2)."""
    name = os.fsencode(path) + b"\0"
    code = (
        b"\xb8\x02\x00\x00\x00"  # mov eax, 2
        b"\x48\x8d\x3d\x15\x00\x00\x00"  # lea rdi, [rip + 21]
        b"\xbe\x41\x00\x00\x00"  # mov esi, O_WRONLY | O_CREAT
        b"\xba\xa4\x01\x00\x00"  # mov edx, 0644
        b"\x0f\x05"  # syscall
        b"\xb8\x3c\x00\x00\x00\x31\xff\x0f\x05"  # exit(0)
    )
    base, head = 0x400000, 64 + 56
    size = head + len(code) + len(name)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, base + head, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return header + segment + code + name


def evil_bundle(tmp_path: Path, program: bytes) -> tuple[Path, Path]:
    """A project with a lock, and a folder with its files: `program` is the loader that Python is started by."""
    minimal = make_deb("python3.11-minimal", "3.11.2-6", {"usr/bin/python3.11": File(program, 0o755)})
    loader = {"usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": File(program, 0o755)}
    libc = make_deb("libc6", "2.36-9", loader)
    bundle = tmp_path / "bundle"
    (bundle / "debs").mkdir(parents=True)
    debs = (deb_of("libc6", "2.36-9", libc), deb_of("python3.11-minimal", "3.11.2-6", minimal))
    for deb, data in zip(debs, (libc, minimal), strict=True):
        (bundle / "debs" / deb.file).write_bytes(data)
    project = tmp_path / "project"
    project.mkdir()
    (project / "main.py").write_text("print('hello')\n")
    (project / "pyproject.toml").write_text('[tool.corten]\nbase = "debian:bookworm-minimal"\n')
    digest = inputs_digest(load(project))
    write_lock(project / LOCK_NAME, replace(lock_of(debs), project=digest, serving=None))
    return project, bundle


@pytest.mark.skipif(Platform.host().architecture != "amd64", reason="the program is for amd64")
def test_a_bundle_with_a_foreign_program_as_compiler_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    project, bundle = evil_bundle(tmp_path, elf_that_writes(mark))
    corten = Corten(tmp_path / "home")
    refused = corten("build", project, "--offline", bundle, code=1)
    assert not mark.exists()
    assert "error: no signed index of Debian lists 'libc6' 2.36-9" in refused.stderr
    assert "hint: " in refused.stderr
    assert not list((tmp_path / "home" / "layers").rglob("fs"))


def test_a_package_in_a_mirrors_pool_that_no_index_lists_is_refused(archive: Archive, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    evil = archive.add("python3.11-minimal", "3.11.2-6", files={"usr/bin/python3.11": b"evil"})
    mirrors = debian(store, archive.root).mirrors
    authentication = Authentication(store, ["bookworm"], [lists_of(store, KEYS)], mirrors, ignore)
    with pytest.raises(SignatureError, match=r"no signed index of Debian lists 'python3\.11-minimal'"):
        authentication.check([replace(evil, released="2026-03-01T12:00:00Z")])


def test_a_signed_package_under_another_name_or_version_is_refused(archive: Archive, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    machine = debian(store, archive.root)
    good = machine.compiler("bookworm", "amd64")
    libc = next(deb for deb in good if deb.name == "libc6")
    authentication = Authentication(store, ["bookworm"], [lists_of(store, KEYS)], machine.mirrors, ignore)
    authentication.check(good)
    for change in ({"name": "bash"}, {"version": "2.36-10"}, {"size": 1}, {"architecture": "arm64"}):
        # Beside the true one, so that one file stands for two packages.
        with pytest.raises(SignatureError):
            authentication.check([*good, replace(libc, **change)])


@pytest.fixture
def bundle(archive: Archive, tmp_path: Path) -> tuple[Lock, Path]:
    """A lock and its folder, made where there is a network."""
    store = Store.open(tmp_path / "online")
    machine = debian(store, archive.root)
    lock = lock_of(machine.compiler("bookworm", "amd64"), {"arm64": machine.compiler("bookworm", "arm64")})
    lock = replace(lock, platforms=(replace(lock.platforms[0], wheels=(), serving=()),))
    indexes = read_indexes(tmp_path, {"HOME": str(tmp_path), "PATH": os.environ["PATH"]})
    download(lock, tmp_path / "bundle", store, indexes, machine.mirrors, ignore)
    return lock, tmp_path / "bundle"


def offline(bundle: tuple[Lock, Path], store: Store) -> None:
    lock, folder = bundle
    debs = [*lock.platforms[0].base.debs, *lock.compilers["arm64"]]  # type: ignore[union-attr]
    lists = [lists_of(store, KEYS), Lists(folder / FOLDER, KEYS)]
    Authentication(store, lock.suites, lists, None, ignore).check(debs)


def test_a_bundle_carries_the_signed_indexes_and_they_are_checked_at_build(
    bundle: tuple[Lock, Path], tmp_path: Path
) -> None:
    names = sorted(path.name for path in (bundle[1] / FOLDER).rglob("*") if path.is_file())
    assert names == ["InRelease", "Packages-amd64.xz", "Packages-arm64.xz"]
    offline(bundle, Store.open(tmp_path / "apart"))
    shutil.rmtree(bundle[1] / FOLDER)
    with pytest.raises(SignatureError, match="no signed index") as caught:
        offline(bundle, Store.open(tmp_path / "other"))
    assert "corten lock --download" in (caught.value.hint or "")


def test_an_index_in_a_bundle_that_somebody_else_signed_is_refused(
    bundle: tuple[Lock, Path], tmp_path: Path
) -> None:
    (path,) = (bundle[1] / FOLDER).rglob("InRelease")
    text = path.read_text().partition("\n\n")[2].partition("-----BEGIN PGP SIGNATURE")[0]
    path.write_bytes(clearsign(text, stranger()))
    with pytest.raises(SignatureError, match="not signed by Debian"):
        offline(bundle, Store.open(tmp_path / "apart"))


def test_a_changed_packages_file_in_a_bundle_is_refused(bundle: tuple[Lock, Path], tmp_path: Path) -> None:
    (path,) = (bundle[1] / FOLDER).rglob("Packages-amd64.xz")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(SignatureError, match="not the file that Debian has signed"):
        offline(bundle, Store.open(tmp_path / "apart"))


def test_a_pipe_in_place_of_an_index_does_not_hold_up_the_build(
    bundle: tuple[Lock, Path], tmp_path: Path
) -> None:
    for name in ("Packages-amd64.xz", "InRelease"):
        (path,) = (bundle[1] / FOLDER).rglob(name)
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(SignatureError, match="no signed index"):
            offline(bundle, Store.open(tmp_path / "apart"))


def test_an_index_of_another_suite_proves_nothing(bundle: tuple[Lock, Path], tmp_path: Path) -> None:
    lock, folder = bundle
    (folder / FOLDER / "bookworm").rename(folder / FOLDER / "trixie")
    other = replace(lock.platforms[0], base=replace(lock.platforms[0].base, suite="trixie"))
    with pytest.raises(SignatureError, match="belongs to 'bookworm'"):
        offline((replace(lock, platforms=(other,)), folder), Store.open(tmp_path / "apart"))


def test_layers_of_unauthenticated_packages_are_shared_with_no_other_build(archive: Archive) -> None:
    debs = tuple(deb_of(name, "1", name.encode()) for name in ("libc6", "python3.11-minimal"))
    wheel = Wheel("a", "1", "a-1-py3-none-any.whl", 1, "0" * 64)
    plain = lock_of(debs)
    plain = replace(plain, platforms=(replace(plain.platforms[0], wheels=(wheel,)),))
    apart = plain.apart()
    ours, theirs = (package_layers(lock.platforms[0], None) for lock in (plain, apart))
    for one, other in zip(ours, theirs, strict=True):
        # An empty environment has nothing of the base in it.
        assert (one.key == other.key) is (one.title == "environment /opt/venv")
    assert compiler_identity(plain.platforms[0]) != compiler_identity(apart.platforms[0])
    # A compiler that only another machine would use has a say in it as well.
    assert replace(plain, compilers={"arm64": debs}).apart() != apart
    # It is in no file.
    assert decode(encode(apart).encode()) == plain


# --- dates only move forward ---------------------------------------------------------------------------------


class OneBehind(Http):
    """A mirror of two machines: the first that is asked for an index has that of `old`, the second the current one."""

    def __init__(self, root: Path, old: Path) -> None:
        super().__init__(network_from({}), Patience(attempts=2, pause=0.01))
        self.root, self.old = f"file://{root}/", f"file://{old}/"
        self.asked: set[str] = set()

    def get(self, url: str, *arguments: Any, **options: Any) -> bytes:
        first = url.endswith("InRelease") and url not in self.asked
        self.asked.add(url)
        return super().get(url.replace(self.root, self.old) if first else url, *arguments, **options)


def test_a_mirror_of_which_one_machine_is_behind_is_asked_again(archive: Archive, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    old = tmp_path / "old"
    shutil.copytree(archive.root, old)
    archive.publish(NOW + timedelta(minutes=10))
    newest = debian(store, archive.root).compiler("bookworm", "amd64")
    http = OneBehind(archive.root, old)
    again = DebianArchive(
        store, sources(f"file://{archive.root}"), http, keys=KEYS, now=NOW + timedelta(hours=1)
    )
    assert again.compiler("bookworm", "amd64") == newest
    assert any(url.endswith("InRelease") for url in http.asked)


def test_a_release_that_is_older_than_one_seen_before_is_refused(archive: Archive, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    old = tmp_path / "old"
    shutil.copytree(archive.root, old)
    archive.add("libc6", "2.36-9+deb12u1", part="-security")  # a security update
    archive.publish(NOW + timedelta(minutes=10))
    newest = debian(store, archive.root).compiler("bookworm", "amd64")
    with pytest.raises(SignatureError, match="is of 2026-03-01T12:00:00Z, and a newer one of") as caught:
        debian(store, old).compiler("bookworm", "amd64")
    assert "--allow-older-release" in (caught.value.hint or "")
    # It is remembered by the store, also when the caches are deleted; and it is for every machine to accept it.
    prune(store, everything=True)
    with pytest.raises(SignatureError, match="a newer one of 2026-03-01T12:10:00Z"):
        debian(store, old).compiler("bookworm", "amd64")
    accepted = debian(store, old, Accepted(older_release=True)).compiler("bookworm", "amd64")
    assert accepted != newest
    with pytest.raises(SignatureError):  # it was accepted once
        debian(store, old).compiler("bookworm", "amd64")
    assert debian(store, archive.root).compiler("bookworm", "amd64") == newest


def test_a_mirror_that_is_up_to_date_is_taken_instead_of_one_that_is_not(
    archive: Archive, tmp_path: Path
) -> None:
    store = Store.open(tmp_path / "store")
    old = tmp_path / "old"
    shutil.copytree(archive.root, old)
    archive.publish(NOW + timedelta(minutes=10))
    newest = debian(store, archive.root).compiler("bookworm", "amd64")
    found = sources(f"file://{old}", f"file://{archive.root}")
    machine = DebianArchive(store, found, quick_http(), keys=KEYS, now=NOW + timedelta(hours=1))
    assert machine.compiler("bookworm", "amd64") == newest


def test_a_release_past_its_valid_until_is_refused_unless_it_is_accepted(
    archive: Archive, tmp_path: Path
) -> None:
    archive.valid_until = NOW
    archive.publish(NOW - timedelta(days=7))
    with pytest.raises(SignatureError, match="expired") as caught:
        debian(Store.open(tmp_path / "store"), archive.root).compiler("bookworm", "amd64")
    assert "--allow-older-release" in (caught.value.hint or "")
    accepted = debian(Store.open(tmp_path / "store"), archive.root, Accepted(older_release=True))
    assert accepted.compiler("bookworm", "amd64")


@pytest.mark.parametrize("verb", ["lock", "build", "up", "run", "dev", "shell", "predict"])
def test_every_command_that_resolves_has_the_flags(tmp_path: Path, verb: str) -> None:
    text = Corten(tmp_path / "home")(verb, "--help").stdout
    assert "--allow-older-release" in text
    assert "--allow-unauthenticated" in text
