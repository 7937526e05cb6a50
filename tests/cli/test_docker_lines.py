"""Command lines for docker and podman, as people typed them in READMEs, are accepted here or refused with the line to write."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from corten.cli.context import Context
from corten.cli.docker_options import say_volume_notes
from corten.cli.living import life_of
from corten.cli.main import _own_and_command, parser_of
from corten.cli.run import options_of, platform_of, reachable
from corten.cli.terminal import Terminal
from corten.errors import CortenError
from corten.runtime.decide import network_of
from corten.runtime.options import RunOptions
from corten.store.images import Image
from corten.store.store import Store
from support.images import make_image

_LISTED = (Path(__file__).parent / "data" / "docker_lines.txt").read_text().splitlines()
_TEXT = [line for line in _LISTED if not line.startswith("#")]
LINES = list(zip(_TEXT[::2], _TEXT[1::2], strict=True))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to type in, which is the home too."""
    monkeypatch.setenv("CORTEN_HOME", str(tmp_path / "store"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(line: str, here: Path) -> list[str]:
    """The words after `docker run` as a shell gives them to it, with the files and folders there that they name."""
    script = (
        f'docker() {{ printf "%s\\0" "$@"; }}; podman() {{ docker "$@"; }}\n{line.removeprefix("nvidia-")}'
    )
    out = subprocess.run(
        ["bash", "-c", script],
        cwd=here,
        env={**os.environ, "PWD": str(here)},
        capture_output=True,
        check=True,
    ).stdout.decode()
    words = out.split("\0")[:-1]
    assert words[0] == "run"
    for flag, word in itertools.pairwise(words):
        if flag == "--env-file":
            (here / word).write_text("A=1\n")
        if flag in ("-v", "--volume") and word.startswith((str(here), "./")):
            (here / word.partition(":")[0]).mkdir(parents=True, exist_ok=True)
    return words[1:]


def decided(words: list[str], image: Image) -> tuple[RunOptions, list[str], str]:
    """What `corten run` decides before it looks for the image. Raises CortenError."""
    parser, module = parser_of("run")
    own, command = _own_and_command("run", parser, words, module)
    arguments = parser.parse_args(own)
    arguments.command = command
    options = reachable(options_of(arguments), lambda _: None)
    network_of(options)
    platform_of(arguments)
    life_of(arguments, image, Context(Terminal.standard()))
    return options, command, arguments.image


@pytest.mark.parametrize(("line", "expected"), LINES, ids=[line[:70] for line, _ in LINES])
def test_a_line_of_docker_is_accepted_or_refused_with_the_way(here: Path, line: str, expected: str) -> None:
    image = make_image(Store.open(here / "store"), "any", [{"etc/x": b""}])
    kind, text = expected.split(" ", 1)
    words = typed(line, here)
    if kind == "!" or (kind == "@" and not os.path.exists(text)):
        with pytest.raises(CortenError) as refused:
            decided(words, image)
        assert text in f"{refused.value.message}\n{refused.value.hint}"
        assert refused.value.hint
        return
    _, command, name = decided(words, image)
    assert re.fullmatch(r"[a-z][a-zA-Z0-9_./:-]*", name), "the word before the command is the image"
    if kind == "=":
        assert command == ([] if text == "-" else shlex.split(text))


def test_the_list_is_long_and_few_lines_are_refused() -> None:
    assert len(LINES) >= 100
    assert sum(expected.startswith("=") for _, expected in LINES) >= 80


def test_options_of_volumes_that_change_nothing_are_told_once(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = Context(Terminal.standard())
    for _ in range(2):
        say_volume_notes(["./a:/a:z", "./b:/b:ro,z,cached", "/c"], context)
    said = capsys.readouterr().err
    assert said.count("':z' of a volume changes nothing") == 1
    assert said.count("':cached' of a volume changes nothing") == 1
