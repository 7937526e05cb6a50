"""CPython from python-build-standalone: what uv lists, which build is chosen, and how its archive is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.errors import FetchError, HashMismatch, ProjectError
from corten.packages.files import PythonArchive
from corten.packages.pythons import (
    RELEASES,
    Build,
    Pythons,
    Wish,
    builds,
    choose,
    fetch_pythons,
    reason,
    wish,
)
from corten.store.store import Store
from support.pythons import Releases, packed, tiny

BOTH = ("amd64", "arm64")
MACHINES = ("x86_64", "aarch64")


def build(version: str, machine: str = "x86_64", release: str = "20250101", threaded: bool = False) -> Build:
    variant = "-freethreaded" if threaded else ""
    path = f"{release}/cpython-{version}+{release}-{machine}-unknown-linux-gnu{variant}-install_only.tar.gz"
    return Build(
        f"cpython-{version}-linux-{machine}-gnu", version, machine, threaded, path, f"https://x/{path}"
    )


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(tmp_path / "releases")


def pythons(tmp_path: Path, releases: Releases, **more: str) -> Pythons:
    environment = {"HOME": str(tmp_path), "UV_PYTHON_DOWNLOADS_JSON_URL": releases.url, **more}
    return Pythons(Store(tmp_path / "store"), environment, lambda event: None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3.10", Wish("3.10")),
        ("3.10.4", Wish("3.10", "3.10.4")),
        ("3.13t", Wish("3.13", threaded=True)),
        ("3.13.2t", Wish("3.13", "3.13.2", threaded=True)),
    ],
)
def test_a_wish(text: str, expected: Wish) -> None:
    assert wish(text) == expected
    assert wish(text).named == text


@pytest.mark.parametrize("text", ["3", "pypy3.10", "3.10;x", "2.7", "3.10 "])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(ProjectError, match="is not a version of Python"):
        wish(text)


def test_the_newest_version_that_every_machine_has() -> None:
    found = [build(version, machine) for version in ("3.10.4", "3.10.9") for machine in MACHINES]
    found += [build("3.10.12"), build("3.11.9"), build("3.10.11", "aarch64")]
    chosen = choose(found, Wish("3.10"), MACHINES)
    assert chosen is not None
    assert {item.version for item in chosen.values()} == {"3.10.9"}
    alone = choose(found, Wish("3.10"), ["x86_64"])
    assert alone is not None
    assert alone["x86_64"].version == "3.10.12"  # not 3.10.9: versions are numbers
    assert choose(found, Wish("3.12"), MACHINES) is None


def test_an_exact_version_and_what_requires_python_says() -> None:
    found = [build(version) for version in ("3.10.4", "3.10.9")]
    for wanted in (Wish("3.10", "3.10.4"), Wish("3.10", requires="<3.10.9")):
        chosen = choose(found, wanted, ["x86_64"])
        assert chosen is not None
        assert chosen["x86_64"].version == "3.10.4"
    assert choose(found, Wish("3.10", "3.10.5"), ["x86_64"]) is None


def test_special_builds_are_taken_only_when_they_are_asked_for() -> None:
    found = [build("3.13.1"), build("3.13.2", threaded=True), build("3.14.0rc1"), build("3.14.0b2")]
    plain = choose(found, Wish("3.13"), ["x86_64"])
    threaded = choose(found, Wish("3.13", threaded=True), ["x86_64"])
    early = choose(found, Wish("3.14"), ["x86_64"])
    assert plain is not None
    assert plain["x86_64"].version == "3.13.1"
    assert threaded is not None
    assert threaded["x86_64"].version == "3.13.2"
    assert early is not None
    assert early["x86_64"].version == "3.14.0rc1"
    assert choose([*found, build("3.14.0")], Wish("3.14"), ["x86_64"])["x86_64"].version == "3.14.0"  # type: ignore[index]


def test_of_uvs_list_only_what_can_be_unpacked() -> None:
    good = {
        "key": "cpython-3.10.4-linux-x86_64-gnu",
        "os": "linux",
        "libc": "gnu",
        "arch": "x86_64",
        "url": "https://host.example/a/20250101/cpython-3.10.4%2B20250101-x86_64-unknown-linux-gnu-install_only.tar.gz",
    }
    assert [item.path for item in builds([good])] == [
        "20250101/cpython-3.10.4+20250101-x86_64-unknown-linux-gnu-install_only.tar.gz"
    ]
    for change in (
        {"os": "darwin"},
        {"libc": "musl"},
        {"arch": "aarch64"},
        {"key": "--with-option"},
        {"url": None},
        {"url": good["url"].replace("20250101/", "20250102/")},
        {"url": good["url"].replace("-install_only.tar.gz", "-pgo%2Blto-full.tar.zst")},
        {"url": "https://host.example/cpython.tar.gz"},
    ):
        assert builds([{**good, **change}]) == ()
    assert builds({"a": 1}) == builds(None) == builds([1, "x"]) == ()


def test_an_archive_is_fetched_verified_and_kept(tmp_path: Path, releases: Releases) -> None:
    releases.both("3.10.9")
    found = pythons(tmp_path, releases).find(Wish("3.10"), BOTH)
    assert {name: item.version for name, item in found.items()} == {"amd64": "3.10.9", "arm64": "3.10.9"}
    assert "aarch64" in found["arm64"].path
    store = Store(tmp_path / "store")
    place = store.files.path(found["amd64"].sha256, "python")
    assert place is not None
    assert place.stat().st_size == found["amd64"].size
    # The next project on this machine fetches nothing.
    for archive in (releases.root / "20240224").iterdir():
        archive.unlink()
    assert pythons(tmp_path, releases).find(Wish("3.10"), BOTH) == found


def test_a_build_fetches_the_same_archive_by_its_hash(tmp_path: Path, releases: Releases) -> None:
    data = packed(tiny("3.10"))
    place = releases.add("3.10.9", data)
    archive = pythons(tmp_path, releases).find(Wish("3.10"), ["amd64"])["amd64"]
    other = Store(tmp_path / "other")
    environment = {"HOME": str(tmp_path), "UV_PYTHON_DOWNLOADS_JSON_URL": releases.url}
    found = fetch_pythons(other, [archive], environment, lambda event: None)
    assert found[archive.sha256].read_bytes() == data
    place.write_bytes(data[:-1] + b"x")
    with pytest.raises(HashMismatch):
        fetch_pythons(Store(tmp_path / "third"), [archive], environment, lambda event: None)


def test_the_places_of_an_archive_that_uv_lists_no_more(tmp_path: Path, releases: Releases) -> None:
    releases.both("3.10.9", release="20250101")
    older = PythonArchive(build("3.10.4").path, 1, "0" * 64)
    tail = "20250101/cpython-3.10.4%2B20250101-x86_64-unknown-linux-gnu-install_only.tar.gz"
    places = list(pythons(tmp_path, releases).addresses(older))
    assert places == [f"{releases.root.as_uri()}/{tail}", f"{RELEASES}/{tail}"]
    mirrored = pythons(tmp_path, releases, UV_PYTHON_INSTALL_MIRROR="https://mirror.example/py/")
    assert list(mirrored.addresses(older)) == [f"https://mirror.example/py/{tail}"]


def test_a_version_without_a_build_is_an_error_with_the_ways_out(tmp_path: Path, releases: Releases) -> None:
    releases.both("3.10.9")
    with pytest.raises(FetchError) as caught:
        pythons(tmp_path, releases).find(Wish("3.7"), ["amd64"])
    assert caught.value.message == "there is no build of Python 3.7 for x86_64"
    assert 'base = "python:3.7-slim"' in (caught.value.hint or "")


def test_what_uv_says_of_an_unreachable_host_is_one_sentence() -> None:
    said = (
        "error: Failed to install cpython-3.12.4-linux-x86_64-gnu\n"
        "  cause: Request failed after 3 retries in 4.1s\n"
        "  cause: Failed to download `https://host.example/a/b`\n  cause: client error (Connect)\n  cause: dns error\n"
    )
    assert reason(said) == "the host 'host.example' cannot be reached"
    assert (
        reason("error: x\n  cause: no space left on https://me:secret@host/\n")
        == "no space left on https://host/"
    )
    assert reason("") == "uv has not said why"
