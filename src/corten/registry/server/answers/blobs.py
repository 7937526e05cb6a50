"""Blobs: pulling, also in part, and deleting (spec.md, "Pulling blobs", "Deleting Blobs")."""

from __future__ import annotations

import re
from collections.abc import Mapping

from corten.registry.server.contents import Contents
from corten.registry.server.exchange import Answer, Part, Request
from corten.registry.server.refusals import Refusal, blob_unknown
from corten.registry.server.routes import digest_of

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


def pull(contents: Contents, request: Request) -> Answer:
    """GET and HEAD: the blob, or the range of it that is asked for (RFC 9110, 14). Several ranges at once are answered by
    all of it, which the RFC allows."""
    digest = digest_of(request.route.last)
    repository = contents.repository(request.route.name)
    if not contents.note_need(repository.blob_link(digest)):
        raise blob_unknown(digest)
    try:
        file = open(contents.blobs.path(digest), "rb", buffering=0)  # noqa: SIM115 - closed by who sends it
    except FileNotFoundError:
        raise blob_unknown(digest) from None
    size = file.seek(0, 2)
    headers = {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": digest,
        "Accept-Ranges": "bytes",
        "ETag": f'"{digest}"',
    }
    try:
        if digest in request.headers.get("if-none-match", ""):
            file.close()
            return Answer(304, headers)
        span = requested_range(request.headers, size, digest)
    except BaseException:
        file.close()
        raise
    if span is None:
        return Answer(200, headers, Part(file, 0, size))
    first, last = span
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Answer(206, headers, Part(file, first, last - first + 1))


def requested_range(headers: Mapping[str, str], size: int, digest: str) -> tuple[int, int] | None:
    """First and last byte of the one range that is asked for; None when all is to be sent. Raises Refusal (416) for one
    that has no byte of the blob."""
    found = _RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if not found or found[1] == found[2] == "" or digest not in headers.get("if-range", digest):
        return None
    if not found[1]:
        first, last = max(size - int(found[2]), 0), size - 1
    else:
        first = int(found[1])
        last = min(int(found[2]), size - 1) if found[2] else size - 1
    # A range that ends before it begins may be ignored or refused (RFC 9110, 14.2).
    if first > last:
        raise Refusal(
            416,
            "UNSUPPORTED",
            f"the blob has {size} bytes, none of them in that range",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return first, last


def delete(contents: Contents, request: Request) -> Answer:
    """DELETE: this repository has the blob no more. Others keep it; collecting garbage frees its bytes."""
    digest = digest_of(request.route.last)
    with contents.changing():
        if not contents.repository(request.route.name).unlink_blob(digest):
            raise blob_unknown(digest)
    return Answer(202)
