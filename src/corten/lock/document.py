"""What a `corten.lock` may say: every name, path, size and hash checked before it becomes a `Lock`.

Names and paths from here end up in addresses and in paths of files, so their forms are closed: no separator, no `..`, no
control character gets through.
"""

from __future__ import annotations

import re
from typing import Any

from corten.errors import FormatError, LockOutdated
from corten.lazy import regex
from corten.lock.model import LAYER_FORMAT, Base, DebianBase, ImageBase, Lock, PlatformLock
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.packages.files import PYTHON_PATH, Deb, HubFile, HubModel, PythonArchive, Sdist, Wheel

VERSION = 1
"""The number of the file's format."""

MOST_FILES = 10_000
"""Wheels of one platform, or Debian packages of one list. The largest environments that are known have some 1,500 wheels, and all
of a desktop's packages are 5,000: more is no project, and would keep a build busy for minutes."""

AGAIN = "restore it from version control, or run 'corten lock'"

WHEEL_KEYS = ("name", "version", "file", "size", "sha256")
SDIST_KEYS = (
    "name",
    "version",
    "file",
    "size",
    "sha256",
    "wheel",
    "requires",
    "native",
    "reproducible",
    "marks",
)
HUB_KEYS = ("path", "size", "sha256")
PYTHON_KEYS = ("path", "size", "sha256")
DEB_KEYS = ("name", "version", "architecture", "archive", "path", "size", "sha256", "released")

_NAME = regex(r"[a-z0-9]([a-z0-9+.-]*[a-z0-9+])?")
_VERSION = regex(r"[A-Za-z0-9][A-Za-z0-9.+!~:_-]*")
_FILE = regex(r"[A-Za-z0-9][A-Za-z0-9._+!~%-]*")
_PATH = regex(r"[A-Za-z0-9_+.~%:-]+(/[A-Za-z0-9_+.~%:-]+)*")
_MODEL = regex(r"hf://[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*@[A-Za-z0-9_][A-Za-z0-9_.-]*")
_HUB_PATH = regex(r"[A-Za-z0-9_.][A-Za-z0-9_.+=@ -]*(/[A-Za-z0-9_.][A-Za-z0-9_.+=@ -]*)*")
_DAY = regex(r"\d{4}-\d{2}-\d{2}")
_COMMIT = regex(r"[0-9a-f]{40}")
_SHA256 = regex(r"[0-9a-f]{64}")
_LONGEST_MARKS = 4 * 5000
_MARKS = regex(r"([A-Za-z0-9_-]{4})*")
_LONGEST_HASHES = 65 * 500
_HASHES = regex(r"([0-9a-f]{64}( [0-9a-f]{64})*)?")
_WORD = regex(r"[a-z0-9][a-z0-9._-]*")
_MOMENT = regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|\+00:00)")
_UNCLEAR = regex(
    r"[a-z0-9+.-]+ \([A-Za-z0-9_./+:@=$ -]+\)(, [a-z0-9+.-]+ \([A-Za-z0-9_./+:@=$ -]+\))*( and [0-9]+ more)?"
)
_PYTHON = regex(r"3\.[0-9]{1,3}(\.[0-9]{1,3})?([a-z0-9+]*)")
_INTERPRETER = regex(r"(/[A-Za-z0-9_+.-]+)+")


