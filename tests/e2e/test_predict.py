"""`corten predict` with a project and an image: a container answers, and nothing of it is left."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import Corten

pytestmark = pytest.mark.e2e
PREDICT = """
def predict(text: str, times: int = 1) -> str:
    if text == "bad":
        raise ValueError("not this one")
    return text * times
"""


@pytest.fixture
def root(project: Callable[..., Path]) -> Path:
    return project({"predict.py": PREDICT}, "speaker")


def test_a_project_and_its_image_answer_and_leave_nothing(corten: Corten, root: Path):
    done = corten("predict", root, "text=12", "times=2")
    assert json.loads(done.stdout) == "1212"
    assert json.loads(corten("predict", "speaker", "text=ab").stdout) == "ab"
    assert corten("ps", "-a", "--json").stdout.count("speaker") == 0


def test_a_file_is_kept_as_it_is(corten: Corten, project: Callable[..., Path], tmp_path: Path):
    root = project({"predict.py": "def predict(size: int) -> bytes: return bytes(range(size))\n"}, "filer")
    out = tmp_path / "answer.bin"
    done = corten("predict", root, "size=3", "-o", out)
    assert out.read_bytes() == b"\x00\x01\x02"
    assert "application/octet-stream" in done.stderr


@pytest.mark.parametrize(
    "words", [("--batch", "absent.csv", "--out", "o.csv"), ("--output", "absent/answer", "text=a")]
)
def test_a_file_that_is_not_there_is_told_before_anything_is_built(
    corten: Corten, root: Path, words: tuple[str, ...]
):
    done = corten("predict", root, *words, code=2)
    assert done.stderr.startswith("error: there is no f")


def test_what_the_predictor_raises_is_shown(corten: Corten, root: Path):
    done = corten("predict", root, "text=bad", code=1)
    assert "ValueError: not this one" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: the predictor raised ValueError")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_it_and_its_container(corten: Corten, project: Callable[..., Path], number: int):
    code = "import time\ndef predict(x: int) -> int:\n    print('begun', flush=True)\n    time.sleep(300)\n    return x\n"
    root = project({"predict.py": code}, "sleeper")
    process = subprocess.Popen(
        corten.command("predict", "--verbose", root, "x=1"),
        env=corten.variables(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert any("begun" in line for line in process.stderr)
    process.send_signal(number)
    assert "interrupted" in process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "sleeper" not in corten("ps", "-a", "--json").stdout


def test_a_file_of_requests(corten: Corten, root: Path, tmp_path: Path):
    (tmp_path / "in.csv").write_text("text,times\n" + "".join(f"t{row},2\n" for row in range(40)))
    out = tmp_path / "out.jsonl"
    corten("predict", root, "--batch", tmp_path / "in.csv", "--out", out, "--workers", "2")
    assert [json.loads(line) for line in out.read_text().splitlines()] == [
        f"t{row}t{row}" for row in range(40)
    ]


def test_a_predictor_that_does_not_start(corten: Corten, project: Callable[..., Path]):
    root = project({"predict.py": "import absent\ndef predict(x: int) -> int: return x\n"}, "broken")
    done = corten("predict", root, "x=1", code=1)
    assert "No module named 'absent'" in done.stderr
    assert "ended before it was ready" in done.stderr
