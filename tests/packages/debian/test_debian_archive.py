from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from corten.errors import (
    CortenError,
    FetchError,
    FormatError,
    HashMismatch,
    ProjectError,
    ResolutionError,
    SignatureError,
)
from corten.events import Event, TaskFinished, TaskStarted, Warned
from corten.packages.debian.archive import DebianArchive, check_python, python_of
from corten.packages.debian.mirrors import locate
from corten.packages.debian.sources import Sources
from corten.packages.files import Deb
from corten.store.store import Store
from debian_parts import NOW, Archive, Mirror, public, quick_http, serving, signing_key, sources, stranger


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path / "mirror")
    for architecture in made.architectures:
        for name in [
            "ca-certificates",
            "libc-bin",
            "libgomp1",
            "libstdc++6",
            "media-types",
            "netbase",
            "tzdata",
            "bash",
            "coreutils",
            "dash",
            "debianutils",
            "findutils",
            "grep",
            "gzip",
            "hostname",
            "sed",
            "tar",
        ]:
            made.add(name, architecture=architecture)
        made.add("base-files", "12.4", pre_depends="awk", architecture=architecture)
        made.add("mawk", provides="awk", architecture=architecture)
        made.add("python3-distutils", depends="python3:any, python3-lib2to3", architecture=architecture)
        made.add("python3-lib2to3", depends="python3:any", architecture=architecture)
        made.add(
            "python3.11-minimal",
            "3.11.2-6",
            depends="libpython3.11-minimal (= 3.11.2-6)",
            architecture=architecture,
        )
        made.add("libpython3.11-minimal", "3.11.2-6", depends="libc6", architecture=architecture)
        made.add(
            "libpython3.11-stdlib", "3.11.2-6", depends="libpython3.11-minimal", architecture=architecture
        )
        made.add("libc6", "2.36-9", architecture=architecture)
        made.add("libgl1", depends="libc6 (>= 2.36), libx11", architecture=architecture)
        made.add("libx11", architecture=architecture)
    made.add("libc6", "2.36-9+deb12u1", part="-security")
    made.add("libx11", "1.0-1+deb12u1", part="-updates")
    return made.publish()


def opened(store: Store, found: Sources, **rest) -> DebianArchive:
    return DebianArchive(
        store, found, quick_http(), keys=[public(signing_key())], now=NOW + timedelta(hours=1), **rest
    )


def versions(debs: Sequence[Deb]) -> dict[str, str]:
    return {deb.name: deb.version for deb in debs}


def test_resolves_a_base_from_three_verified_suites(store: Store, archive: Archive) -> None:
    events: list[Event] = []
    with serving(archive.root) as mirror:
        base = opened(store, sources(mirror.url)).base("bookworm", "default", "amd64", events.append)
    assert base.python == "3.11.2"
    found = versions(base.debs)
    assert found["libc6"] == "2.36-9+deb12u1"
    assert found["mawk"] == "1.0-1"
    assert "python3-distutils" in found
    assert "python3" not in found
    libc = next(deb for deb in base.debs if deb.name == "libc6")
    assert libc.archive == "debian-security"
    assert libc.path == "pool/updates/main/l/libc6/libc6_2.36-9+deb12u1_amd64.deb"
    assert libc.released == "2026-03-01T12:00:00Z"
    order = [deb.name for deb in base.debs]
    assert order.index("mawk") < order.index("base-files")
    assert order.index("libc6") < order.index("libpython3.11-minimal") < order.index("python3.11-minimal")
    started = [event.name for event in events if isinstance(event, TaskStarted)]
    finished = [event.name for event in events if isinstance(event, TaskFinished)]
    assert sorted(started) == sorted(finished)
    assert "packages of debian:bookworm for amd64" in started


def test_the_other_architecture_and_the_minimal_base(store: Store, archive: Archive) -> None:
    with serving(archive.root) as mirror:
        found = opened(store, sources(mirror.url))
        arm = found.base("bookworm", "default", "arm64")
        minimal = found.base("bookworm", "minimal", "amd64")
        compiler = found.compiler("bookworm", "arm64")
    assert {deb.architecture for deb in arm.debs} == {"arm64"}
    assert versions(arm.debs)["libc6"] == "2.36-9"
    assert not {"dash", "bash", "coreutils"} & set(versions(minimal.debs))
    assert list(versions(compiler)) == ["libc6", "libpython3.11-minimal", "python3.11-minimal"]


def test_system_packages_bring_what_the_base_lacks(store: Store, archive: Archive) -> None:
    with serving(archive.root) as mirror:
        found = opened(store, sources(mirror.url))
        base = found.base("bookworm", "default", "amd64").debs
        assert versions(found.system("bookworm", "amd64", ["libgl1"], base)) == {
            "libx11": "1.0-1+deb12u1",
            "libgl1": "1.0-1",
        }
        assert found.system("bookworm", "amd64", [], base) == ()
        assert found.system("bookworm", "amd64", ["libc6"], base) == ()
        with pytest.raises(ResolutionError, match="no package 'libgl'") as caught:
            found.system("bookworm", "amd64", ["libgl"], base)
        assert "'libgl1'" in (caught.value.hint or "")


