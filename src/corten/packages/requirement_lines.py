"""The lines of a requirements file exactly as pip forms them (pip's `_internal/req/req_file.py`): which lines are one, what is
a comment, where the requirement ends and its options begin.

Tools differ here, and a difference is a hole: a line that one reader takes for a comment and another for `-e ./folder`
builds what nobody has checked. So only this module reads such files, and what it does not understand is an error.
"""

from __future__ import annotations

from collections.abc import Iterator

from corten.errors import ProjectError
from corten.lazy import regex

_COMMENT = regex(r"(^|\s+)#.*$")
_CODING = regex(r"^[ \t\f]*#.*?coding[:=][ \t]*([-_.a-zA-Z0-9]+)")

VALUED = {
    "-i": "--index-url",
    "--index-url": "--index-url",
    "--pypi-url": "--index-url",
    "--extra-index-url": "--extra-index-url",
    "-f": "--find-links",
    "--find-links": "--find-links",
    "-r": "--requirement",
    "--requirement": "--requirement",
    "-c": "--constraint",
    "--constraint": "--constraint",
    "-e": "--editable",
    "--editable": "--editable",
    "--no-binary": "--no-binary",
    "--only-binary": "--only-binary",
    "--trusted-host": "--trusted-host",
    "--use-feature": "--use-feature",
    "--hash": "--hash",
    "--global-option": "--global-option",
    "--config-settings": "--config-settings",
    "--config-setting": "--config-settings",
    "-C": "--config-settings",
}
"""Options with a value, by every spelling that pip has for them. Abbreviations (`--req`) are refused."""

FLAGS = {"--no-index", "--pre", "--require-hashes", "--prefer-binary"}


def decoded(data: bytes, name: str) -> str:
    """The text of the file `name`. Raises ProjectError for everything that two readers could decode differently."""
    try:
        if data.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
            raise UnicodeError
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            text = data.decode("utf-16")  # what Windows PowerShell writes for `pip freeze > requirements.txt`
        else:
            text = data.decode("utf-8-sig")
    except UnicodeError as error:
        raise ProjectError(f"'{name}' is not text", hint="save it as UTF-8") from error
    if "\0" in text:
        raise ProjectError(f"'{name}' is not text", hint="save it as UTF-8")
    for line in text.split("\n")[:2]:
        coding = _CODING.match(line)
        if coding and coding[1].lower().replace("_", "-") not in {"utf-8", "utf8", "ascii", "us-ascii"}:
            raise ProjectError(f"'{name}' says that it is encoded in {coding[1]}", hint="save it as UTF-8")
    return text


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers: continued ones joined, comments removed, empty ones left out. A comment ends with its line,
    also where that ends with a backslash, unless text stands before it."""
    parts: list[str] = []
    start = 0
    for number, line in enumerate(text.splitlines(), 1):
        comment = _COMMENT.match(line) is not None
        if line.endswith("\\") and not comment:
            start = start if parts else number
            parts.append(line.strip("\\"))
            continue
        start = start if parts else number
        joined = "".join([*parts, f" {line}" if comment else line])
        parts = []
        bare = _COMMENT.sub("", joined).strip()
        if bare:
            yield start, bare
    bare = _COMMENT.sub("", "".join(parts)).strip()
    if bare:
        yield start, bare


def split_line(line: str, where: str = "") -> tuple[str, tuple[tuple[str, str], ...]]:
    """The requirement in a line (empty where there is none) and its options by their long names; flags have the value "".
    Raises ProjectError for an option that pip does not have there, for abbreviations, and for words that follow options."""
    words = line.split(" ")
    count = next((index for index, word in enumerate(words) if word.startswith("-")), len(words))
    requirement = " ".join(words[:count]).strip()
    if count == len(words):
        return requirement, ()
    import shlex  # most lines have no options

    try:
        tokens = shlex.split(" ".join(words[count:]))
    except ValueError as error:
        raise ProjectError(f"{_at(where)}the quotes of an option do not match") from error
    options: list[tuple[str, str]] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        index += 1
        name, equals, value = token.partition("=")
        if token in FLAGS:
            options.append((token, ""))
            continue
        if not token.startswith("--") and token[:2] in VALUED and len(token) > 2:
            name, equals, value = token[:2], "=", token[2:]
        if name not in VALUED or (not name.startswith("--") and value.startswith("=")):
            shown = name if name.startswith("-") else "a word after an option"
            raise ProjectError(
                f"{_at(where)}{shown} is not understood in a requirements file",
                hint="write options as 'pip help install' names them, in full, each on a line of its own",
            )
        if not equals:
            if index >= len(tokens):
                raise ProjectError(f"{_at(where)}{name} has no value")
            value = tokens[index]
            index += 1
        if not value.strip():
            raise ProjectError(f"{_at(where)}{name} has no value")
        options.append((VALUED[name], value))
    return requirement, tuple(options)


def _at(where: str) -> str:
    return f"{where}: " if where else ""
