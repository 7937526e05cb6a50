"""The simple repository API (PEP 503 pages and PEP 691 JSON), folders of wheels and pages of links: which files there are.

Pages are hostile: their size is bounded, and what they link to must be on the web, or on this machine if they are.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterable
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path

from corten.errors import FetchError
from corten.lazy import regex
from corten.network.connection import Absent, host_of, local_path
from corten.packages.http import Http
from corten.packages.requirements import normal_name
from corten.values import dataclass

_LARGEST_PAGE = 64 << 20
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1, */*;q=0.01"
_SHA256 = regex(r"sha256=([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that an index or a folder has. `url` has no fragment; `sha256` and `size` are None where it does not say; `uploaded` is
    when that was, in ISO 8601, where the index says it (PEP 700)."""

    file: str
    url: str
    sha256: str | None = None
    size: int | None = None
    yanked: bool = False
    requires_python: str | None = None
    uploaded: str | None = None

    @property
    def dated(self) -> bool:
        """Whether the index says when it was uploaded."""
        return self.uploaded is not None


def project_files(http: Http, index: str, name: str) -> list[Listed]:
    """The files of project `name` on `index`; empty when the index does not have it. Raises FetchError."""
    name = normal_name(name)
    address = _as_url(index).rstrip("/") + f"/{urllib.parse.quote(name)}/"
    path = local_path(address)
    if path is not None:
        for page in (path / "index.html", path / "index.json"):
            if page.is_file():
                return parse_page(page.read_bytes()[:_LARGEST_PAGE], address)
        return []
    try:
        body = http.request(address, limit=_LARGEST_PAGE, headers={"Accept": _ACCEPT}, page=True)
    except Absent:
        return []
    return parse_page(body.data, body.url)


def linked_files(http: Http, place: str) -> list[Listed]:
    """The wheels and sources in a find-links place: a folder, or a page with links. Raises FetchError."""
    url = _as_url(place)
    path = local_path(url)
    if path is None or path.suffix in {".html", ".htm"}:
        body = http.request(url, limit=_LARGEST_PAGE, page=True)
        return parse_page(body.data, body.url)
    try:
        return [
            Listed(item.name, item.as_uri(), size=item.stat().st_size)
            for item in sorted(path.iterdir())
            if item.name.endswith((".whl", ".tar.gz", ".zip")) and item.is_file()
        ]
    except OSError:
        return []


def parse_page(data: bytes, url: str) -> list[Listed]:
    """The files that a page names, JSON or HTML. Raises FetchError for JSON of another shape."""
    if data[:64].lstrip().startswith(b"{"):
        return list(_from_json(data, url))
    page = _Page()
    # The standard library's parser asserts what a declaration (`<![`) may be: what comes after a broken one is not read.
    with suppress(AssertionError):
        page.feed(data.decode("utf-8", "replace"))
    base = urllib.parse.urljoin(url, page.base) if page.base else url
    found = (_linked(base, href, yanked, python) for href, yanked, python in page.links)
    return [listed for listed in found if listed is not None]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.base: str | None = None
        self.links: list[tuple[str, bool, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "base" and self.base is None:
            self.base = attributes.get("href")
        elif tag == "a" and attributes.get("href"):
            link = (
                attributes["href"] or "",
                "data-yanked" in attributes,
                attributes.get("data-requires-python"),
            )
            self.links.append(link)


def _linked(base: str, href: str, yanked: bool, python: str | None = None) -> Listed | None:
    try:
        address = urllib.parse.urljoin(base, href.strip())
        bare, _, fragment = address.partition("#")
        parts = urllib.parse.urlsplit(bare)
    except ValueError:
        return None
    if not _allowed(parts.scheme, base):
        return None
    file = urllib.parse.unquote(parts.path.rsplit("/", 1)[-1])
    if not file or "/" in file or "\0" in file:
        return None
    match = _SHA256.search(fragment)
    return Listed(file, bare, match[1].lower() if match else None, None, yanked, python)


def _from_json(data: bytes, url: str) -> Iterable[Listed]:
    try:
        document = json.loads(data)
        files = document["files"]
        if not isinstance(files, list):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FetchError(f"'{host_of(url)}' answered with something that is not an index") from error
    for item in files:
        if not isinstance(item, dict) or not isinstance(item.get("url"), str):
            continue
        listed = _linked(url, item["url"], bool(item.get("yanked")))
        if listed is None:
            continue
        hashes = item.get("hashes")
        digest = hashes.get("sha256") if isinstance(hashes, dict) else None
        size = item.get("size")
        python, uploaded = item.get("requires-python"), item.get("upload-time")
        yield Listed(
            listed.file,
            listed.url,
            digest.lower() if isinstance(digest, str) and re.fullmatch("[0-9a-fA-F]{64}", digest) else None,
            size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
            listed.yanked,
            python if isinstance(python, str) else None,
            uploaded if isinstance(uploaded, str) else None,
        )


def _allowed(scheme: str, base: str) -> bool:
    return scheme in {"http", "https"} or (scheme == "file" and base.startswith("file:"))


def _as_url(place: str) -> str:
    return place if "://" in place else Path(place).absolute().as_uri()
