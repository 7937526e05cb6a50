"""docs/security.md promises only what a test shows: every sentence in its tables names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/security.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def promises() -> list[tuple[str, str]]:
    """The rows of the tables that have a column of tests: sentence and tests."""
    rows = []
    for table in re.findall(
        r"^\| [^\n]*\| Test \|\n\|[-| ]+\|\n((?:\|[^\n]*\n)+)", PAGE.read_text("utf-8"), re.MULTILINE
    ):
        for line in table.splitlines():
            sentence, tests = line.strip("| ").rsplit(" | ", 1)
            rows.append((sentence, tests))
    return rows


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_bytes())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_no_line_with_a_test_is_overlooked() -> None:
    named = [line for line in PAGE.read_text("utf-8").splitlines() if "tests/" in line]
    assert len(promises()) == len(named) > 40


@pytest.mark.parametrize(("sentence", "tests"), promises())
def test_every_sentence_names_tests_that_exist(sentence: str, tests: str) -> None:
    named = TEST.findall(tests)
    assert named, f"no test is named for: {sentence}"
    assert TEST.sub("", tests).strip(", ") == ""
    for file, function in named:
        assert (ROOT / file).is_file(), file
        assert function in functions_of(ROOT / file), f"{file} has no {function}"
