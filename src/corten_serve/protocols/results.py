"""One result → one answer, in the form that the client would rather have: JSON, an array, a file or image as it is."""

from __future__ import annotations

import base64
import pathlib
from typing import Any

from corten_serve.protocols import npy
from corten_serve.protocols.accept import choose
from corten_serve.protocols.codec import encode
from corten_serve.protocols.interface import JSON, Answer, BadRequest, Stream
from corten_serve.protocols.streams import EVENTS, NDJSON, TEXT, Events, Lines, PlainText
from corten_serve.schema.kinds import Anything
from corten_serve.schema.media import FilePath
from corten_serve.schema.signature import Signature

_FILE = FilePath()
ANY = "*/*"
"""Stands for a result of which no hint says what it is, for a client that takes it as it comes."""


class Results:
    """Writes the results of one signature. `offers` are the content types that it can have, the usual one first."""

    def __init__(self, signature: Signature) -> None:
        self._kind = signature.returns
        self.streams = signature.streams
        self.offers = _offers(signature)
        self._usual = frozenset({"", "*/*", self.offers[0]})
        self._unhinted = type(self._kind) is Anything and not self.streams

    def choose(self, accept: str) -> str:
        """The content type of the answer for an `Accept` header. Raises BadRequest with 406."""
        if accept in self._usual:
            return ANY if self._unhinted and accept != JSON else self.offers[0]
        chosen = choose(accept, self.offers)
        if chosen is None:
            offered = ", ".join(f"'{offer}'" for offer in self.offers)
            raise BadRequest([("", f"the result can be had as {offered}")], 406)
        return chosen

    def stream(self, chosen: str) -> Stream | None:
        """What writes items as they come in this content type; None for a result that is written as a whole."""
        if not self.streams or chosen == JSON:
            return None
        return Events() if chosen == EVENTS else PlainText() if chosen == TEXT else Lines()

    def write(self, result: Any, chosen: str) -> Answer:
        """The answer. Raises ResultError."""
        if chosen == npy.NPY:
            return Answer(200, npy.dump(result), npy.NPY)
        found = self.as_bytes(result)
        if found is None:
            return Answer(200, encode(result))
        if chosen == JSON:
            return Answer(200, encode(base64.b64encode(found[1]).decode()))
        return Answer(200, found[1], found[0])

    def plain(self, result: Any) -> Any:
        """The result as it stands inside a larger JSON: bytes, files and images in base64."""
        found = self.as_bytes(result)
        return result if found is None else base64.b64encode(found[1]).decode()

    def as_bytes(self, result: Any) -> tuple[str, bytes] | None:
        """Content type and bytes of a result that is a file, an image or bytes; None for any other."""
        if self._unhinted and isinstance(result, pathlib.PurePath):
            return _FILE.encode(result)  # A file is a file, whether or not a hint says so.
        if self._kind.produces is None or self.streams:
            return None
        return self._kind.encode(result)


def _offers(signature: Signature) -> tuple[str, ...]:
    schema, kind = signature.result, signature.returns
    if signature.streams:
        return (NDJSON, EVENTS, JSON, TEXT) if schema.get("type") == "string" else (NDJSON, EVENTS, JSON)
    if kind.produces:
        return (kind.produces, JSON)
    # Without a hint, many predictors return an array: whether one did is known when it has.
    if not schema or str(schema.get("format", "")).startswith("ndarray-"):
        return (JSON, npy.NPY)
    return (JSON,)
