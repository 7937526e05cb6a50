"""Modules that a project imports and no package of its lock has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from corten.errors import CortenError
from corten.packages.files import Wheel
from corten.packages.requirements import normal_name
from corten.packages.wheel_modules import modules_of
from corten.project.load import strangers
from corten.project.model import Project

_SHOWN = 4
Fetch = Callable[[Sequence[Wheel]], Mapping[str, Path]]
"""Where wheels lie, by their sha256; those that are not here yet are fetched."""


def unexplained(project: Project, wheels: Sequence[Wheel], fetch: Fetch) -> tuple[str, str] | None:
    """What is said of modules that none of `wheels` has, and what to do; None where there are none, or where the wheels cannot be looked at.
    A wheel is fetched only where its name alone does not explain a module."""
    if any(
        name.startswith("python3-") for name in project.system
    ):  # Debian's packages of Python have modules too
        return None
    names = {wheel.name for wheel in wheels}
    left = [item for item in strangers(project) if normal_name(item.module) not in names]
    if left:
        try:
            places = fetch(wheels)
        except CortenError:  # the build says it
            return None
        brought = {module for place in places.values() for module in modules_of(place)}
        left = [item for item in left if item.module not in brought]
    if not left:
        return None
    shown = ", ".join(f"'{item.module}' ({item.where})" for item in left[:_SHOWN])
    more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    return (
        f"the program imports {shown}{more} as it starts, and no package of the lock has "
        f"{'it' if len(left) == 1 else 'them'}",
        "add the package that has it to the project's dependencies, or guard an import that may fail with `except ImportError`",
    )
