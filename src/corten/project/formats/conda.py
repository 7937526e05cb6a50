"""A conda environment (`environment.yml`) as requirements: its pip section as it is, and the packages that the Python index has too."""

from __future__ import annotations

import re

from corten.errors import FormatError, ProjectError
from corten.lazy import regex
from corten.project.distributions import by_distribution
from corten.project.formats.lines import Translated
from corten.project.hints.documents import yaml

OTHER_NAMES = {
    "dask-core": "dask",
    "faiss": "faiss-cpu",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "opencv": "opencv-python-headless",
    "protobuf": "protobuf",
    "psycopg2": "psycopg2-binary",
    "py-lightgbm": "lightgbm",
    "py-opencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost",
    "pytables": "tables",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "seaborn-base": "seaborn",
    "tensorflow-base": "tensorflow",
    "tensorflow-mkl": "tensorflow",
    "torchvision-cpu": "torchvision",
    "uvicorn-standard": "uvicorn[standard]",
}
"""Packages whose name at the Python index is another one."""
_OF_THE_ENVIRONMENT = frozenset(("python", "pip"))
_SPEC = regex(r"(?:[\w./:-]{1,200}::)?([A-Za-z0-9_][A-Za-z0-9._-]{0,100})(?![A-Za-z0-9._-])([^\[\]]{0,200})")
_BUILD = regex(r"(\s*={1,2}\s*[^=<>!~,\s]{1,80})=[A-Za-z0-9._*-]{1,80}\s*")
_ONE = regex(r"(==|!=|>=|<=|~=|<|>|=)?\s*([A-Za-z0-9.!+_*]+)")
_MOST = 5000


def environment(text: str, file: str) -> Translated:
    """The requirements in an environment file. Raises ProjectError."""
    try:
        document = yaml(text)
    except FormatError as error:
        raise ProjectError(f"'{file}' cannot be read: {error.message}", hint="correct the file") from error
    listed = document.get("dependencies") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > _MOST:
        raise ProjectError(f"'{file}' has no list of dependencies", hint="add `dependencies:`")
    lines: list[str] = []
    written: list[str] = []
    left: list[str] = []
    known = by_distribution()
    for item in listed:
        if isinstance(item, dict):
            for line in item.get("pip") or () if isinstance(item.get("pip") or (), list | tuple) else ():
                if not str(line).isprintable():
                    raise ProjectError(f"a line for pip in '{file}' is not one line", hint="correct it")
                written.append(str(line))
            continue
        spec = re.sub(r"\s+#.*", "", str(item)).strip()
        match = _SPEC.fullmatch(spec)
        name = match[1].lower() if match else spec[:60]
        if name in _OF_THE_ENVIRONMENT:
            continue
        normal = re.sub(r"[-_.]+", "-", name)
        other = OTHER_NAMES.get(normal, normal if normal in known else None)
        build = _BUILD.fullmatch(match[2]) if match else None
        versions = _versions(build[1] if build else match[2], exact=bool(build)) if match else None
        if other is None or versions is None:
            left.append(name)
        else:
            lines.append(other + versions)
    notes = []
    if left:
        shown = ", ".join(f"'{name}'" if name.isprintable() else ascii(name) for name in left[:40])
        more = f" and {len(left) - 40} more" if len(left) > 40 else ""
        notes.append(
            f"packages of '{file}' that are not installed, because they are not known at the Python index: {shown}{more}"
        )
    return Translated(tuple(lines), notes=tuple(notes), written=tuple(written))


def _versions(text: str, *, exact: bool) -> str | None:
    """conda's versions in PEP 440's form: `=1.2` → `==1.2.*`, `==1.2` and `=1.2=build` → `==1.2`. None for what is not understood."""
    parts = []
    for part in (item.strip() for item in text.split(",") if item.strip()):
        match = _ONE.fullmatch(part)
        if match is None:
            return None
        operator, version = match[1] or "==", match[2]
        if version == "*":
            continue
        if operator == "=":
            operator = "=="
            version = version if exact or version.endswith("*") else f"{version}.*"
        version = re.sub(r"(?<=[0-9])\*$", ".*", version)  # `1.2*`
        if not re.fullmatch(r"\d[\w.!+]*?(?:\.\*)?", version):
            return None
        parts.append(operator + version)
    return ",".join(parts)
