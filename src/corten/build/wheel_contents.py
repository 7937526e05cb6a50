"""What a wheel that was just built has to be before it is called one, and in which file two of them differ."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from corten.errors import BuildError
from corten.oci.zipped import DAMAGED, Guarded
from corten.packages.files import Wheel
from corten.packages.requirements import normal_name
from corten.packages.sources import Source

WAYS = (
    "choose a version that has a wheel, or make one where this can be built ('pip wheel --no-deps') and name its folder with "
    "--find-links"
)
_MOST_FILES = 100_000
_LARGEST_CONTENTS = 16 << 20  # 100,000 files need about as much
_FILE_NAME = 255
_MOST_MARKS = 5000


def named_in(source: Source, file: str, data: bytes) -> Wheel:
    """The wheel in `data`, which a build of `source` calls `file`. Raises BuildError unless it is a wheel of that package and version by its
    name. What lies in it is looked at where it is installed, as in every wheel."""
    from packaging.version import InvalidVersion, Version

    try:
        if len(file) > _FILE_NAME or not file.isascii() or not file.isprintable() or "/" in file:
            raise InvalidWheelFilename("its name")
        name, version, _, _ = parse_wheel_filename(file)
    except InvalidWheelFilename as error:
        raise BuildError(
            f"the build of {source.title!r} produced a file that is not named like a wheel: {file[:100]!r}",
            hint=WAYS,
        ) from error
    try:
        same = not source.version or Version(source.version) == version
    except InvalidVersion:
        same = False
    if (source.name and normal_name(source.name) != name) or not same:
        raise BuildError(f"the build of {source.title!r} produced a wheel of '{name}' {version}", hint=WAYS)
    try:
        with Guarded(data, _LARGEST_CONTENTS) as opened, zipfile.ZipFile(opened) as archive:
            count = len(archive.infolist())
    except (*DAMAGED, OSError) as error:
        raise BuildError(f"the build of {source.title!r} produced a damaged wheel", hint=WAYS) from error
    if count > _MOST_FILES:
        raise BuildError(f"the build of {source.title!r} produced a wheel with {count:,} files", hint=WAYS)
    return Wheel(str(name), str(version), file, len(data), hashlib.sha256(data).hexdigest())


def differing(one: bytes, other: bytes) -> str:
    """The first file in which two wheels differ; the archive itself where only its order or its times do."""
    first, second = _contents(one), _contents(other)
    for name in sorted(first.keys() | second.keys()):
        if first.get(name) != second.get(name) and not name.endswith(".dist-info/RECORD"):
            return name
    return "the archive's order or times"


def marks(data: bytes) -> str:
    """Four letters for every file of a wheel, in the order of their names; empty for a wheel of very many files."""
    contents = _marked(data)
    return "".join(contents.values()) if len(contents) <= _MOST_MARKS else ""


def unlike(data: bytes, marks: str) -> str | None:
    """The first file of a wheel that another one with these `marks` has not, or has otherwise. None where that cannot be told."""
    expected = re.findall("....", marks)
    contents = _marked(data)
    if not expected:
        return None
    for place, (name, mark) in enumerate(contents.items()):
        if place >= len(expected) or expected[place] != mark:
            return name
    return "the archive's order or times" if len(expected) == len(contents) else "a file that is missing"


def _marked(data: bytes) -> dict[str, str]:
    found = {}
    for name, what in sorted(_contents(data).items()):
        if not name.endswith(".dist-info/RECORD"):
            digest = hashlib.sha256(f"{name}\0{what}".encode(errors="replace")).digest()
            found[name] = base64.urlsafe_b64encode(digest[:3]).decode()
    return found


def _contents(data: bytes) -> dict[str, tuple[int, int]]:
    """Each file's size and check sum, from the table of contents alone. Empty for what is no archive."""
    try:
        with Guarded(data, _LARGEST_CONTENTS) as opened, zipfile.ZipFile(opened) as archive:
            return {item.filename: (item.file_size, item.CRC) for item in archive.infolist()}
    except (*DAMAGED, OSError):
        return {}
