"""Lists: tags, repositories, referrers (spec.md, "Content Discovery"; the catalogue is Docker's, and clients use it)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlencode

from corten.oci import media
from corten.registry.server.contents import Contents
from corten.registry.server.exchange import Answer, Request, document
from corten.registry.server.manifests import LARGEST
from corten.registry.server.refusals import Refusal, name_unknown
from corten.registry.server.routes import digest_of

_MOST_REPOSITORIES = 1000


def tags(contents: Contents, request: Request) -> Answer:
    """GET: the tags of a repository in lexical order."""
    name = request.route.name
    repository = contents.repository(name)
    if not repository.known:
        raise name_unknown(name)
    chosen, headers = _page(repository.tags(), request, f"/v2/{name}/tags/list", None)
    return document({"name": name, "tags": chosen}, headers)


def catalog(contents: Contents, request: Request) -> Answer:
    """GET: the repositories that have a manifest, a thousand at a time unless fewer are asked for."""
    names = (name for name in contents.names() if any(contents.repository(name).manifests()))
    chosen, headers = _page(names, request, "/v2/_catalog", _MOST_REPOSITORIES)
    return document({"repositories": chosen}, headers)


def _page(
    values: Iterable[str], request: Request, path: str, most: int | None
) -> tuple[list[str], dict[str, str]]:
    """Those of `values` that a page shows, and the link to the next one, if any is left."""
    query = request.route.query
    given = query.get("n")
    if given is not None and not (given.isascii() and given.isdigit() and len(given) < 10):
        raise Refusal(400, "UNSUPPORTED", "'n' is not a number")
    count = most if given is None else int(given) if most is None else min(int(given), most)
    # "Lexical order (i.e. case-insensitive alphanumeric order)"; upper and lower case are two tags.
    after = _order(query["last"]) if query.get("last") else None
    ordered = sorted((value for value in values if after is None or _order(value) > after), key=_order)
    chosen = ordered if count is None else ordered[:count]
    if count and len(ordered) > count:
        return chosen, {"Link": _next(path, n=count, last=chosen[-1])}
    return chosen, {}


def _order(text: str) -> tuple[str, str]:
    return text.lower(), text


def _next(path: str, **query: object) -> str:
    return f'<{quote(path)}?{urlencode(query)}>; rel="next"'


def referrers(contents: Contents, request: Request) -> Answer:
    """GET: an index of the manifests whose subject is this digest, of one artifact type if that is asked for; empty for a digest
    that nothing refers to. A list that would be too large for a client goes on at the link."""
    route = request.route
    subject = digest_of(route.last)
    wanted, after = route.query.get("artifactType"), route.query.get("last", "")
    found: list[dict[str, Any]] = []
    headers = {"OCI-Filters-Applied": "artifactType"} if wanted else {}
    size = 1024
    for entry in contents.repository(route.name).referrers(subject):
        if (wanted and entry.get("artifactType") != wanted) or entry["digest"] <= after:
            continue
        size += len(json.dumps(entry)) + 2
        if size > LARGEST and found:
            query = {"last": found[-1]["digest"], **({"artifactType": wanted} if wanted else {})}
            headers["Link"] = _next(f"/v2/{route.name}/referrers/{subject}", **query)
            break
        found.append(entry)
    return document({"schemaVersion": 2, "mediaType": media.INDEX, "manifests": found}, headers, media.INDEX)
