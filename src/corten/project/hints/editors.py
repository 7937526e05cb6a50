"""What editors are told to start: `.devcontainer/devcontainer.json` and `.vscode/launch.json`, both JSON with comments."""

from __future__ import annotations

import posixpath
import re
from typing import Any

from corten.errors import FormatError
from corten.lazy import regex
from corten.project.hints import documents, names, shell
from corten.project.hints.hint import Hint, Reads

LAUNCH = ".vscode/launch.json"
_COMMANDS = ("postAttachCommand", "postStartCommand")
_FOLDER = regex(r"\$\{(?:workspaceFolder|workspaceRoot|fileWorkspaceFolder)(?::[^}]*)?\}/?")


def read_devcontainer(folder: Reads) -> tuple[Hint, ...]:
    """The command that a development container starts when somebody attaches, and the Python of its image."""
    for name in names.DEVCONTAINER:
        text = folder.text(name)
        if text is None:
            continue
        try:
            document = documents.jsonc(text)
        except FormatError as error:
            return (Hint("unused", f"it cannot be read: {error}", name),)
        return _of_devcontainer(document, text, name, folder) if isinstance(document, dict) else ()
    return ()


def _of_devcontainer(document: dict[str, Any], text: str, source: str, folder: Reads) -> tuple[Hint, ...]:
    hints: list[Hint] = []
    image = document.get("image")
    if isinstance(image, str) and (found := re.search(r"python:(?:\d+-)?(3\.\d{1,2})", image)):
        hints.append(Hint("python", found[1], source, documents.line_of(text, '"image"')))
    for key in _COMMANDS:
        for command in _commands(document.get(key)):
            line = shell.cleaned(command)
            if line is None or line.folder.startswith(("/", "..")):
                continue
            at = documents.line_of(text, f'"{key}"')
            argv = _without_streamlit_options(line.argv)
            argv = shell.with_shell(argv, folder, line.folder)
            hints.append(Hint("command", argv, source, at, name=key, folder=line.folder, env=line.env))
    return tuple(hints)


def _without_streamlit_options(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Without what Streamlit's own template says for a proxy of the development container."""
    if argv[:2] != ("streamlit", "run"):
        return argv
    kept: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name, sign, _ = word.partition("=")
        if name in ("--server.enableCORS", "--server.enableXsrfProtection"):
            if not sign and rest and rest[0].lower() in ("true", "false"):
                rest.pop(0)
        else:
            kept.append(word)
    return tuple(kept)


def _commands(value: Any) -> list[str | tuple[str, ...]]:
    """A lifecycle command: a shell's line, words, or a table of several."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [tuple(str(word) for word in value)] if value else []
    if isinstance(value, dict):
        return [
            command
            for item in list(value.values())[:20]
            if not isinstance(item, dict)
            for command in _commands(item)
        ]
    return []


def read_launch(folder: Reads) -> tuple[Hint, ...]:
    """Every configuration of VS Code that starts a Python program which the file names."""
    text = folder.text(LAUNCH)
    if text is None:
        return ()
    try:
        document = documents.jsonc(text)
    except FormatError as error:
        return (Hint("unused", f"it cannot be read: {error}", LAUNCH),)
    table = document.get("configurations") if isinstance(document, dict) else None
    hints = []
    for item in table[:50] if isinstance(table, list) else []:
        hint = _of_configuration(item, text) if isinstance(item, dict) else None
        if hint is not None:
            hints.append(hint)
    return tuple(dict.fromkeys(hints))


def _of_configuration(item: dict[str, Any], text: str) -> Hint | None:
    if item.get("type") not in ("python", "debugpy") or item.get("request") != "launch":
        return None
    args = item.get("args")
    words = (
        [str(word) for word in args]
        if isinstance(args, list)
        else list(shell.words(args))
        if isinstance(args, str)
        else []
    )
    program, module = item.get("program"), item.get("module")
    if isinstance(module, str):
        argv = ("python", "-m", module, *words)
    elif isinstance(program, str):
        argv = ("python", _FOLDER.sub("", program), *words)
    else:
        return None
    cwd = item.get("cwd")
    inner = _FOLDER.sub("", cwd) if isinstance(cwd, str) else ""
    inner = posixpath.normpath(inner or ".")
    argv = tuple(_FOLDER.sub("", word) for word in argv)
    if any("${" in word for word in argv) or inner.startswith(("/", "..", "$")):
        return None
    if isinstance(program, str) and inner != "." and argv[1].startswith(f"{inner}/"):
        argv = ("python", argv[1][len(inner) + 1 :], *argv[2:])
    line = shell.cleaned(argv)
    if line is None:
        return None
    env = item.get("env")
    pairs = (
        tuple((str(name), str(value)) for name, value in env.items() if "${" not in str(value))
        if isinstance(env, dict)
        else ()
    )
    at = documents.line_of(text, f'"{item.get("name")}"')
    return Hint(
        "command",
        line.argv,
        LAUNCH,
        at,
        name=str(item.get("name") or ""),
        folder="" if inner == "." else inner,
        env=pairs,
    )