def test_a_package_that_another_tool_names_is_left_out_where_the_suite_lacks_it(
    store: Store, archive: Archive
) -> None:
    events: list[Event] = []
    with serving(archive.root) as mirror:
        found = opened(store, sources(mirror.url))
        base = found.base("bookworm", "default", "amd64").debs
        names = ["libgl1", "libold0"]
        added = found.system("bookworm", "amd64", names, base, events.append, optional=names)
    assert set(versions(added)) == {"libx11", "libgl1"}
    (warned,) = [event for event in events if isinstance(event, Warned)]
    assert warned.message == "left out libold0: Debian bookworm has no package of that name"


@pytest.mark.parametrize(
    "name", ["libgl1=1.0", "libgl1:amd64", "libgl1 (>= 1)", "LibGL1", "", "-x", "../x", "a/b"]
)
def test_what_is_no_package_name_is_refused_before_any_request(store: Store, name: str) -> None:
    with pytest.raises(ResolutionError, match="is not the name of a Debian package"):
        opened(store, sources("http://127.0.0.1:9")).system("bookworm", "amd64", [name], ())


def test_unchanged_indexes_are_not_fetched_again(store: Store, archive: Archive) -> None:
    with serving(archive.root) as mirror:
        first = opened(store, sources(mirror.url)).base("bookworm", "default", "amd64")
        mirror.requests.clear()
        assert opened(store, sources(mirror.url)).base("bookworm", "default", "amd64") == first
        assert sorted(mirror.requests) == [
            "/debian-security/dists/bookworm-security/InRelease",
            "/debian/dists/bookworm-updates/InRelease",
            "/debian/dists/bookworm/InRelease",
        ]
        # A cache that a crash has cut is made again; an index that changed replaces its predecessor.
        cache = store.cache_directory("debian")
        for path in cache.glob("*.index"):
            path.write_bytes(path.read_bytes()[:100])
        assert opened(store, sources(mirror.url)).base("bookworm", "default", "amd64") == first
        archive.add("libgomp1", "2.0-1", part="-updates")
        archive.publish(NOW + timedelta(minutes=1))
        again = opened(store, sources(mirror.url)).base("bookworm", "default", "amd64")
        assert versions(again.debs)["libgomp1"] == "2.0-1"
        assert len(list(cache.glob("*.index"))) == 3


def test_a_mirror_without_hashed_names_works_too(store: Store, archive: Archive) -> None:
    archive.by_hash = False
    archive.publish()
    with serving(archive.root) as mirror:
        assert opened(store, sources(mirror.url)).compiler("bookworm", "amd64")


def test_a_mirror_can_be_a_directory(store: Store, archive: Archive) -> None:
    assert (
        opened(store, sources(f"file://{archive.root}")).base("bookworm", "default", "amd64").python
        == "3.11.2"
    )


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def failure(store: Store, found: Sources, **rest) -> CortenError:
    with pytest.raises(CortenError) as caught:
        opened(store, found, **rest).compiler("bookworm", "amd64")
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value


def test_a_mirror_that_is_down(store: Store) -> None:
    error = failure(store, sources(closed_port()))
    assert isinstance(error, FetchError)
    assert "is down" in error.message


def test_a_mirror_that_is_slow(store: Store, archive: Archive) -> None:
    with serving(archive.root, delay=3.0) as mirror:
        found = DebianArchive(
            store, sources(mirror.url), quick_http(read=0.2), keys=[public(signing_key())], now=NOW
        )
        with pytest.raises(FetchError, match="stopped sending"):
            found.compiler("bookworm", "amd64")


def test_a_mirror_that_answers_with_a_web_page(store: Store, archive: Archive) -> None:
    with serving(archive.root, answer=b"<!DOCTYPE html><html>Welcome to the hotel</html>") as mirror:
        error = failure(store, sources(mirror.url))
    assert isinstance(error, FetchError)
    assert "web page" in error.message
    assert mirror.url in error.message


def test_a_mirror_that_has_something_else(store: Store, tmp_path: Path) -> None:
    with serving(tmp_path) as mirror:
        error = failure(store, sources(mirror.url))
    assert "has not got the index of 'bookworm" in error.message
    assert "CORTEN_DEBIAN_MIRROR" in (error.hint or "")
    with serving(tmp_path, answer=b"Not an index at all\n") as mirror:
        assert isinstance(failure(store, sources(mirror.url)), SignatureError)


def test_an_index_that_a_stranger_signed(store: Store, archive: Archive) -> None:
    archive.key = stranger()
    archive.publish()
    with serving(archive.root) as mirror:
        error = failure(store, sources(mirror.url))
    assert isinstance(error, SignatureError)
    assert mirror.url in error.message


