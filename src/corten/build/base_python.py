"""The Python and the C library of a base that was made elsewhere, found in its merged tree. Nothing of it is run.

The tree is hostile: links are followed as a process in the image would follow them, never out of the tree (`oci/inside.py`),
and no file is read beyond a bound.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from corten.build.plan import HOME, SERVING, VENV
from corten.errors import ProjectError
from corten.lazy import regex
from corten.oci.config import ImageConfig
from corten.oci.inside import Inside
from corten.values import dataclass

_MINOR = regex(r"python(3\.[0-9]{1,2})([a-z]*)")
_PATCHLEVEL = regex(rb'#define\s+PY_VERSION\s+"([0-9]+\.[0-9]+\.[0-9]+)"')
_DPKG = regex(
    r"^Package: (?:libpython|python)3\.[0-9]+-minimal$.*?^Version: ([0-9]+\.[0-9]+\.[0-9]+)", re.M | re.S
)
_GLIBC = regex(rb"GNU C Library [^\n]{0,200}? version ([0-9]+)\.([0-9]+)")
_CONDA = regex(r"python-([0-9]+\.[0-9]+\.[0-9]+)-.*\.json")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LIBRARIES = (
    *(
        "lib/x86_64-linux-gnu",
        "lib/aarch64-linux-gnu",
        "usr/lib/x86_64-linux-gnu",
        "usr/lib/aarch64-linux-gnu",
    ),
    *("lib64", "usr/lib64", "lib", "usr/lib"),
)
_PLACES = ("/app", "/app/src", "/models", "/opt", VENV, SERVING, os.path.dirname(HOME), HOME)
_LARGEST = 256 << 20
_MOST_FOLDERS = 100
_ELF = b"\x7fELF"
_ABI_WORDS = {"d": "a debug build", "t": "free-threaded"}


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter in an image: its path there, links resolved, and its exact version."""

    path: str
    version: str


def find_python(tree: Path, config: ImageConfig, reference: str) -> Python:
    """The first CPython on the image's PATH. Raises ProjectError where there is none that wheels are made for, with what
    is there instead."""
    with Inside(tree) as inside:
        return _find_python(inside, config, reference)


def _find_python(tree: Inside, config: ImageConfig, reference: str) -> Python:
    path = next((item[5:] for item in config.env if item.startswith("PATH=")), _DEFAULT_PATH)
    others: list[str] = []
    for directory in path.split(":"):
        found = tree.resolve(f"{directory}/python3") if directory.startswith("/") else None
        if found is None or not _is_file(tree, found):
            continue
        minor = _minor(tree, found)
        if minor is None:
            script = _some(tree, found, 2) == b"#!"
            others.append(f"'/{found}' is {'a script' if script else 'no CPython that Corten knows'}")
            continue
        version = _exact_version(tree, found, minor)
        if version is None:
            raise ProjectError(
                f"the exact version of Python {minor} in the base '{reference}' cannot be told",
                hint="use a base with Python's header files or Debian's package records",
            )
        if flags := _abi_flags(tree, found, minor):
            words = " and ".join(_ABI_WORDS.get(flag, f"built with '{flag}'") for flag in flags)
            raise ProjectError(
                f"the Python {version} of the base '{reference}' is {words}, and wheels are not made for it",
                hint="use a base with an ordinary CPython",
            )
        return Python(f"/{found}", version)
    more = f": {', '.join(list(dict.fromkeys(others))[:3])}" if others else ""
    raise ProjectError(
        f"the base '{reference}' has no python3 on its PATH{more}",
        hint="use a base image with Python, or a Debian base",
    )


def _minor(tree: Inside, interpreter: str) -> str | None:
    """`3.11`, from the interpreter's name, else for a program from the one standard library beside it. A version manager's
    shim is neither."""
    if match := _MINOR.fullmatch(os.path.basename(interpreter)):
        return match[1]
    if _some(tree, interpreter, 4) != _ELF:
        return None
    names = _names(tree, f"{_prefix(interpreter)}/lib")
    minors = {match[1] for name in names if (match := _MINOR.fullmatch(name))}
    return minors.pop() if len(minors) == 1 else None


def _prefix(interpreter: str) -> str:
    return os.path.dirname(os.path.dirname(interpreter))


def _abi_flags(tree: Inside, interpreter: str, minor: str) -> str:
    """The ABI flags (PEP 3149) of an interpreter: those in its name, else in that of its build's record, because the plain
    name is often a second link to a special build."""
    match = _MINOR.fullmatch(os.path.basename(interpreter))
    if match and match[2]:
        return match[2]
    plain = tree.resolve(f"{_prefix(interpreter)}/lib/python{minor}/os.py")
    threaded = tree.resolve(f"{_prefix(interpreter)}/lib/python{minor}t/os.py")
    if threaded is not None and plain is None:
        return "t"
    names = _names(tree, f"{_prefix(interpreter)}/lib/python{minor}")
    built = {name.split("_")[2] for name in names if name.startswith("_sysconfigdata_")}
    # Until 3.7 an ordinary one was called "m", for its allocator.
    return "" if not built or built & {"", "m"} else min(built)


