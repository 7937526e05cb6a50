"""What a request may look like, and what every answer carries."""

from __future__ import annotations

import concurrent.futures
import gzip
import http.client
import json
import os
import re
import time
import zlib
from pathlib import Path

import pytest

ECHO = "def predict(text: str = '') -> int: return len(text)"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_ids_are_taken_over_or_made(start):
    server = start(ECHO)
    assert server.predict({}, headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    traced = server.predict({}, headers={"traceparent": TRACE})
    assert traced.headers["x-request-id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert traced.headers["traceparent"] == TRACE
    made = {server.request("GET", "/livez").headers["x-request-id"] for _ in range(3)}
    assert len(made) == 3
    bad = server.predict({}, headers={"x-request-id": "a b", "traceparent": "00-zz"})
    assert re.fullmatch(r"[0-9a-fx]+", bad.headers["x-request-id"])
    assert "traceparent" not in bad.headers
    assert server.request("GET", "/nowhere", headers={"x-request-id": "m"}).headers["x-request-id"] == "m"


def test_the_predictor_knows_the_id_of_its_request(start):
    server = start("""
        from corten_serve.worker.current import request_id

        def predict() -> str: return request_id()
    """)
    assert server.predict({}, headers={"x-request-id": "abc"}).json == "abc"


@pytest.mark.parametrize(
    ("text", "status"), [("1", 200), ("0.5", 200), ("0", 400), ("-1", 400), ("soon", 400), ("nan", 400)]
)
def test_a_time_limit_is_a_number_of_seconds(start, text, status):
    server = start(ECHO)
    assert server.predict({}, headers={"x-request-timeout": text}).status == status


def test_bodies_may_come_packed(start):
    server = start(ECHO, CORTEN_BODY_LIMIT="2MB")
    headers = {"content-encoding": "gzip"}
    plain = json.dumps({"text": "x" * 300_000}).encode()
    assert server.predict(gzip.compress(plain), headers=headers).json == 300_000
    two = gzip.compress(plain[:1000]) + gzip.compress(plain[1000:])
    assert server.predict(two, headers=headers).json == 300_000
    assert server.predict(b'{"text": "ab"}', headers={"content-encoding": "identity"}).json == 2
    assert server.predict(gzip.compress(plain)[:-9], headers=headers).status == 400
    assert server.predict(b"no gzip", headers=headers).status == 400
    headers = {"content-encoding": "deflate"}
    bare = zlib.compressobj(wbits=-15)
    for packed in (zlib.compress(plain), bare.compress(plain) + bare.flush()):
        assert server.predict(packed, headers=headers).json == 300_000
        assert server.predict(packed[:-9], headers=headers).status == 400
        assert server.predict(packed + b"more", headers=headers).status == 400
    for broken in (b"", b"x", b"no deflate"):
        assert server.predict(broken, headers=headers).status == 400
    other = server.predict(b"x", headers={"content-encoding": "br"})
    assert (other.status, "gzip" in other.json["error"]) == (415, True)


def test_a_decompression_bomb_is_refused_at_the_limit_of_what_it_unpacks_to(start):
    server = start(ECHO, CORTEN_BODY_LIMIT="10MB")
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(300)) + packer.flush()
    assert len(bomb) < 400_000
    before = memory(server.pid)
    answer = server.predict(bomb, headers={"content-encoding": "gzip"})
    assert answer.status == 413
    assert memory(server.pid) - before < 40 << 20


def test_answers_are_packed_for_those_who_ask(start):
    server = start("def predict(n: int) -> list[int]: return list(range(n))")
    headers = {"accept-encoding": "gzip, deflate"}
    answer = server.predict({"n": 5000}, headers=headers)
    assert answer.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(answer.body)) == list(range(5000))
    assert "content-encoding" not in server.predict({"n": 5}, headers=headers).headers
    assert server.predict({"n": 5000}).json == list(range(5000))
    for accepts in ("gzip;q=0", "gzip; q=0", "gzip ;q=0.000, *", "br", "deflate, *;q=0", ""):
        refused = server.predict({"n": 5000}, headers={"accept-encoding": accepts})
        assert "content-encoding" not in refused.headers, accepts
        assert refused.headers["vary"] == "accept-encoding", "caches have to know"
    for accepts in ("GZIP", "br;q=1, gzip;q=0.5", "*", "gzip; q=1.0"):
        assert (
            server.predict({"n": 5000}, headers={"accept-encoding": accepts}).headers["content-encoding"]
            == "gzip"
        )


