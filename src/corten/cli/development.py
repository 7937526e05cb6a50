"""What `shell` and `dev` share: a project's image for working on it, with its packages for development."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from corten.cli.building import BuildRequest, build_locked, current_lock, registries
from corten.events import Note, Observer
from corten.lock.format import LOCK_NAME, read_lock, write_lock
from corten.lock.inputs import inputs_digest
from corten.oci.platform import Platform
from corten.packages.files import STRICT, Accepted
from corten.project.load import load, read_pyproject
from corten.project.model import Dependencies, Project
from corten.values import replace

if TYPE_CHECKING:
    from corten.lock.model import Lock
    from corten.store.images import Image
    from corten.store.store import Store

GROUP = "dev"
"""The dependency group of pyproject.toml that is for working on a project (PEP 735; uv's default group)."""


def development_image(
    path: Path, store: Store, observe: Observer, accepted: Accepted = STRICT
) -> tuple[Project, Image]:
    """The project in the folder `path` and its image, with its dev group where it has one, and without models that are not
    there. The packages of production are those of corten.lock, which is not touched but where it is stale; the lock with
    the dev group is kept in the store's caches. Raises what building raises."""
    project = load(path)
    reach = registries(observe=observe)
    platforms = (Platform.host(),)
    lock = current_lock(
        project, store, observe, platforms, locked=False, offline=None, reach=reach, accepted=accepted
    )
    request = BuildRequest(path, without_models=True, accepted=accepted, in_passing=True)
    variant = _with_group(project, observe)
    if variant is None:
        return project, build_locked(request, project, lock, platforms, store, observe, reach)[0].image
    request = replace(request, name=f"{project.name}-development")
    lock = _development_lock(variant, lock, store, observe, accepted)
    return variant, build_locked(request, variant, lock, platforms, store, observe, reach)[0].image


def _with_group(project: Project, observe: Observer) -> Project | None:
    """The project with its dev group; None where it has none, or has it anyway."""
    groups = (read_pyproject(project.root) or {}).get("dependency-groups") or {}
    dependencies = project.dependencies
    if GROUP not in groups or GROUP in dependencies.groups:
        return None
    if dependencies.kind == "requirements":
        observe(
            Note(f"the group '{GROUP}' of pyproject.toml is left out: the packages are in requirements files")
        )
        return None
    if dependencies.kind == "pylock":
        observe(Note(f"the group '{GROUP}' of pyproject.toml is left out: the packages are in pylock.toml"))
        return None
    if dependencies.kind == "none":
        dependencies = Dependencies("pyproject", (project.root / "pyproject.toml",))
    return replace(project, dependencies=replace(dependencies, groups=(*dependencies.groups, GROUP)))


def _development_lock(
    variant: Project, production: Lock, store: Store, observe: Observer, accepted: Accepted
) -> Lock:
    """The lock with the dev group, whose versions are those of production where both have a package."""
    from corten.build.base_image import BaseImages
    from corten.lock.resolve import lock_project

    own = (variant.root / LOCK_NAME).read_bytes()
    text = f"{variant.root}\n{inputs_digest(variant)}\n{hashlib.sha256(own).hexdigest()}"
    path = store.cache_directory("development") / f"{hashlib.sha256(text.encode()).hexdigest()}.lock"
    if path.exists():
        return read_lock(path)
    asked = replace(variant, platforms=(Platform.host(),))
    with store.lock("store", shared=True):
        images = BaseImages(store, observe, registries(observe=observe))
        lock = lock_project(
            asked, store, previous=production, observe=observe, images=images, accepted=accepted
        )
    write_lock(path, lock)
    observe(Note(f"resolved the packages of the group '{GROUP}'; {LOCK_NAME} is as it was"))
    return lock
