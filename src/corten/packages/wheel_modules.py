"""Which modules a wheel brings, by the names of its files. Nothing is unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path

from corten.oci.zipped import DAMAGED, Guarded

_MOST = 400_000
_KINDS = ("purelib", "platlib")


def modules_of(wheel: Path) -> frozenset[str]:
    """The first names of the modules in `wheel`; nothing for a file that cannot be read."""
    try:
        with Guarded(wheel) as file, zipfile.ZipFile(file) as archive:
            names = archive.namelist()[:_MOST]
    except (*DAMAGED, OSError):
        return frozenset()
    found = set()
    for name in names:
        parts = name.split("/")
        if len(parts) > 2 and parts[0].endswith(".data") and parts[1] in _KINDS:
            parts = parts[2:]
        if parts[0].endswith((".dist-info", ".data")):
            continue
        if len(parts) > 1:
            found.add(parts[0])
        elif parts[0].endswith((".py", ".so", ".pyd")):
            found.add(parts[0].partition(".")[0])
    return frozenset(found)
