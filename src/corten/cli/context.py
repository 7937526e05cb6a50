"""What a verb is given beside its arguments: the terminal, the store, and building a project as one call."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from corten.cli.terminal import Terminal
from corten.events import Observer
from corten.packages.files import STRICT, Accepted
from corten.store.store import Store

if TYPE_CHECKING:
    from corten.build.build import Built
    from corten.oci.platform import Platform
    from corten.store.images import Image


class Context:
    """One run of the command. `accepted` is what its arguments accept of Debian's archive."""

    def __init__(self, terminal: Terminal, accepted: Accepted = STRICT) -> None:
        self.terminal = terminal
        self.accepted = accepted

    @cached_property
    def store(self) -> Store:
        """The store of this user."""
        return Store.open()

    @property
    def observe(self) -> Observer:
        """Where long work reports to."""
        return self.terminal.observe

    def build(self, path: Path, *, without_models: bool = False) -> Image:
        """Lock (when needed) and build the project in the folder `path` for this machine, and return its image."""
        return self.build_all(path, without_models=without_models, in_passing=True)[0].image

    def build_all(
        self,
        path: Path,
        *,
        platforms: tuple[Platform, ...] = (),
        locked: bool = False,
        offline: Path | None = None,
        name: str | None = None,
        without_models: bool = False,
        jobs: int = 0,
        cache_from: tuple[str, ...] = (),
        insecure: bool = False,
        in_passing: bool = False,
    ) -> list[Built]:
        """The same for several platforms, this machine's by default."""
        from corten.cli.building import BuildRequest, build_project

        request = BuildRequest(
            path,
            platforms,
            locked,
            offline,
            name,
            without_models,
            jobs,
            cache_from,
            insecure,
            self.accepted,
            in_passing,
        )
        return build_project(request, self.store, self.observe)
