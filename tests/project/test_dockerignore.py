"""`.dockerignore`: docker's own cases (moby/patternmatcher at 5a6d842, Apache 2.0), and the walk over a project."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import ProjectError
from corten.project import dockerignore
from corten.project.dockerignore import DockerRules, Seen
from corten.project.files import scan
from corten.project.load import load

Folder = Callable[..., Path]


def matches(patterns: list[str], path: str) -> bool:
    """As `MatchesUsingParentResults` is called in the tests of moby: with the results of every folder above."""
    rules = DockerRules("\n".join(patterns))
    parent = posixpath.dirname(path)
    seen: Seen = ()
    parts = parent.split("/") if parent else []
    for end in range(1, len(parts) + 1):
        _, seen = rules.verdict("/".join(parts[:end]), seen)
    return rules.verdict(path, seen)[0]


# TestMatches
MATCHES = [
    ("**", "file", True),
    ("**", "file/", True),
    ("**/", "file", True),
    ("**/", "file/", True),
    ("**", "/", True),
    ("**/", "/", True),
    ("**", "dir/file", True),
    ("**/", "dir/file", True),
    ("**", "dir/file/", True),
    ("**/", "dir/file/", True),
    ("**/**", "dir/file", True),
    ("**/**", "dir/file/", True),
    ("dir/**", "dir/file", True),
    ("dir/**", "dir/file/", True),
    ("dir/**", "dir/dir2/file", True),
    ("dir/**", "dir/dir2/file/", True),
    ("**/dir", "dir", True),
    ("**/dir", "dir/file", True),
    ("**/dir2/*", "dir/dir2/file", True),
    ("**/dir2/*", "dir/dir2/file/", True),
    ("**/dir2/**", "dir/dir2/dir3/file", True),
    ("**/dir2/**", "dir/dir2/dir3/file/", True),
    ("**file", "file", True),
    ("**file", "dir/file", True),
    ("**/file", "dir/file", True),
    ("**file", "dir/dir/file", True),
    ("**/file", "dir/dir/file", True),
    ("**/file*", "dir/dir/file", True),
    ("**/file*", "dir/dir/file.txt", True),
    ("**/file*txt", "dir/dir/file.txt", True),
    ("**/file*.txt", "dir/dir/file.txt", True),
    ("**/file*.txt*", "dir/dir/file.txt", True),
    ("**/**/*.txt", "dir/dir/file.txt", True),
    ("**/**/*.txt2", "dir/dir/file.txt", False),
    ("**/*.txt", "file.txt", True),
    ("**/**/*.txt", "file.txt", True),
    ("a**/*.txt", "a/file.txt", True),
    ("a**/*.txt", "a/dir/file.txt", True),
    ("a**/*.txt", "a/dir/dir/file.txt", True),
    ("a/*.txt", "a/dir/file.txt", False),
    ("a/*.txt", "a/file.txt", True),
    ("a/*.txt**", "a/file.txt", True),
    ("a[b-d]e", "ae", False),
    ("a[b-d]e", "ace", True),
    ("a[b-d]e", "aae", False),
    ("a[^b-d]e", "aze", True),
    (".*", ".foo", True),
    (".*", "foo", False),
    ("abc.def", "abcdef", False),
    ("abc.def", "abc.def", True),
    ("abc.def", "abcZdef", False),
    ("abc?def", "abcZdef", True),
    ("abc?def", "abcdef", False),
    ("a\\\\", "a\\", True),
    ("**/foo/bar", "foo/bar", True),
    ("**/foo/bar", "dir/foo/bar", True),
    ("**/foo/bar", "dir/dir2/foo/bar", True),
    ("abc/**", "abc", False),
    ("abc/**", "abc/def", True),
    ("abc/**", "abc/def/ghi", True),
    ("**/.foo", ".foo", True),
    ("**/.foo", "bar.foo", False),
    ("a(b)c/def", "a(b)c/def", True),
    ("a(b)c/def", "a(b)c/xyz", False),
    ("a.|)$(}+{bc", "a.|)$(}+{bc", True),
    (
        "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
        "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
        True,
    ),
    ("dist/*.whl", "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", True),
    ("a\\*b", "a*b", True),
    # TestMatch, which are those of Go's filepath.Match
    ("abc", "abc", True),
    ("*", "abc", True),
    ("*c", "abc", True),
    ("a*", "a", True),
    ("a*", "abc", True),
    ("a*", "ab/c", True),
    ("a*/b", "abc/b", True),
    ("a*/b", "a/c/b", False),
    ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
    ("a*b*c*d*e*/f", "axbxcxdxexxx/f", True),
    ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", False),
    ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", False),
    ("a*b?c*x", "abxbbxdbxebxczzx", True),
    ("a*b?c*x", "abxbbxdbxebxczzy", False),
    ("ab[c]", "abc", True),
    ("ab[b-d]", "abc", True),
    ("ab[e-g]", "abc", False),
    ("ab[^c]", "abc", False),
    ("ab[^b-d]", "abc", False),
    ("ab[^e-g]", "abc", True),
    ("a\\*b", "ab", False),
    ("a?b", "a☺b", True),
    ("a[^a]b", "a☺b", True),
    ("a???b", "a☺b", False),
    ("a[^a][^a][^a]b", "a☺b", False),
    ("[a-ζ]*", "α", True),
    ("*[a-ζ]", "A", False),
    ("a?b", "a/b", False),
    ("a*b", "a/b", False),
    ("[\\]a]", "]", True),
    ("[\\-]", "-", True),
    ("[x\\-]", "x", True),
    ("[x\\-]", "-", True),
    ("[x\\-]", "z", False),
    ("[\\-x]", "x", True),
    ("[\\-x]", "-", True),
    ("[\\-x]", "a", False),
    ("*x", "xxx", True),
]
SEVERAL = [
    (["**", "!util/docker/web"], "util/docker/web/foo", False),
    (["**", "!util/docker/web", "util/docker/web/foo"], "util/docker/web/foo", True),
    (["**", "!dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl"], MATCHES[65][1], False),
    (["**", "!dist/*.whl"], "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", False),
    (["*"], "fileutils.go", True),
    (["*.go"], "fileutils.go", True),
    (["!fileutils.go", "*.go"], "fileutils.go", True),
    (["docs", "!docs/README.md"], "docs/README.md", False),
    (["docs/", "!docs/README.md"], "docs/README.md", False),
    (["docs/*", "!docs/README.md"], "docs/README.md", False),
    (["*.go", "!fileutils.go"], "fileutils.go", False),
    ([], "/any/path/there", False),
]
REFUSED = [
    *("!", "[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]", "[", "[^", "[^bc", "a[", "[Local-Only]/"),
]


@pytest.mark.parametrize(("pattern", "path", "expected"), MATCHES)
def test_dockers_own_cases(pattern: str, path: str, expected: bool) -> None:
    assert matches([pattern], path) is expected


@pytest.mark.parametrize(("patterns", "path", "expected"), SEVERAL)
def test_dockers_own_cases_of_several_patterns(patterns: list[str], path: str, expected: bool) -> None:
    assert matches(patterns, path) is expected


@pytest.mark.parametrize("pattern", REFUSED)
def test_what_docker_refuses_is_refused_with_its_line(pattern: str) -> None:
    with pytest.raises(ProjectError) as caught:
        DockerRules(f"# a comment\n\n{pattern}\n")
    assert caught.value.message.startswith("line 3 of '.dockerignore' is not a pattern")


def test_dockers_own_case_of_a_file() -> None:
    text = "test1\n/test2\n/a/file/here\n\nlastfile\n# this is a comment\n! /inverted/abs/path\n!\n! "
    assert [pattern for _, pattern in dockerignore._lines(text)] == [
        *("test1", "test2", "a/file/here", "lastfile", "!inverted/abs/path", "!", "!"),
    ]
    assert [pattern for _, pattern in dockerignore._lines("\ufeff  a  \r\n #b\n")] == ["a", "#b"]


@given(
    st.lists(st.sampled_from(["*", "?", "**", "**/", "/", "a", "b", "[ab]", "[^a]"]), max_size=9).map(
        "".join
    ),
    st.lists(st.text("ab.", min_size=1, max_size=3), min_size=1, max_size=5).map("/".join),
)
def test_both_ways_of_matching_agree(pattern: str, path: str) -> None:
    if not dockerignore._cleaned(pattern).strip("/"):
        return
    found = dockerignore._Pattern(dockerignore._cleaned(pattern), 1)
    if found._tokens:
        import re

        expected = re.fullmatch("".join(found._tokens), path, re.DOTALL) is not None
        assert dockerignore._matches(found._tokens, path) is expected


def test_a_hostile_pattern_takes_no_time() -> None:
    rules = DockerRules("**/" + "*a" * 40 + "b")
    assert rules.verdict("x/" + "a" * 250, ()) == (False, (False,))


def test_a_project_with_a_dockerignore(folder: Folder) -> None:
    root = folder(
        {
            ".dockerignore": "# all but these\n*\n!/app\n! keep.txt \n!docs/*.md\napp/tmp\n**/*.log\n",
            "app/main.py": "",
            "app/a.log": "",
            "app/tmp/x": "",
            "app/.env": "A=1",
            "app/__pycache__/x.pyc": "",
            "app/ignored.txt": "",
            ".gitignore": "ignored.txt\n",
            "keep.txt": "",
            "other.txt": "",
            "docs/a.md": "",
            "docs/b.txt": "",
            "docs/deep/c.md": "",
            "data/big.bin": "",
            "pyproject.toml": "",
        }
    )
    files = scan(load(root))
    assert [file.path for file in files.code] == ["app/main.py", "docs/a.md", "keep.txt"]
    assert files.by_docker == (
        "app/a.log",
        "app/tmp/x",
        "data/big.bin",
        "docs/b.txt",
        "docs/deep/c.md",
        "other.txt",
        "pyproject.toml",
    )
    assert set(files.by_docker) < set(files.left_out)


def test_a_folder_is_not_entered_where_no_exception_leads(folder: Folder) -> None:
    root = folder(
        {
            ".dockerignore": "data\nsecret\n!data/keep/**\n",
            "main.py": "",
            "data/keep/a": "",
            "data/b": "",
            "secret/x": "",
        }
    )
    files = scan(load(root))
    assert [file.path for file in files.code] == ["data/keep/a", "main.py"]
    assert files.by_docker == ("data/b", "secret/")


def test_cortenignore_wins_over_dockerignore(folder: Folder) -> None:
    root = folder(
        {".dockerignore": "*\n", ".cortenignore": "b.txt\n", "main.py": "", "b.txt": "", "c.txt": ""}
    )
    files = scan(load(root))
    assert [file.path for file in files.code] == ["c.txt", "main.py"]
    assert files.by_docker == ()
    assert files.unread == (".dockerignore",)


def test_declared_models_stay_whatever_dockerignore_says(folder: Folder) -> None:
    root = folder(
        {
            "pyproject.toml": '[tool.corten]\nmodels = ["weights/"]\ninclude = ["data.json"]\n',
            ".dockerignore": "weights\n*.json\n",
            "main.py": "",
            "weights/net.pt": "x",
            "data.json": "",
            "other.json": "",
        }
    )
    files = scan(load(root))
    assert [file.path for file in files.weights] == ["weights/net.pt"]
    assert [file.path for file in files.code] == ["data.json", "main.py", "pyproject.toml"]
    assert files.by_docker == ("other.json",)


@pytest.mark.parametrize("name", [".dockerignore", ".cortenignore", ".gitignore"])
def test_an_ignore_file_outside_the_project_is_not_read(folder: Folder, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").write_text("[a secret of the machine\n")
    root = folder({"main.py": "", "rules": "skipped\n", "skipped": ""})
    (root / name).symlink_to("../outside")
    with pytest.raises(ProjectError) as caught:
        scan(load(root))
    assert "is a symbolic link to a file outside the project" in caught.value.message
    assert "a secret" not in caught.value.message
    (root / name).unlink()
    (root / name).symlink_to("rules")
    assert [file.path for file in scan(load(root)).code] == ["main.py", "rules"]


@pytest.mark.parametrize("name", [".dockerignore", ".cortenignore", ".gitignore"])
def test_an_ignore_file_that_is_a_pipe_keeps_nobody_waiting(folder: Folder, name: str) -> None:
    import os

    root = folder({"main.py": ""})
    os.mkfifo(root / name)
    assert [file.path for file in scan(load(root)).code] == ["main.py"]
