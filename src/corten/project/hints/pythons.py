"""Which Python files ask for: `.python-version`, `runtime.txt`, `.tool-versions`, Pipfile, environment.yml, setup.cfg, Poetry's."""

from __future__ import annotations

import re

from corten.lazy import regex
from corten.project.hints import documents, names
from corten.project.hints.hint import Hint, Reads, lines

_CONDA_PYTHON = regex(
    r"\s*-\s*[\"']?(?:[\w-]+::)?python\s*(=|==|>=|<=|~=|<|>)\s*(3\.\d{1,2})(?:\.\d+|\.\*|\*)?(?:=\S*)?"
    r"(,\s*<=?\s*3\.\d{1,2})?(?:\.\d+)?[\"']?"
)
_EXACT = regex(r"^(?:c?python[-@ ]?)?(3\.\d{1,2})(?:\.(?:\d+|x|\*))?$")


def read(folder: Reads) -> tuple[Hint, ...]:
    """Minor versions ("python") and ranges ("requires-python", PEP 440), the clearest file first."""
    hints: list[Hint] = []
    for name in (".python-version", "runtime.txt"):
        for number, line in enumerate(lines(folder.text(name) or ""), 1):
            found = _EXACT.match(line.partition("#")[0].strip().lower())
            if found:
                hints.append(Hint("python", found[1], name, number))
                break
    for number, line in enumerate(lines(folder.text(".tool-versions") or ""), 1):
        found = re.match(r"\s*python\s+(3\.\d{1,2})(?:\.\d+)?(?:\s|$)", line)
        if found:
            hints.append(Hint("python", found[1], ".tool-versions", number))
            break
    for number, line in enumerate(
        (folder.text("mise.toml") or folder.text(".mise.toml") or "").split("\n"), 1
    ):
        found = re.match(r"\s*python\s*=\s*[\"'](3\.\d{1,2})", line)
        if found:
            hints.append(Hint("python", found[1], "mise.toml", number))
            break
    hints += _pipfile(folder)
    hints += _conda(folder)
    hints += _ranges(folder)
    return tuple(hints)


def _pipfile(folder: Reads) -> list[Hint]:
    text = folder.text("Pipfile")
    if text is None:
        return []
    import tomllib

    from corten.toml import parse

    try:
        requires = parse(text).get("requires", {})
    except (tomllib.TOMLDecodeError, RecursionError):
        return []
    if not isinstance(requires, dict):
        return []
    for key in ("python_version", "python_full_version"):
        found = _EXACT.match(str(requires.get(key, "")))
        if found:
            return [Hint("python", found[1], "Pipfile", documents.line_of(text, key))]
    return []


def _conda(folder: Reads) -> list[Hint]:
    """The Python among the dependencies of a conda environment, found by its line: no library is needed for that."""
    for name in names.CONDA:
        text = folder.text(name)
        for number, line in enumerate(lines(text or ""), 1):
            found = _CONDA_PYTHON.fullmatch(line.partition(" #")[0].rstrip())
            if found is None:
                continue
            if found[1] in ("=", "==", "~="):
                return [Hint("python", found[2], name, number)]
            bound = (found[1] + found[2] + (found[3] or "")).replace(" ", "")
            return [Hint("requires-python", bound, name, number)]
    return []


def _ranges(folder: Reads) -> list[Hint]:
    hints = []
    text = folder.text("setup.cfg")
    if text is not None and (
        found := re.search(r"^[ \t]*python_requires[ \t]*=[ \t]*([<>=!~][^\n#;]{0,200})", text, re.MULTILINE)
    ):
        hints.append(
            Hint("requires-python", found[1].strip(), "setup.cfg", text.count("\n", 0, found.start(1)) + 1)
        )
    text = folder.text("setup.py")
    if text is not None and (
        found := re.search(r"python_requires\s?=\s?[\"']([<>=!~][^\"'\n]{0,200})[\"']", text)
    ):
        hints.append(
            Hint("requires-python", found[1].strip(), "setup.py", text.count("\n", 0, found.start(1)) + 1)
        )
    text = folder.text("pyproject.toml")
    if text is not None and "[tool.poetry" in text:
        import tomllib

        from corten.toml import parse

        try:
            tool = parse(text).get("tool", {})
            written = tool["poetry"]["dependencies"]["python"]
        except (tomllib.TOMLDecodeError, RecursionError, KeyError, TypeError, AttributeError):
            written = None
        if isinstance(written, str) and (specifier := of_poetry(written)) is not None:
            at = documents.line_of(text, "[tool.poetry.dependencies]", "python")
            hints.append(Hint("requires-python", specifier, "pyproject.toml", at, note=written))
    return hints


def of_poetry(written: str) -> str | None:
    """Poetry's constraint as a PEP 440 specifier: `^3.8` → `>=3.8,<4`, `~3.10` → `>=3.10,<3.11`; None for `*` and alternatives."""
    parts = []
    for part in re.split(r"\s*,\s*|\s+(?=[<>=^~!])", written[:200].strip()):
        if match := re.fullmatch(r"\^\s*(3(?:\.\d+){0,2})", part):
            parts += [f">={match[1]}", "<4"]
        elif match := re.fullmatch(r"~\s*3\.(\d+)(\.\d+)?", part):
            parts += [f">=3.{match[1]}{match[2] or ''}", f"<3.{int(match[1]) + 1}"]
        elif match := re.fullmatch(r"~=\s*(3\.\d+(?:\.\d+)?)", part):
            parts.append(f"~={match[1]}")
        elif match := re.fullmatch(r"==?\s*(3\.\d+)(?:\.\*)?|(3\.\d+)(?:\.\*)?", part):
            parts.append(f"=={match[1] or match[2]}.*")
        elif match := re.fullmatch(r"(?:==?\s*)?(3\.\d+\.\d+)", part):
            parts.append(f"=={match[1]}")
        elif match := re.fullmatch(r"(>=|<=|<|>|!=)\s*(\d(?:\.\d+){0,2}(?:\.\*)?)", part):
            parts.append(f"{match[1]}{match[2]}")
        else:
            return None
    return ",".join(parts) or None
