"""Scripts of Debian packages that are read when a project is locked: nobody has verified them yet, and no text holds that up."""

from __future__ import annotations

from itertools import islice, product

import pytest

from corten.packages.debian.deb import Control
from corten.packages.debian.scripts import needs
from corten.packages.debian.shell import Unreadable, commands

WORDS = "for x in " + "a " * 100 + "; do\n"


def functions(count: int) -> str:
    """Functions of which each calls the one before it twice."""
    calls = "".join(f"f{number}() {{ f{number - 1}; f{number - 1}; }}\n" for number in range(1, count))
    return "f0() { true; }\n" + calls + f"f{count - 1}; " * 100


@pytest.mark.parametrize(
    "script",
    [
        WORDS * 12 + "true\n" + "; done\n" * 12,
        WORDS * 12 + ": " * 2_000 + "; done\n" * 12,
        WORDS * 12 + "case x in " + "a|" * 2_000 + "b) ;; esac" + "; done\n" * 12,
        functions(19),
    ],
    ids=["loops", "words", "patterns", "functions"],
)
def test_a_script_that_reaches_very_many_commands_is_given_up(script: str) -> None:
    with pytest.raises(Unreadable, match="very many commands"):
        commands(script, "configure")


def test_a_package_with_such_a_script_is_named() -> None:
    control = Control("", {"package": "sample"}, {}, {"postinst": f"#!/bin/sh\n{functions(19)}"})
    assert [found.package for found in needs([control]).unclear] == ["sample"]


def test_variables_in_a_script_do_not_take_the_memory() -> None:
    with pytest.raises(Unreadable, match="very many commands"):
        commands("A=" + "a" * (1 << 19) + "\necho " + "$A" * (1 << 17), "configure")


def test_unclosed_braces_of_a_mebibyte_are_given_up_at_once() -> None:
    with pytest.raises(Unreadable, match="very many commands"):
        commands("echo " + "${" * ((1 << 19) - 10), "configure")


def test_a_script_of_very_many_here_documents_is_given_up() -> None:
    marks = ("".join(letters) for letters in islice(product("abcdefghij", repeat=5), 2000))
    with pytest.raises(Unreadable, match="here-documents"):
        commands("".join(f"cat <<{mark}\n{mark}\n" for mark in marks), "configure")


@pytest.mark.parametrize(
    "script",
    ["# Automatically added by dh_x\n" * 30_000, "# Automatically added by dh_" + "x" * 900_000 + " \n"],
    ids=["sections", "names"],
)
def test_unclosed_sections_of_a_script_are_read_at_once(script: str) -> None:
    control = Control("", {"package": "sample"}, {}, {"postinst": f"#!/bin/sh\n{script}frobnicate\n"})
    assert [found.command for found in needs([control]).unclear] == ["frobnicate"]
