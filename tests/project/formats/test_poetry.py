"""Poetry's files as requirements."""

from __future__ import annotations

import contextlib
import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import ProjectError
from corten.project.formats import pdm
from corten.project.formats.poetry import with_lock, without_lock
from corten.project.formats.versions import of_poetry, python_marker

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("written", "specifier"),
    [
        ("^1.2.3", ">=1.2.3,<2"),
        ("^0.2.3", ">=0.2.3,<0.3"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0.0", ">=0.0,<0.1"),
        ("^0", ">=0,<1"),
        ("^2.0.0b1", ">=2.0.0b1,<3"),
        ("~1.2.3", ">=1.2.3,<1.3"),
        ("~1.2", ">=1.2,<1.3"),
        ("~1", ">=1,<2"),
        ("~=1.4.2", "~=1.4.2"),
        ("1.2.*", "==1.2.*"),
        ("*", ""),
        ("1.2.3", "==1.2.3"),
        ("=1.2", "==1.2"),
        (">=1.0,<2.0", ">=1.0,<2.0"),
        (">=1.0 <2.0", ">=1.0,<2.0"),
        (">= 1.0, != 1.3", ">=1.0,!=1.3"),
        ("^1 || ^2", None),
    ],
)
def test_constraints_in_the_common_form(written: str, specifier: str | None) -> None:
    assert of_poetry(written) == specifier


def test_a_python_beside_a_dependency_is_a_marker() -> None:
    assert python_marker("^3.8") == 'python_version >= "3.8" and python_version < "4.0"'
    assert python_marker("<3.9 || >=3.11") == '(python_version < "3.9") or (python_version >= "3.11")'
    assert python_marker("*") == ""
    assert python_marker("x y") is None


PROJECT = """\
[tool.poetry.dependencies]
python = "^3.9"
alpha = "^1.2"
beta = {version = "~2.0", extras = ["fast"], python = ">=3.9", markers = "sys_platform == 'linux'"}
windows = {version = "*", platform = "win32"}
more = {version = "1.*", optional = true}
two = [{version = "1.0", python = "<3.10"}, {version = "2.0", python = ">=3.10"}]
[tool.poetry.extras]
web = ["more"]
[tool.poetry.group.dev.dependencies]
tool = "^5"
[tool.poetry.dev-dependencies]
old = "*"
[[tool.poetry.source]]
name = "own"
url = "https://index.example/simple"
"""


def test_without_a_lock_the_constraints_are_translated() -> None:
    made = without_lock(tomllib.loads(PROJECT), (), ())
    assert made.lines == (
        "--extra-index-url https://index.example/simple",
        "alpha>=1.2,<2",
        'beta[fast]>=2.0,<2.1 ; (sys_platform == "linux") and (python_version >= "3.9")',
        'windows ; sys_platform == "win32"',
        'two==1.0 ; python_version < "3.10"',
        'two==2.0 ; python_version >= "3.10"',
    )
    assert made.notes == ("Poetry's groups that are not installed: 'dev'",)
    made = without_lock(tomllib.loads(PROJECT), ("web",), ("dev",))
    assert {"more==1.*", "tool>=5,<6"} <= set(made.lines)
    assert made.notes == ()


NEW = f"""\
[[package]]
name = "alpha"
version = "1.3"
groups = ["main"]
files = [{{file = "alpha-1.3.tar.gz", hash = "sha256:{A}"}}, {{file = "alpha-1.3-py3-none-any.whl", hash = "sha256:{B}"}}]
[[package]]
name = "fork"
version = "1.0"
markers = "python_version < \\"3.10\\""
files = [{{file = "f", hash = "sha256:{A}"}}]
[[package]]
name = "fork"
version = "2.0"
markers = {{main = "python_version >= \\"3.10\\""}}
files = [{{file = "f", hash = "sha256:{B}"}}]
[metadata]
lock-version = "2.1"
"""
OLD = f"""\
[[package]]
name = "Alpha"
version = "1.3"
category = "main"
optional = false
[[package]]
name = "tool"
version = "5.0"
category = "dev"
[metadata]
lock-version = "1.1"
[metadata.files]
Alpha = [{{file = "x", hash = "sha256:{A}"}}, {{file = "y", hash = "md5:00"}}]
tool = [{{file = "x", hash = "sha256:{B}"}}]
"""


