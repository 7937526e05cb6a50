from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from corten.project.hints import dockerfile
from corten.project.hints.dockerfile import Stage


def stage(text: str, **arguments: str) -> Stage:
    found = dockerfile.last_stage(dockerfile.parse(text), arguments)
    assert found is not None
    return found


def test_continuations_comments_and_blank_lines_belong_to_one_instruction() -> None:
    found = dockerfile.parse("FROM a\n# x\nRUN one \\\n  # not this\n\n  two \\\r\n  three\nCMD x\n")
    assert [(item.name, item.line) for item in found] == [("FROM", 1), ("RUN", 3), ("CMD", 8)]
    assert found[1].value.split() == ["one", "two", "three"]


def test_another_character_may_continue_lines() -> None:
    found = dockerfile.parse("# escape=`\nFROM a\nCOPY x.py `\n  y.py C:\\\n")
    assert found[1].value.split() == ["x.py", "y.py", "C:\\"]


def test_heredocs_are_read_to_their_end() -> None:
    found = dockerfile.parse(
        "FROM a\nRUN <<EOF\nCMD no\npip install x\nEOF\nRUN <<-'E' bash\n\techo\n\tE\nCMD [\"b\"]\n"
    )
    assert [item.name for item in found] == ["FROM", "RUN", "RUN", "CMD"]
    assert found[1].heredocs == ("CMD no\npip install x",)
    assert [run.text for run in stage("FROM a\nRUN <<EOF\nx\ny\nEOF\n").runs] == ["x\ny"]


def test_flags_are_apart() -> None:
    found = dockerfile.parse("FROM --platform=linux/amd64 a AS b\nCOPY --chown=x:y --from=b /x /y\n")
    assert found[0].value == "a AS b"
    assert found[1].flags == (("chown", "x:y"), ("from", "b"))


def test_arguments_and_variables_are_filled_in() -> None:
    text = (
        "ARG V=3.10\nARG W\nFROM python:${V}-slim${W:-x}\nARG V\nARG HOME_DIR=/code\n"
        "ENV A=$V B=\"two $V\" C='$V' D=${NONE:-d} E=${V:+e}\nENV OLD the whole $A\nWORKDIR $HOME_DIR\nWORKDIR sub\n"
    )
    found = stage(text)
    assert found.image == "python:3.10-slimx"
    assert {name: value for name, (value, _) in found.env.items()} == {
        "A": "3.10",
        "B": "two 3.10",
        "C": "$V",
        "D": "d",
        "E": "e",
        "OLD": "the whole 3.10",
    }
    assert found.workdir == "/code/sub"
    assert stage(text, V="3.9", W="y").image == "python:3.9-slimy"


def test_a_stage_has_what_the_stage_below_has() -> None:
    found = stage(
        'FROM python:3.9 AS base\nWORKDIR /x\nENV A=1\nCMD ["a"]\nRUN one\n'
        "FROM node AS other\nRUN npm\nFROM base\nRUN two\nCOPY . .\n"
    )
    assert (found.image, found.workdir, found.cmd and found.cmd.value) == ("python:3.9", "/x", ("a",))
    assert [run.text for run in found.runs] == ["one", "two"]
    assert [run.text for run in found.other_runs] == ["npm"]
    assert [(copy.sources, copy.target) for copy in found.copied] == [((".",), "/x")]


def test_both_forms_of_a_command() -> None:
    assert stage('FROM a\nCMD ["x", "y z"]\n').cmd == dockerfile.Start(("x", "y z"), 2)
    assert stage("FROM a\nCMD x $PORT\n").cmd == dockerfile.Start("x $PORT", 2)
    assert stage("FROM a\nCMD ['x']\n").cmd == dockerfile.Start("['x']", 2)


def test_values_stay_small() -> None:
    text = "FROM a\nENV A=" + "x" * 100 + "\n" + "ENV A=$A$A$A$A\n" * 60
    assert all(len(value) <= 20_000 for value, _ in stage(text).env.values())


def test_without_a_stage_there_is_nothing() -> None:
    assert dockerfile.last_stage(dockerfile.parse("RUN x\nfoo bar\n"), {}) is None
    assert dockerfile.last_stage(dockerfile.parse("FROM scratch\nFROM\n"), {}) is not None


@given(
    st.text("FROM RUNCOPYE<>=\"'\\$-{}[]\n#ab.:`", max_size=200),
    st.sampled_from(["FROM a\n", "FROM a AS b\nFROM b\n", "ARG A\nFROM $A\n", ""]),
)
def test_any_text_is_read(text: str, head: str) -> None:
    dockerfile.last_stage(dockerfile.parse(head + text), {"A": "x"})
