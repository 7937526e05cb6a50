"""Regular expressions that are compiled when they are first asked."""

from __future__ import annotations

import re

import pytest

from corten.lazy import regex


def test_it_answers_as_a_compiled_one() -> None:
    word = regex(r"(\w+)-(?P<number>\d+)", re.IGNORECASE)
    found = word.fullmatch("abc-12")
    assert found is not None
    assert (found[1], found["number"]) == ("abc", "12")
    assert word.findall("a-1 b-2") == [("a", "1"), ("b", "2")]
    assert word.sub("x", "a-1 b") == "x b"
    assert word.groups == 2
    assert regex(rb"a+").match(b"aab") is not None


def test_a_wrong_one_fails_when_it_is_asked() -> None:
    wrong = regex("(")
    with pytest.raises(re.error):
        wrong.match("")
