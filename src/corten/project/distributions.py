"""Which distribution an imported module comes from: a table of names that are known (package data), and the names of the
standard library. What is not in the table is not guessed: a name that nobody checked could be anybody's package.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from corten.values import dataclass

_OTHER_STANDARD = (
    "aifc annotationlib asynchat asyncore audioop binhex cgi cgitb chunk compression crypt distutils dummy_threading formatter imghdr "
    "imp lib2to3 macpath mailcap msilib nis nntplib ossaudiodev parser pipes smtpd sndhdr spwd sunau symbol telnetlib tomllib uu "
    "xdrlib zoneinfo graphlib _bootlocale _dummy_thread"
)
OTHER_STANDARD = frozenset(_OTHER_STANDARD.split())
"""Modules that some CPython from 3.8 to 3.14 has, and the one that runs this may not have."""
_PYTHON_2 = (
    "BaseHTTPServer ConfigParser Cookie HTMLParser Queue SimpleHTTPServer SocketServer StringIO Tkinter UserDict __builtin__ "
    "cPickle cStringIO commands cookielib exceptions htmlentitydefs httplib sets tkMessageBox unicode urllib2 urlparse xmlrpclib"
)
PYTHON_2 = frozenset(_PYTHON_2.split())
"""Modules of Python 2: no distribution has them."""

_SURROUNDINGS = frozenset(
    ("corten_serve", "cog", "google.colab", "kaggle_secrets", "js", "pyodide", "micropip", "machine")
)
"""Modules that only their surroundings have: Colab, Kaggle, a browser, a microcontroller."""


@dataclass(frozen=True, slots=True)
class Known:
    """A module of the table: the requirement that brings it, and every distribution (normal names) that has it."""

    module: str
    requirement: str
    distributions: tuple[str, ...]


def is_standard(module: str) -> bool:
    """Whether the first part of `module` belongs to the standard library of a CPython from 3.8 to 3.14, or of Python 2."""
    first = module.partition(".")[0]
    return first in sys.stdlib_module_names or first in OTHER_STANDARD or first in PYTHON_2


def is_of_surroundings(module: str) -> bool:
    """Whether no distribution has `module`, because the place where it was written brings it."""
    return any(prefix in _SURROUNDINGS for prefix in _prefixes(module))


def known(module: str) -> Known | None:
    """The longest module of the table that `module` is or lies in: `google.cloud.storage` for `google.cloud.storage.Client`."""
    table = _table()
    return next((table[prefix] for prefix in _prefixes(module) if prefix in table), None)


def is_namespace(module: str) -> bool:
    """Whether several distributions share `module` (`google.cloud`), so that it alone says nothing."""
    return module in _namespaces()


def normal(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503), of a whole requirement too: `setuptools<81` → `setuptools`."""
    match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", name)
    return re.sub(r"[-_.]+", "-", match[1] if match else name).lower().strip("-")


def by_distribution() -> Mapping[str, Sequence[str]]:
    """The modules of the table by the distributions that have them."""
    found: dict[str, list[str]] = {}
    for entry in _table().values():
        for name in entry.distributions:
            found.setdefault(name, []).append(entry.module)
    return found


def _prefixes(module: str) -> list[str]:
    parts = module.split(".")[:8]
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]


@cache
def _table() -> dict[str, Known]:
    text = (Path(__file__).parent / "data" / "distributions.txt").read_text(encoding="utf-8")
    table: dict[str, Known] = {}
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        module, *names = words
        names = names or [module.replace("_", "-").replace(".", "-").lower()]
        # The names of the table are normal, but for a requirement with versions.
        table[module] = Known(
            module, names[0], tuple(normal(name) if "<" in name else name for name in names)
        )
    return table


@cache
def _namespaces() -> frozenset[str]:
    above = {module.rpartition(".")[0] for module in _table() if "." in module}
    for name in list(above):
        while name:
            above.add(name)
            name = name.rpartition(".")[0]
    return frozenset(name for name in above if name and name not in _table())
