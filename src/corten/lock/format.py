"""`corten.lock` on disk: TOML with one line per file, so that a diff shows what changed.

What `write_lock` writes is read back line by line, in 2 ms where a TOML parser takes 20 with its import: a build with nothing
to do reads a lock too. Whatever is not in that exact form (reordered, reindented by hand) is read as TOML. Both
ways end in the strict checks of `corten.lock.document`: a lock is hostile until then.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from corten.errors import CortenError, FormatError, LockOutdated, ProjectError
from corten.lazy import regex
from corten.lock.document import (
    AGAIN,
    DEB_KEYS,
    HUB_KEYS,
    PYTHON_KEYS,
    SDIST_KEYS,
    VERSION,
    WHEEL_KEYS,
    lock_of,
)
from corten.lock.model import DebianBase, Lock
from corten.packages.files import Deb, PythonArchive, Sdist, Wheel
from corten.project.regular import open_regular

LOCK_NAME = "corten.lock"
_LARGEST = 32 << 20


def read_lock(path: Path) -> Lock:
    """The lock at `path`. Raises LockOutdated when there is none, FormatError when it is not one that Corten wrote, ProjectError
    for a link that leads out of its folder."""
    target = _in_its_folder(path)
    try:
        with open_regular(target) as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError as error:
        raise LockOutdated(
            f"there is no '{path.name}' in '{path.parent}'", hint="run 'corten lock'"
        ) from error
    except OSError as error:
        raise FormatError(f"'{path}' cannot be read: {(error.strerror or str(error)).lower()}") from error
    if len(data) > _LARGEST:
        raise FormatError(f"'{path.name}' is larger than a lock can be", hint=AGAIN)
    return decode(data, path.name)


def write_lock(path: Path, lock: Lock) -> bool:
    """Write `lock` to `path` in one step; a reader sees the old file or the new one. False when it is there already,
    byte for byte, and nothing was touched. Raises ProjectError for a link that leads out of its folder: it comes with a project,
    and what it leads to does not belong to that."""
    target = _in_its_folder(path)
    data = encode(lock).encode()
    try:
        if target.read_bytes() == data:
            return False
    except OSError:
        pass
    # Killed between the two steps, this leaves a file that the next write takes away and no image holds.
    for litter in target.parent.glob(f".{target.name}.*.tmp"):
        litter.unlink(missing_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, target)
    except OSError as error:
        with suppress(OSError):  # on a file system that is read-only, this fails as well
            temporary.unlink(missing_ok=True)
        raise CortenError(
            f"'{path}' cannot be written: {(error.strerror or str(error)).lower()}",
            hint="make the lock in a copy of the folder that you may write to, and bring it here",
        ) from error
    return True


def _in_its_folder(path: Path) -> Path:
    """`path` without links. Raises ProjectError where that is outside the folder of `path`."""
    target = Path(os.path.realpath(path))
    if path.is_symlink() and not target.is_relative_to(os.path.realpath(path.parent)):
        raise ProjectError(
            f"'{path.name}' is a link that leads out of the project",
            hint="put the file itself into the project",
        )
    return target


def encode(lock: Lock) -> str:
    """The text of `corten.lock`. Equal locks give equal text."""
    lines = [
        "# Made by 'corten lock' and read by 'corten build'. Commit it; don't edit it.",
        f"version = {VERSION}",
        f"corten = {_quoted(lock.corten)}",
        f"layer-format = {lock.layer_format}",
        f"project = {_quoted(lock.project)}",
    ]
    if lock.as_of is not None:
        lines.append(f"as-of = {_quoted(lock.as_of)}")
    if lock.serving is not None:
        lines.append(f"serving = {_quoted(lock.serving)}")
    if lock.left_out:
        lines.append(f"left-out = [{', '.join(_quoted(str(platform)) for platform in lock.left_out)}]")
    for part in lock.platforms:
        lines += ["", f"[platform.{_quoted(str(part.platform))}]"]
        if isinstance(part.base, DebianBase):
            base = {"suite": part.base.suite, "variant": part.base.variant, "python": part.base.python}
            lines.append(f"base = {_inline(base)}")
            lines += _interpreter(part.base.interpreter)
            lines += _array("debs", (_deb(deb) for deb in part.base.debs))
        else:
            base = {
                "image": part.base.reference,
                "digest": part.base.digest,
                "python": part.base.python,
                "interpreter": part.base.interpreter,
            }
            lines.append(f"base = {_inline(base)}")
        if part.system_names:
            lines.append(f"system-names = [{', '.join(map(_quoted, part.system_names))}]")
        if part.library_names:
            lines.append(f"library-names = [{', '.join(map(_quoted, part.library_names))}]")
        if part.without:
            lines.append(f"without = [{', '.join(map(_quoted, part.without))}]")
        if part.local:
            lines.append(f"local = [{', '.join(map(_quoted, part.local))}]")
        if part.scripts:
            lines.append(f"scripts = {_quoted(part.scripts)}")
        if part.unclear:
            lines.append(f"unclear = {_quoted(part.unclear)}")
        lines += _array("system", (_deb(deb) for deb in part.system))
        lines += _array("tools", (_deb(deb) for deb in part.tools))
        lines += _array("wheels", (_wheel(wheel) for wheel in part.wheels))
        lines += _array("serving", (_wheel(wheel) for wheel in part.serving))
        lines += _array("sdists", (_sdist(sdist) for sdist in part.sdists))
        lines += _array("build-wheels", (_wheel(wheel) for wheel in part.build_wheels))
        lines += _array("build-debs", (_deb(deb) for deb in part.build_debs))
    for architecture, debs in sorted(lock.compilers.items()):
        lines += ["", f"[compiler.{_quoted(architecture)}]"]
        lines += _interpreter(lock.interpreters.get(architecture))
        lines += _array("debs", (_deb(deb) for deb in debs))
    for model in lock.models:
        lines += ["", f"[model.{_quoted(model.name)}]", f"commit = {_quoted(model.commit)}"]
        lines += _array("files", ({key: getattr(file, key) for key in HUB_KEYS} for file in model.files))
    return "\n".join(lines) + "\n"


def decode(data: bytes, name: str = LOCK_NAME) -> Lock:
    """The lock in `data`. Raises FormatError for what is not a lock of this format, LockOutdated for one whose layer
    format this Corten no longer makes."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"'{name}' is not text", hint=AGAIN) from error
    document = _lines(text)
    if document is None:
        document = _toml(text, name)
    try:
        return lock_of(document, name)
    except FormatError as error:
        if error.hint is None:
            raise FormatError(f"'{name}' is damaged: {error.message}", hint=AGAIN) from error
        raise
    except CortenError as error:
        if isinstance(error, LockOutdated):
            raise
        raise FormatError(f"'{name}' is damaged: {error.message}", hint=AGAIN) from error


