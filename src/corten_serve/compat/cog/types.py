"""Types of inputs and results: files, secrets, texts in pieces."""

from __future__ import annotations

import io
import os
import pathlib
import tempfile
import typing
from typing import Any, TypeVar

from corten_serve import urls
from corten_serve.schema.media import unwrapped

Item = TypeVar("Item")
_Base: Any = type(pathlib.Path())


class Secret:
    """A text that does not show itself."""

    def __init__(self, secret_value: str | None = None) -> None:
        self.secret_value = secret_value

    def __repr__(self) -> str:
        return f"Secret({self})"

    def __str__(self) -> str:
        return "**********" if self.secret_value is not None else ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.secret_value == self.secret_value

    def __hash__(self) -> int:
        return hash(self.secret_value)

    def get_secret_value(self) -> str | None:
        """The text."""
        return self.secret_value


class Path(_Base):  # type: ignore[misc]
    """A file on disk. As a result, its content is sent."""

    @classmethod
    def validate(cls, value: Any) -> pathlib.Path:
        """The file that a URL or a path names."""
        if isinstance(value, pathlib.Path):
            return value
        text = str(value)
        if text[:5].lower() != "data:" and not urls.is_url(text):
            return cls(text)
        data, name = _bytes_of(text)
        descriptor, place = tempfile.mkstemp(os.path.splitext(name)[1])
        with open(descriptor, "wb") as file:
            file.write(data)
        return cls(place)


class File(io.IOBase):
    """A file that is open (older than `Path`)."""

    @classmethod
    def validate(cls, value: Any) -> Any:
        """The file that a URL names."""
        if isinstance(value, io.IOBase):
            return value
        return io.BytesIO(_bytes_of(str(value))[0])


URLPath = Path
URLFile = File


class ConcatenateIterator(typing.Iterator[Item]):
    """The hint of a result whose pieces make one text."""


class AsyncConcatenateIterator(typing.AsyncIterator[Item]):
    """The same for async predictors."""


def _bytes_of(url: str) -> tuple[bytes, str]:
    if urls.is_url(url):
        found = urls.fetch(url, urls.policy(os.environ))
        return found.data, found.name
    if url[:5].lower() != "data:":
        raise ValueError("'data', 'http', or 'https' is supported.")
    return unwrapped(url)[0], ""
