from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from corten.errors import FetchError, ProjectError, SignatureError
from corten.events import Event, Warned, ignore
from corten.packages.debian.archive import DebianArchive
from corten.packages.debian.authentication import Authentication, fetch_authentic
from corten.packages.debian.lists import Lists
from corten.packages.debian.mirrors import Mirrors, lists_of
from corten.packages.debian.signed import Signed
from corten.packages.debian.sources import Sources
from corten.packages.files import STRICT, Accepted, Deb
from corten.store.store import Store
from corten.values import replace
from debian_parts import NOW, Archive, public, quick_http, serving, signing_key, sources

KEYS = [public(signing_key())]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path / "mirror")
    for architecture in made.architectures:
        made.add("python3.11-minimal", "3.11.2-6", depends="libpython3.11-minimal", architecture=architecture)
        made.add("libpython3.11-minimal", "3.11.2-6", depends="libc6", architecture=architecture)
        made.add("libc6", "2.36-9", architecture=architecture)
    made.add("libc6", "2.36-9+deb12u1", part="-security")
    return made.publish()


def mirrors_of(store: Store, found: Sources, accepted: Accepted = STRICT) -> Mirrors:
    now = NOW + timedelta(hours=1)
    return DebianArchive(store, found, quick_http(), keys=KEYS, now=now, accepted=accepted).mirrors


def locked(tmp_path: Path, archive: Archive, architecture: str = "amd64") -> tuple[Deb, ...]:
    """What a colleague's machine has locked."""
    found = DebianArchive(
        Store.open(tmp_path / "colleague"),
        sources(f"file://{archive.root}"),
        quick_http(),
        keys=KEYS,
        now=NOW + timedelta(hours=1),
    )
    return found.compiler("bookworm", architecture)


def check(
    store: Store,
    debs: Sequence[Deb],
    mirrors: Mirrors | None,
    *folders: Lists,
    accepted: Accepted = STRICT,
    events: list[Event] | None = None,
) -> None:
    observe = ignore if events is None else events.append
    Authentication(store, ["bookworm"], [lists_of(store, KEYS), *folders], mirrors, observe, accepted).check(
        debs
    )


def moved_on(archive: Archive) -> None:
    """Another version of everything, weeks later; the old files are gone."""
    shutil.rmtree(archive.root)
    archive.paragraphs.clear()
    for name in ("python3.11-minimal", "libpython3.11-minimal", "libc6"):
        archive.add(name, "9.9-1")
    archive.publish(NOW + timedelta(minutes=30))


def test_a_lock_from_elsewhere_is_looked_for_in_the_signed_indexes_of_the_mirrors(
    store: Store, archive: Archive, tmp_path: Path
) -> None:
    debs = locked(tmp_path, archive)
    assert [deb.version for deb in debs] == ["2.36-9+deb12u1", "3.11.2-6", "3.11.2-6"]
    with serving(archive.root) as mirror:
        mirrors = mirrors_of(store, sources(mirror.url))
        check(store, debs, mirrors)
        # From now on it is known, also to other processes, and nobody is asked.
        mirror.requests.clear()
        check(Store.open(store.root), debs, mirrors_of(store, sources(mirror.url)))
        assert mirror.requests == []
        assert not Signed(store).missing(["bookworm"], debs)
        assert Signed(store).missing(["trixie"], debs) == list(debs)


def test_a_lock_that_was_made_here_asks_nobody(store: Store, archive: Archive) -> None:
    with serving(archive.root) as mirror:
        found = sources(mirror.url)
        debs = DebianArchive(store, found, quick_http(), keys=KEYS, now=NOW + timedelta(hours=1)).compiler(
            "bookworm", "arm64"
        )
        mirror.requests.clear()
        check(store, debs, None)
        assert mirror.requests == []


def test_packages_of_both_architectures_are_looked_for_in_the_index_of_each(
    store: Store, archive: Archive, tmp_path: Path
) -> None:
    archive.add("tzdata", architecture="all")
    archive.publish()
    debs = (*locked(tmp_path, archive), *locked(tmp_path, archive, "arm64"))
    assert {deb.architecture for deb in debs} == {"amd64", "arm64"}
    with serving(archive.root) as mirror:
        check(store, debs, mirrors_of(store, sources(mirror.url)))


