"""What `shell` and `dev` share: a project's image for working on it, with its packages for development."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from corten.cli.building import BuildRequest, build_locked, current_lock, registries, source_builders
from corten.errors import UsageError
from corten.events import Note, Observer
from corten.lock.format import LOCK_NAME, read_lock, write_lock
from corten.lock.inputs import inputs_digest, requirements_of
from corten.oci.platform import Platform
from corten.packages.files import STRICT, Accepted
from corten.packages.requirements import normal_name
from corten.project.dependencies import group_files, groups_in
from corten.project.load import load, read_pyproject
from corten.project.model import Dependencies, Implied, Project
from corten.values import replace

if TYPE_CHECKING:
    from corten.lock.model import Lock
    from corten.store.images import Image
    from corten.store.store import Store

GROUP = "dev"
"""The group that is for working on a project: of pyproject.toml (PEP 735; uv's default group), or `requirements-dev.txt`."""
_WITH_GROUPS = ("poetry.lock", "pdm.lock", "pyproject.toml")


def development_image(
    path: Path,
    store: Store,
    observe: Observer,
    accepted: Accepted = STRICT,
    groups: Sequence[str] = (),
) -> tuple[Project, Image]:
    """The project in the folder `path` and its image, with its `groups` (none named: the dev group, where it has one), and without models
    that are not there. The packages of production are those of corten.lock, which is not touched but where it is stale; the lock with
    the groups is kept in the store's caches. Raises what building raises, and UsageError for a group that is not there."""
    project = load(path)
    variant = _with_groups(project, groups, observe)
    reach = registries(observe=observe)
    platforms = (Platform.host(),)
    lock = current_lock(
        project, store, observe, platforms, locked=False, offline=None, reach=reach, accepted=accepted
    )
    request = BuildRequest(path, without_models=True, accepted=accepted, in_passing=True)
    if variant is None:
        return project, build_locked(request, project, lock, platforms, store, observe, reach)[0].image
    request = replace(request, name=f"{project.name}-development")
    lock = _development_lock(variant, lock, store, observe, accepted)
    return variant, build_locked(request, variant, lock, platforms, store, observe, reach)[0].image


def _with_groups(project: Project, named: Sequence[str], observe: Observer) -> Project | None:
    """The project with groups; None where it has none, or has them anyway. Raises UsageError."""
    pyproject = read_pyproject(project.root) or {}
    dependencies = project.dependencies
    files = group_files(project.root) if dependencies.kind == "requirements" else {}
    foreign = len(dependencies.files) == 1 and dependencies.files[0].name in _WITH_GROUPS
    tables = {normal_name(name): name for name in groups_in(pyproject)}
    known = {**files, **tables} if dependencies.kind != "requirements" or foreign else files
    wanted = [normal_name(name) for name in named] or [GROUP]
    for name in wanted if named else ():
        if name not in known:
            there = ", ".join(f"'{item}'" for item in sorted(known)) or "none"
            raise UsageError(f"the project has no group '{name}'", hint=f"there: {there}")
    if dependencies.kind == "requirements" and not foreign and GROUP in tables and GROUP not in files:
        observe(
            Note(f"the group '{GROUP}' of pyproject.toml is left out: the packages are in requirements files")
        )
    chosen = {normal_name(name) for name in dependencies.groups}
    wanted = [name for name in wanted if name in known and name not in chosen]
    if not wanted:
        return None
    if dependencies.kind == "pylock":
        observe(
            Note(f"the group '{wanted[0]}' of pyproject.toml is left out: the packages are in pylock.toml")
        )
        return None
    more = [project.root / file for name in wanted if name in files for file in files[name]]
    added: tuple[Implied, ...] = ()
    if more and requirements_of(project).hashed:
        # What has no hashes cannot stand beside what has.
        added = _beside(project, more)
        more = []
    if dependencies.kind == "none":
        dependencies = Dependencies("pyproject", (project.root / "pyproject.toml",))
    dependencies = replace(
        dependencies,
        files=tuple(dict.fromkeys((*dependencies.files, *more))),
        groups=(*dependencies.groups, *(tables.get(name, name) for name in wanted)),
    )
    return replace(project, dependencies=dependencies, implied=(*project.implied, *added))


def _beside(project: Project, files: Sequence[Path]) -> tuple[Implied, ...]:
    """What `files` require beyond the project's own requirements."""
    own = {item.name for item in requirements_of(project).requirements}
    apart = replace(project, dependencies=replace(project.dependencies, files=tuple(files)))
    read = requirements_of(apart)
    return tuple(Implied(item.written, "") for item in read.requirements if item.name not in own)


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
            asked,
            store,
            previous=production,
            observe=observe,
            images=images,
            accepted=accepted,
            sources=source_builders(asked, store, observe, accepted),
        )
    write_lock(path, lock)
    groups = ", ".join(f"'{name}'" for name in variant.dependencies.groups)
    observe(Note(f"resolved the packages of the group {groups}; {LOCK_NAME} has not changed"))
    return lock
