"""Fetching: every way in which a host can fail, and what comes of it."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.errors import FetchError, HashMismatch, StoreError
from corten.events import Event, TaskAdvanced, TaskFinished, ignore
from corten.network.connection import Absent, NetworkSettings, Refused, Transient
from corten.packages.http import Cancelled, Http, Patience
from support.web import Handler, Web, serving

DATA = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(DATA).hexdigest()
QUICK = Patience(attempts=4, knocks=2, pause=0.01, longest=3.0, slowest=500, window=0.3)


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as started:
        started.files["/file.whl"] = DATA
        yield started


def http(patience: Patience = QUICK, **settings: object) -> Http:
    return Http(NetworkSettings(**{"environment": {}, "read": 1.0, **settings}), patience)  # type: ignore[arg-type]


def fetch(
    url: str, target: Path, client: Http | None = None, size: int | None = len(DATA), sha256: str = SHA256
) -> int:
    return (client or http()).download([url], target, sha256=sha256, size=size)


def test_a_file_arrives_whole_and_is_reported(web: Web, tmp_path: Path) -> None:
    events: list[Event] = []
    target = tmp_path / "new/file"
    got = http().download(
        [f"{web.url}/file.whl"], target, sha256=SHA256, size=len(DATA), observe=events.append
    )
    assert got == len(DATA)
    assert target.read_bytes() == DATA
    assert sum(event.amount for event in events if isinstance(event, TaskAdvanced)) == len(DATA)
    assert isinstance(events[-1], TaskFinished)


def test_a_partial_download_is_continued(web: Web, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(DATA[:600_000])
    fetch(f"{web.url}/file.whl", target)
    assert target.read_bytes() == DATA
    assert [item.headers["range"] for item in web.asked("/file.whl")] == ["bytes=600000-"]


def test_a_server_without_ranges_starts_over(web: Web, tmp_path: Path) -> None:
    web.ranges = False
    target = tmp_path / "file"
    target.write_bytes(DATA[:600_000])
    fetch(f"{web.url}/file.whl", target)
    assert target.read_bytes() == DATA


def test_a_wrong_beginning_is_thrown_away(web: Web, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"\0" * 600_000)
    fetch(f"{web.url}/file.whl", target)
    assert target.read_bytes() == DATA
    target.write_bytes(DATA + b"too long")
    fetch(f"{web.url}/file.whl", target)
    assert target.read_bytes() == DATA


def test_a_complete_file_is_not_asked_for_again(web: Web, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(DATA)
    fetch(f"{web.url}/file.whl", target)
    assert web.seen == []
    fetch(f"{web.url}/file.whl", target, size=None)  # only the server can say that there is no more
    assert target.read_bytes() == DATA


def test_a_cut_connection_is_continued_as_often_as_it_moves_on(web: Web, tmp_path: Path) -> None:
    def cut(handler: Handler, before: int) -> bool:
        if before >= 8:
            return False
        span = handler.headers.get("Range")
        start = int(span[6:-1]) if span else 0
        handler.send_response(206 if span else 200)
        handler.send_header("Content-Length", str(len(DATA) - start))
        handler.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
        handler.end_headers()
        handler.wfile.write(DATA[start : start + 100_000])
        handler.close_connection = True
        return True

    web.misbehave["/file.whl"] = cut
    fetch(f"{web.url}/file.whl", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA
    assert len(web.asked("/file.whl")) == 9


def test_what_was_had_stays_when_it_is_given_up(web: Web, tmp_path: Path) -> None:
    web.misbehave["/file.whl"] = lambda handler, before: (
        handler.cut(DATA[:1000], len(DATA)) is None if not before else (handler.reply(500, b"") is None)
    )
    with pytest.raises(Transient, match="answered 500"):
        fetch(f"{web.url}/file.whl", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA[:1000]


def test_busy_is_tried_again_after_as_long_as_the_host_says(web: Web, tmp_path: Path) -> None:
    web.misbehave["/file.whl"] = lambda handler, before: (
        before < 2
        and (handler.reply((429, 503)[before], b"", {"Retry-After": "1"} if before else {}) is None)
    )
    started = time.monotonic()
    fetch(f"{web.url}/file.whl", tmp_path / "file")
    assert time.monotonic() - started >= 1.0
    assert len(web.seen) == 3


def test_a_host_that_wants_to_wait_too_long_is_not_waited_for(web: Web, tmp_path: Path) -> None:
    web.misbehave["/file.whl"] = lambda handler, _: handler.reply(503, b"", {"Retry-After": "3600"}) is None
    with pytest.raises(Transient, match="answered 503"):
        fetch(f"{web.url}/file.whl", tmp_path / "file")
    assert len(web.seen) == 1


def test_the_next_address_serves_when_the_first_does_not(web: Web, tmp_path: Path) -> None:
    web.files["/wrong"] = b"x" * len(DATA)
    urls = [f"{web.url}/absent", f"{web.url}/wrong", "http://127.0.0.1:9/", f"{web.url}/file.whl"]
    http().download(urls, tmp_path / "file", sha256=SHA256, size=len(DATA))
    assert (tmp_path / "file").read_bytes() == DATA


def test_further_addresses_are_not_even_computed(web: Web, tmp_path: Path) -> None:
    def addresses() -> Iterator[str]:
        yield f"{web.url}/file.whl"
        raise AssertionError("asked for another address")

    http().download(addresses(), tmp_path / "file", sha256=SHA256, size=len(DATA))


def test_a_wrong_hash_is_named_and_leaves_nothing(web: Web, tmp_path: Path) -> None:
    web.files["/file.whl"] = DATA[:-1] + b"!"
    with pytest.raises(
        HashMismatch, match=r"'file' from '127\.0\.0\.1:\d+' has the sha256 \w+… instead of"
    ) as caught:
        fetch(f"{web.url}/file.whl", tmp_path / "file")
    assert caught.value.hint
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("lengths", [True, False])
@pytest.mark.parametrize("change", [-1, 5000])
def test_a_wrong_size_is_named(web: Web, tmp_path: Path, lengths: bool, change: int) -> None:
    web.lengths = lengths
    web.files["/file.whl"] = DATA[:change] if change < 0 else DATA + b"x" * change
    with pytest.raises(HashMismatch, match="bytes"):
        fetch(f"{web.url}/file.whl", tmp_path / "file")


def test_a_web_page_in_place_of_a_file_is_said(web: Web, tmp_path: Path) -> None:
    web.files["/file.whl"] = b"\n<!DOCTYPE HTML><html>please log in</html>"
    for size in (len(DATA), None):
        with pytest.raises(FetchError, match="answered with a web page instead of 'file'"):
            fetch(f"{web.url}/file.whl", tmp_path / "file", size=size)
    with pytest.raises(FetchError, match=r"answered with a web page instead of 'file\.whl'"):
        http().get(f"{web.url}/file.whl", limit=1000)
    assert http().get(f"{web.url}/file.whl", limit=1000, page=True)


def test_a_host_that_is_down_is_given_up_soon(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(FetchError, match=rf"'127\.0\.0\.1:{port}' is down"):
        fetch(f"http://127.0.0.1:{port}/x", tmp_path / "file", Http(NetworkSettings(environment={})))
    assert time.monotonic() - started < 30
    with pytest.raises(FetchError, match=r"there is no host 'no-such-host\.invalid'"):
        fetch("http://no-such-host.invalid/x", tmp_path / "file")


def test_silence_ends(web: Web, tmp_path: Path) -> None:
    web.misbehave["/file.whl"] = lambda handler, _: time.sleep(0.6) is None
    with pytest.raises(Transient, match="stopped sending"):
        fetch(f"{web.url}/file.whl", tmp_path / "file", http(Patience(attempts=1), read=0.2))


def test_a_trickle_ends(web: Web, tmp_path: Path) -> None:
    web.misbehave["/file.whl"] = lambda handler, _: handler.drip(len(DATA), 3) is None
    started = time.monotonic()
    with pytest.raises(Transient, match="sends only"):
        fetch(f"{web.url}/file.whl", tmp_path / "file", http(Patience(attempts=1, window=0.3, slowest=500)))
    assert time.monotonic() - started < 30
    with pytest.raises(Transient, match="sends only"):
        http(Patience(attempts=1, window=0.3)).get(f"{web.url}/file.whl", limit=1 << 20)


def test_a_download_stops_when_told(web: Web, tmp_path: Path) -> None:
    stop = threading.Event()
    with pytest.raises(Cancelled):
        http().download(
            [f"{web.url}/file.whl"],
            tmp_path / "file",
            sha256=SHA256,
            size=len(DATA),
            observe=lambda _: stop.set(),
            cancelled=stop,
        )


def test_answers_have_a_bound_packed_or_not(web: Web) -> None:
    import gzip

    web.files["/big"] = b"x" * 100_000
    with pytest.raises(FetchError, match="larger than 99999 bytes"):
        http().get(f"{web.url}/big", limit=99_999)
    assert http().get(f"{web.url}/big", limit=100_000) == b"x" * 100_000
    packed = gzip.compress(b"y" * 50_000_000)
    web.misbehave["/bomb"] = lambda handler, _: (
        handler.reply(200, packed, {"Content-Encoding": "gzip"}) is None
    )
    with pytest.raises(FetchError, match="larger than"):
        http().get(f"{web.url}/bomb", limit=1_000_000)
    assert len(http().get(f"{web.url}/bomb", limit=50_000_000)) == 50_000_000
    web.misbehave["/cut"] = lambda handler, _: (
        handler.reply(200, packed[:-20], {"Content-Encoding": "gzip"}) is None
    )
    with pytest.raises(Transient):
        http().get(f"{web.url}/cut", limit=50_000_000)


def test_credentials_go_to_their_host_and_no_further(web: Web, tmp_path: Path) -> None:
    web.login = ("me", "pass word:%")
    with pytest.raises(Refused, match="refused access") as caught:
        http().get(f"{web.url}/file.whl", limit=1 << 22)
    assert ".netrc" in str(caught.value.hint)
    url = web.with_login("me", "pass%20word%3A%25")
    assert http().get(f"{url}/file.whl", limit=1 << 22) == DATA
    with serving() as other:
        other.files["/there"] = b"there"
        web.misbehave["/away"] = lambda handler, _: (
            handler.reply(302, b"", {"Location": f"{other.url}/there"}) is None
        )
        assert http().get(f"{url}/away", limit=100) == b"there"
        assert "authorization" not in other.seen[0].headers
        asked: list[str] = []

        def credentials(address: str) -> tuple[str, str] | None:
            asked.append(address)
            return ("me", "pass word:%") if address.startswith(web.url) else None

        assert http(credentials=credentials).get(f"{web.url}/away", limit=100) == b"there"
        assert "authorization" not in other.seen[1].headers
        assert asked == [f"{web.url}/away"]  # for the other host there is nothing to look up


def test_errors_show_no_credentials(web: Web, tmp_path: Path) -> None:
    web.login = ("me", "right")
    for url in (
        web.with_login("me", "secretsecret"),
        "http://me:secretsecret@127.0.0.1:9",
        "http://me:secretsecret@x.invalid",
    ):
        with pytest.raises(FetchError) as caught:
            http().get(f"{url}/f?token=secretsecret#secretsecret", limit=100)
        assert "secretsecret" not in caught.value.message + (caught.value.hint or "")


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("file:///etc/passwd", "not on the web"),
        ("/circle", "redirects in a circle"),
        ("ftp://x/", "not on the web"),
    ],
)
def test_bad_redirects_are_refused(web: Web, location: str, message: str) -> None:
    web.misbehave["/circle"] = lambda handler, _: handler.reply(302, b"", {"Location": location}) is None
    with pytest.raises(FetchError, match=message):
        http().get(f"{web.url}/circle", limit=100)


def test_the_proxy_of_the_environment_is_used_but_for_no_proxy(web: Web) -> None:
    environment = {"http_proxy": web.url, "NO_PROXY": "direct.invalid"}
    web.misbehave["http://far.invalid/x"] = lambda handler, _: handler.reply(200, b"through") is None
    assert http(environment=environment).get("http://far.invalid/x", limit=100) == b"through"
    with pytest.raises(FetchError, match=r"there is no host 'direct\.invalid'"):
        http(environment=environment).get("http://direct.invalid/x", limit=100)
    with pytest.raises(FetchError, match=r"the proxy for 'far\.invalid' cannot be reached"):
        http(environment={"HTTP_PROXY": "http://127.0.0.1:9"}).get("http://far.invalid/x", limit=100)


def test_local_files_are_read_like_remote_ones(tmp_path: Path) -> None:
    source = tmp_path / "a file+1%.whl"
    source.write_bytes(DATA)
    target = tmp_path / "target"
    target.write_bytes(DATA[:5])
    fetch(source.as_uri(), target)
    assert target.read_bytes() == DATA
    assert http().size(source.as_uri()) == len(DATA)
    with pytest.raises(Absent, match="there is no file"):
        fetch((tmp_path / "none").as_uri(), tmp_path / "t2")
    with pytest.raises(FetchError, match="another machine"):
        fetch("file://server/share/x.whl", tmp_path / "t2")


def test_a_full_disk_is_said(web: Web, tmp_path: Path) -> None:
    import resource

    # The kernel refuses a write over this limit just as a full disk does.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, limits[1]))
    try:
        with pytest.raises(StoreError, match="is full: 'file' does not fit") as caught:
            fetch(f"{web.url}/file.whl", tmp_path / "file")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "corten prune" in str(caught.value.hint)
    fetch(f"{web.url}/file.whl", tmp_path / "file")  # with room again it goes on where it stopped
    assert web.seen[-1].headers["range"].startswith("bytes=")


def test_a_device_is_no_target(web: Web) -> None:
    with pytest.raises(StoreError, match="not a file"):
        fetch(f"{web.url}/file.whl", Path("/dev/full"))


def test_a_link_in_place_of_the_target_is_not_followed(web: Web, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "file").symlink_to(tmp_path / "victim")
    with pytest.raises(StoreError):
        fetch(f"{web.url}/file.whl", tmp_path / "file")
    assert (tmp_path / "victim").read_bytes() == b"mine"


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    import tracemalloc

    source = tmp_path / "large"
    with source.open("wb") as file:
        file.truncate(300 << 20)
    with source.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    tracemalloc.start()
    http().download([source.as_uri()], tmp_path / "copy", sha256=sha256, size=300 << 20, observe=ignore)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_the_size_of_a_file_is_asked_without_fetching_it(web: Web) -> None:
    assert http().size(f"{web.url}/file.whl") == len(DATA)
    assert [item.method for item in web.seen] == ["HEAD"]
    web.lengths = False
    assert http().size(f"{web.url}/file.whl") is None
