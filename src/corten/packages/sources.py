"""Sources that are built into wheels: what a source is, what came of it, and who builds it.

The builder itself is in a room above (`corten.build.source_wheels`), because it needs a Debian base to build in. It knows nothing of where a
source comes from: an archive from an index and an unpacked tree of any other origin are the same to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from corten.packages.files import Wheel
from corten.values import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """Something to build. `place` is an archive (an sdist) or the folder of an unpacked tree; neither is trusted. `sha256` stands for its
    content, whatever its owner hashes. `name` is the normal name of its package and `version` its version; empty where they are known only
    when it is built; then `shown` stands for it in what is said."""

    name: str
    version: str
    sha256: str
    place: Path
    shown: str = ""

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.name} {self.version}".strip() or self.shown or self.place.name


@dataclass(frozen=True, slots=True)
class BuiltWheel:
    """A wheel that was built, and lies in the store's files. `requires` are the wheels that its build backend had, `native`: it had a
    compiler; `reproducible`: two builds gave the same bytes; `marks` as in `corten.packages.files.Sdist`."""

    wheel: Wheel
    requires: tuple[Wheel, ...] = ()
    native: bool = False
    reproducible: bool = True
    marks: str = ""

    @property
    def is_portable(self) -> bool:
        """Whether it runs on every kind of machine."""
        return self.wheel.file.endswith("-none-any.whl")


@dataclass(frozen=True, slots=True)
class Recorded:
    """How a source was built before: with what, and what came of it. Another build of it must give the same wheel."""

    wheel: Wheel
    requires: tuple[Wheel, ...]
    native: bool


class WheelBuilder(Protocol):
    """Builds sources for one Python and this machine's processor."""

    def build(
        self, source: Source, recorded: Recorded | None = None, settings: Sequence[tuple[str, str]] = ()
    ) -> BuiltWheel:
        """The wheel of `source`; with `recorded` built from the same requirements. `settings` are PEP 517's config settings. What was built
        here before is not built again. Raises BuildError, NoSandbox, ResolutionError (for a build requirement), FetchError."""


Resolve = Callable[[Sequence[str]], tuple[Wheel, ...]]
"""The wheels that requirements (PEP 508) lead to, for the builder's own Python and this machine."""
