"""Pipenv's files as requirements."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import ProjectError
from corten.project.formats.pipenv import with_lock, without_lock

A = "a" * 64


def lock(**packages: object) -> str:
    return json.dumps({"default": packages})


def test_every_kind_of_entry() -> None:
    made = with_lock(
        lock(
            alpha={
                "version": "==1.0",
                "hashes": [f"sha256:{A}"],
                "extras": ["b", "a"],
                "markers": "os_name == 'nt'",
            },
            git={"git": "https://index.example/a.git", "ref": "x"},
            local={"path": ".", "editable": True},
            file={"file": "https://index.example/a-1-py3-none-any.whl"},
        )
    )
    assert made.lines == (
        f'alpha[a,b]==1.0 ; os_name == "nt" --hash=sha256:{A}',
        "git @ git+https://index.example/a.git@x",
        "local @ ./.",
        "file @ https://index.example/a-1-py3-none-any.whl",
    )


def test_a_pipfile_names_indexes_and_platforms() -> None:
    made = without_lock(
        '[[source]]\nname = "own"\nurl = "https://index.example/simple"\nverify_ssl = false\n'
        '[packages]\na = "*"\nb = {version = "~=1.0", sys_platform = "linux", platform_machine = "!= \'x\'"}\n'
        '[docs]\nsphinx = "*"\n'
    )
    assert made.lines[:2] == ("--index-url https://index.example/simple", "a")
    assert made.lines[2] == 'b~=1.0 ; (sys_platform == "linux") and (platform_machine != "x")'
    assert made.notes == (
        "verify_ssl of a source in 'Pipfile' is not read: certificates are checked",
        "what is not installed of 'Pipfile': 'docs'",
    )


@pytest.mark.parametrize(
    "entry",
    ["==1 -r x", "==1\n-r x", {"git": "https://a/\n-r x"}, {"path": "x -r y"}, {"markers": "a\n-r x"}],
)
def test_no_value_brings_an_option(entry: object) -> None:
    with pytest.raises(ProjectError):
        with_lock(lock(alpha=entry))


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["_meta", "default", "develop"]), _VALUES), st.text(max_size=40))
def test_whatever_stands_there_gives_one_line_each_or_one_sentence(
    document: dict[str, object], text: str
) -> None:
    with contextlib.suppress(ProjectError):
        assert all(line.isprintable() for line in with_lock(json.dumps(document)).lines)
    with contextlib.suppress(ProjectError):
        assert all(line.isprintable() for line in without_lock(text).lines)
