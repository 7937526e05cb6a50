"""Forms: `multipart/form-data` (RFC 7578) and `application/x-www-form-urlencoded`, as fields and uploads.

The parser works on the bytes where they are: the content of an upload is a view of the body, not a copy.
"""

from __future__ import annotations

import re
import urllib.parse
from typing import NamedTuple

from corten_serve.protocols.accept import parse
from corten_serve.protocols.interface import BadRequest

MOST_PARTS = 1000
_LONGEST_HEAD = 16 << 10
"""Bytes of one part's headers."""
_AFTER = rb"(--)?[ \t]*(?:\r\n|\Z)"
"""What may follow a delimiter; with hyphens it is the last one."""
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")


class Part(NamedTuple):
    """One field of a form. `file` is the name of the uploaded file, None for a plain field. `type` may be empty."""

    name: str
    data: bytes | memoryview
    type: str = ""
    file: str | None = None

    def text(self) -> str:
        """The content as text. Raises BadRequest."""
        try:
            return str(self.data, "utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadRequest([(self.name[:100], f"byte {error.start} is not UTF-8")]) from error


def multipart(body: bytes, parameters: dict[str, str]) -> list[Part]:
    """The parts of a body whose content type has these `parameters`. Raises BadRequest."""
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise BadRequest(
            [("", "the content type 'multipart/form-data' has no 'boundary' that can be used")], 400
        )
    view = memoryview(body)
    delimiter = b"--" + boundary.encode("ascii")
    # A pattern that begins with plain bytes is searched for at the speed of memory.
    marks = re.compile(b"\r\n" + re.escape(delimiter) + _AFTER)
    mark = re.compile(re.escape(delimiter) + _AFTER).match(view) or marks.search(view)
    parts: list[Part] = []
    while mark is not None and not mark.group(1):
        if len(parts) == MOST_PARTS:
            raise BadRequest([("", f"a form has at most {MOST_PARTS} fields")], 400)
        start = mark.end()
        # The line break before a delimiter belongs to it, and may be the one that ends the delimiter before.
        mark = marks.search(view, max(mark.start() + 1, start - 2))
        if mark is not None:
            parts.append(_part(view[start : max(start, mark.start())]))
    if mark is None:
        problem = "ends in the middle of a part" if parts else "has no part that is whole"
        raise BadRequest([("", f"not a form: the body {problem}")], 400)
    return parts


def urlencoded(body: bytes) -> list[Part]:
    """The fields of a form in URL encoding. Raises BadRequest."""
    try:
        pairs = urllib.parse.parse_qsl(
            str(body, "ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MOST_PARTS,
        )
    except ValueError as error:
        raise BadRequest(
            [
                (
                    "",
                    "neither JSON nor a form in URL encoding; with curl, say -H 'content-type: application/json'",
                )
            ],
            400,
        ) from error
    return [Part(name, value.encode()) for name, value in pairs]


def _part(view: memoryview) -> Part:
    """A part from its headers and its content."""
    head, gap = bytes(view[: _LONGEST_HEAD + 4]), 4
    end = head.find(b"\r\n\r\n")
    if head.startswith(b"\r\n"):
        end, gap = 0, 2
    if end < 0:
        raise BadRequest([("", "not a form: a part has no headers, or very long ones")], 400)
    headers: dict[str, str] = {}
    for line in head[:end].split(b"\r\n"):
        key, _, value = line.partition(b":")
        headers[key.strip().lower().decode("latin-1")] = value.strip().decode("utf-8", "replace")
    kind, parameters = parse(_browsers(headers.get("content-disposition", "")))
    if kind != "form-data" or "name" not in parameters:
        raise BadRequest([("", "not a form: a part has no 'content-disposition: form-data; name=…'")], 400)
    name = parameters["name"]
    if headers.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
        raise BadRequest([(name[:100], "a 'content-transfer-encoding' is not for HTTP")], 415)
    file = parameters.get("filename")
    if file is None and "filename*" in parameters:
        file = urllib.parse.unquote(parameters["filename*"].rpartition("'")[2])
    return Part(name, view[end + gap :], headers.get("content-type", ""), file)


def _browsers(header: str) -> str:
    """Browsers leave backslashes in names alone, older clients escape quotes with one: only before a quote, or before
    another backslash, does it escape here."""
    return re.sub(r'\\(?!["\\])', r"\\\\", header)