def _quoted(text: str) -> str:
    """A TOML basic string. JSON's escapes are TOML's, but for DEL, which JSON leaves as it is."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    import json

    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _inline(values: Mapping[str, str | int]) -> str:
    pairs = (
        f"{key} = {str(value).lower() if isinstance(value, int) else _quoted(value)}"
        for key, value in values.items()
    )
    return "{ " + ", ".join(pairs) + " }"


def _array(name: str, items: Iterable[Mapping[str, str | int]]) -> list[str]:
    lines = [f"  {_inline(item)}," for item in items]
    return [f"{name} = [", *lines, "]"] if lines else []


def _wheel(wheel: Wheel) -> dict[str, str | int]:
    return {key: getattr(wheel, key) for key in WHEEL_KEYS}


def _sdist(sdist: Sdist) -> dict[str, str | int]:
    return {key: getattr(sdist, key) for key in SDIST_KEYS} | {"requires": " ".join(sdist.requires)}


def _interpreter(archive: PythonArchive | None) -> list[str]:
    if archive is None:
        return []
    return [f"interpreter = {_inline({key: getattr(archive, key) for key in PYTHON_KEYS})}"]


def _deb(deb: Deb) -> dict[str, str | int]:
    return {key: getattr(deb, key) for key in DEB_KEYS}


# Reading what `encode` wrote, line by line.

_S = r'"([^"\\\x00-\x1f\x7f]*)"'
_PAIR = regex(rf"([a-z0-9-]+) = (?:{_S}|([0-9]{{1,18}}))")
_FAST_WHEEL = regex(
    "  \\{ "
    + ", ".join(f"{key} = " + ("([0-9]{1,18})" if key == "size" else _S) for key in WHEEL_KEYS)
    + " \\},"
)
_FAST_DEB = regex(
    "  \\{ "
    + ", ".join(f"{key} = " + ("([0-9]{1,18})" if key == "size" else _S) for key in DEB_KEYS)
    + " \\},"
)
_FAST_HUB = regex(
    "  \\{ "
    + ", ".join(f"{key} = " + ("([0-9]{1,18})" if key == "size" else _S) for key in HUB_KEYS)
    + " \\},"
)
_FAST_PYTHON = regex(
    "interpreter = \\{ "
    + ", ".join(f"{key} = " + ("([1-9][0-9]{0,17})" if key == "size" else _S) for key in PYTHON_KEYS)
    + " \\}"
)
_FAST_SDIST = regex(
    "  \\{ "
    + ", ".join(
        f"{key} = "
        + ("([0-9]{1,18})" if key == "size" else "(true|false)" if key in {"native", "reproducible"} else _S)
        for key in SDIST_KEYS
    )
    + " \\},"
)
_FLAGS = ("native", "reproducible")
_NAMES = regex(rf"(system-names|library-names|without|local|left-out) = \[({_S}(?:, {_S})*)\]")
_TABLE = regex(rf"\[(platform|compiler|model)\.{_S}\]")


def _lines(text: str) -> dict[str, Any] | None:
    """The document in exactly the form that `encode` writes; None for any other."""
    document: dict[str, Any] = {}
    table = document
    array: list[dict[str, str | int]] | None = None
    for line in text.split("\n"):
        if array is not None:
            match = _FAST_WHEEL.fullmatch(line)
            keys: tuple[str, ...] = WHEEL_KEYS
            if match is None:
                match, keys = _FAST_DEB.fullmatch(line), DEB_KEYS
            if match is None and line != "]":
                match, keys = _FAST_SDIST.fullmatch(line), SDIST_KEYS
            if match is None and line != "]":
                match, keys = _FAST_HUB.fullmatch(line), HUB_KEYS
            if match is not None:
                item: dict[str, str | int] = dict(zip(keys, match.groups(), strict=True))
                size = str(item["size"])
                if size != "0" and size.startswith("0"):
                    return None
                item["size"] = int(size)
                item |= {key: item[key] == "true" for key in _FLAGS if key in item}
                array.append(item)
            elif line == "]":
                array = None
            else:
                return None
        elif not line:
            continue
        elif line.startswith("#"):
            if not line.isprintable():
                return None
        elif line.startswith("["):
            match = _TABLE.fullmatch(line)
            if match is None:
                return None
            tables = document.setdefault(match[1], {})
            if match[2] in tables:
                return None
            table = tables[match[2]] = {}
        elif line.endswith(" = ["):
            name = line[:-4]
            if (
                name
                not in {
                    *("debs", "system", "tools", "wheels", "serving", "files"),
                    *("sdists", "build-wheels", "build-debs"),
                }
                or name in table
            ):
                return None
            array = table[name] = []
        elif line.startswith(
            ("system-names = [", "library-names = [", "without = [", "local = [", "left-out = [")
        ):
            names = _NAMES.fullmatch(line)
            if names is None or names[1] in table:
                return None
            table[names[1]] = re.findall(_S, names[2])
        elif line.startswith("interpreter = { "):
            match = _FAST_PYTHON.fullmatch(line)
            if match is None or "interpreter" in table:
                return None
            python: dict[str, str | int] = dict(zip(PYTHON_KEYS, match.groups(), strict=True))
            python["size"] = int(python["size"])
            table["interpreter"] = python
        elif line.startswith("base = { ") and line.endswith(" }"):
            if "base" in table:
                return None
            base = table["base"] = {}
            for pair in line[9:-2].split(", "):
                match = _PAIR.fullmatch(pair)
                if match is None or match[2] is None or match[1] in base:
                    return None
                base[match[1]] = match[2]
        else:
            match = _PAIR.fullmatch(line)
            if match is None or match[1] in table:
                return None
            if match[3] is not None and match[3] != "0" and match[3].startswith("0"):
                return None
            table[match[1]] = match[2] if match[2] is not None else int(match[3])
    return None if array is not None else document


def _toml(text: str, name: str) -> dict[str, Any]:
    from corten.toml import parse

    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(("<<<<<<< ", ">>>>>>> ")) or line == "=======":
            raise FormatError(
                f"'{name}' has a merge conflict in line {number}",
                hint="take either side whole, and run 'corten lock'",
            )
    try:
        return parse(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"'{name}' is not TOML: {error}", hint=AGAIN) from error
