"""Finding and reading CDI files. YAML needs a reader that Python does not come with; it is loaded for such a file only."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from corten.errors import FormatError
from corten.runtime.cdi.model import Found, Specification
from corten.runtime.cdi.parse import parse_specification

DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
"""Where vendors put their files; what is in the last counts most (SPEC.md and the reference implementation)."""

VARIABLE = "CORTEN_CDI_DIRS"
_SUFFIXES = (".json", ".yaml", ".yml")
_LARGEST = 8 << 20
_MOST_FILES = 500
_DEEPEST = 32


def directories(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The folders to look in: `CORTEN_CDI_DIRS` (separated by colons), else the specification's own."""
    wanted = tuple(part for part in environ.get(VARIABLE, "").split(":") if part)
    return wanted or DIRECTORIES


def read_specifications(places: tuple[str, ...]) -> Found:
    """Every specification in `places`, which need not exist. A file that is broken harms nobody who does not ask for its
    devices: it is only noted."""
    specifications: list[Specification] = []
    broken: list[tuple[str, str]] = []
    for priority, place in enumerate(places):
        try:
            names = sorted(name for name in os.listdir(place) if name.endswith(_SUFFIXES))[:_MOST_FILES]
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            broken.append((place, (error.strerror or "it cannot be read").lower()))
            continue
        for name in names:
            path = os.path.join(place, name)
            try:
                specifications.append(parse_specification(_document(path), path, priority))
            except FormatError as error:
                broken.append((path, error.message))
            except OSError as error:
                broken.append((path, (error.strerror or "it cannot be read").lower()))
    return Found(tuple(specifications), tuple(broken), places)


def _document(path: str) -> Any:
    # A pipe with nobody at its other end would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise FormatError("it is larger than 8 MiB")
    if path.endswith(".json"):
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise FormatError("it is not JSON") from error
    return parse_yaml(content)


def parse_yaml(content: bytes) -> Any:
    """The one document in `content`, of plain values alone. Raises FormatError; also for aliases, which vendors' tools do
    not write and with which a small file can grow beyond every bound."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        depth = 0
        for event in yaml.parse(content, Loader=loader):
            if isinstance(event, yaml.AliasEvent):
                raise FormatError("it has aliases")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise FormatError("it is nested too deeply")
        return yaml.load(content, Loader=loader)  # noqa: S506  (the safe one)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FormatError("it is not YAML") from error
