"""The fault proxy does what its rules say, to a real registry's traffic, and tells what went through."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException

import pytest

from support.faults import (
    Answer,
    Corrupt,
    CutRequest,
    CutResponse,
    Delay,
    Drop,
    FaultProxy,
    Garbage,
    Lose,
    Stall,
    Throttle,
)

_BLOB = bytes(range(256)) * 1024
_DIGEST = "sha256:" + hashlib.sha256(_BLOB).hexdigest()
_PATH = f"/v2/some/thing/blobs/{_DIGEST}"


@pytest.fixture
def proxy(registry: str) -> Iterator[FaultProxy]:
    with FaultProxy(registry) as proxy:
        if _ask(registry, "HEAD", _PATH)[0] != 200:
            assert _push(proxy) == 201
        proxy.clear()
        yield proxy


def _ask(
    address: str, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection(address, timeout=20)
    try:
        connection.request(method, path, body, headers)  # type: ignore[arg-type]
        answer = connection.getresponse()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def _push(proxy: FaultProxy, *, pieces: bool = False) -> int:
    _, headers, _ = _ask(proxy.address, "POST", "/v2/some/thing/blobs/uploads/")
    body = iter([_BLOB[:100_000], _BLOB[100_000:]]) if pieces else _BLOB
    status, headers, _ = _ask(
        proxy.address,
        "PATCH",
        headers["location"],
        body,
        **{"Content-Type": "application/octet-stream"},
    )
    if status != 202:
        return status
    return _ask(proxy.address, "PUT", f"{headers['location']}&digest={_DIGEST}")[0]


def test_without_rules_everything_passes_and_is_counted(proxy: FaultProxy, registry: str) -> None:
    assert _push(proxy) == 201
    assert _push(proxy, pieces=True) == 201
    assert _ask(proxy.address, "GET", _PATH)[2] == _BLOB
    assert _ask(proxy.address, "GET", _PATH, Range="bytes=5-9")[2] == _BLOB[5:10]
    status, headers, body = _ask(proxy.address, "HEAD", _PATH)
    assert (status, headers["content-length"], body) == (200, str(len(_BLOB)), b"")
    assert [item.sent for item in proxy.asked("PATCH", "/uploads/")] == [len(_BLOB)] * 2
    assert [item.received for item in proxy.asked("GET|HEAD", _DIGEST)] == [len(_BLOB), 5, 0]
    assert [item.status for item in proxy.log] == [202, 202, 201] * 2 + [200, 206, 200]
    assert proxy.sent() == 2 * len(_BLOB)
    assert proxy.received("GET") == len(_BLOB) + 5
    assert proxy.log[7].headers["range"] == "bytes=5-9"


def test_one_connection_serves_many_requests(proxy: FaultProxy) -> None:
    connection = HTTPConnection(proxy.address, timeout=20)
    for _ in range(3):
        connection.request("GET", _PATH)
        assert connection.getresponse().read() == _BLOB
    connection.close()
    assert proxy.most_at_once == 1


def test_rules_count(proxy: FaultProxy) -> None:
    proxy.on("GET", "/blobs/", Answer(503), nth=2, times=2)
    assert [_ask(proxy.address, "GET", _PATH)[0] for _ in range(5)] == [200, 503, 503, 200, 200]
    proxy.clear()
    proxy.on("*", "sha256:", Answer(429, {"Retry-After": "7"}, b"slow"), times=None)
    for _ in range(2):
        status, headers, body = _ask(proxy.address, "GET", _PATH)
        assert (status, headers["retry-after"], body) == (429, "7", b"slow")
    assert _ask(proxy.address, "GET", "/v2/")[0] == 200


def test_a_response_is_cut_and_damaged_where_it_should(proxy: FaultProxy) -> None:
    proxy.on("GET", "", CutResponse(1000))
    with pytest.raises(HTTPException) as cut:
        _ask(proxy.address, "GET", _PATH)
    assert getattr(cut.value, "partial", b"") == _BLOB[:1000]
    proxy.on("GET", "", Corrupt(200_000), nth=1)
    damaged = _ask(proxy.address, "GET", _PATH)[2]
    assert [at for at, (one, two) in enumerate(zip(damaged, _BLOB, strict=True)) if one != two] == [200_000]
    assert _ask(proxy.address, "GET", _PATH)[2] == _BLOB


def test_a_request_is_cut_where_it_should(proxy: FaultProxy) -> None:
    proxy.on("PATCH", "", CutRequest(70_000))
    with pytest.raises((OSError, HTTPException)):
        _push(proxy)
    assert proxy.asked("PATCH")[0].status == 0
    assert 70_000 <= proxy.asked("PATCH")[0].sent < len(_BLOB)


def test_a_damaged_upload_is_refused_by_the_registry(proxy: FaultProxy) -> None:
    proxy.on("PATCH", "", Corrupt(7, sent=True))
    assert _push(proxy) == 400
    assert _push(proxy) == 201


def test_answers_get_lost_or_make_no_sense(proxy: FaultProxy, registry: str) -> None:
    proxy.on("POST", "", Drop())
    proxy.on("POST", "", Garbage(), nth=2)
    proxy.on("PUT", "", Lose())
    for _ in range(2):
        with pytest.raises((OSError, HTTPException)):
            _push(proxy)
    with pytest.raises((OSError, HTTPException)):
        _push(proxy)
    assert [item.status for item in proxy.asked("POST")] == [0, 0, 202]
    assert _ask(registry, "HEAD", _PATH)[0] == 200


def test_an_early_answer_arrives(proxy: FaultProxy) -> None:
    proxy.on("PATCH", "", Answer(413, early=True))
    _, headers, _ = _ask(proxy.address, "POST", "/v2/some/thing/blobs/uploads/")
    connection = HTTPConnection(proxy.address, timeout=20)
    connection.putrequest("PATCH", headers["location"])
    connection.putheader("Content-Length", str(len(_BLOB)))
    connection.endheaders()
    connection.send(_BLOB[:1000])
    assert connection.getresponse().status == 413
    connection.close()


def test_slow_is_slow(proxy: FaultProxy) -> None:
    proxy.on("GET", "", Delay(0.2))
    proxy.on("GET", "", Stall(10, 0.2), nth=2)
    proxy.on("GET", "", Throttle(len(_BLOB) * 5), nth=3)
    for _ in range(3):
        started = time.monotonic()
        assert _ask(proxy.address, "GET", _PATH)[2] == _BLOB
        assert time.monotonic() - started > 0.19
