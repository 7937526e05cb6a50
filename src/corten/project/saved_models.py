"""What a saved model says of the packages that it was made with: read from its bytes, never loaded.

A pickle names the modules of its classes, and every estimator of scikit-learn its version. joblib's files are pickles with arrays in
between, compressed or not. A file may say anything: what is read here is told and preferred, and decides nothing alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from corten.lazy import regex
from corten.project.regular import open_regular
from corten.values import dataclass

ENDINGS = (".pkl", ".pickle", ".joblib", ".sav", ".p", ".model")
_MOST_BYTES = 16 << 20
_MOST_OPCODES = 200_000
_MOST_MODULES = 50
_KEY = b"_sklearn_version"
_AFTER_KEY = regex(rb"(?:\x94|q.|r.{4}|\r?\np\d{1,9}\r?\n)?(?:(\x8c|U)(.)|(X)(.{4})|(?:V|S'))", re.DOTALL)
_VERSION = regex(rb"\d{1,3}\.\d{1,3}(?:\.[0-9a-z.]{1,12})?")
_MODULE = regex(r"[A-Za-z_]\w{0,60}(?:\.\w{1,60}){0,10}")
_LAST_DAY = {
    "0.22": "2020-05-11",
    "0.23": "2020-12-21",
    "0.24": "2021-09-23",
    "1.0": "2022-05-11",
    "1.1": "2022-12-07",
    "1.2": "2023-06-29",
    "1.3": "2024-01-17",
    "1.4": "2024-05-20",
    "1.5": "2024-12-08",
    "1.6": "2025-06-04",
    "1.7": "2025-12-09",
}
"""The last day on which a release series of scikit-learn was the newest."""


@dataclass(frozen=True, slots=True)
class Saved:
    """The file `path` has objects of `modules` (whole names, `sklearn.linear_model._base`); `sklearn` is the version of scikit-learn
    that saved it, None where it does not say."""

    path: str
    modules: tuple[str, ...]
    sklearn: str | None = None

    @property
    def series(self) -> str | None:
        """The release series: `1.2` for `1.2.2`."""
        return None if self.sklearn is None else ".".join(self.sklearn.split(".")[:2])

    @property
    def last_day(self) -> str | None:
        """The last day on which its series was the newest, where that is known."""
        return _LAST_DAY.get(self.series or "")


def look(root: str | Path, path: str) -> Saved | None:
    """What the file `path` below `root` says. None for what is no pickle, leads out of `root`, or cannot be read."""
    full = os.path.realpath(f"{root}/{path}")
    if not full.startswith(os.path.realpath(root) + "/"):
        return None
    try:
        with open_regular(full) as file:
            data = file.read(_MOST_BYTES)
    except OSError:
        return None
    data = unpacked(data)
    modules = tuple(dict.fromkeys(name for name in modules_of(data) if _MODULE.fullmatch(name)))
    version = version_after(data, _KEY)
    return Saved(path, modules[:_MOST_MODULES], version) if modules or version else None


def unpacked(data: bytes) -> bytes:
    """The beginning of what is compressed, as joblib does it; else `data` itself."""
    try:
        if data[:2] == b"\x1f\x8b" or (
            data[:1] == b"\x78" and len(data) > 1 and int.from_bytes(data[:2]) % 31 == 0
        ):
            import zlib

            return zlib.decompressobj(wbits=47).decompress(data, _MOST_BYTES)
        if data[:3] == b"BZh":
            import bz2

            return bz2.BZ2Decompressor().decompress(data, _MOST_BYTES)
        if data[:6] == b"\xfd7zXZ\x00" or data[:3] == b"]\x00\x00":
            import lzma

            return lzma.LZMADecompressor(memlimit=256 << 20).decompress(data, _MOST_BYTES)
    except Exception:  # noqa: S110 -- whatever a damaged stream raises, it says nothing
        pass
    return data


def version_after(data: bytes, key: bytes) -> str | None:
    """The version that a pickle has as the value of `key`."""
    place = data.find(key)
    for _ in range(20):
        if place < 0:
            return None
        match = _AFTER_KEY.match(data, place + len(key))
        if match is not None:
            size = match[2] or match[4]
            end = match.end() + (min(int.from_bytes(size, "little"), 24) if size else 24)
            version = _VERSION.match(data, match.end(), min(end, len(data)))
            if version is not None:
                return version[0].decode()
        place = data.find(key, place + 1)
    return None


def modules_of(data: bytes) -> Iterator[str]:
    """The modules whose names the opcodes load, up to where they can be read."""
    import pickletools  # most projects have no pickles

    memo: dict[int, str | None] = {}
    recent: list[str | None] = [None, None]
    last: str | None = None
    if data[:1] not in (b"\x80", b"c", b"(", b"]", b"}", b"V", b"I", b"S"):
        return

    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            name = opcode.name
            if count > _MOST_OPCODES:
                return
            if name == "GLOBAL" and isinstance(argument, str):
                yield argument.split(" ")[0]
                last = None
            elif name == "STACK_GLOBAL":
                if recent[0] is not None:
                    yield recent[0]
                last = None
            elif name in ("MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT"):
                memo[len(memo) if name == "MEMOIZE" else int(str(argument))] = last
                continue
            elif name in ("BINGET", "LONG_BINGET", "GET"):
                last = memo.get(int(str(argument)))
            else:
                last = argument if isinstance(argument, str) else None
            recent = [recent[1], last]
    except Exception:
        return