def test_a_lock_pins_what_the_project_requires_and_what_that_needs() -> None:
    pyproject = tomllib.loads('[tool.poetry.dependencies]\nalpha = "^1.2"\n')
    made = with_lock(NEW, pyproject, (), ())
    assert made.lines == ("--require-hashes", "alpha>=1.2,<2")
    assert made.constraints == (
        f"alpha==1.3 --hash=sha256:{A} --hash=sha256:{B}",
        f'fork==1.0 ; python_version < "3.10" --hash=sha256:{A}',
        f'fork==2.0 ; python_version >= "3.10" --hash=sha256:{B}',
    )


def test_the_requirements_may_stand_in_the_projects_own_table() -> None:
    pyproject = tomllib.loads(
        '[project]\nname = "x"\ndependencies = ["alpha (>=1.2,<2.0)"]\n'
        "[project.optional-dependencies]\nweb = [\"fork[x]>1; python_version > '3'\"]\n[tool.poetry]\n"
    )
    assert with_lock(NEW, pyproject, (), ()).lines == ("--require-hashes", "alpha>=1.2,<2.0")
    assert with_lock(NEW, pyproject, ("web",), ()).lines[2] == 'fork[x]>1 ; python_version > "3"'


def test_an_old_lock_alone_gives_what_is_not_for_development() -> None:
    made = with_lock(OLD, {}, (), ())
    assert made.lines == ("--require-hashes", f"alpha==1.3 --hash=sha256:{A}")


def test_several_versions_in_an_old_lock_are_bounded_and_hashed() -> None:
    text = NEW.replace("markers", "ignored")
    made = with_lock(text, tomllib.loads('[tool.poetry.dependencies]\nfork = "*"\n'), (), ())
    assert made.constraints[1] == f"fork>=1.0,<=2.0 --hash=sha256:{A}"


@pytest.mark.parametrize("wanted", ['alpha = "^2"', 'gamma = "*"'])
def test_a_lock_that_does_not_belong_to_the_project_is_said(wanted: str) -> None:
    with pytest.raises(ProjectError, match=r"'poetry.lock' does not belong to pyproject.toml any more"):
        with_lock(NEW, tomllib.loads(f"[tool.poetry.dependencies]\n{wanted}\n"), (), ())


@pytest.mark.parametrize(
    "text",
    [
        '[[package]]\nname = "a --index-url https://index.example"\nversion = "1"',
        '[[package]]\nname = "a"\nversion = "1 --index-url x"',
        '[[package]]\nname = "a"\nversion = "1\\n-r x"',
        '[[package]]\nname = "a"\nversion = "1"\n[package.source]\ntype = "url"\nurl = "https://x/\\n-r y"',
        '[[package]]\nname = "a"\nversion = "1"\n[package.source]\ntype = "file"\nurl = "x -r y"',
    ],
)
def test_no_value_of_a_lock_brings_an_option(text: str) -> None:
    with pytest.raises(ProjectError):
        with_lock(text, {}, (), ())


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_ENTRIES = st.dictionaries(
    st.sampled_from(["version", "markers", "python", "extras", "git", "url", "path", "optional", "platform"]),
    _VALUES,
    max_size=4,
)


@given(
    st.dictionaries(
        st.text(max_size=8) | st.just("alpha"),
        _ENTRIES | _VALUES | st.lists(_ENTRIES, max_size=2),
        max_size=3,
    ),
    _VALUES,
)
def test_whatever_stands_there_gives_one_line_each_or_one_sentence(
    entries: dict[str, object], other: object
) -> None:
    pyproject = {
        "tool": {"poetry": {"dependencies": entries, "group": other, "source": other, "extras": other}}
    }
    with contextlib.suppress(ProjectError):
        made = without_lock(pyproject, ("web",), ("dev",))
        assert all(line.isprintable() and not line.startswith("-r") for line in made.lines)


