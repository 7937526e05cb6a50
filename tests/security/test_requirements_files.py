"""Requirements files that read differently for two readers. Corten alone reads them, as pip does, and uv gets what it wrote."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from packaging.markers import Marker
from packaging.requirements import Requirement as Parsed
from packaging.utils import canonicalize_name
from pip._internal.exceptions import RequirementsFileParseError
from pip._internal.network.session import PipSession
from pip._internal.req.constructors import install_req_from_line
from pip._internal.req.req_file import parse_requirements

from corten.errors import CortenError, ProjectError, ResolutionError
from corten.packages.requirement_lines import logical_lines
from corten.packages.requirements import read_requirements
from corten.packages.uv_lines import bare_line
from corten.project.repairs import Repairs
from support.properties import thorough

SESSION = PipSession()
H1, H2 = "a" * 64, "b" * 64
ENDS = [
    "\n",
    "\r\n",
    "\r",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x85",
    "\u2028",
    "\u2029",
    "\\\n",
    " \\\n",
    "\\ \n",
    "\\\\\n",
    "\\\x0c",
    "",
]
SPACES = [" ", "  ", "\t", "\u00a0", "\u3000", ""]

names = st.sampled_from(["alpha", "Beta_x", "gamma.y", "d", "e-1"])
extras = st.sampled_from(["", "", "", "[x]", "[x, Y_z]", " [x]", "[]"])
versions = st.sampled_from(
    [
        "",
        "==1.0",
        "",
        "==1.0",
        ">= 1 , < 2",
        "~=1.4",
        "(>=1)",
        "==1.*",
        "!=1",
        "===1.0",
        "=1",
        "==1 .0",
        ">1.x",
    ]
)
markers = st.sampled_from(
    [
        "",
        ' ; python_version >= "3.8"',
        ";sys_platform=='linux'",
        " ; extra == 'x'",
        " ; os_name == 'a #b'",
        ";",
        " ; x",
    ]
)
hashes = st.sampled_from(
    [""] * 3
    + [
        "",
        f" --hash=sha256:{H1}",
        f"  --hash sha256:{H2} --hash=sha256:{H1}",
        " --hash=md5:00",
        f" \\\n    --hash=sha256:{H1}",
        " --pre",
    ]
)
comments = st.sampled_from(["", " # why", "# why", "\t# why \\", " #\\", " # a -e ./evil", "#x"])
others = st.sampled_from(
    [
        "# note",
        "   # note \\",
        "#\\",
        "-e ./evil",
        "--editable=./evil",
        "./evil",
        "evil @ file:///tmp/evil",
        "git+https://h/evil.git",
        "https://h/evil-1.tar.gz",
        "./w/a_b-1.0-py3-none-any.whl",
        "a-b @ https://h/a_b-1.0-py3-none-any.whl",
        "https://h/a_b-1.0-py3-none-any.whl ; os_name == 'posix'",
        "https://h/a_b-1.0-py3-none-any.whl#sha256=00",
        "-r more.txt",
        "-rmore.txt",
        "-c more.txt",
        "--requirement more.txt",
        "--req more.txt",
        "--pre",
        "--no-index -f ./wheels",
        "-i https://h/simple --trusted-host h",
        "--index-url=https://h/simple",
        "-i",
        "--no-binary :all:",
        "--only-binary=:all:",
        "--unknown",
        "-x",
        "foo bar",
        "alpha -e ./evil",
        "'alpha",
        '--find-links "my wheels"',
        "${PATH}",
        "alpha==${HOME}",
        "--global-option=build",
        "alpha --global-option=x",
        "\ufeffalpha",
        "alpha\\",
        "\\",
        "==1.0",
        "[x]",
        "alpha;beta",
        "alpha @",
    ]
)  # fmt: skip
requirement = st.builds(
    "".join, st.tuples(st.sampled_from(SPACES), names, extras, versions, markers, hashes, comments)
)
line = st.one_of(requirement, requirement, others, others, st.text(max_size=12))
texts = st.lists(st.tuples(line, st.sampled_from(ENDS)), max_size=3).map(
    lambda parts: "".join(text + end for text, end in parts)
)

Form = tuple[str, tuple[str, ...], str, str, str, tuple[str, ...]]
"""A requirement as both readers have it: name, extras, versions, address, marker, hashes."""


def form(text: str, hashes: tuple[str, ...]) -> Form:
    parsed = Parsed(text)
    return (
        canonicalize_name(parsed.name),
        tuple(sorted(canonicalize_name(item) for item in parsed.extras)),
        str(parsed.specifier),
        (parsed.url or "").partition("#")[0],
        str(parsed.marker or ""),
        hashes,
    )


def by_corten(path: Path) -> list[tuple[bool, Form]]:
    """Whether it is a constraint, and the requirement. Raises CortenError for what is refused."""
    read = read_requirements([path])
    found = []
    for constraint, items in ((False, read.requirements), (True, read.constraints)):
        found += [(constraint, form(bare_line(item), item.hashes)) for item in items]
    return sorted(found)


def by_pip(path: Path) -> list[tuple[bool, Form]]:
    found = []
    for item in parse_requirements(str(path), SESSION):
        assert not item.is_editable, item.requirement
        given_hashes = (item.options or {}).get("hashes", {})
        made = install_req_from_line(item.requirement)
        assert made.req is not None
        text = str(made.req)
        if made.link is not None:
            text = f"{made.req.name}{'[' + ','.join(made.extras) + ']' if made.extras else ''} @ {made.link.url_without_fragment}"
        marker = f" ; {made.markers}" if made.markers is not None else ""
        text = text.partition(";")[0].strip()
        found.append(
            (item.constraint, form(f"{text}{marker}", tuple(sorted(set(given_hashes.get("sha256", ()))))))
        )
    return sorted(found)


def compare(text: str, more: str = "") -> list[tuple[bool, Form]] | None:
    """What both readers make of it; None where Corten refuses it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "requirements.txt")
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        Path(directory, "more.txt").write_bytes(more.encode("utf-8", "surrogatepass"))
        # pip takes a path from where it runs; Corten from the file that names it. Here both are one folder.
        before = os.getcwd()
        os.chdir(directory)
        try:
            try:
                ours = by_corten(path)
            except CortenError:
                return None
            try:
                theirs = by_pip(path)
            except RecursionError:  # a file that includes itself counts once here, and without end for pip
                return None
            except RequirementsFileParseError as error:
                if "recursively references itself" not in str(
                    error
                ):  # what newer versions of pip say of such a file
                    raise
                return None
            # One that is included twice counts once here, too.
            assert set(ours) == set(theirs), text
            return ours
        finally:
            os.chdir(before)


