"""Requirements files as pip reads them (pip's "Requirements File Format"), normalised: what they ask for, without
comments, spacing and order.

Nobody else reads these files: uv gets lines that `corten.packages.uv_lines` writes from the values here. This also tells
whether a lock is stale. It runs in a build with nothing to do, so it imports little.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol

from corten.errors import ProjectError
from corten.lazy import regex
from corten.packages.requirement_lines import decoded, logical_lines, split_line
from corten.values import dataclass

Kind = Literal["name", "wheel", "archive", "vcs", "path"]
Permitted = Callable[[Path, str], Path]
"""Where a path really leads, given who names it; raises for a place that the project may not name."""


class LineRepair(Protocol):
    """What is read in the place of a line: `lines`, which may be none."""

    @property
    def lines(self) -> tuple[str, ...]: ...


Repairing = Callable[[Path, str], Callable[[str], LineRepair | None]]
"""For a file with its text: what repairs a line of it. Where none is given, files are read exactly as pip reads them."""


class Translation(Protocol):
    """A file of another format as lines of a requirements file: what it requires, what it constrains, lines as people
    write them, and what of it is left out."""

    @property
    def lines(self) -> tuple[str, ...]: ...

    @property
    def constraints(self) -> tuple[str, ...]: ...

    @property
    def written(self) -> tuple[str, ...]: ...

    @property
    def notes(self) -> tuple[str, ...]: ...


Translating = Callable[[Path, str], Translation | None]
"""For a file with its text: what it says as a requirements file. None for what is one."""

_LARGEST = 4 << 20
_DEEPEST = 20
_NAME = regex(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(\[[^\]]*\])?")
_HASH = regex(r"([a-z0-9]+):([0-9a-fA-F]+)")
_VCS = regex(r"(git|hg|svn|bzr)(\+|:)")
_WITH_EXTRAS = regex(r"(.+\.whl)\[([^\[\]]*)\]")
_VARIABLE = regex(r"\$\{[A-Z0-9_]+\}")
_USER_PART = regex(r"(?<=://)[^/?#\s]*@")
_SOURCES = (
    ".tar.gz",
    ".tgz",
    ".tar",
    ".tar.bz2",
    ".tbz",
    ".zip",
    ".tar.xz",
    ".txz",
    ".tlz",
    ".tar.lz",
    ".tar.lzma",
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement. `text` is its normal form, `name` its normal name (empty when only an address or path is given),
    `hashes` the sha256 values it allows (none: any), `location` the address or path in it as it is written (a path is
    absolute), `where` the file and line, `written` the requirement without its options."""

    text: str
    kind: Kind
    name: str
    hashes: tuple[str, ...] = ()
    location: str | None = None
    where: str = ""
    written: str = ""