def test_a_requirement_with_an_address_stays_one() -> None:
    address = "https://index.example/b-1-py3-none-any.whl"
    pyproject = {"project": {"dependencies": [f"b[x] @ {address} ; python_version > '3'"]}}
    lock = f'[[package]]\nname = "b"\nversion = "1"\n[package.source]\ntype = "url"\nurl = "{address}"\n'
    assert without_lock(pyproject, (), ()).lines == (f'b[x] @ {address} ; python_version > "3"',)
    assert with_lock(lock, pyproject, (), ()).lines == ("--require-hashes", f"b @ {address}")


@given(
    st.text(max_size=60), st.dictionaries(st.sampled_from(["name", "version", "groups", "marker"]), _VALUES)
)
def test_whatever_stands_in_a_lock_gives_one_line_each_or_one_sentence(
    text: str, package: dict[str, object]
) -> None:
    keys = [f"{key} = {json.dumps(value)}" for key, value in package.items() if isinstance(value, str | int)]
    for document in (text, f"[[package]]\n{text}", "[[package]]\n" + "\n".join(keys).lower()):
        for read in (with_lock, pdm.with_lock):
            with contextlib.suppress(ProjectError):
                made = read(document, {}, (), ())
                assert all(line.isprintable() for line in (*made.lines, *made.constraints))


def test_repositories_are_taken_at_the_commit_of_the_lock() -> None:
    commit = "c" * 40
    entry = '{ git = "https://h.example/x.git", branch = "main", subdirectory = "py" }'
    pyproject = tomllib.loads(f"[tool.poetry.dependencies]\nx = {entry}\n")
    assert without_lock(pyproject, (), ()).lines == ("x @ git+https://h.example/x.git@main#subdirectory=py",)
    lock = (
        f'[[package]]\nname = "x"\nversion = "1"\n[package.source]\ntype = "git"\nurl = "git@h.example:a/x.git"\nreference = "main"\n'
        f'resolved_reference = "{commit}"\nsubdirectory = "py"\n'
    )
    made = with_lock(lock, pyproject, (), ())
    assert f"x @ git+ssh://git@h.example/a/x.git@{commit}#subdirectory=py" in made.lines
    assert made.constraints == ()


def test_repositories_and_folders_in_a_pdm_lock() -> None:
    commit = "c" * 40
    pyproject = tomllib.loads(
        '[project]\ndependencies = ["x @ git+https://h.example/x.git@main", "y", "z"]\n'
    )
    lock = (
        f'[[package]]\nname = "x"\nversion = "1"\ngit = "https://h.example/x.git"\nref = "main"\nrevision = "{commit}"\n'
        f'[[package]]\nname = "y"\nversion = "1"\npath = "./libs/y"\n'
        f'[[package]]\nname = "z"\nversion = "1"\nfiles = [{{ file = "z-1-py3-none-any.whl", hash = "sha256:{A}" }}]\n'
    )
    made = pdm.with_lock(lock, pyproject, (), ())
    assert made.lines == (
        "--require-hashes",
        f"x @ git+https://h.example/x.git@{commit}",
        "y @ ./libs/y",
        "z",
    )
    assert made.constraints == (f"z==1 --hash=sha256:{A}",)


@pytest.mark.parametrize("word", ["a b", "a;b", "a#b", "a\nb"])
def test_no_part_of_a_repository_ends_its_line(word: str) -> None:
    for key in ("branch", "subdirectory", "git"):
        entry = {"git": "https://h.example/x.git", key: f"https://h.example/{word}" if key == "git" else word}
        with pytest.raises(ProjectError, match="is not understood"):
            without_lock({"tool": {"poetry": {"dependencies": {"x": entry}}}}, (), ())
