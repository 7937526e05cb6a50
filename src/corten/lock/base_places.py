"""Where the base that a project names may be: in a layout in its folder, or in a registry that is no service of the cloud around this
machine. The project comes from elsewhere (`corten.packages.trust`); its user can confirm more.

A registry on loopback may be named: that is how bases are developed, and what is no registry there answers nothing of use.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from corten.errors import NotConfirmed
from corten.network.reserved import is_loopback, reserved_host
from corten.oci.layout import Folder, Layout
from corten.packages.trust import Boundary, origins_of, read_trust


def open_layout(
    place: str, root: Path, environment: Mapping[str, str] | None = None
) -> tuple[Layout, str | None]:
    """The layout at `place`, a path from `root` with an optional tag, and the tag. Raises UsageError where there is none, and
    NotConfirmed for one outside the project, before it is looked at; so does the layout for files that are links out of it."""
    boundary = Boundary(root, read_trust(root, os.environ if environment is None else environment))
    path, colon, tag = place.rpartition(":")
    if not colon:
        return Layout(_Bounded(boundary.permitted(root / place, "`base`"), boundary)), None
    directory = boundary.permitted(root / path, "`base`")
    if (root / place).exists():
        return Layout(_Bounded(boundary.permitted(root / place, "`base`"), boundary)), None
    return Layout(_Bounded(directory, boundary)), tag


def check_registry(registry: str, root: Path, environment: Mapping[str, str] | None = None) -> None:
    """Raises NotConfirmed for a registry at a reserved address, unless it is on loopback or the user has confirmed it."""
    host = (urllib.parse.urlsplit(f"//{registry}").hostname or "").rstrip(".")
    if not reserved_host(host) or is_loopback(host) or host.endswith(".localhost"):
        return
    trust = read_trust(root, os.environ if environment is None else environment)
    if {name for _, name in origins_of(registry)} & {name for _, name in trust.origins}:
        return
    message = f"`base` names '{registry}', an address of this machine or of the cloud it runs in"
    question = f"{message}. Ask there for this project, now and later?"
    raise NotConfirmed(message, root, "index", registry, question)


class _Bounded(Folder):
    """A folder without the files that `boundary` does not permit."""

    def __init__(self, directory: Path, boundary: Boundary) -> None:
        super().__init__(directory)
        self._place, self._boundary = directory, boundary

    def has(self, name: str) -> bool:
        self._check(name)
        return super().has(name)

    def open(self, name: str) -> BinaryIO:
        self._check(name)
        return super().open(name)

    def size(self, name: str) -> int:
        self._check(name)
        return super().size(name)

    def _check(self, name: str) -> None:
        self._boundary.permitted(self._place / name, "`base`")
