"""Bringing a lock's files into the store: once, from wherever they are, and never another file."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.errors import FetchError, HashMismatch
from corten.events import Event, Note, TaskFinished, ignore
from corten.network.connection import NetworkSettings
from corten.packages.fetch import fetch_debs, fetch_wheels
from corten.packages.files import Deb, Wheel
from corten.packages.http import Http, Patience
from corten.packages.indexes import Indexes, read_indexes
from corten.packages.locations import Hints, Locator
from corten.store.store import Store
from support.index import publish
from support.web import Web, serving
from support.wheels import make_wheel

QUICK = Http(NetworkSettings(environment={}), Patience(attempts=2, knocks=1, pause=0.01))


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as started:
        yield started


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def indexes(tmp_path: Path, **environment: str) -> Indexes:
    return read_indexes(
        None,
        {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull, **environment},
    )


def make(tmp_path: Path, count: int = 3) -> tuple[Wheel, ...]:
    return tuple(make_wheel(tmp_path / "pool", f"pack-age{number}", "1.0") for number in range(count))


def content(tmp_path: Path, wheel: Wheel) -> bytes:
    return (tmp_path / "pool" / wheel.file).read_bytes()


@pytest.mark.parametrize("form", ["html", "json"])
def test_wheels_come_from_an_index_once(web: Web, store: Store, tmp_path: Path, form: str) -> None:
    wheels = make(tmp_path, 12)
    url = publish(web, tmp_path / "pool", form=form)
    events: list[Event] = []
    places = fetch_wheels(store, wheels, indexes(tmp_path, PIP_INDEX_URL=url), events.append, http=QUICK)
    assert {sha256: path.read_bytes() for sha256, path in places.items()} == {
        wheel.sha256: content(tmp_path, wheel) for wheel in wheels
    }
    assert {event.name for event in events if isinstance(event, TaskFinished)} == {
        wheel.file for wheel in wheels
    }
    web.seen.clear()
    assert fetch_wheels(store, wheels, indexes(tmp_path, PIP_INDEX_URL=url), ignore) == places
    assert web.seen == []


def test_what_was_found_once_is_asked_directly(web: Web, store: Store, tmp_path: Path) -> None:
    (wheel,) = make(tmp_path, 1)
    configured = indexes(tmp_path, PIP_INDEX_URL=publish(web, tmp_path / "pool"))
    (path,) = fetch_wheels(store, [wheel], configured, ignore, http=QUICK).values()
    path.unlink()
    web.seen.clear()
    fetch_wheels(store, [wheel], configured, ignore, http=QUICK)
    assert [item.path for item in web.seen] == [f"/files/{wheel.file}"]
    # A hint that is wrong by now costs a look at the index, nothing else.
    path.unlink()
    Hints(store).put(wheel.sha256, f"{web.url}/moved")
    fetch_wheels(store, [wheel], configured, ignore, http=QUICK)
    path.unlink()
    web.files["/other"] = b"something else"
    Hints(store).put(wheel.sha256, f"{web.url}/other")
    assert fetch_wheels(store, [wheel], configured, ignore, http=QUICK)


def test_folders_pages_and_file_indexes(web: Web, store: Store, tmp_path: Path) -> None:
    wheels = make(tmp_path)
    nowhere = {"PIP_NO_INDEX": "1"}
    local = indexes(tmp_path, PIP_FIND_LINKS=str(tmp_path / "pool"), **nowhere)
    assert len(fetch_wheels(Store(tmp_path / "s1"), wheels, local, ignore, http=QUICK)) == 3
    publish(web, tmp_path / "pool")
    links = "".join(f'<a href="files/{wheel.file}">{wheel.file}</a>' for wheel in wheels)
    web.files["/links"] = f"<html><body>{links}</body></html>".encode()
    page = indexes(tmp_path, PIP_FIND_LINKS=f"{web.url}/links", **nowhere)
    assert len(fetch_wheels(Store(tmp_path / "s2"), wheels, page, ignore, http=QUICK)) == 3
    for wheel in wheels:
        simple = tmp_path / "index" / wheel.name
        simple.mkdir(parents=True)
        (simple / "index.html").write_text(f'<a href="../../pool/{wheel.file}#sha256={wheel.sha256}">x</a>')
    by_file = indexes(tmp_path, PIP_INDEX_URL=(tmp_path / "index").as_uri())
    assert len(fetch_wheels(Store(tmp_path / "s3"), wheels, by_file, ignore, http=QUICK)) == 3


class Compared(str):
    """A file name that counts how often it is compared."""

    times = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return str.__eq__(self, other)


def test_looking_for_many_wheels_takes_as_many_looks_as_there_are_wheels(
    store: Store, tmp_path: Path
) -> None:
    """In a folder that has all of them, and among addresses of single wheels: not every wheel beside every file."""
    count = 400
    files = [f"pack_{number}-1.0-py3-none-any.whl" for number in range(count)]
    (tmp_path / "links").mkdir()
    for file in files[::2]:
        (tmp_path / "links" / file).touch()
    configured = indexes(tmp_path, PIP_FIND_LINKS=str(tmp_path / "links"), PIP_NO_INDEX="1")
    configured = configured.with_direct(f"https://files.example/{file}" for file in files[1::2])
    locator = Locator(store, configured, QUICK)
    Compared.times = 0
    for number, file in enumerate(files):
        wheel = Wheel(f"pack-{number}", "1.0", Compared(file), 0, f"{number:064x}")
        (url,) = locator.wheel(wheel)
        assert url.endswith(f"/{file}")
        assert url.startswith("file:" if number % 2 == 0 else "https:")
    assert Compared.times < 8 * count


def test_a_wheel_that_was_replaced_on_the_index(web: Web, store: Store, tmp_path: Path) -> None:
    (wheel,) = make(tmp_path, 1)
    configured = indexes(tmp_path, PIP_INDEX_URL=publish(web, tmp_path / "pool"))
    web.files[f"/files/{wheel.file}"] = b"x" * wheel.size
    with pytest.raises(HashMismatch, match=f"'{wheel.file}' from '{web.host}' has the sha256"):
        fetch_wheels(store, [wheel], configured, ignore, http=QUICK)
    assert store.files.path(wheel.sha256, "wheel") is None
    assert not [path for path in (store.root / "files").rglob("*") if path.is_file()]


def test_a_wheel_that_is_nowhere(web: Web, store: Store, tmp_path: Path) -> None:
    (wheel,) = make(tmp_path, 1)
    configured = indexes(tmp_path, PIP_INDEX_URL=publish(web, tmp_path / "pool"))
    del web.files[f"/files/{wheel.file}"]
    with pytest.raises(FetchError, match=f"'{wheel.file}' is not to be had any more"):
        fetch_wheels(store, [wheel], configured, ignore, http=QUICK)
    web.files.clear()
    with pytest.raises(FetchError, match=f"nothing says where '{wheel.file}' can be fetched"):
        fetch_wheels(store, [wheel], configured, ignore, http=QUICK)
    down = indexes(tmp_path, PIP_INDEX_URL="http://127.0.0.1:9/simple")
    with pytest.raises(FetchError, match=r"'127\.0\.0\.1:9' is down"):
        fetch_wheels(store, [wheel], down, ignore, http=QUICK)


def test_the_first_failure_stops_the_rest(web: Web, store: Store, tmp_path: Path) -> None:
    # Files whose hashes begin alike wait for each other (`fetch._one`): each of these is alone.
    wheels = tuple({wheel.sha256[:2]: wheel for wheel in make(tmp_path, 12)}.values())[:6]
    assert len(wheels) == 6
    configured = indexes(tmp_path, PIP_INDEX_URL=publish(web, tmp_path / "pool"))
    for wheel in wheels[1:]:
        web.misbehave[f"/files/{wheel.file}"] = lambda handler, _: handler.drip(10_000_000, 20) is None
    web.files[f"/files/{wheels[0].file}"] = b"x" * wheels[0].size
    bad = Wheel(wheels[0].name, "1.0", wheels[0].file, wheels[0].size, wheels[0].sha256)
    slow = [Wheel(item.name, "1.0", item.file, 10_000_000, item.sha256) for item in wheels[1:]]
    outcome: list[BaseException] = []

    def work() -> None:
        try:
            fetch_wheels(store, [bad, *slow], configured, ignore, http=QUICK)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    # Each of the others would take hours.
    thread.join(120)
    assert not thread.is_alive()
    assert isinstance(outcome[0], HashMismatch)


def test_two_at_once_fetch_each_file_once(web: Web, store: Store, tmp_path: Path) -> None:
    wheels = make(tmp_path, 5)
    configured = indexes(tmp_path, PIP_INDEX_URL=publish(web, tmp_path / "pool"))
    results: list[dict[str, Path]] = []
    threads = [
        threading.Thread(target=lambda: results.append(fetch_wheels(store, wheels, configured, ignore)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(results) == 4
    assert all(len(web.asked(f"/files/{wheel.file}")) == 1 for wheel in wheels)


def test_offline_looks_at_the_directory_alone(store: Store, tmp_path: Path) -> None:
    wheels = make(tmp_path)
    dead = indexes(tmp_path, PIP_INDEX_URL="http://127.0.0.1:9/simple")
    flat = fetch_wheels(store, wheels, dead, ignore, offline=tmp_path / "pool")
    assert len(flat) == 3
    bundle = tmp_path / "bundle/wheels"
    bundle.mkdir(parents=True)
    for wheel in wheels[1:]:
        (bundle / wheel.file).write_bytes(content(tmp_path, wheel))
    other = Store(tmp_path / "other")
    with pytest.raises(
        FetchError, match=f"the offline directory '.*bundle' has no '{wheels[0].file}'"
    ) as caught:
        fetch_wheels(other, wheels, dead, ignore, offline=tmp_path / "bundle")
    assert "corten lock --download" in str(caught.value.hint)
    (bundle / wheels[0].file).write_bytes(b"x" * wheels[0].size)
    with pytest.raises(HashMismatch):
        fetch_wheels(other, wheels, dead, ignore, offline=tmp_path / "bundle")
    # A second file of the same name lies below its hash.
    (bundle / wheels[0].sha256).mkdir()
    (bundle / wheels[0].sha256 / wheels[0].file).write_bytes(content(tmp_path, wheels[0]))
    assert len(fetch_wheels(other, wheels, dead, ignore, offline=tmp_path / "bundle")) == 3


def test_debian_packages_come_from_where_they_are_located(web: Web, store: Store, tmp_path: Path) -> None:
    import hashlib

    data = b"!<arch>\n" * 1000
    web.files["/pool/main/a/alpha_1_amd64.deb"] = data
    deb = Deb(
        "alpha",
        "1",
        "amd64",
        "debian",
        "pool/main/a/alpha_1_amd64.deb",
        len(data),
        hashlib.sha256(data).hexdigest(),
        "",
    )
    asked: list[str] = []

    def locate(wanted: Deb) -> Iterator[str]:
        for mirror in ("http://127.0.0.1:9", f"{web.url}/dropped", web.url, "http://never.invalid"):
            asked.append(mirror)
            yield f"{mirror}/{wanted.path}"

    places = fetch_debs(store, [deb, deb], locate, ignore, http=QUICK)
    assert places[deb.sha256].read_bytes() == data
    assert asked[-1] == web.url
    bundle = tmp_path / "debs"
    bundle.mkdir()
    (bundle / deb.file).write_bytes(data)
    assert fetch_debs(Store(tmp_path / "o"), [deb], lambda _: [], ignore, offline=tmp_path)
    with pytest.raises(FetchError, match=r"has no 'alpha_1_amd64\.deb'"):
        fetch_debs(Store(tmp_path / "o2"), [deb], lambda _: [], ignore, offline=tmp_path / "store")


def test_pytorchs_builds_are_found_at_its_own_index_by_whoever_has_the_lock(
    tmp_path: Path, web: Web, store: Store
) -> None:
    make_wheel(tmp_path / "pool", "torch", "2.1+cpu")
    publish(web, tmp_path / "pool", root="/whl/cpu")
    (file,) = (path.name for path in (tmp_path / "pool").iterdir())
    found = Wheel(
        "torch", "2.1+cpu", file, 1, hashlib.sha256((tmp_path / "pool" / file).read_bytes()).hexdigest()
    )
    locator = Locator(store, indexes(tmp_path, UV_DEFAULT_INDEX=f"{web.url}/simple"), QUICK, f"{web.url}/whl")
    assert [url.rpartition("/")[2] for url in locator.wheel(found)] == [file]


def test_much_to_download_is_told_before_it_begins(tmp_path: Path, web: Web, store: Store) -> None:
    events: list[Event] = []
    large = [
        Wheel(name, "1.0", f"{name}-1.0-py3-none-any.whl", size, digit * 64)
        for name, size, digit in (
            ("torch", 900_000_000, "1"),
            ("nvidia_cublas", 400_000_000, "2"),
            ("small", 1000, "3"),
        )
    ]
    with pytest.raises(FetchError):
        fetch_wheels(
            store, large, indexes(tmp_path, UV_DEFAULT_INDEX=f"{web.url}/simple"), events.append, http=QUICK
        )
    (note,) = [event.message for event in events if isinstance(event, Note)]
    assert note == "1.3 GB are downloaded: torch 0.9 GB, nvidia_cublas 0.4 GB and others"
