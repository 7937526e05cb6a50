"""The model server's own part of a lock: its files, and the packages that its environment needs."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from corten.errors import CortenError
from corten.oci.digest import Digest

REQUIREMENTS = ("granian>=2.8,<3",)
"""What the server's environment is resolved from, for the target's Python."""

OLDEST_PYTHON = (3, 10)
"""The server's floor (granian's); a project's own code may run on an older Python than that, not its server."""


@cache
def serving_files() -> tuple[tuple[str, Path], ...]:
    """The server's files: path below `corten_serve/`, and where it lies on this machine; sorted by path."""
    spec = find_spec("corten_serve")
    if spec is None or not spec.submodule_search_locations:
        raise CortenError("this Corten has no model server", hint="install Corten again")
    root = Path(next(iter(spec.submodule_search_locations)))
    found = [
        (path.relative_to(root).as_posix(), path)
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in {".pyc", ".pyo"}
    ]
    return tuple(sorted(found))


@cache
def serving_digest() -> Digest:
    """The content hash of `corten_serve`: equal for equal paths and bytes, wherever it is installed."""
    content = hashlib.sha256(b"corten_serve 1\n")
    for name, path in serving_files():
        data = path.read_bytes()
        content.update(f"{name}\0{len(data)}\0".encode())
        content.update(data)
    return Digest.from_hex(content.hexdigest())