@dataclass(frozen=True, slots=True)
class Local:
    """A package in a folder of the project, which is used where it lies: `path` relative to the project, normal name, and the marker
    under which it is required (empty: always)."""

    path: str
    name: str
    marker: str = ""


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a set of files asks for. `indexes`, `extra_indexes` and `find_links` are as written; `options` holds every
    option in normal form, without credentials. `repaired` are lines that were not read as they stand, each with its file's name.
    `notes` say what of a file of another tool is left out. `local` are packages of the project that are used where they lie: what they
    require is among `requirements`, and they themselves are not."""

    requirements: tuple[Requirement, ...]
    constraints: tuple[Requirement, ...] = ()
    options: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    extra_indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    repaired: tuple[tuple[str, LineRepair], ...] = ()
    notes: tuple[str, ...] = ()
    local: tuple[Local, ...] = ()

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


def refuse_variables(text: str, where: str = "") -> None:
    """Raises ProjectError for a variable (`${NAME}`) outside the user and password of an address: what it holds would be
    sent, or decide where something is sent."""
    found = _VARIABLE.search(_USER_PART.sub("", text))
    if found is not None:
        raise ProjectError(
            f"{where}: {found[0]} stands outside the user and password of an address"
            if where
            else f"{found[0]} stands outside the user and password of an address",
            hint="write it out, or put the whole address into UV_INDEX or PIP_EXTRA_INDEX_URL",
        )


def parse_requirement(text: str, where: str = "", directory: Path | None = None) -> Requirement:
    """One requirement in PEP 508's form, or an address or a path as pip takes them. Its grammar is checked where a line for
    uv is made of it (`corten.packages.uv_lines`). Raises ProjectError for options other than hashes."""
    body, options = split_line(text.strip(), where)
    return _requirement(body, options, where, directory)


def _requirement(
    body: str, options: Sequence[tuple[str, str]], where: str, directory: Path | None
) -> Requirement:
    hashes = _hashes(options, where)
    refuse_variables(body, where)
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
        location, _, marker = direct.partition(";")
        written = location = location.strip()
        chosen = _WITH_EXTRAS.fullmatch(location)
        if chosen is not None and not name and "://" not in location:
            location, extras = chosen[1], ",".join(sorted(map(normal_name, chosen[2].split(","))))
        kind = _kind(location)
        if re.match(
            r"(?i)file:(?!//)", location
        ):  # pip and setuptools take `file:libs/x` for a relative path
            location = location[5:]
        if kind in {"path", "wheel", "archive"} and "://" not in location and directory is not None:
            location = os.path.normpath(directory / os.path.expanduser(location))
        direct = location
        normal = f" @ {without_credentials(written)}" if name else without_credentials(written)
    marker = re.sub(r"\s+", " ", marker).strip().replace('"', "'")
    shown = f"{name}[{extras}]{normal}" if extras and name else f"{name}{normal}"
    lines = [shown + (f" ; {marker}" if marker else "")] + [f"sha256:{item}" for item in hashes]
    return Requirement(" ".join(lines), kind, name, tuple(hashes), direct, where, body)


def _hashes(options: Sequence[tuple[str, str]], where: str) -> list[str]:
    """The sha256 values among a requirement's options. Raises ProjectError for other options, and where no sha256 is there:
    a hash that is not checked would protect nothing."""
    place = f"{where}: " if where else ""
    found = []
    for option, value in options:
        match = _HASH.fullmatch(value)
        if option != "--hash":
            raise ProjectError(
                f"{place}{option} beside a requirement is not supported",
                hint="only --hash may follow a requirement: wheels are installed as they are, and nothing is built",
            )
        if match is None:
            raise ProjectError(
                f"{place}--hash has no hash", hint="write --hash=sha256:… with hexadecimal digits"
            )
        if match[1] == "sha256":
            if len(match[2]) != 64:
                raise ProjectError(f"{place}a sha256 has 64 hexadecimal digits, and this has {len(match[2])}")
            found.append(match[2].lower())
    if options and not found:
        raise ProjectError(f"{place}the hashes are of a kind that is not checked", hint="add --hash=sha256:…")
    return sorted(found)


def _direct(body: str) -> str | None:
    """The address or path of a requirement that has one."""
    match = _NAME.match(body)
    rest = body[match.end() :].lstrip() if match else body
    if match and rest.startswith("@"):
        return rest[1:].strip()
    words = body.split(";")[0].split()
    first = words[0] if words else ""
    if "://" in first or "/" in first or first.startswith((".", "~")) or _VCS.match(first):
        return body
    if first.partition("[")[0].lower().endswith((".whl", *_SOURCES)):
        return body
    return None


def _kind(location: str) -> Kind:
    path = location.split("#")[0].split("?")[0]
    if _VCS.match(location) or path.endswith(".git"):
        return "vcs"
    if path.endswith(".whl"):
        return "wheel"
    if "://" in location and not location.lower().startswith("file:"):
        return "archive"
    return "archive" if path.lower().endswith(_SOURCES) else "path"


def read_requirements(
    files: Sequence[Path],
    permitted: Permitted | None = None,
    repairing: Repairing | None = None,
    translating: Translating | None = None,
) -> Requirements:
    """What `files` and everything they include ask for. Every file goes through `permitted` before it is opened. What
    `repairing` puts in the place of a line goes the way of every line. Raises
    ProjectError naming the file that is missing, too large, or not text."""
    reading = _Reading(permitted or (lambda path, _: path), repairing, translating)
    for file in files:
        reading.take(file, constraint=False, included_by=None, depth=0)
    return Requirements(
        tuple(sorted(reading.requirements, key=lambda item: item.text)),
        tuple(sorted(reading.constraints, key=lambda item: item.text)),
        tuple(sorted(set(reading.options))),
        tuple(reading.indexes),
        tuple(reading.extra_indexes),
        tuple(reading.find_links),
        tuple(reading.trusted_hosts),
        tuple(reading.repaired),
        tuple(reading.notes),
    )


class _Reading:
    def __init__(
        self, permitted: Permitted, repairing: Repairing | None, translating: Translating | None
    ) -> None:
        self.permitted = permitted
        self.repairing = repairing
        self.translating = translating
        self.repaired: list[tuple[str, LineRepair]] = []
        self.notes: list[str] = []
        self.requirements: list[Requirement] = []
        self.constraints: list[Requirement] = []
        self.options: list[str] = []
        self.indexes: list[str] = []
        self.extra_indexes: list[str] = []
        self.find_links: list[str] = []
        self.trusted_hosts: list[str] = []
        self.seen: set[tuple[str, bool]] = set()

    def take(self, file: Path, *, constraint: bool, included_by: str | None, depth: int) -> None:
        key = (os.path.realpath(file), constraint)
        if key in self.seen:
            return
        self.seen.add(key)
        if depth > _DEEPEST:
            raise ProjectError(f"'{file.name}' is included more than {_DEEPEST} levels deep")
        real = self.permitted(file, included_by or "the project")
        text = _text(file, real, included_by)
        translation = self.translating(file, text) if self.translating is not None and not depth else None
        if translation is not None:
            self._take_lines(file, ((file.name, line) for line in translation.lines), constraint, depth)
            self._take_lines(file, ((file.name, line) for line in translation.constraints), True, depth)
            self.notes += translation.notes
            text = "\n".join(translation.written)
        numbered = ((f"{file.name}:{number}", line) for number, line in self._lines(file, text))
        self._take_lines(file, numbered, constraint, depth)

    def _take_lines(self, file: Path, lines: Iterable[tuple[str, str]], constraint: bool, depth: int) -> None:
        """The lines of `file`, each with where it stands."""
        for where, line in lines:
            body, options = split_line(line, where)
            if body:
                item = _requirement(body, options, where, file.parent)
                (self.constraints if constraint else self.requirements).append(item)
                continue
            for option, value in options:
                if option in {"--requirement", "--constraint", "--editable"} and len(options) > 1:
                    raise ProjectError(
                        f"{where}: {option} stands beside other options", hint="give it a line of its own"
                    )
                self._option(option, value, file, where, constraint, depth)

    def _lines(self, file: Path, text: str) -> Iterator[tuple[int, str]]:
        """The lines of a file with their numbers, repaired where they have to be."""
        if self.repairing is None:
            yield from logical_lines(text)
            return
        repair = self.repairing(file, text)
        for number, line in logical_lines(text):
            found = repair(line)
            if found is None:
                yield number, line
                continue
            self.repaired.append((file.name, found))
            yield from ((number, one) for one in found.lines)

    def _option(self, option: str, value: str, file: Path, where: str, constraint: bool, depth: int) -> None:
        refuse_variables(value, where)
        if option in {"--requirement", "--constraint"}:
            if "://" in value and not value.startswith("file://"):
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
            if constraint:
                raise ProjectError(
                    f"{where}: -e is not allowed in a constraints file",
                    hint="write it into a requirements file",
                )
            location = os.path.normpath(file.parent / value) if "://" not in value else value
            kind: Kind = "vcs" if _VCS.match(value) else "path"
            self.requirements.append(Requirement(f"-e {value}", kind, "", (), location, where))
            return
        if option == "--no-binary" and value != ":none:":
            raise ProjectError(
                f"{where}: --no-binary builds packages that may have wheels, and Corten uses those wheels",
                hint="remove it; wheels are installed as they are",
            )
        if option in {"--hash", "--global-option", "--config-settings"}:
            raise ProjectError(
                f"{where}: {option} belongs to no requirement", hint="write it after the requirement"
            )
        if option == "--index-url":
            self.indexes.append(value)
        elif option == "--extra-index-url":
            self.extra_indexes.append(value)
        elif option == "--trusted-host":
            self.trusted_hosts.append(value)
        elif option == "--find-links":
            local = "://" not in value
            self.find_links.append(
                os.path.normpath(file.parent / os.path.expanduser(value)) if local else value
            )
        self.options.append(f"{option} {without_credentials(value)}".strip())


def _text(file: Path, real: Path, included_by: str | None) -> str:
    try:
        # A pipe is refused, not waited for.
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError("it is not a file")
            data = opened.read(_LARGEST + 1)
    except FileNotFoundError as error:
        reason = f", which {included_by} includes" if included_by else ""
        raise ProjectError(f"there is no '{file.name}' in '{file.parent}'{reason}") from error
    except (OSError, ValueError) as error:  # a name with a null character is a ValueError
        reason = getattr(error, "strerror", None) or str(error)
        raise ProjectError(f"{str(file)!r} cannot be read: {reason.lower()}") from error
    if len(data) > _LARGEST:
        raise ProjectError(f"'{file.name}' is larger than a requirements file can be")
    return decoded(data, file.name)
