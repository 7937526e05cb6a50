"""The Python and the C library of a base that was made elsewhere, found in its merged tree. Nothing of it is run.

The tree is hostile: links are followed as a process in the image would follow them, never out of the tree, and no file is
read beyond a bound.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from corten.build.plan import HOME, SERVING, VENV
from corten.errors import ProjectError
from corten.oci.config import ImageConfig
from corten.values import dataclass

_MINOR = re.compile(r"python(3\.[0-9]{1,2})([a-z]*)")
_PATCHLEVEL = re.compile(rb'#define\s+PY_VERSION\s+"([0-9]+\.[0-9]+\.[0-9]+)"')
_DPKG = re.compile(
    r"^Package: (?:libpython|python)3\.[0-9]+-minimal$.*?^Version: ([0-9]+\.[0-9]+\.[0-9]+)", re.M | re.S
)
_GLIBC = re.compile(rb"GNU C Library [^\n]{0,200}? version ([0-9]+)\.([0-9]+)")
_CONDA = re.compile(r"python-([0-9]+\.[0-9]+\.[0-9]+)-.*\.json")
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
_ELF = b"\x7fELF"
_ABI_WORDS = {"d": "a debug build", "t": "free-threaded"}


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter in an image: its path there, links resolved, and its exact version."""

    path: str
    version: str


def resolve_inside(tree: Path, path: str) -> tuple[str, Path] | None:
    """Follow links as a process in the image would. Returns the final path in the image and its place, or None."""
    for _ in range(40):
        walked = ""
        parts = [part for part in path.split("/") if part not in ("", ".")]
        for index, part in enumerate(parts):
            walked = os.path.dirname(walked) if part == ".." else f"{walked}/{part}"
            place = f"{tree}{walked}"
            if os.path.islink(place):
                target = os.readlink(place)
                start = target if target.startswith("/") else f"{os.path.dirname(walked)}/{target}"
                path = "/".join([start, *parts[index + 1 :]])
                break
            if not os.path.lexists(place):
                return None
        else:
            return walked, Path(f"{tree}{walked}")
    return None


def find_python(tree: Path, config: ImageConfig, reference: str) -> Python:
    """The first CPython on the image's PATH. Raises ProjectError where there is none that wheels are made for, with what
    is there instead."""
    path = next((item[5:] for item in config.env if item.startswith("PATH=")), _DEFAULT_PATH)
    others: list[str] = []
    for directory in path.split(":"):
        found = resolve_inside(tree, f"{directory}/python3") if directory.startswith("/") else None
        if found is None or not found[1].is_file():
            continue
        minor = _minor(tree, found)
        if minor is None:
            script = read_some(found[1], 2) == b"#!"
            others.append(f"'{found[0]}' is {'a script' if script else 'no CPython that Corten knows'}")
            continue
        version = _exact_version(tree, found, minor)
        if version is None:
            raise ProjectError(
                f"the exact version of Python {minor} in the base '{reference}' cannot be told",
                hint="use a base with Python's header files or Debian's package records",
            )
        if flags := _abi_flags(tree, found[0], minor):
            words = " and ".join(_ABI_WORDS.get(flag, f"built with '{flag}'") for flag in flags)
            raise ProjectError(
                f"the Python {version} of the base '{reference}' is {words}, and wheels are not made for it",
                hint="use a base with an ordinary CPython",
            )
        return Python(found[0], version)
    more = f": {', '.join(list(dict.fromkeys(others))[:3])}" if others else ""
    raise ProjectError(
        f"the base '{reference}' has no python3 on its PATH{more}",
        hint="use a base image with Python, or a Debian base",
    )


def _minor(tree: Path, interpreter: tuple[str, Path]) -> str | None:
    """`3.11`, from the interpreter's name, else for a program from the one standard library beside it. A version manager's
    shim is neither."""
    if match := _MINOR.fullmatch(os.path.basename(interpreter[0])):
        return match[1]
    if read_some(interpreter[1], 4) != _ELF:
        return None
    library = resolve_inside(tree, f"{_prefix(interpreter[0])}/lib")
    names = os.listdir(library[1]) if library and library[1].is_dir() else []
    minors = {match[1] for name in names if (match := _MINOR.fullmatch(name))}
    return minors.pop() if len(minors) == 1 else None


def _prefix(interpreter: str) -> str:
    return os.path.dirname(os.path.dirname(interpreter))


