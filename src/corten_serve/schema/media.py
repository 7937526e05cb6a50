"""Bytes and files: base64 (or a data URL, RFC 2397) in JSON; as they are in a part of a multipart upload or a whole body."""

from __future__ import annotations

import abc
import atexit
import base64
import contextlib
import fcntl
import functools
import io
import mimetypes
import os
import pathlib
import shutil
import tempfile
import weakref
from typing import Any

from corten_serve.schema.kinds import Kind, Path, Problems, Schema

OCTETS = "application/octet-stream"
_PREFIX = "corten-uploads-"


class Media(Kind, abc.ABC):
    """What is bytes in the end. A kind of media says in `accept` what it makes of them."""

    words = "a file, in base64 or as a data URL"
    forms = frozenset({"string"})
    media: tuple[str, ...] = (OCTETS,)
    produces: str | None = OCTETS
    content = OCTETS
    """What a schema says of the bytes in a string."""

    def schema(self) -> Schema:
        return {"type": "string", "contentEncoding": "base64", "contentMediaType": self.content}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is str:
            try:
                data, content_type = unwrapped(value)
            except ValueError:
                pass
            else:
                return self.read_bytes(data, content_type, path, problems)
        problems.expected(path, self.words, value)
        return None

    def read_bytes(self, data: bytes | memoryview, content_type: str, path: Path, problems: Problems) -> Any:
        return self.accept(data, content_type, path, problems)

    @abc.abstractmethod
    def accept(self, data: bytes | memoryview, content_type: str, path: Path, problems: Problems) -> Any:
        """The Python value that these bytes are."""


class Octets(Media):
    """`bytes` or `bytearray`."""

    words = "a string of base64"

    def __init__(self, build: type) -> None:
        self._build = build

    def accept(self, data: bytes | memoryview, content_type: str, path: Path, problems: Problems) -> Any:
        return data if type(data) is self._build else self._build(data)

    def encode(self, value: Any) -> tuple[str, bytes] | None:
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self.produces or OCTETS, bytes(value)
        return None


class Stream(Media):
    """`typing.BinaryIO`: a file that is open for reading, at its beginning. As a result it is read to its end and closed."""

    def accept(self, data: bytes | memoryview, content_type: str, path: Path, problems: Problems) -> Any:
        return io.BytesIO(data)

    def encode(self, value: Any) -> tuple[str, bytes] | None:
        if not hasattr(value, "read"):
            return None
        with value:
            data = value.read()
            if isinstance(data, str):
                data = data.encode()
        name = getattr(value, "name", None)
        return _type_of(name, self.produces) if isinstance(name, str) else self.produces or OCTETS, bytes(
            data
        )


class Upload(type(pathlib.Path())):  # type: ignore[misc]
    """A temporary file of one request. It is deleted when nothing refers to this path object any more: not before `predict`
    has returned, which has it as an argument."""


class FilePath(Media):
    """`pathlib.Path`: a file on disk, named after the content type. As a result its content is sent."""

    produces: str | None = "*/*"

    def accept(self, data: bytes | memoryview, content_type: str, path: Path, problems: Problems) -> Any:
        kind = content_type.partition(";")[0].strip().lower()
        ending = (mimetypes.guess_extension(kind) or "") if kind and kind != OCTETS else ""
        descriptor, name = tempfile.mkstemp(ending, "upload-", _folder())
        upload = Upload(name)
        weakref.finalize(upload, _remove, name, os.getpid())
        with open(descriptor, "wb") as file:
            file.write(data)
        return upload

    def encode(self, value: Any) -> tuple[str, bytes] | None:
        if not isinstance(value, pathlib.Path):
            return None
        return _type_of(value.name, self.produces), value.read_bytes()


@functools.lru_cache(maxsize=1)
def _folder() -> str:
    """This process's folder for uploads, locked as long as it lives. What those left that were killed is removed first: where
    temporary files are memory, it would be taken from all that follow."""
    top = tempfile.gettempdir()
    for name in os.listdir(top):
        if name.startswith(_PREFIX):
            _sweep(os.path.join(top, name))
    while True:
        folder = tempfile.mkdtemp(prefix=_PREFIX)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(folder):  # Another process may have been sweeping in between.
            atexit.register(_leave, folder, os.getpid())
            return folder
        os.close(lock)


def _leave(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # and no fork of it
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(folder: str) -> None:
    """Remove a folder of uploads whose process is gone."""
    with contextlib.suppress(OSError):
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(lock).st_uid == os.geteuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _type_of(name: str, produces: str | None) -> str:
    """The content type of a file: what the hint says, else what its name says."""
    if produces and "*" not in produces and produces != OCTETS:
        return produces
    kind, encoding = mimetypes.guess_type(name)
    return kind if kind and not encoding else OCTETS


def _remove(name: str, owner: int) -> None:
    if os.getpid() == owner:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def unwrapped(text: str) -> tuple[bytes, str]:
    """The bytes and the content type (empty where unknown) of base64 or a base64 data URL. Raises ValueError."""
    content_type = ""
    if text[:5].lower() == "data:":
        head, comma, text = text[5:].partition(",")
        kind, semicolon, coding = head.rpartition(";")
        if not comma or not semicolon or coding.strip().lower() != "base64":
            raise ValueError("no data URL in base64")
        content_type = kind
    return base64.b64decode(text.encode("ascii"), validate=True), content_type