def test_a_package_that_the_mirror_has_replaced_is_found_in_the_dated_archive(
    store: Store, archive: Archive, tmp_path: Path
) -> None:
    debs = locked(tmp_path, archive)
    for name in ("debian", "debian-security"):
        # The dated archive takes hours to have what a Release of 12:00 lists.
        shutil.copytree(archive.root / name, tmp_path / "dated/archive" / name / "20260302T000000Z")
    moved_on(archive)
    with serving(archive.root) as mirror, serving(tmp_path / "dated") as snapshot:
        now_only = sources(mirror.url)
        with pytest.raises(
            SignatureError, match=r"no signed index of Debian lists 'libc6' 2\.36-9"
        ) as caught:
            check(store, debs, mirrors_of(store, now_only))
        assert "CORTEN_DEBIAN_SNAPSHOT" in (caught.value.hint or "")
        assert "2026-03-01" in (caught.value.hint or "")
        assert "--allow-unauthenticated" in (caught.value.hint or "")
        both = mirrors_of(store, sources(mirror.url, snapshot=snapshot.url))
        check(store, debs, both)


def test_an_index_that_was_fetched_when_locking_still_proves_what_it_lists(
    store: Store, archive: Archive, tmp_path: Path
) -> None:
    debs = locked(tmp_path, archive)
    colleague = Store.open(tmp_path / "colleague")
    (colleague.root / "debian" / "signed").unlink()
    moved_on(archive)
    check(colleague, debs, None)


def test_a_mirror_that_is_down_is_what_a_user_hears_of(
    store: Store, archive: Archive, tmp_path: Path
) -> None:
    debs = locked(tmp_path, archive)
    with pytest.raises(FetchError, match="is down"):
        check(store, debs, mirrors_of(store, sources("http://127.0.0.1:9")))


def test_an_unknown_suite_is_refused(store: Store) -> None:
    with pytest.raises(ProjectError, match="unknown Debian suite 'evil'"):
        Authentication(store, ["evil"], [], None, ignore)


def test_what_the_user_accepts_is_named_once(store: Store, archive: Archive, tmp_path: Path) -> None:
    debs = locked(tmp_path, archive)
    strange = replace(debs[0], sha256="1" * 64)
    events: list[Event] = []
    with serving(archive.root) as mirror:
        mirrors = mirrors_of(store, sources(mirror.url))
        accepted = Accepted(unauthenticated=True)
        check(store, [*debs, strange], mirrors, accepted=accepted, events=events)
    (warning,) = [event for event in events if isinstance(event, Warned)]
    assert "'libc6' 2.36-9+deb12u1" in warning.message
    assert "--allow-unauthenticated" in warning.message
    assert Signed(store).missing(["bookworm"], [*debs, strange]) == [strange]


def test_files_and_index_are_fetched_beside_each_other_and_files_are_given_only_when_signed(
    store: Store, archive: Archive, tmp_path: Path
) -> None:
    debs = locked(tmp_path, archive)
    strange = archive.add("tool")  # in the pool, and in no index
    archive.paragraphs.clear()
    with serving(archive.root) as mirror:
        mirrors = mirrors_of(store, sources(mirror.url))
        authentication = Authentication(store, ["bookworm"], [lists_of(store, KEYS)], mirrors, ignore)
        places = fetch_authentic(store, debs, authentication, mirrors, ignore)
        assert {deb.sha256 for deb in debs} == set(places)
        strange = replace(strange, released="2026-03-01T12:00:00Z")
        gone = replace(strange, path="pool/main/t/tool/gone_1_amd64.deb", sha256="2" * 64)
        with pytest.raises(SignatureError, match=r"'tool' 1\.0-1"):
            fetch_authentic(store, [*debs, strange], authentication, mirrors, ignore)
        with pytest.raises(SignatureError, match=r"'tool' 1\.0-1"):
            fetch_authentic(store, [gone], authentication, mirrors, ignore)


def test_of_many_releases_the_newest_are_kept(store: Store) -> None:
    lists = lists_of(store, KEYS)
    for day in range(1, 20):
        lists.keep("bookworm", f"2026-03-{day:02}T00:00:00Z", b"InRelease")
    names = [path.name for path in lists.folders("bookworm")]
    assert len(names) == 12
    assert names[0] == "20260319T000000Z"
    lists.keep("bookworm", "2020-01-01T00:00:00Z", b"InRelease")
    assert "20200101T000000Z" in [path.name for path in lists.folders("bookworm")]


def test_records_that_a_crash_has_spoiled_are_looked_for_again(
    store: Store, archive: Archive, tmp_path: Path
) -> None:
    debs = locked(tmp_path, archive)
    with serving(archive.root) as mirror:
        check(store, debs, mirrors_of(store, sources(mirror.url)))
        path = store.root / "debian" / "signed"
        path.write_bytes(path.read_bytes()[:-30] + b"\xff\0\n bookworm x\n")
        (missing,) = Signed(store).missing(["bookworm"], debs)
        check(store, debs, mirrors_of(store, sources(mirror.url)))
    assert missing in debs
    assert not Signed(store).missing(["bookworm"], debs)
