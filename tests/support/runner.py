"""A small image with Python called `runner`, in the shared store and in stores of plain users of this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from pwd import struct_passwd

import pytest

from support.command import Corten
from support.plain_user import as_user, interpreter, plain_user
from support.stores import copy_for, link_image

MAIN = "print('main')\n"


@dataclass(frozen=True)
class Plain:
    """The command as a plain user with a store of its own that has the image `runner`."""

    user: struct_passwd
    home: Path

    def command(self, *arguments: str | Path) -> list[str]:
        """What to execute."""
        python, variables = interpreter()
        environment = {**variables, "CORTEN_HOME": str(self.home / "store")}
        return as_user(self.user, [*python, "-m", "corten", *map(str, arguments)], environment)

    def __call__(self, *arguments: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run to the end."""
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            check=False,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )


def build_runner(corten: Corten, root: Path) -> None:
    """Build the image `runner` in this store, from a project at `root`."""
    root.mkdir()
    (root / "main.py").write_text(MAIN)
    corten("build", root, "--name", "runner")


@pytest.fixture(scope="session")
def runner(corten: Corten) -> str:
    """The image's name in the shared store."""
    return "runner"


@pytest.fixture(scope="session")
def base_home(corten: Corten, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that has the default base, the image `runner` and little else; to be copied or linked, never used."""
    home = tmp_path_factory.mktemp("base-home")
    link_image(corten.home, "runner", home)
    return home


@pytest.fixture(scope="session")
def plain_runners(base_home: Path, open_directory: Path) -> Callable[[str], Plain]:
    """The command as a plain user: with subordinate IDs (`subuids`) or without (`none`)."""

    @cache
    def make(kind: str) -> Plain:
        user = plain_user("corten-plain" if kind == "subuids" else "corten-nosub", subuids=kind == "subuids")
        home = open_directory / f"runner-{user.pw_name}"
        if home.exists():
            # The tests of another folder of this session have made it.
            return Plain(user, home)
        (home / "runner").mkdir(parents=True)
        (home / "runner/main.py").write_text(MAIN)
        subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", home], check=True)
        copy_for(user, base_home, home / "store")
        return Plain(user, home)

    return make


@pytest.fixture(params=["subuids", "none"])
def plain_runner(request: pytest.FixtureRequest, plain_runners: Callable[[str], Plain]) -> Plain:
    """The command as a plain user, once with subordinate IDs and once without."""
    return plain_runners(request.param)
