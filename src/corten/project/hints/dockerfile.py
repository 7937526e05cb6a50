"""Parsing a Dockerfile: text → instructions → the last stage with what it inherits. Pure; no instruction is run.

After the reference of the format (docs.docker.com/reference/dockerfile): parser directives, continuations, comments in them,
heredocs, quoting and expansion of variables, stages that stand on stages. What cannot be parsed is passed over, with its line.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from corten.lazy import regex
from corten.values import dataclass, field, replace

MOST_CHARACTERS = 100_000
_MOST_INSTRUCTIONS = 500
_MOST_STAGES = 50
_MOST_IN_INSTRUCTION = 20_000
_MOST_VALUE = 10_000
_HEREDOC = regex(r"<<(-?)([\"']?)([A-Za-z_][\w.]*)\2")
_VARIABLE = regex(r"\$(?:(\w+)|\{(\w+)(?:(:?[-+?])([^{}]*))?\})")
_INSTRUCTIONS = {
    *(
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "MAINTAINER",
    ),
    *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its name in capitals, its flags, the rest as it is written, heredocs' texts, and its first line."""

    name: str
    value: str
    line: int
    flags: tuple[tuple[str, str], ...] = ()
    heredocs: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...] | None:
        """The words of the exec form; None for the shell form."""
        if not self.value.startswith("["):
            return None
        import json

        try:
            found = json.loads(self.value)
        except (ValueError, RecursionError):
            return None
        return (
            tuple(found) if isinstance(found, list) and all(isinstance(word, str) for word in found) else None
        )


@dataclass(frozen=True, slots=True)
class Copied:
    """`COPY` or `ADD` from the project: sources relative to the context, the absolute target in the image."""

    sources: tuple[str, ...]
    target: str
    into_folder: bool
    line: int


@dataclass(frozen=True, slots=True)
class Run:
    """One `RUN`: its text (exec forms and heredocs too), with build arguments and variables filled in, and the folder."""

    text: str
    folder: str
    line: int


@dataclass(frozen=True, slots=True)
class Start:
    """`CMD` or `ENTRYPOINT`: the words of an exec form, or a shell's line."""

    value: tuple[str, ...] | str
    line: int


@dataclass(frozen=True, slots=True)
class Stage:
    """The end of a stage: what its instructions, and those of the stages that it stands on, come to.

    `image` is the image at the bottom. `runs` are its own and inherited ones; `other_runs` those of the remaining stages,
    from which files may be copied. `env` are values of `ENV`, without those of `ARG`. `folders` are those of WORKDIR and VOLUME, with
    their lines."""

    image: str
    image_line: int
    workdir: str = "/"
    env: dict[str, tuple[str, int]] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    copied: tuple[Copied, ...] = ()
    runs: tuple[Run, ...] = ()
    other_runs: tuple[Run, ...] = ()
    folders: tuple[tuple[str, int], ...] = ()
    ports: tuple[tuple[str, int], ...] = ()
    cmd: Start | None = None
    entrypoint: Start | None = None


