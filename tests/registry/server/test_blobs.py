"""Blobs: every way to push, pull and delete them (distribution-spec 1.1, end-2, end-4 to end-6, end-10, end-11, end-13)."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from support.embedded import EMPTY, Client, digest_of, serving

DATA = bytes(range(256)) * 400
DIGEST = digest_of(DATA)


def test_the_base_says_what_it_is(client: Client) -> None:
    said = client("GET", "/v2/")
    assert (said.status, said.headers["docker-distribution-api-version"]) == (200, "registry/2.0")
    assert client("HEAD", "/v2/").status == 200


def test_in_one_request(client: Client) -> None:
    said = client("POST", f"/v2/team/a/blobs/uploads/?digest={DIGEST}", DATA)
    assert (said.status, said.headers["location"]) == (201, f"/v2/team/a/blobs/{DIGEST}")
    assert said.headers["docker-content-digest"] == DIGEST
    found = client("GET", said.headers["location"])
    assert (found.status, found.body) == (200, DATA)
    assert found.headers["docker-content-digest"] == DIGEST
    head = client("HEAD", said.headers["location"])
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(DATA)), b"")


def test_post_then_put(client: Client) -> None:
    place = client.begin("a")
    said = client("PUT", f"{place}?digest={DIGEST}", DATA)
    assert (said.status, said.headers["location"]) == (201, f"/v2/a/blobs/{DIGEST}")
    assert client("GET", f"/v2/a/blobs/{DIGEST}").body == DATA
    assert client("GET", place).code == "BLOB_UPLOAD_UNKNOWN"


def test_streamed_in_chunked_coding(client: Client) -> None:
    place = client.begin("a")
    pieces = [DATA[start : start + 7001] for start in range(0, len(DATA), 7001)]
    said = client("PATCH", place, iter(pieces), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    assert (said.status, said.headers["range"]) == (202, f"0-{len(DATA) - 1}")
    assert client("PUT", f"{said.headers['location']}?digest={DIGEST}").status == 201
    assert client("GET", f"/v2/a/blobs/{DIGEST}").body == DATA


def test_the_empty_blob(client: Client) -> None:
    assert client("PUT", f"{client.begin('a')}?digest={EMPTY}", b"").status == 201
    assert client("GET", f"/v2/a/blobs/{EMPTY}").body == b""


def test_in_chunks_that_must_come_in_order(client: Client) -> None:
    place = client.begin("a")
    first, second, last = DATA[:1000], DATA[1000:5000], DATA[5000:]
    early = client("PATCH", place, second, {"Content-Range": "1000-4999"})
    assert (early.status, early.headers["range"], early.headers["location"]) == (416, "0-0", place)
    said = client("PATCH", place, first, {"Content-Range": "0-999"})
    assert (said.status, said.headers["range"]) == (202, "0-999")
    again = client("PATCH", place, first, {"Content-Range": "0-999"})
    assert (again.status, again.headers["range"]) == (416, "0-999")
    state = client("GET", place)
    assert (state.status, state.headers["range"], state.body) == (204, "0-999", b"")
    assert client("PATCH", state.headers["location"], second, {"Content-Range": "1000-4999"}).status == 202
    late = client("PUT", f"{place}?digest={DIGEST}", last, {"Content-Range": f"0-{len(last) - 1}"})
    assert late.status == 416
    closing = {"Content-Range": f"5000-{len(DATA) - 1}"}
    assert client("PUT", f"{place}?digest={DIGEST}", last, closing).status == 201
    assert client("GET", f"/v2/a/blobs/{DIGEST}").body == DATA


@pytest.mark.parametrize("value", ["0-5", "5-0", "x-y", "0-", "-5", "0-99999999999999999999999"])
def test_ranges_that_do_not_fit_the_length(client: Client, value: str) -> None:
    said = client("PATCH", client.begin("a"), b"1234", {"Content-Range": value})
    assert said.status in (400, 416)
    assert said.code in ("SIZE_INVALID", "BLOB_UPLOAD_INVALID")


def test_a_wrong_digest_leaves_nothing(client: Client) -> None:
    other = digest_of(b"other")
    place = client.begin("a")
    assert client("PUT", f"{place}?digest={other}", DATA).code == "DIGEST_INVALID"
    assert client("GET", place).status == 404
    assert client("POST", f"/v2/a/blobs/uploads/?digest={other}", DATA).code == "DIGEST_INVALID"
    assert client("HEAD", f"/v2/a/blobs/{other}").status == 404
    assert left_over(client.root) == []


def left_over(root: Path) -> list[Path]:
    """Files of bytes that are no blob."""
    return list(root.rglob("_uploads/*"))


def test_other_algorithms_are_told_so(client: Client) -> None:
    other = "sha384:" + "0" * 96
    for said in (
        client("GET", f"/v2/a/blobs/{other}"),
        client("POST", f"/v2/a/blobs/uploads/?digest={other}", DATA),
        client("PUT", f"{client.begin('a')}?digest={other}", DATA),
        client("POST", "/v2/a/blobs/uploads/?digest-algorithm=sha384"),
    ):
        assert (said.status, said.code) == (400, "DIGEST_INVALID")
        assert "sha256" in said.json["errors"][0]["message"]


def test_cancelled(client: Client) -> None:
    place = client.begin("a")
    client("PATCH", place, DATA)
    assert client("DELETE", place).status == 204
    assert client("GET", place).code == "BLOB_UPLOAD_UNKNOWN"
    assert client("PATCH", place, DATA).code == "BLOB_UPLOAD_UNKNOWN"
    assert left_over(client.root) == []


def test_an_upload_belongs_to_its_repository(client: Client) -> None:
    place = client.begin("a").replace("/v2/a/", "/v2/b/")
    assert client("PATCH", place, DATA).code == "BLOB_UPLOAD_UNKNOWN"
    assert client("PUT", f"{place}?digest={DIGEST}", DATA).code == "BLOB_UPLOAD_UNKNOWN"


def test_a_put_without_a_digest(client: Client) -> None:
    assert client("PUT", client.begin("a"), DATA).code == "DIGEST_INVALID"


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        ("bytes=102300-", 102300, len(DATA) - 1),
        ("bytes=-5", len(DATA) - 5, len(DATA) - 1),
        ("bytes=5-99999999", 5, len(DATA) - 1),
        ("bytes=-99999999", 0, len(DATA) - 1),
    ],
)
def test_parts(client: Client, asked: str, first: int, last: int) -> None:
    client.push_blob("a", DATA)
    said = client("GET", f"/v2/a/blobs/{DIGEST}", headers={"Range": asked})
    assert (said.status, said.body) == (206, DATA[first : last + 1])
    assert said.headers["content-range"] == f"bytes {first}-{last}/{len(DATA)}"


def test_parts_that_there_are_not(client: Client) -> None:
    client.push_blob("a", DATA)
    place = f"/v2/a/blobs/{DIGEST}"
    for asked in (f"bytes={len(DATA)}-", "bytes=99999999-99999999", "bytes=-0", "bytes=5-2"):
        said = client("GET", place, headers={"Range": asked})
        assert (said.status, said.headers["content-range"]) == (416, f"bytes */{len(DATA)}")
    for asked in ("bytes=1-2,5-6", "items=0-1", "bytes=x-y", "bytes=-"):
        assert client("GET", place, headers={"Range": asked}).status == 200
    mine, other = {"If-Range": f'"{DIGEST}"', "Range": "bytes=0-9"}, {"If-Range": '"x"', "Range": "bytes=0-9"}
    assert client("GET", place, headers=mine).status == 206
    assert client("GET", place, headers=other).status == 200
    assert client("GET", place, headers={"If-None-Match": f'"{DIGEST}"'}).status == 304


def test_a_blob_is_only_where_it_was_pushed(client: Client) -> None:
    client.push_blob("private", DATA)
    assert client("HEAD", f"/v2/public/blobs/{DIGEST}").status == 404
    assert client("GET", f"/v2/public/blobs/{DIGEST}").code == "BLOB_UNKNOWN"
    assert client("GET", f"/v2/private/extra/blobs/{DIGEST}").status == 404


def test_mounting(client: Client) -> None:
    client.push_blob("a", DATA)
    said = client("POST", f"/v2/b/blobs/uploads/?mount={DIGEST}&from=a")
    assert (said.status, said.headers["location"]) == (201, f"/v2/b/blobs/{DIGEST}")
    assert client("GET", f"/v2/b/blobs/{DIGEST}").body == DATA
    gone = client.push_blob("gone", b"gone")
    client("DELETE", f"/v2/gone/blobs/{gone}")
    for query in (
        f"mount={DIGEST}&from=elsewhere",
        f"mount={digest_of(b'x')}&from=a",
        f"mount={digest_of(b'x')}",
        f"mount={gone}",
    ):
        said = client("POST", f"/v2/c/blobs/uploads/?{query}")
        assert (said.status, said.headers["location"][:22]) == (
            202,
            "/v2/c/blobs/uploads/" + said.headers["location"][20:22],
        )
    assert client("HEAD", f"/v2/c/blobs/{DIGEST}").status == 404
    assert client("POST", f"/v2/c/blobs/uploads/?mount={DIGEST}").status == 201, "whichever repository has it"
    assert client("GET", f"/v2/c/blobs/{DIGEST}").body == DATA
    assert client("POST", f"/v2/c/blobs/uploads/?mount={DIGEST}&from=../a").code == "NAME_INVALID"


def test_deleting_is_for_one_repository(client: Client) -> None:
    client.push_blob("a", DATA)
    client("POST", f"/v2/b/blobs/uploads/?mount={DIGEST}&from=a")
    assert client("DELETE", f"/v2/a/blobs/{DIGEST}").status == 202
    assert client("GET", f"/v2/a/blobs/{DIGEST}").code == "BLOB_UNKNOWN"
    assert client("DELETE", f"/v2/a/blobs/{DIGEST}").code == "BLOB_UNKNOWN"
    assert client("GET", f"/v2/b/blobs/{DIGEST}").body == DATA


def test_an_upload_outlives_its_server(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        place = first.begin("a")
        first("PATCH", place, DATA[:5000])
    with serving(tmp_path) as second:
        assert second("GET", place).headers["range"] == "0-4999"
        assert second("PATCH", place, DATA[5000:], {"Content-Range": f"5000-{len(DATA) - 1}"}).status == 202
        assert second("PUT", f"{place}?digest={DIGEST}").status == 201
        assert second("GET", f"/v2/a/blobs/{DIGEST}").body == DATA


def test_abandoned_uploads_are_swept_after_a_day(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        old, new = first.begin("a"), first.begin("a")
        first("PATCH", old, DATA)
    before = time.time() - 25 * 3600
    os.utime(tmp_path / "repositories/a/_uploads" / old.rpartition("/")[2], (before, before))
    with serving(tmp_path) as second:
        deadline = time.monotonic() + 30
        while second("GET", old).status != 404 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert second("GET", old).status == 404
        assert second("GET", new).status == 204


def test_damage_heals_when_it_is_pushed_again(client: Client) -> None:
    client.push_blob("a", DATA)
    (client.root / "blobs/sha256" / DIGEST[7:]).write_bytes(b"damaged")
    client.push_blob("b", DATA)
    assert client("GET", f"/v2/a/blobs/{DIGEST}").body == DATA


def test_many_push_at_once(client: Client) -> None:
    """The same blob and different ones, from eight connections."""
    own = [os.urandom(300_000) for _ in range(8)]
    wrong: list[object] = []

    def push(number: int) -> None:
        mine = client.another()
        try:
            for _ in range(5):
                for data in (DATA, own[number]):
                    place = mine.begin("a")
                    said = mine("PUT", f"{place}?digest={digest_of(data)}", data)
                    if said.status != 201 or mine("GET", said.headers["location"]).body != data:
                        wrong.append(said)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=push, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert left_over(client.root) == []
    assert {path.name for path in (client.root / "blobs/sha256").iterdir()} == {
        digest_of(data)[7:] for data in (DATA, *own)
    }
