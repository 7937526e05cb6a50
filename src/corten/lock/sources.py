"""The sources among a lock's packages: who builds them, and what the lock says of them.

Sources are built in the project's own Debian base for this machine's processor, whatever the platform: what is not native code serves all of them.
The builder itself belongs to a room above, and is made when the first source comes up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from corten.errors import BuildError
from corten.lock.model import PlatformLock
from corten.packages.files import Deb, Sdist, Wheel
from corten.packages.sdists import Built
from corten.packages.sources import BuiltWheel, Recorded, Resolve, Source, WheelBuilder


class SourceBuilders(Protocol):
    """Makes builders of sources."""

    def builder(
        self,
        part: PlatformLock,
        resolve: Resolve,
        compilers: Callable[[], tuple[Deb, ...]],
        further: Mapping[str, tuple[str, ...]],
        *,
        anew: bool = False,
    ) -> WheelBuilder:
        """One that builds in the base of `part`, which is for this machine. `further` are build
        requirements by the names of packages whose sources do not say that they need them. `anew`: it uses nothing that was built before."""


class Sources:
    """The sources of one lock, for all of its platforms (`corten.packages.sources.WheelBuilder`). `make` gives the builder; it raises where there
    cannot be one."""

    def __init__(self, make: Callable[[], WheelBuilder]) -> None:
        self._make = make
        self._guard = threading.Lock()
        self._builder: WheelBuilder | None = None
        self._built: dict[str, Built] = {}

    def build(
        self, source: Source, recorded: Recorded | None = None, settings: Sequence[tuple[str, str]] = ()
    ) -> BuiltWheel:
        """See `WheelBuilder`."""
        with self._guard:
            if self._builder is None:
                try:
                    self._builder = self._make()
                except BuildError as error:
                    message = f"{source.title!r} has no wheel that fits, only source: {error.message}"
                    raise BuildError(message, error.hint) from error
            builder = self._builder
        return builder.build(source, recorded, settings)

    def note(self, built: Mapping[str, Built]) -> None:
        """Remember what was built, by the sha256 of the wheels."""
        with self._guard:
            self._built |= built

    def wheels(self) -> frozenset[str]:
        """The sha256 of the wheels that were built."""
        with self._guard:
            return frozenset(self._built)

    def of(self, wheels: Iterable[Wheel]) -> tuple[tuple[Sdist, ...], tuple[Wheel, ...]]:
        """The sources of those of `wheels` that were built, and the wheels that these were built with."""
        found = [self._built[wheel.sha256] for wheel in wheels if wheel.sha256 in self._built]
        requires = {wheel.sha256: wheel for built in found for wheel in built.requires}
        ordered = sorted(requires.values(), key=lambda wheel: (wheel.name, wheel.version, wheel.sha256))
        return tuple(sorted((built.sdist for built in found), key=lambda item: item.name)), tuple(ordered)


def built_before(part: PlatformLock | None, again: Iterable[str] = ()) -> list[tuple[Wheel, Built]]:
    """The wheels that `part` has from sources, but for those named in `again`."""
    if part is None:
        return []
    wheels = {wheel.sha256: wheel for wheel in part.wheels}
    requires = {wheel.sha256: wheel for wheel in part.build_wheels}
    left_out = set(again)
    return [
        (wheels[sdist.wheel], Built(sdist, tuple(requires[sha256] for sha256 in sdist.requires)))
        for sdist in part.sdists
        if sdist.name not in left_out
    ]


def refuse_sources(base: str) -> BuildError:
    """What says that nothing can be built on `base`."""
    return BuildError(
        f"sources are built on Debian bases, not on '{base}'",
        hint="use debian:bookworm or debian:trixie, choose a version that has a wheel, or make one ('pip wheel --no-deps') and name its folder "
        "with --find-links",
    )
