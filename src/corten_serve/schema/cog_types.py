"""The types of the package `cog` (Replicate's), in the hints of a project that was written for it: files as URLs, secrets.

They are known by their names, because the package is the project's own, or Corten's stand-in for it.
"""

from __future__ import annotations

import io
import mimetypes
import os
import pathlib
from typing import Any

from corten_serve import urls
from corten_serve.schema.kinds import Kind, Path, Problems, Schema
from corten_serve.schema.media import OCTETS, FilePath, Media, Stream

MASK = "**********"
_PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNgAAAAAgAB5Sfe/AAAAABJRU5ErkJggg=="
"""A PNG of one pixel."""


def kind_of(cls: Any) -> Kind | None:
    """The kind of a class of `cog`; None for any other class."""
    if getattr(cls, "__module__", "").partition(".")[0] != "cog":
        return None
    if cls.__name__ in ("Path", "URLPath"):
        return UrlPath()
    if cls.__name__ in ("File", "URLFile"):
        return UrlFile()
    return Secret(cls) if cls.__name__ == "Secret" else None


class _Fetched(Media):
    """A file that may also come as a URL of the web, where those are followed."""

    words = "a file, as a data URL"

    def schema(self) -> Schema:
        return {"type": "string", "format": "uri", "examples": [_PIXEL]}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is not str or not urls.is_url(value):
            return super().read(value, path, problems)
        try:
            found = urls.fetch(value, urls.policy(os.environ))
        except urls.UrlRefused as error:
            problems.add(path, str(error))
            return None
        kind = found.kind.partition(";")[0].strip()
        ending = os.path.splitext(found.name)[1]
        # The name says more than a type which only says that there are bytes.
        kind = mimetypes.guess_type(f"x{ending}")[0] or kind or OCTETS
        return self.accept(found.data, kind, path, problems)


class UrlPath(_Fetched, FilePath):
    """`cog.Path`: a file on disk."""


class UrlFile(_Fetched, Stream):
    """`cog.File`: a file that is open."""

    def accept(self, data: bytes | memoryview, content_type: str, path: Path, problems: Problems) -> Any:
        return io.BytesIO(data)

    def encode(self, value: Any) -> tuple[str, bytes] | None:
        if isinstance(value, pathlib.PurePath):
            return FilePath().encode(value)
        return super().encode(value)


class Secret(Kind):
    """`cog.Secret`: a text that does not show itself."""

    words = "a string"
    forms = frozenset({"string"})

    def __init__(self, build: Any) -> None:
        self._build = build

    def schema(self) -> Schema:
        return {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is not str:
            # What it is stays out of the message.
            problems.add(path, "expected a string")
            return None
        return self._build(value)
