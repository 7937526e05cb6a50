"""What pip's configuration asks of every resolution besides its indexes: constraints (`PIP_CONSTRAINT`, `constraint` in pip.conf) and
packages that must not come as wheels (`PIP_NO_BINARY`, `no-binary`). They are this machine's, so a lock does not depend on them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from corten.errors import CortenError, HashMismatch, ResolutionError, UsageError
from corten.packages.files import Wheel
from corten.packages.pipconfig import read_pip, words
from corten.packages.requirements import Requirement, Requirements, normal_name, read_requirements
from corten.packages.uv_lines import bare_line
from corten.packages.wheels import Wanted
from corten.values import dataclass, replace

_LARGEST = 4 << 20
ALL = ":all:"
Fetch = Callable[[str, int], bytes]
"""What an address holds, at most so many bytes."""


@dataclass(frozen=True, slots=True)
class Rules:
    """`constraints` come from `files` (as they are named), where `options` stand that are not read. `built` are the packages that must
    not come as wheels, `:all:` for every one but those in `wheels`. `said_by` is what names the constraints, `built_by` what names those packages."""

    constraints: tuple[Requirement, ...] = ()
    files: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    built: frozenset[str] = frozenset()
    wheels: frozenset[str] = frozenset()
    said_by: str = ""
    built_by: str = ""

    def notes(self, file: str = "") -> tuple[str, ...]:
        """What is worth saying. `file` is the lock of another tool that decides instead; empty where there is none."""
        found = []
        names = ", ".join(f"'{name}'" for name in self.files)
        if file and (self.files or self.built):
            which = " and ".join(dict.fromkeys(filter(None, (self.said_by, self.built_by))))
            return (f"{which} of pip's configuration is not read: '{file}' decides what is installed",)
        if self.files:
            found.append(f"the constraints in {names} apply, which {self.said_by} names")
        if self.options:
            found.append(f"options in {names} are not read: {', '.join(self.options)}")
        return tuple(found)

    def applied(self, wanted: Wanted) -> Wanted:
        """`wanted` under the constraints. Raises HashMismatch where a constraint allows no file that the project allows."""
        if not self.constraints:
            return wanted
        allowed = dict(wanted.allowed)
        for item in self.constraints:
            if not item.hashes:
                continue
            own = allowed.get(item.name)
            both = tuple(sorted(set(item.hashes) & set(own))) if own else item.hashes
            if not both:
                raise HashMismatch(
                    f"{item.where}: no hash of '{item.name}' is allowed by both the project and the constraint",
                    hint=f"recreate the requirements' hashes, or change what {self.said_by} names",
                )
            allowed[item.name] = both
        lines = tuple(map(bare_line, self.constraints))
        request = replace(wanted.request, constraints=(*wanted.request.constraints, *lines))
        return replace(wanted, request=request, allowed=allowed)

    def check(self, wheels: Sequence[Wheel], built: Collection[str] = ()) -> None:
        """Raises ResolutionError for a wheel of a package that must not come as one. Those in `built` (their sha256) come from source."""
        for wheel in wheels:
            if wheel.sha256 in built:
                continue
            if wheel.name in self.built or (ALL in self.built and wheel.name not in self.wheels):
                raise ResolutionError(
                    f"{self.built_by} asks for '{wheel.name}' to be built from source, and Corten takes its wheel",
                    hint=f"leave '{wheel.name}' out for Corten: set PIP_NO_BINARY=:none:, or PIP_ONLY_BINARY={wheel.name}",
                )


def read_rules(environment: Mapping[str, str] | None, fetch: Fetch) -> Rules:
    """The rules in `environment`. Raises UsageError for a constraint that cannot be read."""
    environment = os.environ if environment is None else environment
    pip = read_pip(environment)
    names = words(pip, "constraint")
    read: list[Requirements] = []
    said_by = "PIP_CONSTRAINT" if environment.get("PIP_CONSTRAINT") else "pip.conf"
    for name in names:
        try:
            read.append(_read(name, fetch))
        except CortenError as error:
            raise UsageError(
                f"{said_by} names the constraints '{name}', which cannot be used: {error.message}",
                hint=error.hint or "correct it, or leave it out",
            ) from error
    built, wheels = _built(pip)
    return Rules(
        tuple(item for one in read for item in (*one.requirements, *one.constraints)),
        tuple(names),
        tuple(dict.fromkeys(option for one in read for option in one.options)),
        built,
        wheels,
        said_by if names else "",
        ("PIP_NO_BINARY" if environment.get("PIP_NO_BINARY") else "pip.conf") if built else "",
    )


def _read(name: str, fetch: Fetch) -> Requirements:
    if not name.startswith(("http://", "https://")):
        path = name.removeprefix("file://")
        return read_requirements([Path(os.path.abspath(os.path.expanduser(path)))])
    with tempfile.TemporaryDirectory() as folder:
        # Named as it is there, for messages.
        file = Path(folder) / (
            name.split("?")[0].split("#")[0].rstrip("/").rsplit("/", 1)[-1] or "constraints"
        )
        file.write_bytes(fetch(name, _LARGEST))
        return read_requirements([file])


def _built(pip: Mapping[str, str]) -> tuple[frozenset[str], frozenset[str]]:
    """`no-binary` and `only-binary`: a package in the later one is not in the first (pip's `FormatControl`)."""
    built, wheels = _names(pip.get("no-binary", "")), _names(pip.get("only-binary", ""))
    if ALL in wheels:
        return frozenset(), frozenset()
    return frozenset(built - wheels), frozenset(wheels)


def _names(written: str) -> set[str]:
    chosen: set[str] = set()
    for word in written.replace(",", " ").split():
        if word == ":none:":
            chosen.clear()
        elif word == ALL:
            chosen = {ALL}
        else:
            chosen.add(normal_name(word))
    return chosen
