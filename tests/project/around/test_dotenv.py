"""Reading `.env`: as python-dotenv does, within bounds, without a link out of the project."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from corten.project.around import dotenv


def test_lines_are_read_as_python_dotenv_reads_them() -> None:
    text = """\
# a comment
A=1
export B = two words   # a comment
C="quoted # kept\\nnext"
D='single ${A}'
E="${A}-${NOT_THERE:-x}${HOME}"
F="several
lines"
G=
no line
2H=x
"""
    assert dotenv.parse(text) == {
        "A": "1",
        "B": "two words",
        "C": "quoted # kept\nnext",
        "D": "single ${A}",
        "E": "1-x",
        "F": "several\nlines",
        "G": "",
    }


def test_a_link_out_of_the_project_and_a_long_file_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("KEY=of-this-machine\n")
    root = tmp_path / "project"
    root.mkdir()
    (root / ".env").symlink_to(tmp_path / "secret")
    assert dotenv.variables(root) == {}
    (root / ".env").unlink()
    (root / ".env").write_bytes(b"A=1\n" * dotenv.MOST_BYTES)
    assert dotenv.variables(root) == {}
    (root / ".env").write_bytes(b"A=\xff\n")
    assert dotenv.variables(root) == {}


@given(st.text(alphabet="AB=\"'\\#${}:- \n\r\texport\x00", max_size=200))
def test_any_text_gives_variables_that_a_process_can_have(text: str) -> None:
    for name, value in dotenv.parse(text).items():
        assert name.isidentifier()
        assert "\x00" not in value
