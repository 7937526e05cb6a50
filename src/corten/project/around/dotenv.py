"""Variables and secrets in files beside the code, which a container gets when it runs and an image never has.

The files are the project's own, so what is in them is hostile: they are bounded, no link is followed out of the project, and
nothing of this machine's environment enters them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from corten.errors import FormatError
from corten.lazy import regex
from corten.oci.inside import Inside
from corten.project.hints.variables import is_of_tools

MOST_BYTES = 256 << 10
_MOST = 500
_LINE = regex(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]{0,199})[ \t]*=[ \t]*(.*)")
_USE = regex(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def read_file(root: Path, path: str, limit: int = MOST_BYTES) -> bytes | None:
    """The file `path` of the project at `root`; None where there is none, it is a link, or is longer than `limit`."""
    try:
        with Inside(os.path.realpath(root)) as inside:
            data = inside.read(path, limit + 1)
    except (OSError, FormatError, ValueError):
        return None
    return data if len(data) <= limit else None


def variables(root: Path, path: str = ".env") -> dict[str, str]:
    """The variables of the project's `.env` that an image does not set itself, as it does `PORT` and `PATH`; empty where there is none."""
    data = read_file(root, path)
    if data is None:
        return {}
    try:
        found = parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return {}
    return {name: value for name, value in found.items() if name != "PORT" and not is_of_tools(name)}


def parse(text: str) -> dict[str, str]:
    """`NAME=VALUE` lines as python-dotenv reads them: `export`, quotes (in which a value may have several lines), comments, and
    `${NAME}` of names above. What is no such line is passed over."""
    found: dict[str, str] = {}
    lines = iter(text.split("\n"))
    for line in lines:
        match = _LINE.match(line.rstrip("\r"))
        if match is None or len(found) >= _MOST:
            continue
        name, rest = match[1], match[2]
        if rest[:1] in ("'", '"'):
            value = _quoted(rest, lines)
        else:
            value = re.sub(r"(?:^|\s+)#.*$", "", rest).rstrip()
        if rest[:1] != "'":
            value = _expanded(value, found)
        if "\x00" not in value:
            found[name] = value
    return found


def _quoted(rest: str, lines: object) -> str:
    """The value that begins with a quote in `rest`, and may go on in the next lines."""
    quote, body = rest[0], rest[1:]
    while True:
        end = _closing(body, quote)
        if end >= 0:
            body = body[:end]
            break
        following = next(lines, None)  # type: ignore[call-overload]
        if following is None or len(body) > MOST_BYTES:
            return rest
        body = f"{body}\n{following}"
    if quote == "'":
        return body.replace("\\'", "'")
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t", "r": "\r"}.get(found[1], found[1]), body)


def _closing(body: str, quote: str) -> int:
    at = 0
    while at < len(body):
        if body[at] == "\\":
            at += 2
            continue
        if body[at] == quote:
            return at
        at += 1
    return -1


def _expanded(value: str, known: Mapping[str, str]) -> str:
    return _USE.sub(lambda found: known.get(found[1], found[2] or ""), value)[:MOST_BYTES]
