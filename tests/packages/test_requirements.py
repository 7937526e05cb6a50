"""Requirements files in normal form: equal for equal meaning."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import CortenError, ProjectError, ResolutionError
from corten.packages.requirements import Requirements, parse_requirement, read_requirements
from corten.packages.wheels import refuse_uninstallable

H1, H2 = "a" * 64, "b" * 64


def read(tmp_path: Path, text: str, **others: str) -> Requirements:
    for name, content in others.items():
        (tmp_path / f"{name}.txt").write_text(content)
    (tmp_path / "requirements.txt").write_text(text)
    return read_requirements([tmp_path / "requirements.txt"])


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Foo_Bar >= 1.0, < 2", "foo-bar<2,>=1.0"),
        ("foo [B_x, a] == 1", "foo[a,b-x]==1"),
        ('foo ; python_version  >= "3.9"', "foo; python_version >= '3.9'"),
        ("foo @ https://h/foo-1-py3-none-any.whl", "foo@https://h/foo-1-py3-none-any.whl"),
        ("foo @ https://me:secret@h/foo-1-py3-none-any.whl", "foo @ https://h/foo-1-py3-none-any.whl"),
        (
            f"foo==1 --hash=sha256:{H2} --hash sha256:{H1.upper()}",
            f"foo==1 --hash=sha256:{H1} --hash=sha256:{H2}",
        ),
        ("foo (>=1)", "foo>=1"),
    ],
)
def test_equal_meaning_has_one_form(left: str, right: str) -> None:
    assert parse_requirement(left).text == parse_requirement(right).text


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("numpy", "name", "numpy"),
        ("numpy[x]>=1;python_version<'4'", "name", "numpy"),
        ("a @ https://h/a-1-py3-none-any.whl#sha256=00", "wheel", "a"),
        ("https://h/a-1-py3-none-any.whl?x=1", "wheel", ""),
        ("./w/a-1-py3-none-any.whl", "wheel", ""),
        ("a-1-py3-none-any.whl", "wheel", ""),
        ("a @ git+https://h/a.git@main", "vcs", "a"),
        ("git+ssh://git@h/a", "vcs", ""),
        ("a @ https://h/a-1.tar.gz", "archive", "a"),
        ("https://h/archive/main.zip", "archive", ""),
        (".", "path", ""),
        ("../other", "path", ""),
        ("/srv/a", "path", ""),
        ("a @ file:///srv/a", "path", "a"),
        ("file:///srv/a-1.tar.gz", "archive", ""),
    ],
)
def test_kinds(text: str, kind: str, name: str) -> None:
    item = parse_requirement(text)
    assert (item.kind, item.name) == (kind, name)
    if kind in {"vcs", "archive", "path"}:
        with pytest.raises(ResolutionError):
            refuse_uninstallable([item])
    else:
        refuse_uninstallable([item])


def test_comments_order_and_continuations_do_not_count(tmp_path: Path) -> None:
    plain = read(
        tmp_path,
        f"-i https://h/s\nbeta>=2\nalpha==1 --hash=sha256:{H1} --hash=sha256:{H2}\n-c c.txt",
        c="x<1",
    )
    other = read(
        tmp_path,
        f"# what we need\n\nalpha == 1 \\\n    --hash=sha256:{H2} \\\n    --hash=sha256:{H1}  # checked\n"
        "  Beta >=2   # any\n--constraint=c.txt\n--index-url   https://me:pw@h/s\n",
        c="# pinned\n\nX < 1\n",
    )
    for name in ("requirements", "constraints", "options"):
        left, right = getattr(plain, name), getattr(other, name)
        assert [getattr(item, "text", item) for item in left] == [
            getattr(item, "text", item) for item in right
        ]
    assert plain.hashed
    assert other.indexes == ("https://me:pw@h/s",)


@given(st.randoms(use_true_random=False))
def test_any_layout_of_the_same_lines_reads_the_same(chance: random.Random) -> None:
    import tempfile

    lines = [
        "alpha>=1,<2",
        "beta[x,y]==3",
        "gamma ; sys_platform == 'linux'",
        "-i https://h/s",
        f"d==1 --hash=sha256:{H1}",
    ]
    chance.shuffle(lines)
    text = ""
    for line in lines:
        pieces = line.split(" ")
        text += "".join(chance.choice(["", " ", "\t", "\n", "# note -r x\n"]) for _ in range(2)).replace(
            "\t\n", "\n"
        )
        text = text if not text or text.endswith("\n") else text.rstrip(" \t") + ""
        text = text if not text or text.endswith("\n") else text + "\n"
        text += chance.choice([" ", " \\\n "]).join(pieces) + chance.choice(["\n", "  # why\n", " \n"])
    with tempfile.TemporaryDirectory() as directory:
        found = read(Path(directory), text)
    assert [item.text for item in found.requirements] == [
        "alpha<2,>=1",
        "beta[x,y]==3",
        f"d==1 sha256:{H1}",
        "gamma ; sys_platform == 'linux'",
    ]


@given(st.text())
def test_no_text_breaks_the_reading(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "requirements.txt")
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with contextlib.suppress(CortenError):
            read_requirements([path])


def test_includes_are_followed_from_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more/base.txt").write_text("alpha\n-r deep.txt\n-f wheels\n-r ../requirements.txt\n")
    (tmp_path / "more/deep.txt").write_text("beta\n")
    found = read(tmp_path, "-r more/base.txt\n-rmore/deep.txt\ngamma\n")
    assert [item.text for item in found.requirements] == ["alpha", "beta", "gamma"]
    assert found.find_links == (str(tmp_path / "more/wheels"),)
    assert [item.where for item in found.requirements] == ["base.txt:1", "deep.txt:1", "requirements.txt:3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-r none.txt", r"there is no 'none\.txt' in .*, which requirements\.txt:1 includes"),
        ("-r https://h/r.txt", r"requirements\.txt:1: a requirements file from the web"),
    ],
)
def test_bad_includes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProjectError, match=message):
        read(tmp_path, text)


def test_odd_encodings(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    for encoding in ("utf-16", "utf-8-sig"):
        path.write_text("alpha==1\r\nbeta\r\n", encoding=encoding)
        assert [item.text for item in read_requirements([path]).requirements] == ["alpha==1", "beta"]
    path.write_bytes(b"alpha \xff\n")
    with pytest.raises(ProjectError, match="not text"):
        read_requirements([path])


def test_variables_are_no_part_of_the_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "-i https://${USER_X}:${TOKEN_X}@h/s\na @ https://${TOKEN_X}@h/a-1-py3-none-any.whl\n"
    forms = []
    for token in ("one", "two"):
        monkeypatch.setenv("TOKEN_X", token)
        found = read(tmp_path, text)
        assert found.indexes == ("https://${USER_X}:${TOKEN_X}@h/s",)
        assert "TOKEN_X" not in found.requirements[0].text
        forms.append((found.options, found.requirements[0].text))
    assert forms[0] == forms[1]


def test_refusals_say_where(tmp_path: Path) -> None:
    found = read(tmp_path, "alpha\n-e .\n")
    with pytest.raises(ResolutionError, match=r"requirements\.txt:2: '.*' is source"):
        refuse_uninstallable(found.requirements)
