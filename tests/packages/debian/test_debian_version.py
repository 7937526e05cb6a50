from __future__ import annotations

import itertools
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import FormatError
from corten.packages.debian.version import compare, satisfies, upstream
from support.properties import thorough

CORPUS = [
    "1",
    "1-0",
    "1.0",
    "1.0-0",
    "1.0-1",
    "1.0-1+b1",
    "1.0-1~bpo12+1",
    "1.0~rc1-1",
    "1.0~~",
    "1.0~",
    "1.0+dfsg-1",
    "1.0.1",
    "1.00",
    "1.a",
    "1a",
    "1a0",
    "1.0-10",
    "1.0-9",
    "0:1",
    "1:0.1",
    "2.36-9+deb12u10",
    "2.36-9+deb12u9",
    "3.11.2-6+deb12u6",
    "7:5.1.6-0+deb12u1",
    "1:1.2.13.dfsg-1",
    "2022.5-1",
    "20230311+deb12u1",
    "12.4+deb12u11",
    "1.2.3-4-5",
    "1.2.3-4.5",
    "1.2.3+git20200101-1",
    "5.2.15-2+b13",
    "0~20200101",
    "0",
    "0-0",
    "000",
    "1-1-1",
    "1.1-1",
    "9:1",
    "10:1",
    "1.0a~1",
    "1.0a",
    "1.0Z",
    "1.0z",
]


def dpkg(left: str, right: str) -> int:
    for operator, order in (("lt", -1), ("eq", 0), ("gt", 1)):
        code = subprocess.run(["dpkg", "--compare-versions", left, operator, right]).returncode
        assert code in (0, 1), (left, right)
        if code == 0:
            return order
    raise AssertionError


def test_orders_a_corpus_as_dpkg_does() -> None:
    # Neighbours of an order by our comparison: one call each is enough, since the order is transitive.
    from functools import cmp_to_key

    ordered = sorted(CORPUS, key=cmp_to_key(compare))
    for left, right in itertools.pairwise(ordered):
        assert dpkg(left, right) == compare(left, right), (left, right)


versions = st.builds(
    lambda epoch, head, upstream, revision: f"{epoch}{head}{upstream}{revision}",
    st.sampled_from(["", "0:", "1:"]),
    st.sampled_from("0129"),
    st.text("0019az~+.A", max_size=6),
    st.one_of(st.just(""), st.text("019a~+.", min_size=1, max_size=4).map(lambda text: "-" + text)),
)


@thorough(150)
@given(versions, versions)
def test_compares_as_dpkg_does(left: str, right: str) -> None:
    assert compare(left, right) == dpkg(left, right)


@given(versions, versions, versions)
def test_is_an_order(a: str, b: str, c: str) -> None:
    assert compare(a, b) == -compare(b, a)
    if compare(a, b) <= 0 and compare(b, c) <= 0:
        assert compare(a, c) <= 0


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("3.11.2-6+deb12u6", "3.11.2"),
        ("7:5.1.6-0+deb12u1", "5.1.6"),
        ("1.2-3-4", "1.2-3"),
        ("20230311", "20230311"),
    ],
)
def test_takes_the_upstream_part(version: str, expected: str) -> None:
    assert upstream(version) == expected


def test_bounds() -> None:
    assert satisfies("2.36-9", ">=", "2.36")
    assert not satisfies("2.36~rc1", ">=", "2.36")
    assert satisfies("1-0", "=", "1")
    assert satisfies("1", "<<", "1.0")


@pytest.mark.parametrize("text", ["", " ", "1 2", "a:1", "1:", "ü", "1\n", "1_2", "9" * 500])
def test_refuses_what_is_no_version(text: str) -> None:
    with pytest.raises(FormatError):
        compare(text, "1")


def test_long_runs_of_digits_are_compared_and_do_not_hang() -> None:
    assert compare("1." + "9" * 190, "1." + "9" * 189) == 1
    assert compare("1." + "0" * 150 + "2", "1.2") == 0
