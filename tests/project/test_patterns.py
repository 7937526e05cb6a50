from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corten.project.files import scan
from corten.project.load import load
from corten.project.patterns import Rules, compile_glob
from support.properties import thorough


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("*.pt", ["a.pt", ".pt"], ["x/a.pt", "a.pth"]),
        ("**/*.pt", ["a.pt", "x/a.pt", "x/y/a.pt"], ["a.pth"]),
        ("weights/**", ["weights/a", "weights/a/b"], ["weights", "weightsx/a"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb"]),
        ("model-?.bin", ["model-1.bin"], ["model-12.bin", "model-/.bin"]),
        ("[a-c]*[!0-9]", ["ax", "b-"], ["d", "a1", "a/x"]),
        ("*a*b*c", ["abc", "xaxbxc", "aabbcc"], ["acb", "ab/c"]),
        ("x[[:digit:]]", ["x1"], ["xa", "x:"]),
        (r"a\*b", ["a*b"], ["axb"]),
        ("[]]", ["]"], ["["]),
        ("[", [], ["["]),
        ("ü*", ["über"], ["uber"]),
    ],
)
def test_globs(glob: str, matching: list[str], others: list[str]) -> None:
    expression = compile_glob(glob)
    assert [path for path in matching if not expression.fullmatch(path)] == []
    assert [path for path in others if expression.fullmatch(path)] == []


def test_a_glob_of_many_stars_is_matched_in_linear_time() -> None:
    expression = compile_glob("*a" * 40 + "b")
    start = time.perf_counter()
    assert not expression.fullmatch("a" * 250)
    assert time.perf_counter() - start < 20


def test_the_last_rule_that_matches_decides() -> None:
    rules = Rules(["*.log", "!keep.log", "/build/", "a/b", "# comment", "", "\\#x", "trailing  ", "kept\\ "])
    assert rules.verdict("x.log", "d/x.log", False) is True
    assert rules.verdict("keep.log", "d/keep.log", False) is False
    assert rules.verdict("build", "build", True) is True
    assert rules.verdict("build", "build", False) is None
    assert rules.verdict("build", "d/build", True) is None
    assert rules.verdict("b", "a/b", False) is True
    assert rules.verdict("#x", "#x", False) is True
    assert rules.verdict("trailing", "trailing", False) is True
    assert rules.verdict("kept ", "kept ", False) is True
    assert Rules(["!a", "a"]).verdict("a", "a", False) is True


names = st.sampled_from(["a", "b", "ab", "a.x", "b.x.y", "aa", "x", "a b"])
parts = st.sampled_from(
    ["a", "b", "x", "*", "?", "**", ".", "[ab]", "[!a]", "[a-b]", " ", "\\a", "[", "]", "[[:alpha:]]"]
)
segment = st.lists(parts, min_size=1, max_size=3).map("".join)
usual = st.sampled_from(
    [
        *(
            "a",
            "!a",
            "b",
            "!b",
            "a/",
            "!a/",
            "/a",
            "!/a",
            "a*",
            "!a?",
            "*",
            "!*",
            "*/",
            "!*/",
            "*.x",
            "!*.x",
            "*.y",
        ),
        *(
            "*.x.y",
            "!b.x.y",
            "**/b",
            "!**/b",
            "a/**",
            "!a/b",
            "a/b",
            "a/*",
            "!a/*/",
            "[ab]",
            "![!a]",
            "?",
            "!ab",
            "/*",
        ),
    ]
)
built = st.builds(
    lambda negated, lead, segments, trail: negated + lead + "/".join(segments) + trail,
    st.sampled_from(["", "", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(segment, min_size=1, max_size=3),
    st.sampled_from(["", "", "/", "/**", " "]),
)
# After a literal beginning, git takes `b**/` for `b` and a `**/`, and `/b**` for `b` and everything below (dir.c, match_pathname); its
# documentation does not.
rule = usual | usual | built.filter(lambda text: not re.search(r"[^/]\*\*(?:/| *$)", text))
paths = st.lists(st.lists(names, min_size=1, max_size=3).map("/".join), min_size=1, max_size=8)


@thorough(300)
@given(paths, st.lists(rule, min_size=1, max_size=5), st.lists(rule, max_size=2), st.lists(rule, max_size=2))
@example(["a/b/x"], ["a/*", "!a/b"], [], [])
@example(["ab", "aa", "a.x"], ["a*", "!a?"], [], [])
@example(["a/b"], ["**"], ["!b"], [])
@example(["a/b", "ab"], ["a**b", "a/**/b"], [], ["x"])
def test_git_agrees(paths: list[str], top: list[str], nested: list[str], excluded: list[str]) -> None:
    root = Path(tempfile.mkdtemp(prefix="corten-patterns-"))
    try:
        (root / ".git" / "info").mkdir(parents=True)
        for name, content in {"HEAD": "ref: refs/heads/main\n", "config": "[core]\nbare=false\n"}.items():
            (root / ".git" / name).write_text(content)
        for name in ("objects", "refs"):
            (root / ".git" / name).mkdir()
        (root / ".git/info/exclude").write_text("\n".join(excluded))
        for path in ["main.py", *paths]:
            file = root / path
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
            except (NotADirectoryError, FileExistsError, IsADirectoryError):
                continue
        (root / ".gitignore").write_text("\n".join(top))
        if (root / "a").is_dir():
            (root / "a" / ".gitignore").write_text("\n".join(nested))
        listed = subprocess.run(
            ["git", "-c", "core.excludesFile=/dev/null", "ls-files", "-z", "--others", "--exclude-standard"],
            cwd=root,
            capture_output=True,
            check=True,
            env={"PATH": os.environ["PATH"], "HOME": str(root), "GIT_CEILING_DIRECTORIES": str(root.parent)},
        ).stdout.decode()
        expected = {path for path in listed.split("\0") if path and not path.endswith(".gitignore")}
        (root / "main.py").touch()
        found = scan(load(root))
        assert {file.path for file in (*found.code, *found.weights)} == expected
    finally:
        shutil.rmtree(root)
