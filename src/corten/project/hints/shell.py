"""A command line as people write it → the one command that Corten runs. Pure; nothing is expanded or run.

Only as much of the shell's grammar (POSIX, "Shell Command Language") as a Procfile, a CMD or a Makefile has: lists of simple
commands, quotes, and assignments in front. Whatever else a line has is kept for the image's `/bin/sh`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from corten.errors import ProjectError
from corten.lazy import regex
from corten.project.hints.hint import Reads
from corten.project.kinds import ENV_NAME, split_command
from corten.values import dataclass, replace

_MOST_CHARACTERS = 8_000
_MOST_WRAPPERS = 8
_OPERATORS = ("&&", "||", ";", "|", "&", "\n")
_ASSIGNMENT = regex(rf"({ENV_NAME})=(.*)", re.DOTALL)
_FIRST_WORD = regex(r"^\s*(?:[^\s\"'\\]|\\.|\"(?:[^\"\\]|\\.)*\"|'[^']*')+\s*", re.DOTALL)
_PORT_DEFAULT = regex(r"\$\{PORT:?-[^{}]*\}")
_SHELLS = ("sh", "bash", "dash", "ash", "zsh")
_BIN = regex(
    r"(?:/(?:usr/(?:local/)?)?s?bin|(?:\.{0,2}/)*(?:\.?v?env|\.?venv\w*|/?(?:opt|root|home)/[\w./-]+)/bin|/opt/[\w./-]*bin)/([\w.+-]+)"
)
_PYTHON = regex(r"(?:python|python3|py|pythonw|python3?\.\d{1,2})(?:\.exe)?")
_OWN_SPACE = {"poetry", "pipenv", "pdm", "hatch", "rye", "uv", "conda", "mamba", "micromamba"}
_WRAPPERS = {
    "exec",
    "sudo",
    "nohup",
    "time",
    "command",
    "tini",
    "/tini",
    "dumb-init",
    "gosu",
    "su-exec",
    "catchsegv",
}
_RUN_VALUES = {
    *(
        "-n",
        "--name",
        "-p",
        "--prefix",
        "--python",
        "--with",
        "--extra",
        "--group",
        "--env-file",
        "--directory",
    ),
    *("--project", "--only-group", "--package", "--cwd", "--index-url", "--with-requirements", "-C", "--env"),
}
"""Options with a value of `uv run`, `conda run` and their like."""
_RELOAD = {
    *("--reload", "--debug", "--debugger", "--use-reloader", "--with-threads-debug", "--dev"),
}
_RELOAD_VALUES = {
    "--reload-dir",
    "--reload-include",
    "--reload-exclude",
    "--reload-extra-file",
    "--reload-engine",
}
_RELOADING = {
    "uvicorn",
    "gunicorn",
    "hypercorn",
    "granian",
    "flask",
    "fastapi",
    "sanic",
    "quart",
    "litestar",
    "celery",
}
_PREPARING = regex(
    r"(?:sudo\s+)?(?:(?:python3?|py)\s+-m\s+)?"
    r"(?:pip3?\s+install|uv\s+(?:sync|pip\s+(?:install|sync)|venv)|poetry\s+(?:install|config|shell)|pipenv\s+(?:install|sync|shell)"
    r"|conda\s+(?:activate|install|env)|apt(?:-get)?\s|source\s|\.\s+\S*activate|venv\s|virtualenv\s|echo\b(?!.*>)|sleep\s|clear\b|set\s+-|"
    r"pipreqs\b|npm\s+(?:install|ci)\b|ls\b|pwd\b|whoami\b|which\b|true\b|:\s*$)"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One simple command or pipeline part as it is written, and the operator behind it."""

    text: str
    operator: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """What a line runs: its words, the folder below the one it starts in, the variables it sets, and what was taken off."""

    argv: tuple[str, ...]
    folder: str = ""
    env: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()


def steps(text: str) -> list[Step]:
    """The simple commands of `text` with the operators between them. Quotes, `$(…)`, `(…)` and backticks are not split."""
    found: list[Step] = []
    start = index = depth = 0
    quote = ""
    text = re.sub(r"\\\r?\n", " ", text[:_MOST_CHARACTERS])
    while index < len(text):
        sign = text[index]
        if quote:
            if sign == "\\" and quote != "'":
                index += 1
            elif sign == quote:
                quote = ""
        elif sign in "'\"`":
            quote = sign
        elif sign == "\\":
            index += 1
        elif sign in "({":
            depth += sign == "(" or text[index - 1 : index] == "$" or depth > 0
        elif sign in ")}":
            depth = max(0, depth - 1)
        elif sign == "#" and not depth and (index == 0 or text[index - 1] in " \t\n;"):
            end = text.find("\n", index)
            text = text[:index] + (text[end:] if end != -1 else "")
            continue
        elif not depth and (operator := _operator(text, index)):
            if text[start:index].strip():
                found.append(Step(text[start:index].strip(), operator))
            index += len(operator)
            start = index
            continue
        index += 1
    if text[start:].strip():
        found.append(Step(text[start:].strip()))
    return found


