"""Addresses of package indexes without the login in them, for the files that have such addresses.

The files of a project go into its image, and everybody who has the image can read them. What is taken out is the user's part
of a URL (RFC 3986, section 3.2.1): the result is a pure function of the bytes, and has nothing more to take out.
"""

from __future__ import annotations

import codecs
import re

_NAMES = frozenset(
    [
        *(
            "uv.toml",
            "pip.conf",
            "pip.ini",
            "pyproject.toml",
            "poetry.toml",
            "poetry.lock",
            "pdm.toml",
            "pdm.lock",
        ),
        *(
            "pipfile",
            "pipfile.lock",
            "setup.cfg",
            "tox.ini",
            ".condarc",
            "environment.yml",
            "environment.yaml",
        ),
        *("conda.yml", "conda.yaml", "pylock.toml", "requirements.lock"),
    ]
)
_REQUIREMENTS = (
    r"(?:.*/)?(?:[^/]*(?:requirements|constraints)[^/]*|requirements[^/]*/[^/]+)\.(?:txt|in|pip|lock)"
)
_LISTS = (".txt", ".in", ".pip", ".req", ".reqs")
"""Endings of files that may list requirements under any name: what is in them tells."""
_OF_A_LIST = rb"(?m)^[ \t]*(?:-i|-f|--index-url|--extra-index-url|--find-links)[ \t=]|^[A-Za-z0-9._\[\], -]+@[ \t]*[a-z+]+://"
_IN_LINES = (*_LISTS, ".conf", ".ini")
"""Endings of files in which a quote may be part of a URL, and a backslash at the end of a line joins it with the next."""
_SCHEME = rb"([A-Za-z][A-Za-z0-9+.-]*)://"
_QUOTED = _SCHEME + rb"""([^\s/?#"'<>,]*)@(?=[A-Za-z0-9\[$%{])"""
_PLAIN = _SCHEME + rb"((?:\\\r?\n|[^\s/?#<>])*)@(?=[A-Za-z0-9\[$%{])"
# `${NAME}`, `$NAME`, `%NAME%` and `{name}` say where a login comes from, and are none.
_VARIABLE = rb"\$\{\w+\}|\$\w+|%\w+%|%\(\w+\)s|\{\w+\}|\*+"
_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def has_addresses(path: str) -> bool:
    """Whether the file may be one that tells pip, uv or their kin where packages come from. `path` is relative to the project."""
    return path.lower().endswith(_LISTS) or _is_named_so(path)


def _is_named_so(path: str) -> bool:
    low = path.lower()
    name = low.rpartition("/")[2]
    return name in _NAMES or (
        ("requirements" in low or "constraints" in name) and re.fullmatch(_REQUIREMENTS, low) is not None
    )


def without_credentials(path: str, data: bytes) -> tuple[bytes, tuple[int, ...]]:
    """The bytes without logins in URLs, and the numbers of the lines in which there were some."""
    if b"://" not in data and not data.startswith(_MARKS):
        return data, ()
    if data.startswith(_MARKS):
        # pip reads such a file, too.
        try:
            text = data.decode("utf-16").encode()
        except UnicodeDecodeError:
            return data, ()
        clean, lines = without_credentials(path, text)
        order = "utf-16-le" if data.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
        return (data[:2] + clean.decode().encode(order), lines) if lines else (data, ())
    if not _is_named_so(path) and re.search(_OF_A_LIST, data) is None:
        return data, ()
    found: list[int] = []

    def replaced(match: re.Match[bytes]) -> bytes:
        if not _is_login(match[1].lower(), match[2]):
            return match[0]
        found.append(data.count(b"\n", 0, match.start()) + 1)
        return match[1] + b"://"

    pattern = _PLAIN if path.lower().endswith(_IN_LINES) else _QUOTED
    clean = re.sub(pattern, replaced, data)
    return clean, tuple(dict.fromkeys(found))


def _is_login(scheme: bytes, user: bytes) -> bool:
    name, colon, password = user.partition(b":")
    if colon:
        return bool(password) and re.fullmatch(rb"(?:%s)+" % _VARIABLE, password) is None
    # `ssh://git@host` is how a host is reached; over HTTP a name alone may be a token.
    return bool(name) and not scheme.endswith(b"ssh") and re.fullmatch(rb"(?:%s)+" % _VARIABLE, name) is None
