"""A Space of Hugging Face: the YAML at the top of its `README.md` (huggingface.co/docs/hub/spaces-config-reference)."""

from __future__ import annotations

import re
from typing import Any

from corten.errors import FormatError
from corten.lazy import regex
from corten.project.hints import documents
from corten.project.hints.hint import Hint, Reads

FILE = "README.md"
SDKS = ("gradio", "streamlit", "docker", "static")
_FRONT = regex(r"\A\s*---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_VERSION = regex(r"\d+(?:\.\d+){0,3}(?:(?:a|b|rc|\.post|\.dev)\d+)?")
_PYTHON = regex(r"(3\.\d{1,2})(?:\.\d+)?")
_LISTED = 6


def front(folder: Reads) -> dict[str, Any] | None:
    """What the README's front matter says where it is a Space's, which has an `sdk`; None for any other README."""
    text = folder.text(FILE)
    found = _FRONT.match(text[:20_000]) if text is not None and "sdk" in text[:20_000] else None
    if found is None:
        return None
    try:
        said = documents.yaml(found[1])
    except FormatError:
        return None
    return said if isinstance(said, dict) and said.get("sdk") in SDKS else None


def read(folder: Reads) -> tuple[Hint, ...]:
    """The hints of a Space beside what it runs (`corten.project.recognize.spaces`)."""
    said = front(folder)
    if said is None:
        return ()
    text = folder.text(FILE) or ""
    found: list[Hint] = []
    python = said.get("python_version")
    if isinstance(python, str) and (match := _PYTHON.fullmatch(python.strip())):
        found.append(Hint("python", match[1], FILE, documents.line_of(text, "python_version")))
    port = said.get("app_port")
    if isinstance(port, int):
        found.append(Hint("port", str(port), FILE, documents.line_of(text, "app_port")))
    for key in ("models", "preload_from_hub"):
        names = (
            [each for each in said.get(key) or () if isinstance(each, str)]
            if isinstance(said.get(key), list)
            else []
        )
        if names:
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            what = f"{', '.join(name[:80] for name in names[:_LISTED])}{more}"
            found.append(
                Hint("unused", f"from the hub, not fetched: {what}", FILE, documents.line_of(text, f"{key}:"))
            )
    return tuple(found)


def is_version(value: object) -> bool:
    """Whether `sdk_version` is one."""
    return isinstance(value, str | int) and _VERSION.fullmatch(str(value)) is not None
