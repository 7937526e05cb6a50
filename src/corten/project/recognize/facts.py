"""What a recogniser may look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from corten.project.hints.sources import Hints
from corten.project.recognize.folder import Folder


class Facts:
    """The project's folder and what its own tables say: `scripts`, `[project.scripts]` by name; `models`, the patterns of
    its declared weights; `hints`, what files of other tools say; `packages`, the normalised names of its dependencies, with extras as `name[extra]`, read when first
    asked for."""

    def __init__(
        self,
        folder: Folder,
        scripts: Mapping[str, str] = MappingProxyType({}),
        models: tuple[str, ...] = (),
        packages: Callable[[], frozenset[str]] = frozenset,
        hints: Hints | None = None,
        listed: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self.folder = folder
        self.hints = hints or Hints(folder)
        self.scripts = scripts
        self.models = models
        self._read = packages
        self._packages: frozenset[str] | None = None
        self._read_listed = listed

    @property
    def packages(self) -> frozenset[str]:
        """The names of the dependencies."""
        if self._packages is None:
            self._packages = self._read()
        return self._packages

    @property
    def listed(self) -> frozenset[str]:
        """The same of those that a file lists; empty where they come from the imports."""
        return self._read_listed()
