"""Requirements as lines for uv: written anew from what was parsed, never copied from a project's file.

A line names a package or the address of a wheel, and nothing else. Every other form (folders, archives, version control,
options, two lines in one) is refused here, so that nothing a project writes can make uv build, clone or read a file.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Callable, Iterable
from pathlib import Path

from corten.errors import ProjectError, ResolutionError
from corten.lazy import regex
from corten.packages.requirements import (
    Requirement,
    normal_name,
    refuse_variables,
    without_credentials,
)

WithLogin = Callable[[str], str]
"""An address with the credentials that belong to it."""

_ADDRESS = regex(r"(https?|file)://[!#$%&'()*+,./:;=?@A-Z\[\]_a-z~0-9-]+", re.ASCII | re.IGNORECASE)
_EXTRAS = regex(r".+(\[[^\[\]]*\])")


def uv_line(item: Requirement, login: WithLogin = str) -> str:
    """The one line that asks uv for `item`. Raises ResolutionError for what Corten does not install, ProjectError for what is
    not a requirement."""
    refuse_uninstallable([item])
    line = _named(item) if item.kind == "name" else _wheel(item, login)
    if not line.isprintable() or "\\" in line or "${" in line or re.search(r"\s#", line):
        raise _invalid(item)
    return line


def bare_line(item: Requirement) -> str:
    """The same without the credentials that may be written in its address."""
    return uv_line(item, without_credentials)


def refuse_uninstallable(requirements: Iterable[Requirement]) -> None:
    """Raises ResolutionError for the first requirement that is not a name or a wheel."""
    for item in requirements:
        what = item.name or (item.location or item.text).rsplit("/", 1)[-1]
        where = f"{item.where}: " if item.where else ""
        if item.kind == "vcs":
            raise ResolutionError(
                f"{where}'{what}' comes from version control, which only the project's own requirements can name",
                hint="write it among the requirements, or name a wheel",
            )
        if item.kind in {"archive", "path"}:
            raise ResolutionError(
                f"{where}'{what}' is source, which only the project's own requirements can name",
                hint="write it among the requirements, or name a wheel",
            )


def local_wheel(item: Requirement) -> Path | None:
    """The file that a requirement names on this machine."""
    location = (item.location or "").split("#")[0]
    if item.kind != "wheel" or not location:
        return None
    if location.lower().startswith("file:"):
        parts = urllib.parse.urlsplit(location)
        if parts.netloc.lower() not in {"", "localhost"}:
            raise _invalid(item)
        return Path(urllib.parse.unquote(parts.path))
    return Path(location) if "://" not in location else None


def wheel_name(item: Requirement) -> str:
    """The normal name of the package whose wheel `item` names. Raises ProjectError for a file name that is not a wheel's."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    path = urllib.parse.urlsplit((item.location or "").split("#")[0].split("?")[0]).path
    try:
        name, *_ = parse_wheel_filename(urllib.parse.unquote(path.rsplit("/", 1)[-1]))
    except InvalidWheelFilename as error:
        raise ProjectError(
            f"{_at(item)}the address of '{item.name or path.rsplit('/', 1)[-1]}' ends with no wheel's file name",
            hint="write NAME-VERSION-PYTHON-ABI-PLATFORM.whl",
        ) from error
    return str(name)


def _named(item: Requirement) -> str:
    from packaging.requirements import InvalidRequirement
    from packaging.requirements import Requirement as Parsed

    try:
        parsed = Parsed(item.written)
    except InvalidRequirement as error:
        raise _invalid(item) from error
    if parsed.url is not None or normal_name(parsed.name) != item.name:
        raise _invalid(item)
    return _joined(parsed.name, parsed.extras, str(parsed.specifier), parsed.marker)


def _wheel(item: Requirement, login: WithLogin) -> str:
    from packaging.requirements import InvalidRequirement
    from packaging.requirements import Requirement as Parsed

    # The address is taken out, so that packaging sees a name with extras and a marker, and reads no address.
    before, at, rest = item.written.partition("@") if item.name else ("", "", item.written)
    written, separator, marker = rest.partition(";")
    if separator and not at and "://" in written and not marker.startswith(" "):
        raise _invalid(item)
    name = wheel_name(item)
    extras = _EXTRAS.fullmatch(written.strip()) if not at and "://" not in written else None
    if not at:
        before = name + (extras[1] if extras else "")
    try:
        parsed = Parsed(f"{before}{f' ; {marker}' if separator else ''}")
    except InvalidRequirement as error:
        raise _invalid(item) from error
    if normal_name(parsed.name) != name or parsed.specifier:
        raise ProjectError(
            f"{_at(item)}the address of '{item.name}' is a wheel of '{name}'",
            hint="give it the name that the wheel has",
        )
    if at and "://" not in written:
        raise ProjectError(
            f"{_at(item)}'{item.name}' is followed by a path instead of an address",
            hint="write the path alone, or file:///… with three slashes",
        )
    local = local_wheel(item)
    location = item.location or ""
    fragment = location.partition("#")[2]
    if local is not None:
        if not os.path.isabs(local):
            raise _invalid(item)
        address = local.as_uri() + (f"#{fragment}" if fragment else "")
    else:
        refuse_variables(location, item.where)
        address = login(location)
    if not _ADDRESS.fullmatch(address):
        raise _invalid(item)
    return _joined(parsed.name, parsed.extras, f" @ {address}", parsed.marker)


def _joined(name: str, extras: Iterable[str], rest: str, marker: object) -> str:
    inside = ",".join(sorted(extras))
    return f"{name}{f'[{inside}]' if inside else ''}{rest}{f' ; {marker}' if marker is not None else ''}"


def _invalid(item: Requirement) -> ProjectError:
    shown = item.name or "a line"
    return ProjectError(
        f"{_at(item)}'{shown}' is not written as a requirement",
        hint="write NAME, NAME==VERSION, or NAME @ https://…/FILE.whl; see PEP 508",
    )


def _at(item: Requirement) -> str:
    return f"{item.where}: " if item.where else ""
