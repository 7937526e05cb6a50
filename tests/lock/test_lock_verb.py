"""`corten lock` as a command: what it says, writes and answers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from corten.lock.format import read_lock, write_lock
from corten.lock.model import PlatformLock
from corten.project.load import load
from support.command import Corten
from support.index import publish
from support.locks import sample_lock
from support.web import Web, serving
from support.wheels import make_wheel


class Folder:
    """A project with a lock whose base is settled, so that no Debian mirror is needed."""

    def __init__(self, web: Web, root: Path) -> None:
        self.web, self.root, self.path = web, root, root / "my project"
        self.path.mkdir()
        self.lock = self.path / "corten.lock"
        (self.path / "pyproject.toml").write_text(
            '[tool.corten]\ncommand = ["python", "x.py"]\nplatforms = ["linux/amd64", "linux/arm64"]\n'
        )
        self.require("alpha")
        self.publish("alpha"), self.publish("beta")
        sample = sample_lock()
        parts = tuple(PlatformLock(part.platform, part.base) for part in sample.platforms)
        write_lock(self.lock, replace(sample, platforms=parts))
        (root / "home").mkdir()
        self.corten = Corten(
            root / "store",
            {
                "HOME": str(root / "home"),
                "PIP_CONFIG_FILE": os.devnull,
                "PIP_FIND_LINKS": "",
                "UV_DEFAULT_INDEX": f"{web.url}/simple",
            },
        )

    def publish(self, name: str, version: str = "1.0") -> None:
        make_wheel(self.root / "pool", name, version)
        publish(self.web, self.root / "pool")

    def require(self, text: str) -> None:
        (self.path / "requirements.txt").write_text(text + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with serving() as web:
        yield Folder(web, tmp_path)


def test_changes_are_said_and_written(folder: Folder) -> None:
    done = folder.corten("lock", folder.path)
    assert "added alpha 1.0" in done.stderr
    assert "corten.lock: 1 added" in done.stderr
    assert done.stdout == ""
    lock = read_lock(folder.lock)
    assert [wheel.file for part in lock.platforms for wheel in part.wheels] == [
        "alpha-1.0-py3-none-any.whl"
    ] * 2
    assert "nothing changed" in folder.corten("lock", folder.path).stderr
    folder.publish("alpha", "2.0")
    folder.require("alpha\nbeta")
    document = json.loads(folder.corten("lock", "--json", folder.path).stdout)
    assert document["written"] is True
    assert [(change["kind"], change["name"], change["after"]) for change in document["changes"]] == [
        ("added", "beta", "1.0")
    ]
    assert "updated alpha 1.0 → 2.0" in folder.corten("lock", "-P", "alpha", folder.path).stderr
    done = folder.corten("lock", "--upgrade-package", "alfa", folder.path, code=2)
    assert "there is no package 'alfa' in the lock to upgrade" in done.stderr


def test_check_changes_nothing(folder: Folder) -> None:
    done = folder.corten("lock", "--check", folder.path, code=1)
    assert "does not belong to the project's dependencies any more" in done.stderr
    assert "hint: run 'corten lock'" in done.stderr
    folder.corten("lock", folder.path)
    before = folder.lock.read_bytes()
    assert "up to date" in folder.corten("lock", "--check", folder.path).stderr
    folder.require("# only a comment\nalpha")
    folder.corten("lock", "--check", folder.path)
    folder.require("alpha>1")
    folder.corten("lock", "--check", folder.path, code=1)
    assert folder.lock.read_bytes() == before
    folder.corten("lock", "--check", "--upgrade", folder.path, code=2)
    folder.lock.unlink()
    assert "there is no 'corten.lock'" in folder.corten("lock", "--check", folder.path, code=1).stderr


def test_a_failure_leaves_the_lock_as_it_was(folder: Folder) -> None:
    folder.corten("lock", folder.path)
    before = folder.lock.read_bytes()
    folder.require("alpha\nno-such-thing")
    done = folder.corten("lock", folder.path, code=1)
    assert "error: no index has a package 'no-such-thing'" in done.stderr
    assert "Traceback" not in done.stderr
    assert folder.lock.read_bytes() == before
    folder.lock.write_text("<<<<<<< HEAD\nversion = 1\n=======\n")
    assert "has a merge conflict in line 1" in folder.corten("lock", folder.path, code=1).stderr


def test_a_lock_made_by_an_older_corten_is_made_again(folder: Folder) -> None:
    folder.corten("lock", folder.path)
    text = folder.lock.read_text()
    folder.lock.write_text(text.replace("layer-format = 2", "layer-format = 0"))
    done = folder.corten("lock", "--check", folder.path, code=1)
    assert "was made for layer format 0" in done.stderr
    assert load(folder.path).dependencies.kind == "requirements"
