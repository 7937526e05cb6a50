"""Headers with a grammar of their own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.registry.headers import (
    Challenge,
    content_range_start,
    length,
    next_link,
    parse_challenges,
    range_end,
)

BEARER = Challenge(
    "bearer", {"realm": "https://a.example/token?x=1,2", "service": "s", "scope": "repository:a/b:pull,push"}
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ('Basic realm="the \\"tests\\", all"', (Challenge("basic", {"realm": 'the "tests", all'}),)),
        (
            'Bearer realm="https://a.example/token?x=1,2",service="s",scope="repository:a/b:pull,push"',
            (BEARER,),
        ),
        (
            'BEARER Realm = "https://a.example/token?x=1,2" , service=s, scope="repository:a/b:pull,push", basic realm="x"',
            (BEARER, Challenge("basic", {"realm": "x"})),
        ),
        ("Negotiate, Basic realm=x", (Challenge("negotiate"), Challenge("basic", {"realm": "x"}))),
        ("Negotiate YWJj==, Basic", (Challenge("negotiate"), Challenge("basic"))),
        (
            "Bearer realm=https://a.example/token",
            (Challenge("bearer", {"realm": "https://a.example/token"}),),
        ),
        ('Bearer realm="never ends', (Challenge("bearer"),)),
        (", ,Basic", (Challenge("basic"),)),
    ],
)
def test_challenges(text: str, expected: tuple[Challenge, ...]) -> None:
    assert parse_challenges(text) == expected


TOKEN = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,10}", fullmatch=True)
PARAMETERS = st.dictionaries(
    TOKEN.map(str.lower), st.text(st.characters(min_codepoint=32, max_codepoint=255)), min_size=1
)
CHALLENGES = st.lists(st.builds(Challenge, TOKEN.map(str.lower), PARAMETERS), max_size=3).map(tuple)


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@given(CHALLENGES, st.sampled_from([",", ", ", " ,  "]))
def test_challenges_that_are_written_are_read(challenges: tuple[Challenge, ...], comma: str) -> None:
    text = comma.join(
        f"{item.scheme} " + comma.join(f"{name}={quoted(value)}" for name, value in item.parameters.items())
        for item in challenges
    )
    assert parse_challenges(text) == challenges


@given(st.text(st.sampled_from('Ba="\\, \t<>;/:=~x1')))
def test_nothing_upsets_the_parsers(text: str) -> None:
    parse_challenges(text)
    next_link(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ('</v2/a/tags/list?n=1&last=b>; rel="next"', "/v2/a/tags/list?n=1&last=b"),
        ("<x>; rel=next", "x"),
        ('<a>; rel="prev", <b,c>; title="; rel=next"; rel="last next"', "b,c"),
        ('<a>; rel="prev"', None),
        ("nonsense; rel=next", None),
    ],
)
def test_links(text: str | None, expected: str | None) -> None:
    assert next_link(text) == expected


@given(st.from_regex(r"[A-Za-z0-9/?&=.,;:%-]{1,40}", fullmatch=True), TOKEN)
def test_links_that_are_written_are_read(target: str, other: str) -> None:
    assert next_link(f'<first>; rel="prev", <{target}>; {other}x="1"; rel="next"') == target


def test_ranges() -> None:
    assert [range_end(text) for text in ("0-99", "bytes=0-99", "0-0", "0--1", None, "5-9", "0-x")] == [
        100,
        100,
        0,
        0,
        None,
        None,
        None,
    ]
    assert content_range_start("bytes 100-199/200") == 100
    assert content_range_start("bytes */200") is None
    assert [length(text) for text in ("5", "-5", "x", None, "٣")] == [5, None, None, None, None]
