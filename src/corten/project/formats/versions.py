"""Poetry's version constraints in PEP 440's form."""

from __future__ import annotations

import re

from corten.lazy import regex

_CARET = regex(r"\^\s*(\d{1,9}(?:\.\d{1,9}){0,4})([A-Za-z0-9.+-]{0,40})")
_TILDE = regex(r"~\s*(\d{1,9}(?:\.\d{1,9}){0,4})([A-Za-z0-9.+-]{0,40})")
_OTHER = regex(r"(===?|~=|!=|<=|>=|<|>|=)?\s*v?([A-Za-z0-9][A-Za-z0-9.!+_*-]{0,80})")


def of_poetry(written: str) -> str | None:
    """`^1.2` → `>=1.2,<2`, `~1.2` → `>=1.2,<1.3`, `1.*` → `==1.*`, `*` → ``. None for what PEP 440 cannot say (`^1 || ^2`)."""
    if len(written) > 500:
        return None
    parts: list[str] = []
    for part in re.split(r"\s*,\s*|(?<![<>=!~^])\s+(?=[<>=^~!])", written.strip()):
        if part in ("*", ""):
            continue
        if match := _CARET.fullmatch(part):
            numbers = [int(item) for item in match[1].split(".")]
            at = next((index for index, item in enumerate(numbers) if item), len(numbers) - 1)
            parts += [f">={match[1]}{match[2]}", f"<{_next(numbers, at)}"]
        elif match := _TILDE.fullmatch(part):
            numbers = [int(item) for item in match[1].split(".")]
            parts += [f">={match[1]}{match[2]}", f"<{_next(numbers, min(1, len(numbers) - 1))}"]
        elif match := _OTHER.fullmatch(part):
            operator = match[1] or "=="
            parts.append(f"{'==' if operator == '=' else operator}{match[2]}")
        else:
            return None
    return ",".join(parts)


def _next(numbers: list[int], at: int) -> str:
    return ".".join(str(item) for item in (*numbers[:at], numbers[at] + 1))


def python_marker(written: str) -> str | None:
    """The marker for Poetry's `python = "^3.8"` beside a dependency. None for what is not understood."""
    alternatives = []
    for alternative in re.split(r"\s*\|\|?\s*", written[:300]):
        specifier = of_poetry(alternative)
        if specifier is None:
            return None
        held = []
        for part in (item for item in specifier.split(",") if item):
            match = re.fullmatch(r"([<>=!~]+)(\d+(?:\.\d+){0,2})(\.\*)?", part)
            if match is None:
                return None
            name = "python_full_version" if match[2].count(".") > 1 else "python_version"
            if match[2].count(".") == 0:  # `python_version < "4"`
                held.append(f'python_version {match[1]} "{match[2]}{".*" if match[3] else ".0"}"')
            else:
                held.append(
                    f'{name} {match[1]} "{match[2]}{match[3] or "" if name != "python_version" else ""}"'
                )
        if not held:
            return ""
        alternatives.append(" and ".join(held))
    return " or ".join(f"({item})" if len(alternatives) > 1 else item for item in alternatives)