@thorough(150, suppress_health_check=[HealthCheck.too_slow])
@given(texts, texts)
@example("alpha  # note \\\n-e ./evil\n", "")
@example("# note \\\n-e ./evil\nalpha\n", "")
@example("alpha\x0c-e ./evil", "")
@example("alpha # a\\\n-e ./evil # \\\nbeta", "")
@example("\\alpha\\\n==1", "")
@example("-r more.txt\n", "-r more.txt\n")
def test_pip_reads_the_same_or_corten_refuses(text: str, more: str) -> None:
    compare(text, more)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            names,
            st.sampled_from(["", "[x]", "[x, Y_z]"]),
            st.sampled_from(["", "==1.0", ">= 1 , < 2", "~=1.4", "(>=1)", "==1.*"]),
            st.sampled_from(["", ' ; python_version >= "3.8"', ";sys_platform=='linux'"]),
            st.sampled_from(
                ["", f" --hash=sha256:{H1}", f" \\\n    --hash=sha256:{H1} \\\n  --hash=sha256:{H2}"]
            ),
            st.sampled_from(["\n", "  # why\n", "\r\n", " \n\n# note\n"]),
        ).map("".join),
        min_size=1,
        max_size=5,
    ).map("".join)
)
def test_what_people_write_is_read_and_not_refused(text: str) -> None:
    assert compare(text)


repaired_lines = st.sampled_from(
    [
        "numpy=1.19.2=py38h54aff64_0",
        "alpha=1.0",
        "alpha 1.0",
        "'alpha==1.0',",
        "os",
        "sklearn==0.0",
        "pywin32==303",
        "beta @ file:///croot/beta_1674267221883/work",
        "beta @ file:///croot/beta_1674267221883/work --hash=sha256:" + H1,
        "beta @ file:///croot/beta_1674267221883/work ; os_name == 'posix'",
        "-e .",
        "-e ./evil",
        "-e git+https://h/own.git#egg=own",
        "pip install gamma",
        "pip install -e ./evil",
        "pip install --index-url https://h gamma",
        "Package    Version",
        "---------- -------",
        "gamma      1.0   ./evil",
    ]
)


