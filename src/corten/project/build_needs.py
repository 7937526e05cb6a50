"""What a project says of building packages from source: uv's `extra-build-dependencies` and `build-constraint-dependencies`."""

from __future__ import annotations

import re
from typing import Any

from corten.errors import ProjectError
from corten.values import dataclass


@dataclass(frozen=True, slots=True)
class BuildNeeds:
    """`further` are requirements by the normal names of packages whose sources do not say that they need them to be built; `constraints` bound the
    versions of all build requirements."""

    further: tuple[tuple[str, tuple[str, ...]], ...] = ()
    constraints: tuple[str, ...] = ()


def build_needs(pyproject: dict[str, Any]) -> BuildNeeds:
    """What `[tool.uv]` of a pyproject.toml says. Raises ProjectError for what is no list of requirements."""
    tool = pyproject.get("tool")
    uv = tool.get("uv") if isinstance(tool, dict) else None
    if not isinstance(uv, dict):
        return BuildNeeds()
    table = uv.get("extra-build-dependencies", {})
    if not isinstance(table, dict):
        raise ProjectError(
            "`extra-build-dependencies` in [tool.uv] is not a table",
            hint='write a line for each package: thing = ["numpy<2"]',
        )
    further = (
        (_normal(name), _lines(f"extra-build-dependencies.{name}", item)) for name, item in table.items()
    )
    constraints = _lines("build-constraint-dependencies", uv.get("build-constraint-dependencies", []))
    return BuildNeeds(tuple(sorted(further)), constraints)


def is_plain(line: str) -> bool:
    """Whether a requirement is a name with versions: it has no address, and is one line."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(line).url is None and line.isprintable()
    except InvalidRequirement:
        return False


def check_constraints(needs: BuildNeeds) -> None:
    """Raises ProjectError for a constraint that is not a name with versions: uv would ask its address, and nobody has confirmed it."""
    for line in needs.constraints:
        if not is_plain(line):
            raise ProjectError(
                f"`build-constraint-dependencies` in [tool.uv] has {line[:100]!r}, which is not a name with versions",
                hint='write names and versions: ["setuptools<81"]',
            )


def _lines(key: str, value: object) -> tuple[str, ...]:
    """The requirements in a list, whose items are texts or, as uv has them too, tables with a `requirement`."""
    items = value if isinstance(value, list) else [None]
    lines = [item.get("requirement") if isinstance(item, dict) else item for item in items]
    if not all(isinstance(line, str) for line in lines):
        raise ProjectError(
            f"`{key}` in [tool.uv] is not a list of requirements",
            hint='write names and versions: ["numpy<2", "cython"]',
        )
    return tuple(str(line) for line in lines)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
