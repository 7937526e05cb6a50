"""Models of a hub as `models` in `[tool.corten]` names them: `hf://org/name@revision`, or one file of it."""

from __future__ import annotations

from corten.errors import ProjectError
from corten.lazy import regex

SCHEME = "hf://"
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,95}[A-Za-z0-9_])?"
_FORM = regex(rf"hf://({_PART}(?:/{_PART})?)((?:/{_PART})*)(?:@([A-Za-z0-9_][A-Za-z0-9._-]{{0,199}}))?")


def parse(text: str) -> tuple[str, str, str]:
    """Repository, file (empty for all of them) and revision. Raises ProjectError."""
    match = _FORM.fullmatch(text)
    if match is None or ".." in text or "--" in match[1]:
        raise ProjectError(
            f"'{text[:100]}' is no model of a hub",
            hint='write it as "hf://org/name@revision", such as hf://org/bert@main',
        )
    return match[1], match[2].lstrip("/"), match[3] or "main"


def spelled(repository: str, file: str, revision: str) -> str:
    """The same as text, in full."""
    return f"{SCHEME}{repository}{f'/{file}' if file else ''}@{revision}"