def test_pages_of_other_origins_may_call_only_where_it_was_said(start):
    server = start(ECHO, CORTEN_CORS="https://app.example.com, https://b.example.com")
    asked = {"origin": "https://app.example.com", "access-control-request-method": "POST"}
    allowed = server.request(
        "OPTIONS", "/predict", headers={**asked, "access-control-request-headers": "x-a"}
    )
    assert allowed.status == 204
    assert allowed.headers["access-control-allow-origin"] == "https://app.example.com"
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert allowed.headers["access-control-allow-headers"] == "x-a"
    answer = server.predict({}, headers={"origin": "https://b.example.com"})
    assert answer.headers["access-control-allow-origin"] == "https://b.example.com"
    assert answer.headers["vary"] == "origin"
    wrong = server.predict({}, headers={"origin": "https://evil.example.com"})
    assert "access-control-allow-origin" not in wrong.headers
    preflight = server.request("OPTIONS", "/predict", headers={**asked, "origin": "https://evil.example.com"})
    assert "access-control-allow-origin" not in preflight.headers


def test_everybodys_pages_may_call_with_a_star_and_nobodys_without(start):
    anybody = start(ECHO, CORTEN_CORS="*")
    answer = anybody.predict({"text": 1}, headers={"origin": "https://x.example.com"})
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (422, "*")


def test_options_without_origins_names_the_methods(start):
    server = start(ECHO)
    answer = server.request("OPTIONS", "/predict", headers={"origin": "https://x.example.com"})
    assert (answer.status, answer.headers["allow"]) == (204, "POST")
    assert "access-control-allow-origin" not in answer.headers
    assert server.request("OPTIONS", "/nowhere").status == 404


def test_head_is_get_without_a_body(start):
    server = start(ECHO)
    for path in ("/", "/livez", "/openapi.json", "/status"):
        answer = server.request("HEAD", path)
        assert (answer.status, answer.body) == (200, b"")
    wrong = server.request("HEAD", "/predict")
    assert (wrong.status, wrong.headers["allow"], wrong.body) == (405, "POST", b"")


def test_large_bodies_wait_in_files_that_are_gone_afterwards(start, tmp_path):
    spool = tmp_path / "spool"
    spool.mkdir()
    server = start(ECHO, CORTEN_SPOOL=str(spool))
    assert server.predict({"text": "x" * 30_000_000}).json == 30_000_000
    (folder,) = spool.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert not list(folder.iterdir())
    before = memory(server.pid)
    assert server.predict({"text": "x" * 60_000_000}).json == 60_000_000
    assert memory(server.pid) - before < 12 << 20, "the body is not in the server's memory"
    packed = gzip.compress(json.dumps({"text": "y" * 20_000_000}).encode(), 1)
    assert server.predict(packed, headers={"content-encoding": "gzip"}).json == 20_000_000
    # One that breaks off in the middle leaves nothing behind either.
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", "/predict")
    connection.putheader("content-length", "50000000")
    connection.endheaders()
    connection.send(b"x" * 20_000_000)
    connection.close()
    end = time.monotonic() + 60
    while list(folder.iterdir()) and time.monotonic() < end:
        time.sleep(0.02)
    assert not list(folder.iterdir())
    assert server.stop() == 0
    assert not folder.exists()


def test_a_place_for_large_bodies_that_is_none_is_said(start):
    server = start(ECHO, CORTEN_SPOOL="/proc/nowhere")
    answer = server.predict({"text": "x" * 3_000_000})
    assert answer.status == 503
    assert "the body cannot be kept: no such file" in answer.json["error"]
    assert server.predict({"text": "x"}).json == 1


def test_the_bytes_that_wait_are_bounded(start):
    server = start(
        "import time\ndef predict(text: str) -> int: time.sleep(0.5); return len(text)",
        CORTEN_QUEUE_BYTES="5MB",
        CORTEN_BODY_LIMIT="4MB",
    )
    with concurrent.futures.ThreadPoolExecutor(6) as threads:
        answers = [threads.submit(server.predict, {"text": "x" * 1_500_000}) for _ in range(6)]
        statuses = [answer.result().status for answer in answers]
    assert sorted(set(statuses)) == [200, 503]
    # Three fit. Bodies that arrive at the same time may each find the others' first halves in the way.
    assert 1 <= statuses.count(200) <= 3
    assert server.predict({"text": "x" * 1_500_000}).status == 200


def test_status_says_what_the_server_is_doing(start):
    server = start(ECHO, CORTEN_NAME="lengths", CORTEN_VERSION="3")
    server.predict({"text": "ab"})
    server.predict({"text": 1})
    value = server.request("GET", "/status").json
    assert (value["name"], value["version"], value["state"], value["draining"]) == (
        "lengths",
        "3",
        "ready",
        False,
    )
    (model,) = value["models"]
    assert model["queue"] == {"waiting": 0, "handed": 0, "bound": 1000}
    (worker,) = model["workers"]
    assert worker["pid"] in server.children()
    assert worker["rss"] > 1 << 20
    assert (worker["state"], worker["busy"], worker["restarts"]) == ("ready", 0, 0)
    assert [entry["status"] for entry in model["recent"]] == [200, 422]
    assert model["latency"]["count"] == 2
    assert model["latency"]["p50"] > 0


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
