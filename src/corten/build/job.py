"""What the steps of one build share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from corten.build.known import Known
from corten.events import Observer
from corten.lock.model import Lock, PlatformLock
from corten.oci.digest import Digest
from corten.packages.files import STRICT, Accepted
from corten.project.model import Project, SourceFiles
from corten.store.store import Store
from corten.values import dataclass

if TYPE_CHECKING:
    from corten.build.base_image import BaseImages
    from corten.build.interpreters import Interpreters
    from corten.build.make import Supply
    from corten.build.workshop import Workshop
    from corten.oci.reference import Reference
    from corten.registry.client import RegistrySettings


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """`name` of the image, the project's by default; `without_models`: declared weights may be missing, to train in
    the image that will serve; `server`: the files of `corten_serve`, path and place; `jobs`: compile servers, 0 for all
    cores; `cache_from`: images in registries whose layers need not be made; `registries` says how those are reached;
    `offline`: a folder that stands for the network; `accepted`: what of Debian's archive is not refused;
    `in_passing`: another command builds before it does its own work, so an image that has not changed keeps its name's other
    platforms; `stamps`: those of the project's code, where somebody has them."""

    name: str | None = None
    without_models: bool = False
    server: tuple[tuple[str, Path], ...] = ()
    jobs: int = 0
    cache_from: tuple[Reference, ...] = ()
    registries: Callable[[], RegistrySettings] | None = None
    offline: Path | None = None
    accepted: Accepted = STRICT
    in_passing: bool = False
    stamps: Digest | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One build for one platform: `part` is the platform's part of the lock, `created` the image's time (RFC 3339)."""

    project: Project
    files: SourceFiles
    lock: Lock
    part: PlatformLock
    store: Store
    known: Known
    supply: Supply
    observe: Observer
    options: BuildOptions
    created: str

    def workshop(self) -> Workshop:
        """Where package layers are made."""
        # Imported when there is something to make: a build that finds everything never needs it.
        from corten.build.workshop import Workshop

        return Workshop(
            self.store,
            self.known,
            self.interpreters(),
            self.supply,
            self.observe,
            jobs=self.jobs,
            server=self.options.server,
            beside=self.interpreters(self.part.debian) if self.part.debian is not self.part else None,
        )

    def interpreters(self, part: PlatformLock | None = None) -> Interpreters:
        """What compiles bytecode for the image, or for its `part` with Debian's own Python."""
        from corten.build.interpreters import Interpreters

        return Interpreters(
            self.store,
            self.known,
            self.lock,
            part or self.part,
            self.supply,
            self.observe,
            foreign=lambda: self.bases().interpreter(self.project, self.lock, self.part),
        )

    @property
    def jobs(self) -> int:
        """How many processes compile at a time."""
        return self.options.jobs or len(os.sched_getaffinity(0))

    def bases(self) -> BaseImages:
        """Where base images that come from elsewhere are found."""
        from corten.build.base_image import BaseImages

        return BaseImages(self.store, self.observe, self.options.registries, self.options.offline)