def test_an_index_that_has_expired(store: Store, archive: Archive) -> None:
    archive.valid_until = NOW
    archive.publish(NOW - timedelta(days=7))
    with serving(archive.root) as mirror:
        error = failure(store, sources(mirror.url))
    assert isinstance(error, SignatureError)
    assert "'bookworm-security'" in error.message
    assert "expired" in error.message


def test_an_index_of_packages_that_is_not_the_signed_one(store: Store, archive: Archive) -> None:
    for path in archive.root.glob("debian/dists/bookworm/main/binary-amd64/by-hash/SHA256/*"):
        path.write_bytes(path.read_bytes()[::-1])
    with serving(archive.root) as mirror:
        assert isinstance(failure(store, sources(mirror.url)), HashMismatch)


def test_the_next_mirror_helps_out(store: Store, archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    other = Archive(tmp_path / "fork", key=stranger()).publish()
    with serving(tmp_path / "empty") as empty, serving(other.root) as fork, serving(archive.root) as good:
        found = sources(closed_port(), empty.url, fork.url, good.url)
        assert opened(store, found).compiler("bookworm", "amd64")
        # From now on the mirror that works is asked first.
        empty.requests.clear()
        assert opened(store, found).compiler("bookworm", "amd64")
        assert not empty.requests
        # What is wrong with the others is told when none works: a false signature before a mirror that is not there.
        error = failure(Store.open(tmp_path / "fresh"), sources(empty.url, fork.url, closed_port()))
        assert isinstance(error, SignatureError)


def test_unknown_suites_variants_and_architectures(store: Store) -> None:
    found = opened(store, sources("http://127.0.0.1:9"))
    for call in (
        lambda: found.base("jessie", "default", "amd64"),
        lambda: found.base("bookworm", "tiny", "amd64"),
        lambda: found.base("bookworm", "default", "s390x"),
    ):
        with pytest.raises(ProjectError) as caught:
            call()
        assert caught.value.hint


def test_says_which_python_fits() -> None:
    assert (
        python_of("bookworm") == check_python("bookworm", "3.11") == check_python("bookworm", None) == "3.11"
    )
    assert check_python("trixie", "3.13.5") == "3.13"
    with pytest.raises(ProjectError, match=r"'debian:bookworm' has Python 3.11, not 3.13") as caught:
        check_python("bookworm", "3.13")
    assert 'base = "debian:trixie"' in (caught.value.hint or "")
    with pytest.raises(ProjectError, match=r"not 3\.12") as caught:
        check_python("bookworm", "3.12")
    assert "3.11 with debian:bookworm, 3.13 with debian:trixie" in (caught.value.hint or "")


DEB = Deb("a", "1", "amd64", "debian", "pool/main/a/a/a_1+b1_amd64.deb", 1, "0" * 64, "2025-05-20T10:00:00Z")


def test_locates_a_file_on_all_mirrors_and_in_the_dated_archive(store: Store) -> None:
    found = sources("http://one.example", "http://two.example", snapshot="http://dated.example")
    assert locate(store, DEB, found) == [
        "http://one.example/debian/pool/main/a/a/a_1+b1_amd64.deb",
        "http://two.example/debian/pool/main/a/a/a_1+b1_amd64.deb",
        "http://dated.example/archive/debian/20250520T220000Z/pool/main/a/a/a_1+b1_amd64.deb",
        "http://dated.example/archive/debian/20250521T220000Z/pool/main/a/a/a_1+b1_amd64.deb",
        "http://dated.example/archive/debian/20250520T100000Z/pool/main/a/a/a_1+b1_amd64.deb",
    ]
    only = Sources({}, "", "http://dated.example")
    assert len(locate(store, DEB, only)) == 3
    with pytest.raises(FetchError, match="no mirror"):
        locate(store, DEB, Sources({}, "", None))


@pytest.mark.parametrize(
    "path",
    ["../x.deb", "pool/../../x.deb", "/pool/x.deb", "pool/main/x.txt", "dists/x.deb", "pool/a b/x.deb"],
)
def test_locates_nothing_outside_the_pool(store: Store, path: str) -> None:
    with pytest.raises(FormatError):
        locate(store, Deb("a", "1", "amd64", "debian", path, 1, "0" * 64, ""), sources("http://one.example"))


def test_a_file_that_the_mirror_has_dropped_comes_from_the_dated_archive(
    store: Store, archive: Archive, tmp_path: Path
) -> None:
    with serving(archive.root) as mirror:
        deb = opened(store, sources(mirror.url)).compiler("bookworm", "amd64")[0]
    old = archive.root / deb.archive / deb.path
    dated = tmp_path / "dated" / "archive" / deb.archive / "20260302T000000Z" / deb.path
    dated.parent.mkdir(parents=True)
    old.rename(dated)
    with serving(archive.root) as mirror, serving(tmp_path / "dated") as snapshot:
        addresses = locate(store, deb, sources(mirror.url, snapshot=snapshot.url))
        target = tmp_path / "got.deb"
        quick_http().download(addresses, target, sha256=deb.sha256, size=deb.size)
        assert target.stat().st_size == deb.size
        assert isinstance(mirror, Mirror)
