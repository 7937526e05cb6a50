"""Records of the packages in a layer, by which scanners recognise them and by which layers above know whose file is whose.

As in distroless images: one control paragraph per package in `/var/lib/dpkg/status.d/NAME` and its files' sums in
`NAME.md5sums`. A directory of files adds up over layers, where dpkg's single `status` file would hide the one below.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from corten.errors import FormatError
from corten.packages.debian.deb import Control
from corten.packages.debian.relations import NAME
from corten.packages.debian.tree import Tree

DIRECTORY = "var/lib/dpkg/status.d"


def write_record(tree: Tree, control: Control, placed: Mapping[str, str]) -> None:
    """Record the package `control` with the files that were placed (by path in the package, where each landed).
    Raises FormatError for a package without a proper name or version."""
    if not NAME.fullmatch(control.name) or not control.fields.get("version"):
        raise FormatError(
            f"a Debian package calls itself '{control.name[:100]}', without a name or a version"
        )
    tree.write(f"{DIRECTORY}/{control.name}", _paragraph(control.text))
    sums = {}
    for path, real in placed.items():
        known = control.md5sums.get(path)
        if known is None:
            known = _md5(tree, real)
        if known is not None:
            sums[real] = known
    lines = [f"{sums[path]}  {path}\n" for path in sorted(sums)]
    tree.write(f"{DIRECTORY}/{control.name}.md5sums", "".join(lines).encode())


def _paragraph(text: str) -> bytes:
    """The control paragraph with the status that dpkg would add, after the first line as dpkg has it."""
    lines = [line.rstrip() for line in text.strip().splitlines() if not line.startswith(("#", "Status:"))]
    lines.insert(1, "Status: install ok installed")
    return ("\n".join(lines) + "\n").encode()


def _md5(tree: Tree, path: str) -> str | None:
    """The sum of a file of the tree; None where the package itself has put something else in its place."""
    digest = hashlib.md5(usedforsecurity=False)
    descriptor = tree.open(path)
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb") as file:
        while chunk := file.read(1 << 18):
            digest.update(chunk)
    return digest.hexdigest()
