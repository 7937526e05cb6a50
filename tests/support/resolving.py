"""A machine of one user, with indexes that are real servers, and a project from elsewhere whose packages are resolved there."""

from __future__ import annotations

import os
from pathlib import Path

from corten.events import ignore
from corten.lock.inputs import inputs_digest
from corten.lock.wanted import fetching_indexes, resolving_indexes, wanted_wheels
from corten.oci.platform import Platform
from corten.packages.compatibility import Target
from corten.packages.fetch import fetch_wheels
from corten.packages.wheels import WheelResolver
from corten.project.load import load
from corten.store.store import Store
from support.index import publish
from support.web import Web
from support.wheels import make_wheel

BOOKWORM = Target(Platform.parse("linux/amd64"), "3.11.2", 36)


class Desk:
    """`good` is an index with `alpha` that nobody has configured yet; `folder` is the project."""

    def __init__(self, root: Path, good: Web) -> None:
        self.root, self.good = root, good
        self.folder = root / "project"
        self.home = root / "home"
        self.store = Store(root / "store")
        for path in (self.folder, self.home):
            path.mkdir()
        make_wheel(root / "pool", "alpha", "1.0")
        publish(good, root / "pool")
        self.environment = {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "PIP_CONFIG_FILE": os.devnull,
            "XDG_CONFIG_DIRS": str(root / "etc"),
            "CORTEN_HOME": str(root / "store"),
            "UV_HTTP_RETRIES": "0",
        }
        self.write("pyproject.toml", '[tool.corten]\ncommand = ["python", "x.py"]\n')

    @property
    def index(self) -> str:
        return f"{self.good.url}/simple"

    def write(self, file: str, text: str) -> Path:
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def netrc(self, host: str, user: str, password: str) -> None:
        path = self.home / ".netrc"
        path.write_text(f"machine {host} login {user} password {password}\n")
        path.chmod(0o600)

    def lock(self) -> list[str]:
        """What `corten lock` does with the project's Python packages, and what `corten build` does after it: the files that
        were fetched."""
        project = load(self.folder)
        inputs_digest(project)
        indexes = resolving_indexes(project, self.environment)
        wanted = wanted_wheels(project, BOOKWORM, self.environment)
        with self.store.temporary_directory() as directory:
            wheels = WheelResolver(self.store, indexes, directory, ignore).resolve(wanted)
        fetch_wheels(self.store, wheels, fetching_indexes(project, self.environment), ignore)
        return [wheel.file for wheel in wheels]