def _abi_flags(tree: Path, interpreter: str, minor: str) -> str:
    """The ABI flags (PEP 3149) of an interpreter: those in its name, else in that of its build's record, because the plain
    name is often a second link to a special build."""
    match = _MINOR.fullmatch(os.path.basename(interpreter))
    if match and match[2]:
        return match[2]
    plain = resolve_inside(tree, f"{_prefix(interpreter)}/lib/python{minor}/os.py")
    threaded = resolve_inside(tree, f"{_prefix(interpreter)}/lib/python{minor}t/os.py")
    if threaded and not plain:
        return "t"
    library = resolve_inside(tree, f"{_prefix(interpreter)}/lib/python{minor}")
    names = os.listdir(library[1]) if library and library[1].is_dir() else []
    built = {name.split("_")[2] for name in names if name.startswith("_sysconfigdata_")}
    # Until 3.7 an ordinary one was called "m", for its allocator.
    return "" if not built or built & {"", "m"} else min(built)


def _exact_version(tree: Path, interpreter: tuple[str, Path], minor: str) -> str | None:
    prefix = _prefix(interpreter[0])
    for suffix in ("", "t", "d", "m"):
        header = resolve_inside(tree, f"{prefix}/include/python{minor}{suffix}/patchlevel.h")
        if header and (match := _PATCHLEVEL.search(read_some(header[1]))):
            return match[1].decode()
    conda = resolve_inside(tree, f"{prefix}/conda-meta")
    if conda and conda[1].is_dir():
        for name in sorted(os.listdir(conda[1])):
            if (record := _CONDA.fullmatch(name)) and record[1].startswith(f"{minor}."):
                return record[1]
    for text in _dpkg_records(tree, minor):
        if record := _DPKG.search(text):
            return record[1]
    return _compiled_in(tree, interpreter[1], prefix, minor)


def _dpkg_records(tree: Path, minor: str) -> Iterator[str]:
    for name in ("status", f"status.d/python{minor}-minimal", f"status.d/libpython{minor}-minimal"):
        found = resolve_inside(tree, f"/var/lib/dpkg/{name}")
        if found and found[1].is_file():
            text = read_some(found[1]).decode(errors="replace")
            yield from (part for part in text.split("\n\n") if f"python{minor}-minimal" in part[:200])


def _compiled_in(tree: Path, binary: Path, prefix: str, minor: str) -> str | None:
    """The version that the interpreter itself holds (`PY_VERSION`), at the end of a string."""
    form = re.compile(rb"(?<![0-9.])(" + re.escape(minor).encode() + rb"\.[0-9]{1,3})\x00")
    shared = [
        resolve_inside(tree, f"{prefix}/{library}/libpython{minor}.so.1.0") for library in ("lib", "lib64")
    ]
    for place in [binary, *(found[1] for found in shared if found)]:
        versions = {match[1].decode() for match in form.finditer(read_some(place))}
        if len(versions) == 1:
            return versions.pop()
    return None


def find_glibc(tree: Path, reference: str) -> int:
    """The second number of the base's glibc version (36 for 2.36). Raises ProjectError for a base without glibc."""
    for directory in _LIBRARIES:
        found = resolve_inside(tree, f"{directory}/libc.so.6")
        if found and (match := _GLIBC.search(read_some(found[1]))) and match[1] == b"2":
            return int(match[2])
    musl = any(
        name.startswith(("ld-musl-", "libc.musl-"))
        for directory in ("lib", "usr/lib")
        if (found := resolve_inside(tree, directory)) and found[1].is_dir()
        for name in os.listdir(found[1])
    )
    reason = "its C library is musl, for which few wheels exist" if musl else "it has no glibc"
    raise ProjectError(
        f"the base '{reference}' cannot be used: {reason}",
        hint="use a base with glibc, such as Debian's or Ubuntu's",
    )


def check_places(tree: Path, reference: str) -> None:
    """Raises ProjectError where the base has a link or a file at a place that Corten's layers write below: their entries
    would hide it, or end up elsewhere (DECISIONS 7)."""
    for place in _PLACES:
        path = Path(f"{tree}{place}")
        if path.is_symlink():
            raise ProjectError(
                f"'{place}' is a symbolic link to '{os.readlink(path)}' in the base '{reference}', and Corten's layers write there",
                hint=f"use a base in which '{place}' is a folder, or is not there",
            )
        if path.exists() and not path.is_dir():
            raise ProjectError(
                f"'{place}' is a file in the base '{reference}', and Corten's layers write there",
                hint=f"use a base in which '{place}' is a folder, or is not there",
            )


def read_some(path: Path, limit: int = _LARGEST) -> bytes:
    """At most `limit` bytes of a file; nothing of what is none."""
    if not path.is_file() or path.is_symlink():
        return b""
    with open(path, "rb") as file:
        return file.read(limit)
