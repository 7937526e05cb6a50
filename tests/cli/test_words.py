"""Everything after the image is the command, as docker and podman have it."""

from __future__ import annotations

import shlex

import pytest

from corten.cli.main import _own_and_command, parser_of
from corten.cli.words import split

SPLIT = [
    ("run iris ls -la", "iris", "ls -la"),
    ("run iris -- ls -la", "iris", "ls -la"),
    ("run -- iris ls -la", "iris", "ls -la"),
    ("run iris --model x --port 8000", "iris", "--model x --port 8000"),
    ("run iris --model x -- y", "iris", "--model x -- y"),
    ("run iris -- -- y", "iris", "-- y"),
    ("run -it --rm -v /a:/b -p 80:80 --gpus all iris sh -c 'a -- b'", "iris", "sh -c 'a -- b'"),
    ("run -itv /a:/b iris", "iris", ""),
    ("run -u0 iris sh", "iris", "sh"),
    ("run --memory-swap -1 iris sh", "iris", "sh"),
    ("run --name=x iris sh", "iris", "sh"),
    ("run -h box iris sh", "iris", "sh"),
    ("exec -it box sh -c 'ls'", "box", "sh -c ls"),
    ("exec box -- ps -e", "box", "ps -e"),
    ("shell . python train.py --epochs 3", ".", "python train.py --epochs 3"),
    ("shell . -p 8888 -- jupyter lab", ".", "jupyter lab"),
    ("shell -p 8888 . jupyter lab", ".", "jupyter lab"),
    ("shell -- ls", None, "ls"),
    ("shell -p 8888", None, ""),
]


@pytest.mark.parametrize(("line", "named", "command"), SPLIT)
def test_what_follows_the_image_is_the_command(line: str, named: str | None, command: str) -> None:
    verb, *words = shlex.split(line)
    parser, module = parser_of(verb)
    own, rest = _own_and_command(verb, parser, words, module)
    assert rest == shlex.split(command)
    found = parser.parse_args(own)
    assert str(getattr(found, "image", None) or getattr(found, "container", None) or found.path) == (
        named or "."
    )


def test_options_mean_what_they_mean_to_docker() -> None:
    parser, _ = parser_of("run")
    line = "--rm=false --init=true -d=false -v=/a:/b -e=A=1 --memory-swap -1 -e -x -h box -itw /tmp iris"
    found = parser.parse_args(split(parser, line.split()).own)
    assert (found.rm, found.init, found.detach) == (False, True, False)
    assert (found.volume, found.env) == (["/a:/b"], ["A=1", "-x"])
    assert (found.memory_swap, found.hostname, found.workdir) == ("-1", "box", "/tmp")
    assert (found.interactive, found.tty) == (True, True)
