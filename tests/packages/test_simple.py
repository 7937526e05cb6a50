"""Index pages: what they list, and that nothing in them does harm."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corten.errors import FetchError
from corten.packages.simple import Listed, parse_page

BASE = "https://index.corp/simple/alpha/"


def test_html_links_with_hashes() -> None:
    page = (
        f'<!DOCTYPE html><html><body><a href="../../f/alpha-1%2Bcpu-py3-none-any.whl#sha256={"A" * 64}">x</a>'
        '<a data-yanked="bad" href="https://cdn/alpha-2.whl#md5=00">y</a><a name="z">z</a></body></html>'
    )
    assert parse_page(page.encode(), BASE) == [
        Listed(
            "alpha-1+cpu-py3-none-any.whl", "https://index.corp/f/alpha-1%2Bcpu-py3-none-any.whl", "a" * 64
        ),
        Listed("alpha-2.whl", "https://cdn/alpha-2.whl", None, None, True),
    ]


def test_a_base_element_counts() -> None:
    page = b'<html><head><base href="https://cdn/x/"></head><a href="alpha-1.whl">x</a>'
    assert parse_page(page, BASE)[0].url == "https://cdn/x/alpha-1.whl"


def test_json_with_sizes() -> None:
    document = {
        "files": [
            {"filename": "a-1.whl", "url": "/f/a-1.whl", "hashes": {"sha256": "b" * 64}, "size": 7},
            {
                "filename": "a-2.whl",
                "url": "a-2.whl",
                "hashes": {"sha256": "nonsense"},
                "size": -1,
                "yanked": "why",
            },
            {"filename": "a-3.whl"},
            "a-4.whl",
        ]
    }
    assert parse_page(json.dumps(document).encode(), BASE) == [
        Listed("a-1.whl", "https://index.corp/f/a-1.whl", "b" * 64, 7),
        Listed("a-2.whl", "https://index.corp/simple/alpha/a-2.whl", None, None, True),
    ]


@pytest.mark.parametrize("data", [b"{", b'{"files": 3}', b'{"nothing": []}', b'{"files": [' + b"[" * 100_000])
def test_json_that_is_no_index(data: bytes) -> None:
    with pytest.raises(FetchError, match=r"'index\.corp' answered with something that is not an index"):
        parse_page(data, BASE)


@pytest.mark.parametrize(
    "href", ["file:///etc/passwd", "ftp://h/a.whl", "javascript:1", "data:,a.whl", "//[::1/a.whl", "x/"]
)
def test_links_to_elsewhere_are_left_out(href: str) -> None:
    assert parse_page(f'<a href="{href}">x</a>'.encode(), BASE) == []


def test_a_local_page_may_link_to_local_files() -> None:
    assert (
        parse_page(b'<a href="a-1.whl">x</a>', "file:///srv/simple/a/")[0].url
        == "file:///srv/simple/a/a-1.whl"
    )


@example(b"<![\0")
@given(st.binary() | st.text().map(str.encode).map(lambda data: b"<a href='" + data + b"'>"))
def test_any_bytes_are_a_page_or_an_error(data: bytes) -> None:
    try:
        listed = parse_page(data, BASE)
    except FetchError:
        return
    assert all(item.url.startswith(("http://", "https://")) for item in listed)
    assert all("/" not in item.file for item in listed)