def lock_of(document: dict[str, Any], name: str) -> Lock:
    """The lock that a TOML document says. Raises FormatError, or LockOutdated for another layer format."""
    version = document.get("version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise FormatError(f"'{name}' is not a lock of Corten's", hint=AGAIN)
    if version != VERSION:
        raise FormatError(
            f"'{name}' has format {version}, and this Corten knows format {VERSION}",
            hint="update Corten, or make the lock again with 'corten lock'",
        )
    left_out = document.get("left-out", [])
    if not isinstance(left_out, list):
        raise FormatError("'left-out' is not a list of platforms")
    _only(
        document,
        {
            "left-out",
            "version",
            "corten",
            "layer-format",
            "project",
            "serving",
            "platform",
            "compiler",
            "model",
            "as-of",
        },
        "the header",
    )
    layer_format = _size(document, "layer-format", "the header")
    if layer_format != LAYER_FORMAT:
        raise LockOutdated(
            f"'{name}' was made for layer format {layer_format}, and this Corten makes format {LAYER_FORMAT}",
            hint="run 'corten lock'"
            if layer_format < LAYER_FORMAT
            else "update Corten, or run 'corten lock'",
        )
    serving = document.get("serving")
    platforms = _table(document.get("platform"), "'platform'")
    compilers = _table(document.get("compiler", {}), "'compiler'")
    if not platforms:
        raise FormatError("it has no platform")
    return Lock(
        corten=_text(document, "corten", _VERSION, "the header"),
        project=Digest.parse(document.get("project")),
        platforms=tuple(
            _platform(Platform.parse(key), _table(value, key)) for key, value in platforms.items()
        ),
        serving=None if serving is None else Digest.parse(serving),
        compilers={
            Platform.parse(key).architecture: _debs(_table(value, key), "debs", key)
            for key, value in compilers.items()
        },
        interpreters=_interpreters(compilers),
        models=_models(_table(document.get("model", {}), "'model'")),
        layer_format=layer_format,
        as_of=_text(document, "as-of", _DAY, "the header") if "as-of" in document else None,
        left_out=tuple(Platform.parse(item) for item in left_out if isinstance(item, str)),
    )


def _interpreters(compilers: dict[str, Any]) -> dict[str, PythonArchive]:
    found = {}
    for key, value in compilers.items():
        platform, table = Platform.parse(key), _table(value, key)
        _only(table, {"debs", "interpreter"}, key)
        if (archive := _archive(table, platform, key)) is not None:
            found[platform.architecture] = archive
    return found


def _archive(table: dict[str, Any], platform: Platform, where: str) -> PythonArchive | None:
    """The archive of a Python for the machines of `platform`."""
    if "interpreter" not in table:
        return None
    item = _table(table["interpreter"], f"'interpreter' of {where}")
    _only(item, set(PYTHON_KEYS), where)
    path = _text(item, "path", PYTHON_PATH, where)
    form = PYTHON_PATH.fullmatch(path)
    assert form is not None
    if form[1] != form[3] or form[4] != platform.machine:
        raise FormatError(f"'{path}' is no Python for {where}")
    return PythonArchive(path, _size(item, "size", where), _text(item, "sha256", _SHA256, where))


def _models(table: dict[str, Any]) -> tuple[HubModel, ...]:
    models = []
    for name, value in table.items():
        where = name[:100]
        if not _MODEL.fullmatch(name) or ".." in name or "--" in name:
            raise FormatError(f"'{where}' is no model of a hub")
        item = _table(value, where)
        _only(item, {"commit", "files"}, where)
        files = []
        for file in _items(item, "files", where):
            _only(file, set(HUB_KEYS), where)
            path = _text(file, "path", _HUB_PATH, where)
            if {".", ".."} & set(path.split("/")):
                raise FormatError(f"'{path[:100]}' is not the path of a file of '{where}'")
            files.append(HubFile(path, _size(file, "size", where), _text(file, "sha256", _SHA256, where)))
        if len({file.path for file in files}) < len(files):
            raise FormatError(f"a file of '{where}' is there twice")
        models.append(HubModel(name, _text(item, "commit", _COMMIT, where), tuple(files)))
    return tuple(models)


def _platform(platform: Platform, table: dict[str, Any]) -> PlatformLock:
    where = str(platform)
    known = {
        "base",
        "debs",
        "system-names",
        "library-names",
        "system",
        "wheels",
        "serving",
        "without",
        "local",
    }
    _only(
        table,
        known | {"interpreter", "sdists", "build-wheels", "build-debs", "scripts", "unclear", "tools"},
        where,
    )
    wheels, build_wheels = _wheels(table, "wheels", where), _wheels(table, "build-wheels", where, once=False)
    scripts = table.get("scripts", "")
    if scripts not in ("", "none", "files", "caches", "scripts"):
        raise FormatError(f"'scripts' of {where} has a value that Corten does not know")
    return PlatformLock(
        platform=platform,
        base=_base(table, platform),
        system=_debs(table, "system", where),
        wheels=wheels,
        serving=_wheels(table, "serving", where),
        system_names=_names(table, "system-names", where),
        without=_names(table, "without", where),
        library_names=_names(table, "library-names", where),
        local=_folders(table, where),
        sdists=_sdists(table, where, wheels, build_wheels),
        build_wheels=build_wheels,
        build_debs=_debs(table, "build-debs", where),
        scripts=scripts,
        unclear=_text(table, "unclear", _UNCLEAR, where) if "unclear" in table else "",
        tools=_debs(table, "tools", where),
    )


def _base(table: dict[str, Any], platform: Platform) -> Base:
    where = str(platform)
    base = _table(table.get("base"), f"'base' of {where}")
    python = _text(base, "python", _PYTHON, where)
    if "image" in base:
        if "interpreter" in table:
            raise FormatError(f"{where} has a Python of its own beside that of its base image")
        _only(base, {"image", "digest", "python", "interpreter"}, where)
        reference = base["image"]
        if not isinstance(reference, str) or not reference.isprintable() or len(reference) > 4096:
            raise FormatError(f"the base image of {where} is not a reference")
        interpreter = _text(base, "interpreter", _INTERPRETER, where)
        return ImageBase(reference, Digest.parse(base.get("digest")), python, interpreter)
    _only(base, {"suite", "variant", "python"}, where)
    archive = _archive(table, platform, where)
    if archive is not None and archive.version != python:
        raise FormatError(f"'{archive.path}' is not the Python {python} of {where}")
    return DebianBase(
        interpreter=archive,
        suite=_text(base, "suite", _WORD, where),
        variant=_text(base, "variant", _WORD, where),
        python=python,
        debs=_debs(table, "debs", where),
    )


def _sdists(
    table: dict[str, Any], where: str, wheels: tuple[Wheel, ...], requires: tuple[Wheel, ...]
) -> tuple[Sdist, ...]:
    built = {(wheel.sha256, wheel.name) for wheel in wheels}
    there = {wheel.sha256 for wheel in requires}
    sdists = []
    for item in _items(table, "sdists", where):
        name = _text(item, "name", _NAME, where)
        _only(item, set(SDIST_KEYS), name)
        needed = _text(item, "requires", _HASHES, name, _LONGEST_HASHES).split()
        sdist = Sdist(
            name,
            _text(item, "version", _VERSION, name),
            _text(item, "file", _FILE, name),
            _size(item, "size", name),
            _text(item, "sha256", _SHA256, name),
            _text(item, "wheel", _SHA256, name),
            tuple(needed),
            _flag(item, "native", name),
            _flag(item, "reproducible", name),
            _text(item, "marks", _MARKS, name, _LONGEST_MARKS),
        )
        if (sdist.wheel, name) not in built or not there.issuperset(needed):
            raise FormatError(f"the source of '{name}' names a wheel that {where} does not have")
        sdists.append(sdist)
    if len({sdist.wheel for sdist in sdists}) < len(sdists):
        raise FormatError(f"a source is there twice for {where}")
    return tuple(sdists)


def _flag(table: dict[str, Any], key: str, where: str) -> bool:
    value = table.get(key)
    if not isinstance(value, bool):
        raise FormatError(f"the {key} of '{where}' is {_shown(value)}, which is not valid")
    return value


def _wheels(table: dict[str, Any], key: str, where: str, once: bool = True) -> tuple[Wheel, ...]:
    wheels = []
    seen: set[str] = set()
    for item in _items(table, key, where):
        name = _text(item, "name", _NAME, where)
        _only(item, set(WHEEL_KEYS), name)
        file = _text(item, "file", _FILE, name)
        parts = file.split("-")
        if not file.endswith(".whl") or len(parts) not in {5, 6} or _normal(parts[0]) != _normal(name):
            raise FormatError(f"'{file[:100]}' is not the name of a wheel of '{name}'")
        mark = name if once else str(item.get("sha256"))
        if mark in seen:
            raise FormatError(f"'{name}' is there twice for {where}")
        seen.add(mark)
        wheels.append(
            Wheel(
                name,
                _text(item, "version", _VERSION, name),
                file,
                _size(item, "size", name),
                _text(item, "sha256", _SHA256, name),
            )
        )
    return tuple(wheels)


def _debs(table: dict[str, Any], key: str, where: str) -> tuple[Deb, ...]:
    debs = []
    seen: set[tuple[str, str]] = set()
    for item in _items(table, key, where):
        name = _text(item, "name", _NAME, where)
        _only(item, set(DEB_KEYS), name)
        path = _text(item, "path", _PATH, name)
        if not path.endswith(".deb") or "." in path.split("/") or ".." in path.split("/"):
            raise FormatError(f"'{path[:100]}' is not the place of a package in an archive")
        architecture = _text(item, "architecture", _WORD, name)
        if (name, architecture) in seen:
            raise FormatError(f"'{name}' is there twice for {where}")
        seen.add((name, architecture))
        debs.append(
            Deb(
                name,
                _text(item, "version", _VERSION, name),
                architecture,
                _text(item, "archive", _WORD, name),
                path,
                _size(item, "size", name),
                _text(item, "sha256", _SHA256, name),
                _text(item, "released", _MOMENT, name),
            )
        )
    return tuple(debs)


def _names(table: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    names = table.get(key, [])
    if not isinstance(names, list):
        raise FormatError(f"'{key}' of {where} is not a list of names")
    return tuple(_text({key: name}, key, _NAME, where) for name in names)


def _folders(table: dict[str, Any], where: str) -> tuple[str, ...]:
    folders = table.get("local", [])
    if not isinstance(folders, list):
        raise FormatError(f"'local' of {where} is not a list of folders")
    for folder in folders:
        usable = isinstance(folder, str) and len(folder) <= 1000 and folder.isprintable() and folder
        if not usable or {"", ".", ".."} & set(folder.split("/")):
            raise FormatError(
                f"'local' of {where} names {_shown(folder)}, which is not a folder of a project"
            )
    return tuple(folders)


def _items(table: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    items = table.get(key, [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise FormatError(f"'{key}' of {where} is not a list of files")
    if len(items) > MOST_FILES:
        raise FormatError(
            f"the lock names {len(items):,} files in '{key}' of {where}, and Corten takes {MOST_FILES:,} at most",
            hint=AGAIN,
        )
    return items


def _table(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FormatError(f"{what} is not a table")
    return value


def _only(table: dict[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise FormatError(f"unknown key '{key[:100]}' in {where}")


def _text(table: dict[str, Any], key: str, form: re.Pattern[str], where: str, longest: int = 1000) -> str:
    value = table.get(key)
    if not isinstance(value, str) or len(value) > longest or not form.fullmatch(value):
        raise FormatError(f"the {key} of '{where}' is {_shown(value)}, which is not valid")
    return value


def _size(table: dict[str, Any], key: str, where: str) -> int:
    value = table.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 50:
        raise FormatError(f"the {key} of '{where}' is {_shown(value)}, which is not valid")
    return value


def _shown(value: object) -> str:
    return "missing" if value is None else f"'{str(value)[:100]}'"


def _normal(name: str) -> str:
    """A project's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
