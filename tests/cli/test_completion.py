"""Completion scripts: bash's is tried in a real bash, with a store that has an image."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from corten.cli.completion import described
from corten.cli.main import VERBS
from support.command import Corten


@pytest.fixture
def corten(tmp_path: Path) -> Corten:
    """With `corten` on the PATH."""
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin/corten"
    tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m corten "$@"\n')
    tool.chmod(0o755)
    return Corten(tmp_path / "home", {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"})


def complete(corten: Corten, folder: Path, *words: str) -> list[str]:
    """What bash offers for the last of `words`."""
    script = (
        'source <(corten completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { :; }\n'
        '_corten; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", "corten", *words],
        cwd=folder,
        env=corten.variables(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash(corten: Corten, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    assert complete(corten, tmp_path, "b") == ["build"]
    assert set(VERBS) <= set(complete(corten, tmp_path, ""))
    assert complete(corten, tmp_path, "build", "--pl") == ["--platform"]
    assert complete(corten, tmp_path, "build", "fo") == ["folder"]
    assert complete(corten, tmp_path, "build", "fi") == []
    assert complete(corten, tmp_path, "run", "--env-file", "fi") == ["file"]
    assert complete(corten, tmp_path, "inspect", "x", "--format", "con") == ["config"]
    assert complete(corten, tmp_path, "completion", "") == ["bash", "fish", "zsh"]
    assert complete(corten, tmp_path, "nonsense", "x") == []


def test_bash_knows_the_images(corten: Corten, tmp_path: Path) -> None:
    (tmp_path / "bin/corten").write_text(
        f'#!/bin/sh\n[ "$1" = images ] && printf "NAME   ID\\niris:latest   1\\nmnist:2   2\\n" && exit\n'
        f'exec "{sys.executable}" -P -m corten "$@"\n'
    )
    assert complete(corten, tmp_path, "inspect", "") == ["iris:latest", "mnist:2"]
    assert complete(corten, tmp_path, "rmi", "mn") == ["mnist:2"]


def test_bash_knows_the_volumes(corten: Corten, tmp_path: Path) -> None:
    for name in ("data", "models"):
        corten("volume", "create", name)
    assert complete(corten, tmp_path, "volume", "rm", "da") == ["data"]
    assert complete(corten, tmp_path, "run", "-v", "") == ["data", "models"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_accepts_its_script(corten: Corten, tmp_path: Path, shell: str) -> None:
    """The shells that are here read it whole; of the others, that every verb and option is in it."""
    text = corten("completion", shell).stdout
    for verb in described():
        assert verb.name in text
        for option in verb.options:
            assert all(flag.lstrip("-") in text for flag in option.flags)
    if shutil.which(shell):
        (tmp_path / "script").write_text(text)
        done = subprocess.run([shell, "-n", tmp_path / "script"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