def _operator(text: str, index: int) -> str:
    for operator in _OPERATORS:
        if text.startswith(operator, index):
            # `2>&1` and `&>file` are redirections.
            if operator == "&" and (text[index - 1 : index] == ">" or text[index + 1 : index + 2] == ">"):
                return ""
            return operator
    return ""


def words(text: str) -> tuple[str, ...]:
    """The words of a simple command; empty where its quotes do not close."""
    import shlex

    try:
        return tuple(shlex.split(text))
    except ValueError:
        return ()


def cleaned(text: str | Sequence[str]) -> Line | None:
    """The command that `text` (a shell's line, or words) comes to: without what only prepares an environment, without
    wrappers and without options for development. None where nothing is left."""
    return _cleaned(text, _MOST_WRAPPERS)


def _cleaned(text: str | Sequence[str], left: int) -> Line | None:
    if left == 0:
        return None
    if not isinstance(text, str):
        argv = tuple(text)
        inner = _shell_text(argv)
        return _cleaned(inner, left - 1) if inner is not None else _words_cleaned(argv, left)
    if "\x00" in text:
        return None
    text = _PORT_DEFAULT.sub("$PORT", text)
    kept: list[Step] = []
    folder = ""
    env: dict[str, str] = {}
    dropped: list[str] = []
    found = steps(text)
    if len(found) == 1 and found[0].operator == "&":
        found = [replace(found[0], operator="")]  # `nohup … &` on a server that is left
    for step in found:
        given = words(step.text)
        if given and given[0] == "cd" and len(given) == 2 and not kept and step.operator in ("&&", ";", "\n"):
            folder = posixpath.join(folder, given[1])
        elif (
            given
            and given[0] == "export"
            and not kept
            and all(_ASSIGNMENT.fullmatch(word) for word in given[1:])
        ):
            env |= dict(_assignments(given[1:]))
        elif given and all(_ASSIGNMENT.fullmatch(word) for word in given) and not kept:
            env |= dict(_assignments(given))
        elif _PREPARING.match(step.text) and step.operator != "|":
            dropped.append(" ".join(given[:3]) if given else step.text[:30])
        else:
            kept.append(step)
    if not kept:
        return None
    if len(kept) == 1 and kept[0].operator in ("", ";", "\n", "&&", "||"):
        line = _one(kept[0].text, left)
    else:
        last = len(kept) - 1
        joined = "".join(
            step.text + ("" if index == last else f" {step.operator} " if step.operator != "\n" else "; ")
            for index, step in enumerate(kept)
        )
        line = Line(("/bin/sh", "-c", joined))
    if line is None:
        return None
    return replace(
        line,
        folder=posixpath.join(folder, line.folder) if line.folder else folder,
        env=tuple((env | dict(line.env)).items()),
        dropped=(*dropped, *line.dropped),
    )


def _one(text: str, left: int) -> Line | None:
    """One simple command, with assignments in front."""
    if text.startswith("(") and text.endswith(")"):
        return _cleaned(text[1:-1], left - 1)
    given = words(text)
    if not given:
        return None
    env = {}
    while given and (match := _ASSIGNMENT.fullmatch(given[0])):
        env[match[1]] = match[2]
        given = given[1:]
        text = _without_first_word(text)
    if not given:
        return None
    inner = _shell_text(_unwrapped(given)[0])
    if inner is not None:
        line = _cleaned(inner, left - 1)
    else:
        try:
            argv = split_command("command", text)
        except ProjectError:
            return None
        # What needs a shell stays as it is written, without `exec`, which a shell does by itself for the last command.
        line = Line(argv) if argv[:2] == ("/bin/sh", "-c") else _words_cleaned(argv, left)
    if line is None:
        return None
    return replace(line, env=tuple((env | dict(line.env)).items()))


def _without_first_word(text: str) -> str:
    """`text` without its first word, which is an assignment."""
    return _FIRST_WORD.sub("", text, count=1)


def _shell_text(argv: Sequence[str]) -> str | None:
    """The line of `sh -c LINE`."""
    if len(argv) < 3 or posixpath.basename(argv[0]) not in _SHELLS:
        return None
    options = argv[1]
    return argv[2] if re.fullmatch(r"-[a-z]*c[a-z]*", options) else None


def _words_cleaned(argv: tuple[str, ...], left: int) -> Line | None:
    argv, env = _unwrapped(argv)
    if not argv:
        return None
    inner = _shell_text(argv)
    if inner is not None:
        line = _cleaned(inner, left - 1)
        return None if line is None else replace(line, env=tuple((env | dict(line.env)).items()))
    argv, dropped = _for_production(_program(argv))
    return Line(tuple(_PORT_DEFAULT.sub("$PORT", word) for word in argv), "", tuple(env.items()), dropped)


