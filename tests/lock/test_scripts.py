"""What the scripts of system packages would do, in the lock: from the first bytes of each package, said, and kept."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from corten.events import Event, Warned
from corten.lock.format import decode, encode
from corten.lock.model import DebianBase, PlatformLock
from corten.lock.scripts import with_scripts
from corten.oci.platform import Platform
from corten.packages.debian.archive import DebianArchive
from corten.store.store import Store
from debian_parts import NOW, Archive, Mirror, public, quick_http, serving, signing_key, sources
from support.locks import sample_lock

USER = "#!/bin/sh\nset -e\nadduser --system sample\n"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path / "mirror")
    made.add("plain", scripts={"postinst": "#!/bin/sh\nldconfig\n"})
    large = random.Random(7).randbytes(300_000)  # far beyond what is read of it
    made.add("sample", depends="plain", scripts={"postinst": USER}, files={"usr/share/sample": large})
    made.add("dpkg")
    made.add("debconf")
    return made.publish()


@pytest.fixture
def mirror(archive: Archive) -> Iterator[Mirror]:
    with serving(archive.root) as served:
        yield served


def opened(tmp_path: Path, mirror: Mirror) -> DebianArchive:
    return DebianArchive(
        Store.open(tmp_path / "store"),
        sources(mirror.url),
        quick_http(read=10.0),
        keys=[public(signing_key())],
        now=NOW + timedelta(hours=1),
    )


def part(debian: DebianArchive, *names: str) -> PlatformLock:
    debs = debian.system("bookworm", "amd64", names, ())
    base = DebianBase("bookworm", "minimal", "3.11.2", ())
    return PlatformLock(Platform("linux", "amd64"), base, system=debs, system_names=names)


def test_what_is_not_understood_is_said_and_locked_with_what_scripts_run_with(
    tmp_path: Path, mirror: Mirror
) -> None:
    events: list[Event] = []
    debian = opened(tmp_path, mirror)
    found = with_scripts(part(debian, "sample"), None, debian, events.append)
    assert (found.scripts, found.unclear) == ("scripts", "sample (adduser)")
    assert [deb.name for deb in found.tools] == ["debconf", "dpkg"]
    (warned,) = [event for event in events if isinstance(event, Warned)]
    assert "sample (adduser)" in warned.message
    assert debian.mirrors.store.files.path(found.system[-1].sha256, "deb") is None  # not fetched for that


def test_packages_that_need_no_script_need_nothing_else(tmp_path: Path, mirror: Mirror) -> None:
    events: list[Event] = []
    debian = opened(tmp_path, mirror)
    found = with_scripts(part(debian, "plain"), None, debian, events.append)
    assert (found.scripts, found.unclear, found.tools) == ("none", "", ())
    assert not [event for event in events if isinstance(event, Warned)]
    empty = PlatformLock(Platform("linux", "amd64"), found.base)
    assert with_scripts(empty, None, debian, events.append) == empty


def test_what_the_last_lock_knows_is_not_looked_up_again_and_said_again(
    tmp_path: Path, mirror: Mirror
) -> None:
    debian = opened(tmp_path, mirror)
    wanted = part(debian, "sample")
    first = with_scripts(wanted, None, debian, lambda event: None)
    asked = len(mirror.requests)
    events: list[Event] = []
    assert with_scripts(wanted, first, debian, events.append) == first
    assert len(mirror.requests) == asked
    assert [event for event in events if isinstance(event, Warned)]


def test_packages_that_cannot_be_looked_at_are_said(tmp_path: Path, archive: Archive) -> None:
    with serving(archive.root) as mirror:
        debian = opened(tmp_path, mirror)
        wanted = part(debian, "sample")
        for path in archive.root.rglob("*.deb"):
            path.unlink()
        events: list[Event] = []
        assert with_scripts(wanted, None, debian, events.append).scripts == ""
    (warned,) = [event for event in events if isinstance(event, Warned)]
    assert "were not read" in warned.message


@pytest.mark.parametrize("text", ["", "sample (adduser)", "a (b), c+d.e (a write to /etc/x) and 12 more"])
def test_a_lock_keeps_what_was_found(text: str) -> None:
    lock = sample_lock(platforms=1, debs=3)
    base = lock.platforms[0]
    changed = replace(base, scripts="scripts", unclear=text, tools=base.system[:1])
    made = replace(lock, platforms=(changed,))
    assert decode(encode(made).encode()) == made
