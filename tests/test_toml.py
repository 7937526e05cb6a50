"""TOML of others: what `tomllib` says, in bounded time."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.toml import parse

LONG = "a" + ".a" * 200
PIECES = [
    *('"', "'", '"""', "'''", '""', "''", "\\", '\\"', "\\\\", "#", "\n", " ", ".", "=", "[", "]", "{", "}", ",", "a", "1"),
    *(LONG, ".a" * 20, '."a"' * 20, f"\n{LONG} = 1\n", f'\nb = "{LONG}"\n', "\nc = 1\n", "\n[d]\n"),
]  # fmt: skip


def depth(value: object) -> int:
    """How many tables lie in each other at most."""
    if not isinstance(value, dict):
        return 0
    return 1 + max(map(depth, value.values()), default=0)


@pytest.mark.parametrize(
    "text",
    [
        LONG + " = 1",
        f"[{LONG}]",
        f"[[{LONG}]]",
        f"x = {{ {LONG} = 1 }}",
        "a" + " .\ta" * 40 + " = 1",
        '"a"' + ".'a'" * 40 + " = 1",
        '"\\""' + '."\\""' * 40 + " = 1",
        "'\\'" + ".'\\'" * 40 + " = 1",
        'x = """\n\\""" \'\'\' """""\n' + LONG + " = 1",
        "x = '''\n\"\"\" '''''\n" + LONG + " = 1",
        "x = '\"' # '\n" + LONG + " = 1",
        'x = "#" # "\r\n' + LONG + " = 1",
    ],
)
def test_a_key_of_very_many_parts_is_refused(text: str) -> None:
    tomllib.loads(text)
    line = text[: text.rindex("a.a")].count("\n") + 1 if "a.a" in text else 1
    with pytest.raises(tomllib.TOMLDecodeError, match=rf"Key of more than 32 parts \(at line {line}\)"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        f'x = "{LONG}"',
        f"x = '{LONG}'",
        f"x = 1 # {LONG}",
        f'x = """\n{LONG} = 1\n"""',
        f"x = '''\n{LONG} = 1\n'''",
        "x = [" + "1.5, " * 400 + "]",
        "x = [" + '"a==1.2.3", ' * 400 + "]",
        "x = [" + "{ a.b = '1.2.3' }, " * 400 + "]",
        f'x = "a\\"{LONG}"',
        f'x = ["", "", "{LONG}"]',
        "x." + ".".join("a" * 31) + " = 1",
    ],
)
def test_dots_in_what_people_write_are_read(text: str) -> None:
    assert parse(text) == tomllib.loads(text)


@pytest.mark.parametrize("digits", ["0x" + "f" * 4000, "0o" + "7" * 5000, "0b" + "1" * 20_000])
def test_a_number_that_cannot_be_shown_is_refused(digits: str) -> None:
    for text in (f"x = {digits}", f"y = '\\'\nx = [1, {digits}]"):
        with pytest.raises(
            tomllib.TOMLDecodeError, match=rf"1000 digits \(at line {text.count(chr(10)) + 1}\)"
        ):
            parse(text)
    for text in (f"x = '{digits}'", f'x = "{digits}"', f"x = 1 # {digits}", "x = 0x" + "f" * 900):
        assert parse(text) == tomllib.loads(text)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_whatever_is_written(text: str) -> None:
    try:
        wanted = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(tomllib.TOMLDecodeError):
            parse(text)
        return
    try:
        found = parse(text)
    except tomllib.TOMLDecodeError:
        assert depth(wanted) > 32
    else:
        # Short keys in each other reach half of this.
        assert found == wanted
        assert depth(found) < 200
