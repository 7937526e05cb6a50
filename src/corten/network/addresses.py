"""Addresses: what of them may be shown, whose they are, where a redirect leads."""

from __future__ import annotations

import urllib.parse
from pathlib import Path

from corten.errors import FetchError


def shown(url: str) -> str:
    """The address as it may be shown: without user, password, query and fragment."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def host_of(url: str) -> str:
    """The host (and port) of an address; the address's own scheme for `file://`."""
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2] or "this machine"


def local_path(url: str) -> Path | None:
    """The path that a `file://` address names on this machine, None for another scheme. Raises FetchError for a
    `file://` address of another machine."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme.lower() != "file":
        return None
    if parts.netloc.lower() not in {"", "localhost"}:
        raise FetchError(
            f"'{shown(url)}' is a file on another machine", hint="write file:///… with three slashes"
        )
    return Path(urllib.parse.unquote(parts.path))


def origin(url: str) -> tuple[str, str]:
    """Scheme, host and port (the scheme's own if none is written): what credentials are bound to."""
    parts = urllib.parse.urlsplit(url)
    scheme, host = parts.scheme.lower(), parts.netloc.rpartition("@")[2].lower()
    return scheme, host.removesuffix({"https": ":443", "http": ":80"}.get(scheme, ":"))


def user_of(url: str) -> tuple[str, str] | None:
    """User and password that are written into an address."""
    user, at, _ = urllib.parse.urlsplit(url).netloc.rpartition("@")
    if not at:
        return None
    name, _, password = user.partition(":")
    return urllib.parse.unquote(name), urllib.parse.unquote(password)


def without_user(url: str) -> str:
    """The address without user, password and fragment: as it is sent."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def redirected(url: str, location: str) -> str:
    """Where `location` leads from `url`. Raises FetchError for what is not on the web, and from https to plain http."""
    try:
        target = urllib.parse.urljoin(url, location)
        parts = urllib.parse.urlsplit(target)
    except ValueError as error:
        raise FetchError(f"'{host_of(url)}' redirects to something that is not an address") from error
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise FetchError(f"'{host_of(url)}' redirects to something that is not on the web")
    if urllib.parse.urlsplit(url).scheme == "https" and parts.scheme == "http":
        raise FetchError(f"'{host_of(url)}' redirects from https to plain http, which is refused")
    return target
