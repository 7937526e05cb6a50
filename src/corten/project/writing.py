"""What was found, as a `[tool.corten]` table with comments, and putting it into pyproject.toml without touching the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from corten.errors import ProjectError
from corten.project.distributions import normal
from corten.project.kinds import TABLE
from corten.project.model import Predictor, Project, SourceFiles
from corten.project.needed import DERIVED
from corten.project.settings import KEYS

EXAMPLE_FILES = {
    "predict.py": '''\
"""A first predictor: how long a text takes to read. The types of its arguments are the types of a request."""


class ReadingTime:
    def setup(self) -> None:
        """Runs once, before the first prediction: load weights here."""
        self.words_per_minute = 230

    def predict(self, text: str, attention: float = 1.0) -> float:
        """Minutes to read `text`."""
        return round(len(text.split()) / (self.words_per_minute * attention), 2)
''',
    "pyproject.toml": """\
[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = []

[tool.corten]
predict = "predict:ReadingTime"
# models = ["model.joblib"]
# system = ["libgl1", "ffmpeg"]
""",
}
"""The files of `corten init --example`."""

_BESIDE = ("system packages", "variables", "volumes", "packages for", "requirements from", "left out of")
"""How notes begin that are about neither what runs, nor the dependencies, nor the Python."""
_SUGGESTED = ("models", "system", "env", "exclude", "platforms", "gpu")


def render(project: Project, files: SourceFiles) -> str:
    """The table: what was found as keys that hold, with the reason; what could be wanted as comments."""
    lines = [TABLE]
    notes = {key: note for note in reversed(project.notes) for key in (_key_of(note),) if key}
    if isinstance(project.entry, Predictor):
        lines += [f"# {notes.get('entry', '')}", f"predict = {_predict(project.entry)}"]
    elif project.entry is not None:
        lines += [f"# {notes.get('entry', '')}", f"command = {_toml(project.entry.argv)}"]
    else:
        lines += [f"# {notes.get('entry', '')}", f"# command = {KEYS['command'].metadata['example']}"]
    lines += _given(project)
    lines += [f"# name = {_toml(project.name)}"]
    if project.python is not None:
        lines += [f"# {notes.get('python', '')}", f"python = {_toml(project.python)}"]
    lines += [f"# base = {_toml(project.base)}"]
    if project.dependencies.kind == "requirements":
        names = [path.relative_to(project.root).as_posix() for path in project.dependencies.files]
        lines += [f"# {notes['dependencies']}"] if "dependencies" in notes else []
        lines += [f"requirements = {_toml(names[0] if len(names) == 1 else names)}"]
    weights = sorted(file.path for file in files.weights)
    if weights:
        lines += [
            "# weights: in layers of their own, also where git ignores them",
            f"models = {_toml(weights)}",
        ]
    lines += [
        "#",
        "# the other keys: docs/configuration.md of Corten, and 'corten schema' for editors",
    ]
    lines += [
        f"# {key} = {KEYS[key].metadata['example']}"
        for key in _SUGGESTED
        if not (key == "models" and weights)
        and not (key in ("system", "env") and getattr(project, key))
        and not (key == "gpu" and project.gpu != "auto")
    ]
    return "\n".join(line.rstrip() for line in lines if line.strip() != "#" or line == "#") + "\n"


def _given(project: Project) -> list[str]:
    """What files of other tools gave beside the command, each key with the line about where it comes from."""
    lines: list[str] = []
    for key, value, words in (
        ("workdir", project.workdir if project.workdir != "/app" else "", "command from"),
        ("system", project.system, "system packages from"),
        ("env", project.env, "variables from"),
        ("volumes", project.volumes, "volumes from"),
        ("gpu", project.gpu if project.gpu != "auto" else "", "packages for CPUs"),
    ):
        if not value:
            continue
        why = [line for line in project.taken if line.startswith(words)] if key != "workdir" else []
        lines += [f"# {line}" for line in why]
        written = (
            "{ " + ", ".join(f"{name} = {_toml(text)}" for name, text in value.items()) + " }"
            if isinstance(value, dict)
            else _toml(value)
        )
        lines.append(f"{key} = {written}")
    return lines


def requirements(project: Project, locked: Mapping[str, str]) -> str:
    """The text of a requirements.txt with what was taken from the imports, in the versions that are `locked` (by normal names);
    empty where a file lists the dependencies."""
    taken = [item.requirement for item in project.implied if item.reason == DERIVED]
    if not taken:
        return ""
    lines = [
        f"{item}=={locked[normal(item)]}"
        if re.fullmatch(r"[A-Za-z0-9._-]+", item) and normal(item) in locked
        else item
        for item in taken
    ]
    unknown = [f"# {item}: it is not known which package has it" for item in project.unknown]
    return "\n".join(["# Taken from the imports by 'corten init'.", *lines, *unknown]) + "\n"


def insert(text: str, table: str, *, force: bool = False) -> str:
    """`text` of a pyproject.toml with `table` at its end; with `force`, in the place of the table that it has. Line ends
    are kept. Raises ProjectError when there is one already, or when the rest would not stay what it is."""
    before = _parse(text)
    line_end = "\r\n" if "\r\n" in text else "\n"
    if "corten" in before.get("tool", {}):
        if not force:
            raise ProjectError(
                f"pyproject.toml has a {TABLE} table already",
                hint="edit it, or replace it by what is found now with 'corten init --force'",
            )
        result = _replaced(text.replace("\r\n", "\n"), table)
    else:
        kept = text.replace("\r\n", "\n")
        gap = "" if not kept.strip() else "\n" if kept.endswith("\n") else "\n\n"
        result = kept + gap + table
    result = result.replace("\n", line_end)
    try:
        after = _parse(result)
    except ProjectError:
        after = {}
    written = after.get("tool", {}).get("corten")
    if _without(before) != _without(after) or written != _parse(table)["tool"]["corten"]:
        raise ProjectError(
            f"{TABLE} cannot be written into this pyproject.toml without changing the rest",
            hint=f"write it by hand: {' ; '.join(line for line in table.splitlines() if not line.startswith('#'))}",
        )
    return result


def _replaced(text: str, table: str) -> str:
    """`text` with the lines from `[tool.corten]` to the next header that is not below it replaced."""
    header = re.compile(r"^[ \t]*\[\[?[ \t]*tool[ \t]*\.[ \t]*[\"']?corten[\"']?[ \t]*[\].]")
    lines, kept, inside, placed = text.splitlines(keepends=True), [], False, False
    for line in lines:
        if header.match(line):
            inside = True
            if not placed:
                kept.append(table)
                placed = True
            continue
        if inside and re.match(r"^[ \t]*\[", line):
            inside = False
            kept.append("\n")
        if not inside:
            kept.append(line)
    return "".join(kept)


def _without(document: dict[str, Any]) -> dict[str, Any]:
    """The document without `[tool.corten]`, and without a `tool` that then is empty."""
    tool = {key: value for key, value in document.get("tool", {}).items() if key != "corten"}
    rest = {key: value for key, value in document.items() if key != "tool"}
    return rest | ({"tool": tool} if tool else {})


def _parse(text: str) -> dict[str, Any]:
    import tomllib

    from corten.toml import parse

    try:
        return parse(text.replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        raise ProjectError(f"'pyproject.toml' is not valid TOML: {error}") from error


def _key_of(note: str) -> str | None:
    """Which decision a note of the project is about."""
    if note.startswith(("dependencies", "no dependencies")):
        return "dependencies"
    if note.startswith("Python "):
        return "python"
    return None if note.startswith(_BESIDE) else "entry"


def _predict(entry: Predictor) -> str:
    if not entry.several:
        return _toml(entry.target)
    return "{ " + ", ".join(f"{name} = {_toml(target)}" for name, target in entry.several) + " }"


def _toml(value: str | Sequence[str]) -> str:
    """A text or a list of texts as TOML. JSON's strings are TOML's, but for DEL, which a name in a project cannot have."""
    import json

    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    items = [json.dumps(item, ensure_ascii=False) for item in value]
    joined = ", ".join(items)
    return f"[{joined}]" if len(joined) < 90 else "[\n" + "".join(f"  {item},\n" for item in items) + "]"