@thorough(200, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(repaired_lines | line, st.sampled_from(ENDS)), max_size=4).map(
        lambda parts: "".join(text + end for text, end in parts)
    )
)
@example("numpy=1.19.2=py38h54aff64_0\nos\n-e .\nsklearn==0.0\nbeta @ file:///croot/beta_1674267221883/work")
@example("-e . \\\n -e ./evil")
@example("pip install gamma \\\n-e ./evil")
def test_pip_reads_the_repaired_lines_the_same_or_corten_refuses(text: str) -> None:
    """Corten repairs some forms that pip refuses. What it reads then is what pip reads of the file with those lines in their
    place; and nothing but names, versions, and what pyproject.toml requires can stand there."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "requirements.txt")
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        Path(directory, "more.txt").write_text("")
        repairs = Repairs(lambda: ["own"], lambda extras: ["delta>=1"])
        try:
            read = read_requirements([path], None, lambda file, content: repairs.of(content, 0))
            ours = sorted((False, form(bare_line(item), item.hashes)) for item in read.requirements)
        except CortenError:
            return
        for _, item in read.repaired:
            for one in item.lines:
                assert re.fullmatch(r"[A-Za-z0-9._-]+(\[[\w,. -]*\])?[\s\w<>=!~.*+,]*", one), one
        repair = repairs.of(text, 0)
        lines = []
        for _, logical in logical_lines(text):
            found = repair(logical)
            lines += [logical] if found is None else list(found.lines)
        Path(directory, "repaired.txt").write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
        before = os.getcwd()
        os.chdir(directory)
        try:
            assert {item for item in ours if not item[0]} == {
                item for item in by_pip(Path(directory, "repaired.txt")) if not item[0]
            }
        finally:
            os.chdir(before)


def test_a_comment_that_ends_with_a_backslash_hides_no_line(tmp_path: Path) -> None:
    """Where nothing stands before the comment, the next line is a line of its own."""
    path = tmp_path / "requirements.txt"
    path.write_text("# note \\\n-e ./evil\n")
    with pytest.raises(ResolutionError, match=r"requirements\.txt:2: 'evil' is source"):
        by_corten(path)


@pytest.mark.parametrize(
    "text",
    [
        "-e ./evil",
        "-e git+https://h/e.git",
        "./evil",
        "evil/",
        "/srv/evil",
        "evil.tar.gz",
        "evil.zip",
        "evil @ file:///srv/evil",
        "evil @ ./evil",
        "evil @ git+file:///srv/evil",
        "git+ssh://git@h/e",
        "hg+https://h/e",
        "https://h/evil-1.tar.gz",
        "https://h/evil-1.zip ; os_name == 'posix'",
        "evil @ https://h/evil",
        "evil @ ssh://h/evil-1-py3-none-any.whl",
        "evil @ https://h/other-1-py3-none-any.whl",
        "evil @ https://h/not-a-wheel.whl",
        "--no-binary :all:",
        "--no-binary=evil",
        "alpha --config-settings=a=b",
        "alpha --global-option=x",
        "alpha -e ./evil",
        "alpha; os_name == 'a\\nb'",
        "alpha; os_name == 'a #b'",
        "alpha; os_name == '${HOME}'",
        "alpha @ https://h/${HOME}/alpha-1-py3-none-any.whl",
    ],
)  # fmt: skip
def test_every_form_of_source_is_refused_with_a_hint(tmp_path: Path, text: str) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(f"beta\n{text}\n")
    with pytest.raises((ProjectError, ResolutionError), match=r"requirements\.txt:2: ") as caught:
        by_corten(path)
    assert caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("alpha\n".encode("utf-32"), "is not text"),
        (b"# -*- coding: utf-7 -*-\n+AC0-e ./evil\n", "says that it is encoded in utf-7"),
        (b"alpha\0\n", "is not text"),
    ],
)  # fmt: skip
def test_encodings_that_readers_take_differently_are_refused(
    tmp_path: Path, data: bytes, message: str
) -> None:
    path = tmp_path / "requirements.txt"
    path.write_bytes(data)
    with pytest.raises(ProjectError, match=message):
        read_requirements([path])


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "requirements.txt")
    with pytest.raises(ProjectError, match="not a file"):
        read_requirements([tmp_path / "requirements.txt"])


def test_markers_keep_their_meaning() -> None:
    text = "alpha ; (python_version > '3' or os_name == 'nt') and sys_platform != \"x\""
    from corten.packages.requirements import parse_requirement

    assert Marker(bare_line(parse_requirement(text)).partition(";")[2].strip()) == Marker(
        text.partition(";")[2].strip()
    )