def _exact_version(tree: Inside, interpreter: str, minor: str) -> str | None:
    prefix = _prefix(interpreter)
    for suffix in ("", "t", "d", "m"):
        header = tree.resolve(f"{prefix}/include/python{minor}{suffix}/patchlevel.h")
        if header and (match := _PATCHLEVEL.search(_some(tree, header))):
            return match[1].decode()
    for name in _names(tree, f"{prefix}/conda-meta"):
        if (record := _CONDA.fullmatch(name)) and record[1].startswith(f"{minor}."):
            return record[1]
    for text in _dpkg_records(tree, minor):
        if record := _DPKG.search(text):
            return record[1]
    return _compiled_in(tree, interpreter, prefix, minor)


def _dpkg_records(tree: Inside, minor: str) -> Iterator[str]:
    for name in ("status", f"status.d/python{minor}-minimal", f"status.d/libpython{minor}-minimal"):
        found = tree.resolve(f"/var/lib/dpkg/{name}")
        if found and _is_file(tree, found):
            text = _some(tree, found).decode(errors="replace")
            yield from (part for part in text.split("\n\n") if f"python{minor}-minimal" in part[:200])


def _compiled_in(tree: Inside, binary: str, prefix: str, minor: str) -> str | None:
    """The version that the interpreter itself holds (`PY_VERSION`), at the end of a string."""
    form = re.compile(rb"(?<![0-9.])(" + re.escape(minor).encode() + rb"\.[0-9]{1,3})\x00")
    shared = [tree.resolve(f"{prefix}/{library}/libpython{minor}.so.1.0") for library in ("lib", "lib64")]
    for place in [binary, *(found for found in shared if found)]:
        versions = {match[1].decode() for match in form.finditer(_some(tree, place))}
        if len(versions) == 1:
            return versions.pop()
    return None


def find_glibc(tree: Path, reference: str) -> int:
    """The second number of the base's glibc version (36 for 2.36). Raises ProjectError for a base without glibc."""
    with Inside(tree) as inside:
        for directory in _LIBRARIES:
            found = inside.resolve(f"{directory}/libc.so.6")
            if found and (match := _GLIBC.search(_some(inside, found))) and match[1] == b"2":
                return int(match[2])
        musl = any(
            name.startswith(("ld-musl-", "libc.musl-"))
            for directory in ("lib", "usr/lib")
            for name in _names(inside, directory)
        )
    reason = "its C library is musl, for which few wheels exist" if musl else "it has no glibc"
    raise ProjectError(
        f"the base '{reference}' cannot be used: {reason}",
        hint="use a base with glibc, such as Debian's or Ubuntu's",
    )


def find_libraries(tree: Path, python: str, environment: Sequence[str] = ()) -> frozenset[str]:
    """The names of the shared libraries in the folders that the base's loader searches: its usual ones, those of `ld.so.conf.d`, that
    beside the interpreter `python` (Python's RPATH counts for what it loads), and `LD_LIBRARY_PATH` in the image's `environment`."""
    found: set[str] = set()
    with Inside(tree) as inside:
        folders = dict.fromkeys((*_LIBRARIES, "usr/local/lib", *_configured(inside)))
        folders[f"{os.path.dirname(os.path.dirname(python))}/lib"] = None
        path = next((item[16:] for item in environment if item.startswith("LD_LIBRARY_PATH=")), "")
        folders |= dict.fromkeys(item for item in path.split(":") if item.startswith("/"))
        for folder in list(folders)[:_MOST_FOLDERS]:
            found.update(name for name in _names(inside, folder) if ".so" in name)
    return frozenset(found)


def _configured(inside: Inside) -> Iterator[str]:
    """The folders in the configuration of the loader."""
    names = [name for name in _names(inside, "etc/ld.so.conf.d") if name.endswith(".conf")]
    paths = [f"etc/ld.so.conf.d/{name}" for name in names[:_MOST_FOLDERS]]
    for path in ("etc/ld.so.conf", *paths):
        place = inside.resolve(path)
        if place and _is_file(inside, place):
            lines = _some(inside, place, 1 << 16).decode("utf-8", "replace").splitlines()
            yield from (line.strip() for line in lines if line.strip().startswith("/"))


def check_places(tree: Path, reference: str) -> None:
    """Raises ProjectError where the base has a link or a file at a place that Corten's layers write below: their entries
    would hide it, or end up elsewhere (DECISIONS 7)."""
    with Inside(tree) as inside:
        for place in _PLACES:
            status = inside.status(place)
            if status is not None and stat.S_ISLNK(status.st_mode):
                raise ProjectError(
                    f"'{place}' is a symbolic link to '{inside.readlink(place)}' in the base '{reference}', "
                    "and Corten's layers write there",
                    hint=f"use a base in which '{place}' is a folder, or is not there",
                )
            if status is not None and not stat.S_ISDIR(status.st_mode):
                raise ProjectError(
                    f"'{place}' is a file in the base '{reference}', and Corten's layers write there",
                    hint=f"use a base in which '{place}' is a folder, or is not there",
                )


def _is_file(tree: Inside, path: str) -> bool:
    status = tree.status(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def _names(tree: Inside, path: str) -> list[str]:
    """The names in the directory that `path` means in the image; empty for anything else."""
    found = tree.resolve(path)
    status = None if found is None else tree.status(found)
    if found is None or status is None or not stat.S_ISDIR(status.st_mode):
        return []
    return tree.listing(found)


def _some(tree: Inside, path: str, limit: int = _LARGEST) -> bytes:
    """At most `limit` bytes of a file; nothing of anything else."""
    return tree.read(path, limit) if _is_file(tree, path) else b""