def _unwrapped(argv: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Without programs that only start another one: `exec`, `poetry run`, `conda run -n x`, `env A=b`, `tini --`, …"""
    env: dict[str, str] = {}
    for _ in range(_MOST_WRAPPERS):
        if not argv:
            break
        name = posixpath.basename(argv[0])
        if name in ("gosu", "su-exec") and len(argv) > 2:
            argv = argv[2:]
        elif argv[0] in _WRAPPERS or name in _WRAPPERS:
            argv = _after_options(argv[1:], ())
        elif name == "env" and len(argv) > 1:
            argv = argv[1:]
            while argv and (match := _ASSIGNMENT.fullmatch(argv[0])):
                env[match[1]] = match[2]
                argv = argv[1:]
        elif name in _OWN_SPACE and argv[1:2] == ("run",) and len(argv) > 2:
            rest = _after_options(argv[2:], _RUN_VALUES)
            if name == "uv" and rest and rest[0].endswith(".py"):
                rest = ("python", *rest)
            if not rest:
                break
            argv = rest
        elif name == "uvx" and len(argv) > 1 and not argv[1].startswith("-"):
            argv = argv[1:]
        else:
            break
    return argv, env


def _after_options(argv: tuple[str, ...], with_value: Sequence[str] | set[str]) -> tuple[str, ...]:
    while argv and argv[0].startswith("-"):
        if argv[0] == "--":
            return argv[1:]
        argv = argv[2:] if argv[0] in with_value else argv[1:]
    return argv


def _program(argv: tuple[str, ...]) -> tuple[str, ...]:
    """With the program by its name where it is a Python's or a virtual environment's, and `python` for every Python."""
    first = argv[0]
    known = _BIN.fullmatch(first)
    name = known[1] if known else first
    if _PYTHON.fullmatch(name):
        return ("python", *argv[1:])
    if name.endswith(".py") and "/" not in name.removeprefix("./"):
        return ("python", name.removeprefix("./"), *argv[1:])
    if name.endswith(".py"):
        return ("python", name, *argv[1:])
    return (name, *argv[1:])


def _for_production(argv: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Without options that are for development alone, and which those were."""
    argv = _without_debugger(argv)
    server = server_of(argv)
    if server not in _RELOADING:
        return argv, ()
    kept: list[str] = []
    dropped: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word in _RELOAD and kept:
            dropped.append(word)
        elif word in _RELOAD_VALUES and rest:
            rest.pop(0)
            dropped.append(word)
        elif word.partition("=")[0] in _RELOAD_VALUES | {"--reload"}:
            dropped.append(word.partition("=")[0])
        else:
            kept.append(word)
    if server == "fastapi" and "dev" in kept[:4]:
        kept[kept.index("dev")] = "run"
        dropped.append("dev")
    return tuple(kept), tuple(dropped)


def _without_debugger(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Without `-m debugpy --listen ADDRESS [--wait-for-client]`."""
    if argv[:3] != ("python", "-m", "debugpy"):
        return argv
    rest = argv[3:]
    while rest and rest[0].startswith("--"):
        rest = rest[2:] if rest[0] in ("--listen", "--connect", "--log-to") else rest[1:]
    return ("python", *rest) if rest else argv


def server_of(argv: Sequence[str]) -> str:
    """The program that a command starts: `uvicorn` for `python -m uvicorn …`; `""` for a script of the project."""
    if not argv:
        return ""
    if argv[0] != "python":
        return posixpath.basename(argv[0])
    rest = list(argv[1:])
    while rest and re.fullmatch(r"-[uBbEIsSOv]+|-X\S+|-W\S+", rest[0]):
        rest.pop(0)
    return rest[1] if len(rest) > 1 and rest[0] == "-m" else ""


def _assignments(given: Sequence[str]) -> list[tuple[str, str]]:
    found = [_ASSIGNMENT.fullmatch(word) for word in given]
    return [(match[1], match[2]) for match in found if match]


def with_shell(argv: tuple[str, ...], folder: Reads, cwd: str = "") -> tuple[str, ...]:
    """A script of a shell that is started by its name, started by its shell: it may not be executable."""
    if not argv or not argv[0].endswith((".sh", ".bash")) or argv[0].startswith("/"):
        return argv
    path = posixpath.normpath(posixpath.join(cwd, argv[0]))
    text = folder.text(path)
    if text is None:
        return argv
    first = text.partition("\n")[0]
    name = "bash" if "bash" in first or argv[0].endswith(".bash") else "sh"
    return (name, argv[0].removeprefix("./"), *argv[1:])


def quoted(text: str) -> str:
    """`text` as one word of a shell."""
    import shlex

    return shlex.quote(text)
