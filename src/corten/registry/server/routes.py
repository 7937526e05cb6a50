"""Addresses: the paths of distribution-spec 1.1 ("Endpoints") as values. Nothing that does not match a grammar gets past here, so a
name, a tag, a digest or an upload's identity is safe as part of a path on disk."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from corten.errors import FormatError
from corten.oci.digest import ALGORITHMS, Digest
from corten.registry.server.refusals import Refusal, digest_invalid
from corten.values import dataclass

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_UPLOAD = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_LONGEST_NAME = 255
_MOST_FIELDS = 100
_PLACES = (
    ("uploads", re.compile(r"/v2/(.*)/blobs/uploads/?")),
    ("upload", re.compile(r"/v2/(.*)/blobs/uploads/([^/]+)")),
    ("blob", re.compile(r"/v2/(.*)/blobs/([^/]+)")),
    ("manifest", re.compile(r"/v2/(.*)/manifests/([^/]+)")),
    ("tags", re.compile(r"/v2/(.*)/tags/list")),
    ("referrers", re.compile(r"/v2/(.*)/referrers/([^/]+)")),
)

Kind = Literal["base", "catalog", "uploads", "upload", "blob", "manifest", "tags", "referrers"]


@dataclass(frozen=True, slots=True)
class Route:
    """What a request is about. `name` is a valid repository name, or empty for `base` and `catalog`; `last` is the rest of
    the path as it was sent, for `digest_of` and `target_of` to check."""

    kind: Kind
    name: str
    last: str
    query: dict[str, str]
    tags: tuple[str, ...] = ()
    """The values of `tag` in the query, which may come several times; each is a valid tag."""


def route(target: str) -> Route:
    """The route of a request's target. Raises Refusal: 404 for what is no endpoint, 400 NAME_INVALID and UNSUPPORTED for what
    an endpoint cannot take."""
    try:
        parts = urlsplit(target)
        fields = parse_qs(parts.query, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
        path = unquote(parts.path, errors="strict")
    except ValueError:
        raise Refusal(400, "UNSUPPORTED", "the address cannot be read") from None
    query = {key: values[-1] for key, values in fields.items()}
    if path in ("/v2", "/v2/"):
        return Route("base", "", "", query)
    if path == "/v2/_catalog":
        return Route("catalog", "", "", query)
    for kind, pattern in _PLACES:
        found = pattern.fullmatch(path)
        if found:
            name, last = found[1], found[2] if found.lastindex == 2 else ""
            if kind == "upload" and not _UPLOAD.fullmatch(last):
                raise Refusal(404, "BLOB_UPLOAD_UNKNOWN", "that is not the address of an upload")
            asked = fields.get("tag", []) if kind == "manifest" else []
            tags = tuple(dict.fromkeys(map(tag_of, asked)))
            return Route(kind, repository_name(name), last, query, tags)  # type: ignore[arg-type]
    raise Refusal(404, "UNSUPPORTED", "that is not an address of the distribution specification")


def repository_name(text: str) -> str:
    """`text`, if it is the name of a repository (spec.md, "Pulling manifests"). Raises Refusal."""
    if len(text) > _LONGEST_NAME or not _NAME.fullmatch(text):
        raise Refusal(
            400, "NAME_INVALID", "that is not the name of a repository: lower-case parts between slashes"
        )
    return text


def digest_of(text: str) -> Digest:
    """The digest in a path or a query. Raises Refusal; one of another algorithm is told so."""
    try:
        return Digest.parse(text)
    except FormatError:
        if _DIGEST.fullmatch(text) and text.partition(":")[0] not in ALGORITHMS:
            raise digest_invalid("this registry knows sha256 and sha512 digests only") from None
        raise digest_invalid("that is not a sha256 or sha512 digest") from None


def target_of(text: str) -> Digest | str:
    """The digest or the tag that a manifest is asked for by. Raises Refusal."""
    if ":" in text:
        return digest_of(text)
    return tag_of(text)


def tag_of(text: str) -> str:
    """`text`, if it is a tag. Raises Refusal."""
    if not _TAG.fullmatch(text):
        raise Refusal(400, "MANIFEST_INVALID", "that is neither a tag nor a digest")
    return text
