"""Wheels made by the tests: real zip archives with METADATA, WHEEL and RECORD (PEP 427)."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

from corten.packages.files import Wheel


def make_wheel(
    directory: Path,
    name: str,
    version: str = "1.0",
    files: Mapping[str, bytes | str] | None = None,
    *,
    tag: str = "py3-none-any",
    requires: tuple[str, ...] = (),
    entry_points: str = "",
    modes: Mapping[str, int] | None = None,
) -> Wheel:
    """Write `NAME-VERSION-TAG.whl` into `directory` and describe it as a lock would. `files` are what it installs."""
    escaped = name.replace("-", "_")
    information = f"{escaped}-{version}.dist-info"
    requirements = "".join(f"Requires-Dist: {item}\n" for item in requires)
    contents: dict[str, bytes | str] = dict(
        files if files is not None else {f"{escaped}.py": f"name = {name!r}\n"}
    )
    contents[f"{information}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requirements}"
    )
    pure = "true" if tag.endswith("-any") else "false"
    contents[f"{information}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: {pure}\nTag: {tag}\n"
    )
    if entry_points:
        contents[f"{information}/entry_points.txt"] = entry_points
    record = []
    path = directory / f"{escaped}-{version}-{tag}.whl"
    directory.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for target, content in contents.items():
            data = content.encode() if isinstance(content, str) else content
            entry = zipfile.ZipInfo(target, (2020, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100000 | (modes or {}).get(target, 0o644)) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
            record.append(f"{target},sha256={digest},{len(data)}")
        # Equal wheels are equal files: a name alone would get the time of day.
        own = zipfile.ZipInfo(f"{information}/RECORD", (2020, 1, 1, 0, 0, 0))
        own.compress_type = zipfile.ZIP_DEFLATED
        own.external_attr = 0o100644 << 16
        archive.writestr(own, "\n".join([*record, f"{information}/RECORD,,", ""]))
    return described(path, name, version)


def described(path: Path, name: str, version: str) -> Wheel:
    """The wheel file at `path` as a lock names it."""
    data = path.read_bytes()
    return Wheel(name, version, path.name, len(data), hashlib.sha256(data).hexdigest())
