"""Requirements files as pip reads them (pip's "Requirements File Format"), normalised: what they ask for, without
comments, spacing and order.

uv reads the files itself when it resolves. This reading serves what uv does not say: whether they changed, which hashes they
allow, which places they name, and what in them Corten cannot install. It runs in a build with nothing to do, so it
imports little.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from corten.errors import ProjectError
from corten.values import dataclass

Kind = Literal["name", "wheel", "archive", "vcs", "path"]

_LARGEST = 4 << 20
_DEEPEST = 20
_COMMENT = re.compile(r"(^|\s)#.*$")
_NAME = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(\[[^\]]*\])?")
_OPTION = re.compile(r"\s--(?=(?:hash|config-settings?|global-option|install-option)\b)")
_HASH = re.compile(r"hash[= ]\s*([a-z0-9]+):([0-9a-fA-F]+)\s*$")
_VCS = re.compile(r"(git|hg|svn|bzr)(\+|:)")
_SHORT = {
    "-r": "--requirement",
    "-c": "--constraint",
    "-i": "--index-url",
    "-f": "--find-links",
    "-e": "--editable",
}
_FLAGS = {"--no-index", "--pre", "--require-hashes", "--prefer-binary"}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement. `text` is its normal form, `name` its normal name (empty when only an address or path is given),
    `hashes` the sha256 values it allows (none: any), `location` the address or path in it, `where` the file and line."""

    text: str
    kind: Kind
    name: str
    hashes: tuple[str, ...] = ()
    location: str | None = None
    where: str = ""


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a set of files asks for. `indexes`, `extra_indexes` and `find_links` are as written; `options` holds every
    option in normal form, without credentials."""

    requirements: tuple[Requirement, ...]
    constraints: tuple[Requirement, ...] = ()
    options: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    extra_indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()

    @property
    def hashed(self) -> bool:
        """Whether hashes are checked: one requirement with a hash asks for hashes of all (pip's hash-checking mode)."""
        return "--require-hashes" in self.options or any(item.hashes for item in self.requirements)


def normal_name(name: str) -> str:
    """A project's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def without_credentials(text: str) -> str:
    """`text` without the user part of any address in it."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)


def parse_requirement(text: str, where: str = "", directory: Path | None = None) -> Requirement:
    """One requirement in PEP 508's form, or an address or a path as pip takes them. Not validated: uv does that."""
    body, *options = _OPTION.split(text.strip())
    hashes = sorted(
        match[2].lower() for match in map(_HASH.match, options) if match is not None and match[1] == "sha256"
    )
    body = body.strip()
    direct = _direct(body)
    marker = ""
    match = _NAME.match(body)
    name = extras = ""
    if direct is None or "@" in body[: body.find(direct)]:
        name = normal_name(match[1]) if match else ""
        inside = (match[2] or "")[1:-1] if match else ""
        extras = ",".join(sorted(normal_name(item.strip()) for item in inside.split(",") if item.strip()))
    if direct is None:
        rest, _, marker = body[match.end() if match else 0 :].partition(";")
        normal = re.sub(r"\s+", "", rest).strip("()")
        normal = ",".join(sorted(part for part in normal.split(",") if part))
        kind: Kind = "name"
    else:
        location, _, marker = direct.partition(" ;")
        written = location = location.strip()
        location = _expanded(location)
        kind = _kind(location)
        if kind in {"path", "wheel"} and "://" not in location and directory is not None:
            location = os.path.normpath(directory / os.path.expanduser(location))
        direct = location
        normal = f" @ {without_credentials(written)}" if name else without_credentials(written)
    marker = re.sub(r"\s+", " ", marker).strip().replace('"', "'")
    shown = f"{name}[{extras}]{normal}" if extras else f"{name}{normal}"
    lines = [shown + (f" ; {marker}" if marker else "")] + [f"sha256:{item}" for item in hashes]
    return Requirement(" ".join(lines), kind, name, tuple(hashes), direct, where)


def _direct(body: str) -> str | None:
    """The address or path of a requirement that has one."""
    match = _NAME.match(body)
    rest = body[match.end() :].lstrip() if match else body
    if match and rest.startswith("@"):
        return rest[1:].strip()
    first = body.split(";")[0].split()[0] if body.split(";")[0].split() else ""
    if "://" in first or first.startswith((".", "/", "~")) or _VCS.match(first):
        return body
    if first.endswith((".whl", ".tar.gz", ".zip", ".tar.bz2")):
        return body
    return None


def _kind(location: str) -> Kind:
    path = location.split("#")[0].split("?")[0]
    if _VCS.match(location) or path.endswith(".git"):
        return "vcs"
    if path.endswith(".whl"):
        return "wheel"
    if "://" in location and not location.startswith("file:"):
        return "archive"
    return "archive" if path.endswith((".tar.gz", ".zip", ".tar.bz2")) else "path"


def read_requirements(files: Sequence[Path]) -> Requirements:
    """What `files` and everything they include ask for. Raises ProjectError naming the file that is missing, too
    large, or not text."""
    reading = _Reading()
    for file in files:
        reading.take(file, constraint=False, included_by=None, depth=0)
    return Requirements(
        tuple(sorted(reading.requirements, key=lambda item: item.text)),
        tuple(sorted(reading.constraints, key=lambda item: item.text)),
        tuple(sorted(set(reading.options))),
        tuple(reading.indexes),
        tuple(reading.extra_indexes),
        tuple(reading.find_links),
    )


class _Reading:
    def __init__(self) -> None:
        self.requirements: list[Requirement] = []
        self.constraints: list[Requirement] = []
        self.options: list[str] = []
        self.indexes: list[str] = []
        self.extra_indexes: list[str] = []
        self.find_links: list[str] = []
        self.seen: set[tuple[str, bool]] = set()

    def take(self, file: Path, *, constraint: bool, included_by: str | None, depth: int) -> None:
        key = (os.path.realpath(file), constraint)
        if key in self.seen:
            return
        self.seen.add(key)
        if depth > _DEEPEST:
            raise ProjectError(f"'{file.name}' is included more than {_DEEPEST} levels deep")
        for number, line in _logical_lines(_text(file, included_by)):
            where = f"{file.name}:{number}"
            if line.startswith("-"):
                self._option(line, file, where, constraint, depth)
            else:
                item = parse_requirement(line, where, file.parent)
                (self.constraints if constraint else self.requirements).append(item)

    def _option(self, line: str, file: Path, where: str, constraint: bool, depth: int) -> None:
        option, written = _split(line)
        value = _expanded(written)
        if option in {"--requirement", "--constraint"}:
            if "://" in value and not value.startswith("file:"):
                raise ProjectError(
                    f"{where}: a requirements file from the web is not supported",
                    hint="download it next to the project, so that it is committed with it",
                )
            path = Path(os.path.normpath(file.parent / value.removeprefix("file://")))
            self.take(
                path, constraint=constraint or option == "--constraint", included_by=where, depth=depth + 1
            )
            return
        if option == "--editable":
            location = os.path.normpath(file.parent / value) if "://" not in value else value
            kind: Kind = "vcs" if _VCS.match(value) else "path"
            self.requirements.append(Requirement(f"-e {value}", kind, "", (), location, where))
            return
        if option in {"--index-url", "--pypi-url"}:
            self.indexes.append(value)
        elif option == "--extra-index-url":
            self.extra_indexes.append(value)
        elif option == "--find-links":
            local = "://" not in value
            self.find_links.append(
                os.path.normpath(file.parent / os.path.expanduser(value)) if local else value
            )
        self.options.append(f"{option} {without_credentials(written)}".strip())


def _split(line: str) -> tuple[str, str]:
    for short, long in _SHORT.items():
        if line.startswith(short):
            return long, line[len(short) :].lstrip("= \t").strip()
    option, _, value = line.partition("=") if "=" in line.split()[0] else line.partition(" ")
    return option.strip(), value.strip().strip("'\"")


def _text(file: Path, included_by: str | None) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST + 1)
    except FileNotFoundError as error:
        reason = f", which {included_by} includes" if included_by else ""
        raise ProjectError(f"there is no '{file.name}' in '{file.parent}'{reason}") from error
    except (OSError, ValueError) as error:  # a name with a null character is a ValueError
        reason = getattr(error, "strerror", None) or str(error)
        raise ProjectError(f"{str(file)!r} cannot be read: {reason.lower()}") from error
    if len(data) > _LARGEST:
        raise ProjectError(f"'{file.name}' is larger than a requirements file can be")
    try:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            return data.decode("utf-16")  # what Windows PowerShell writes for `pip freeze > requirements.txt`
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProjectError(f"'{file.name}' is not text", hint="save it as UTF-8") from error


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers: continued ones joined, comments removed, empty ones left out."""
    parts: list[str] = []
    start = 0
    for number, line in enumerate(text.splitlines(), 1):
        start = start if parts else number
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            parts.append(line[:-1])
            continue
        parts.append(line)
        joined = _COMMENT.sub("", " ".join(parts)).strip()
        parts = []
        if joined:
            yield start, joined
    joined = _COMMENT.sub("", " ".join(parts)).strip()
    if joined:
        yield start, joined


def _expanded(text: str) -> str:
    """`${NAME}` replaced from the environment, as pip does; other forms stay."""
    return re.sub(r"\$\{([A-Z0-9_]+)\}", lambda match: os.environ.get(match[1], match[0]), text)
