"""Which packages a project needs beyond those that it lists: all that it imports where it lists none, else what it imports as it
starts and nothing lists."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from corten.project import imports
from corten.project.dependencies import package_names
from corten.project.distributions import known, normal
from corten.project.model import Command, Dependencies, Implied, Predictor, Unlisted
from corten.project.recognize.folder import Folder
from corten.project.saved_models import ENDINGS, look

_MOST_MODELS = 20
DERIVED = "no file that Corten reads lists the dependencies, and the code imports them"
"""The reason of requirements that are taken from imports."""


class Needed:
    """The packages of the project in `folder`. Its files are read when something is first asked."""

    def __init__(
        self, dependencies: Dependencies, pyproject: dict[str, Any], root: Path, folder: Folder
    ) -> None:
        self._dependencies = dependencies
        self._pyproject = pyproject
        self._root = root
        self._folder = folder
        self._found: dict[tuple[str, ...], imports.Derived] = {}

    def names(self) -> frozenset[str]:
        """The normal names of the project's packages, an extra as `name[extra]`."""
        if self._dependencies.kind == "none":
            return frozenset(normal(item) for item in self._derived(()).requirements)
        return self._listed

    @property
    def listed(self) -> frozenset[str]:
        """The same of what a file lists; empty where none does."""
        return frozenset() if self._dependencies.kind == "none" else self._listed

    def unknown(self, entry: Predictor | Command | None) -> tuple[str, ...]:
        """Modules of which it is not known where they come from, where nothing is listed."""
        return self._derived(self._files(entry)).unknown if self._dependencies.kind == "none" else ()

    def notes(self, implied: tuple[Implied, ...]) -> tuple[str, ...]:
        """What is worth saying about them. `implied` is all that Corten adds, for whatever reason."""
        own = [item.requirement for item in implied if item.reason == DERIVED]
        return (f"dependencies come from the imports: {', '.join(own)}",) if own else ()

    def left_out(self, entry: Predictor | Command | None) -> tuple[str, ...]:
        """A line about programs whose imports do not count, where nothing is listed and the project has many programs."""
        if self._dependencies.kind != "none":
            return ()
        files = self._files(entry)
        others = self._derived(files).left_out
        if not others:
            return ()
        return (
            f"imports of {len(others)} scripts that '{files[0]}' does not use, such as '{others[0]}', are left out",
        )

    def implied(
        self, others: tuple[Implied, ...], entry: Predictor | Command | None = None
    ) -> tuple[Implied, ...]:
        """What Corten adds: what the imports ask for where nothing is listed, and `others`. `entry` is what runs."""
        if self._dependencies.kind != "none":
            return others
        derived = self._derived(self._files(entry))
        there = {normal(item.requirement) for item in others}
        # One module may come from several distributions: `cv2` from opencv-python, or from opencv-python-headless.
        covered = {
            normal(need.requirement)
            for need in (imports.needs(self._folder) if others else ())
            if need.requirement and there & {*map(normal, need.distributions)}
        }
        own = [Implied(item, DERIVED) for item in derived.requirements if normal(item) not in there | covered]
        return (*own, *others)

    def unlisted(
        self, entry: Predictor | Command | None, implied: tuple[Implied, ...]
    ) -> tuple[tuple[Implied, ...], tuple[Unlisted, ...]]:
        """What `entry` imports as it starts and nothing lists: `implied`, with what only some versions of a package have, and
        what may come with other packages."""
        if entry is None or self._dependencies.kind == "none":
            return implied, ()
        listed = self._listed | {normal(item.requirement) for item in implied}
        files = self._files(entry)
        found = imports.unlisted(self._folder, listed, files) if files else ()
        limited = tuple(
            Implied(
                need.requirement, f"'{need.where}' imports {need.module}, which newer versions do not have"
            )
            for need in found
            if "<" in need.requirement
        )
        return (*implied, *limited), tuple(
            Unlisted(need.requirement, need.distributions, need.module, need.where)
            for need in found
            if "<" not in need.requirement
        )

    def strangers(self, entry: Predictor | Command | None) -> tuple[Unlisted, ...]:
        """What `entry` imports as it starts, and of which it is not known where it comes from, beside what a file lists."""
        files = self._files(entry) if self._dependencies.kind != "none" else ()
        found = imports.strangers(self._folder, self._listed, files) if files else ()
        return tuple(Unlisted("", (), need.module, need.where) for need in found)

    def _files(self, entry: Predictor | Command | None) -> tuple[str, ...]:
        """The project's files that `entry` names."""
        if entry is None:
            return ()
        words = entry.targets if isinstance(entry, Predictor) else entry.argv
        return imports.entry_files(words, self._folder)

    def _derived(self, files: tuple[str, ...]) -> imports.Derived:
        """What is imported where `files` run first, and what saved models have objects of."""
        known = self._found.get(files)
        if known is None:
            known = self._found[files] = self._look(files)
        return known

    def _look(self, files: tuple[str, ...]) -> imports.Derived:
        found = imports.derived(self._folder, files)
        paths = [path for path in self._folder.files() if path.endswith(ENDINGS)][:_MOST_MODELS]
        saved = [look(self._root, path) for path in paths]
        modules = [module for one in saved if one is not None for module in one.modules]
        entries = [entry for module in modules if (entry := known(module)) is not None]
        there = {normal(item) for item in found.requirements}
        more = {entry.requirement: None for entry in entries if not there & {*entry.distributions}}
        return imports.Derived((*found.requirements, *sorted(more)), found.unknown, found.left_out)

    @cached_property
    def _listed(self) -> frozenset[str]:
        return package_names(self._dependencies, self._pyproject, self._root)