def parse(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile, in order."""
    lines = text[:MOST_CHARACTERS].replace("\r\n", "\n").split("\n")
    escape = _escape(lines)
    found: list[Instruction] = []
    index = 0
    while index < len(lines) and len(found) < _MOST_INSTRUCTIONS:
        first = index
        parts: list[str] = []
        while index < len(lines):
            line = lines[index]
            index += 1
            stripped = line.strip()
            if not stripped or stripped.startswith("#"):
                if parts:
                    continue  # blank lines and comments do not end an instruction that goes on
                first = index
                continue
            continued = line.rstrip().endswith(escape)
            parts.append(line.rstrip()[:-1] if continued else line)
            if not continued:
                break
        joined = "".join(parts).strip()[:_MOST_IN_INSTRUCTION]
        if not joined:
            continue
        instruction, index = _instruction(joined, first + 1, lines, index)
        if instruction is not None:
            found.append(instruction)
    return found


def _escape(lines: list[str]) -> str:
    """The character that continues a line, by the directive at the top."""
    for line in lines:
        directive = re.fullmatch(r"\s*#\s*([a-z]+)\s*=\s*(\S+)\s*", line, re.IGNORECASE)
        if directive is None:
            break
        if directive[1].lower() == "escape" and directive[2] in ("`", "\\"):
            return directive[2]
    return "\\"


def _instruction(text: str, line: int, lines: list[str], index: int) -> tuple[Instruction | None, int]:
    """The instruction in `text`, and where its heredocs, if any, end."""
    name, _, value = text.partition(" ") if " " in text.split("\t")[0] else text.partition("\t")
    name, value = name.upper(), value.strip()
    if name not in _INSTRUCTIONS:
        return None, index
    if name == "ONBUILD":
        return None, index
    heredocs: list[str] = []
    if name in ("RUN", "COPY", "ADD"):
        for begin in _HEREDOC.finditer(value):
            body: list[str] = []
            while index < len(lines):
                raw = lines[index]
                index += 1
                if (raw.lstrip("\t") if begin[1] else raw) == begin[3]:
                    break
                body.append(raw.lstrip("\t") if begin[1] else raw)
            heredocs.append("\n".join(body))
    flags: list[tuple[str, str]] = []
    while match := re.match(r"--([a-z][a-z-]*)(?:=(\"[^\"]*\"|\S*))?(?:\s+|$)", value):
        flags.append((match[1], (match[2] or "").strip('"')))
        value = value[match.end() :]
    return Instruction(name, value, line, tuple(flags), tuple(heredocs)), index


def last_stage(instructions: list[Instruction], arguments: Mapping[str, str]) -> Stage | None:
    """What the last stage comes to with the build arguments' defaults; None where there is no FROM."""
    known: dict[str, str] = dict(arguments)
    names: dict[str, int] = {}
    stages: list[Stage] = []
    for instruction in instructions:
        if instruction.name == "FROM":
            if len(stages) == _MOST_STAGES:
                break
            words = expand(instruction.value, known).split()
            if not words:
                continue
            stages.append(_begin(words[0], instruction.line, names, stages))
            if len(words) > 2 and words[1].upper() == "AS":
                names[words[2].lower()] = len(stages) - 1
            names[str(len(stages) - 1)] = len(stages) - 1
        elif not stages:
            if instruction.name == "ARG":
                known |= _arguments(instruction.value, known, known, known)
        else:
            stages[-1] = _after(stages[-1], instruction, known, arguments)
    if not stages:
        return None
    last = stages[-1]
    mine = set(last.runs)
    others = [run for stage in stages[:-1] for run in stage.runs if run not in mine]
    return replace(last, other_runs=tuple(dict.fromkeys(others)))


def _begin(image: str, line: int, names: dict[str, int], stages: list[Stage]) -> Stage:
    below = names.get(image.lower()) if not image.isdigit() else None
    if below is None:
        return Stage(image, line)
    return replace(stages[below], arguments={}, env=dict(stages[below].env))


def _after(stage: Stage, item: Instruction, known: dict[str, str], given: Mapping[str, str]) -> Stage:
    """`stage` after one more instruction."""
    variables = stage.arguments | {name: value for name, (value, _) in stage.env.items()}
    match item.name:
        case "ARG":
            return replace(stage, arguments=stage.arguments | _arguments(item.value, variables, known, given))
        case "ENV":
            pairs = {name: (value, item.line) for name, value in _pairs(item.value, variables)}
            return replace(stage, env=stage.env | pairs)
        case "WORKDIR":
            folder = expand(item.value, variables).strip("\"'")
            joined = _joined(stage.workdir, folder)
            return replace(stage, workdir=joined, folders=(*stage.folders, (joined, item.line)))
        case "VOLUME":
            paths = item.words or tuple(_split(expand(item.value, variables)))
            made = tuple((_joined("/", path), item.line) for path in paths)
            return replace(stage, folders=(*stage.folders, *made))
        case "COPY" | "ADD":
            copied = _copied(item, stage.workdir, variables)
            return replace(stage, copied=(*stage.copied, copied)) if copied else stage
        case "RUN":
            if item.words is not None:
                import shlex

                words = item.words
                text = (
                    words[2] if len(words) > 2 and re.fullmatch(r"-[a-z]*c", words[1]) else shlex.join(words)
                )
            else:
                text = item.value
                if item.heredocs:
                    program = _HEREDOC.sub("", text).strip()
                    text = "\n".join(
                        [*([program] if program and not _is_shell(program) else []), *item.heredocs]
                    )
            run = Run(expand(text, variables, unknown=True, quotes=False), stage.workdir, item.line)
            return replace(stage, runs=(*stage.runs, run))
        case "EXPOSE":
            ports = [(port.partition("/")[0], item.line) for port in expand(item.value, variables).split()]
            return replace(stage, ports=(*stage.ports, *ports))
        case "CMD":
            return replace(stage, cmd=_start(item))
        case "ENTRYPOINT":
            return replace(stage, entrypoint=_start(item))
    return stage


def _is_shell(program: str) -> bool:
    return posixpath.basename(program.split()[0]) in ("sh", "bash", "ash", "dash")


def _start(item: Instruction) -> Start | None:
    words = item.words
    if words is not None:
        return Start(words, item.line) if words else None
    return Start(item.value, item.line) if item.value else None


def _copied(item: Instruction, workdir: str, variables: Mapping[str, str]) -> Copied | None:
    if any(name == "from" for name, _ in item.flags) or item.heredocs:
        return None
    words = item.words or tuple(_split(expand(item.value, variables)))
    if len(words) < 2:
        return None
    *sources, target = words
    local = tuple(source for source in sources if "://" not in source)
    if not local:
        return None
    into = target.endswith("/") or target in (".", "..") or len(sources) > 1
    return Copied(local, _joined(workdir, target), into, item.line)


def _arguments(
    text: str, variables: Mapping[str, str], known: Mapping[str, str], given: Mapping[str, str]
) -> dict[str, str]:
    """The arguments that one ARG declares: what was given for it, else its default, else the one above the stages."""
    found: dict[str, str] = {}
    for word in _split(text):
        name, sign, value = word.partition("=")
        if name in given:
            found[name] = given[name]
        elif sign:
            found[name] = expand(value, {**variables, **found})
        elif name in known:
            found[name] = known[name]
    return found


def _pairs(text: str, variables: Mapping[str, str]) -> list[tuple[str, str]]:
    """`A=b C="d e"`, or the old form `A b c`."""
    first = text.split(None, 1)
    if not first:
        return []
    if "=" not in first[0]:
        return [(first[0], _bare(expand(first[1] if len(first) > 1 else "", variables).strip()))]
    pairs = []
    for word in _split(text, keep=True):
        name, sign, value = word.partition("=")
        if sign:
            pairs.append((name, _bare(expand(value, variables))))
    return pairs


def _split(text: str, keep: bool = False) -> list[str]:
    """Words separated by spaces outside of quotes; the quotes stay with `keep`."""
    pattern = r"(?:[^\s\"'\\]|\\.|\"(?:[^\"\\]|\\.)*+(?:\"|\\?\Z)|'[^']*+(?:'|\Z))++|\\"
    found = re.findall(pattern, text, re.DOTALL)
    return found if keep else [_bare(word) for word in found]


def _bare(word: str) -> str:
    """A word without its quotes and backslashes."""

    def part(match: re.Match[str]) -> str:
        if match[1] is not None:
            return match[1]
        if match[2] is not None:
            return re.sub(r"\\([\"\\$])", r"\1", match[2])
        return match[3]

    return re.sub(r"'([^']*+)(?:'|\Z)|\"((?:[^\"\\]|\\.)*+)(?:\"|\Z)|\\(.)", part, word, flags=re.DOTALL)


def expand(text: str, variables: Mapping[str, str], *, unknown: bool = False, quotes: bool = True) -> str:
    """`text` with `$A`, `${A}`, `${A:-b}`, `${A:+b}` filled in, not within single quotes; with `unknown` the variables that
    nobody set stay as they are."""
    size = len(text)

    def value(match: re.Match[str]) -> str:
        nonlocal size
        name = match[1] or match[2]
        operator, word = match[3] or "", match[4] or ""
        held = variables.get(name)
        if held is None and unknown:
            return match[0]
        present = bool(held) if operator.startswith(":") else held is not None
        if operator.endswith("-"):
            result = held or "" if present else word
        elif operator.endswith("+"):
            result = word if present else ""
        else:
            result = held or ""
        size += len(result)
        return result if size <= _MOST_VALUE else ""

    if not quotes:
        return re.sub(rf"(?<!\\){_VARIABLE.pattern}", value, text)
    parts = re.split(r"('[^']*'|\\.)", text)
    return "".join(part if number % 2 else _VARIABLE.sub(value, part) for number, part in enumerate(parts))


def _joined(folder: str, path: str) -> str:
    joined = posixpath.normpath(posixpath.join(folder, path.replace("\\", "/") or "."))
    return "/" + joined.strip("/")
