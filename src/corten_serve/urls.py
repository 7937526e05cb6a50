"""URLs that a client gives: files to fetch, webhooks to call. None is followed unless `CORTEN_FOLLOW_URLS` names its host.

Whoever can send a request could otherwise have this machine ask hosts that only it can reach. So a host has to be named
(`cdn.example.com`, `*.example.com`, or `*`), and one that only a pattern admits must also have a public address. Addresses are
checked and then connected to as they are, so a name cannot mean another machine a moment later. Each redirect is checked as a URL of
its own. Standard library only; both the worker and the server use it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

VARIABLE = "CORTEN_FOLLOW_URLS"
_REDIRECTS = 5
_PIECE = 1 << 18
_LONGEST = 8192
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
_NAT64 = "64:ff9b::/96"


class UrlRefused(ValueError):
    """A URL that is not followed, or that gave no answer. The message says why."""


class Fetched(NamedTuple):
    """What a URL gave. `kind` is its content type, `name` the last part of its path; both may be empty."""

    data: bytes
    kind: str
    name: str


class Policy(NamedTuple):
    """The hosts whose URLs are followed; none where it is empty. `limit` is how many bytes one may give."""

    hosts: tuple[str, ...]
    limit: int

    def check(self, host: str) -> bool:
        """Whether `host` is named exactly; False where a pattern admits it. Raises UrlRefused where nothing does."""
        if host in self.hosts:
            return True
        if any(each == "*" or (each[:2] == "*." and host.endswith(each[1:])) for each in self.hosts):
            return False
        raise UrlRefused(
            f"URLs of the host '{host[:100]}' are not followed; {VARIABLE} can allow it, or send the file as a data URL"
        )


def policy(environment: Mapping[str, str]) -> Policy:
    """What the environment allows."""
    hosts = environment.get(VARIABLE, "").replace(",", " ").lower().split()
    return Policy(tuple(host.rstrip(".") for host in hosts), _size(environment.get("CORTEN_BODY_LIMIT", "")))


def is_url(text: str) -> bool:
    """Whether `text` is a URL of the web."""
    return text[:8].lower().startswith(("http://", "https://"))


def fetch(url: str, allowed: Policy, seconds: float = 30.0) -> Fetched:
    """What `url` gives. Raises UrlRefused."""
    until = time.monotonic() + seconds
    for _ in range(_REDIRECTS + 1):
        connection, target = _connected(url, allowed, until)
        try:
            connection.request("GET", target, headers={"accept": "*/*", "accept-encoding": "identity"})
            response = connection.getresponse()
            if response.status in (301, 302, 303, 307, 308):
                url = _joined(url, response.headers.get("location", ""))
                continue
            if response.status != 200:
                raise UrlRefused(f"the URL answered {response.status}")
            data = _read(response, allowed.limit, until)
            return Fetched(data, response.headers.get("content-type", ""), _name(url))
        except UrlRefused:
            raise
        except Exception as error:  # sockets, TLS and HTTP have no error in common
            raise UrlRefused(f"the URL cannot be fetched: {_reason(error)}") from error
        finally:
            connection.close()
    raise UrlRefused(f"the URL redirects more than {_REDIRECTS} times")


def post(url: str, body: bytes, allowed: Policy, seconds: float = 10.0) -> int:
    """Send `body`, which is JSON, to `url`; the status of the answer. Redirects are not followed. Raises UrlRefused."""
    connection, target = _connected(url, allowed, time.monotonic() + seconds)
    try:
        connection.request("POST", target, body, {"content-type": "application/json"})
        response = connection.getresponse()
        response.read(_PIECE)
        status: int = response.status
        return status
    except Exception as error:  # as above
        raise UrlRefused(f"the URL cannot be reached: {_reason(error)}") from error
    finally:
        connection.close()


def check(url: str, allowed: Policy) -> None:
    """Raise UrlRefused for a URL whose form or host is refused. Nothing is looked up."""
    allowed.check(_parts(url)[1])


def _parts(url: str) -> tuple[str, str, int, str]:
    """Scheme, host, port and target of a URL. Raises UrlRefused."""
    import urllib.parse

    if len(url) > _LONGEST or not re.fullmatch(r"[!-~]+", url):
        raise UrlRefused("not a URL: it is too long, or has characters that need to be quoted")
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UrlRefused(f"not a URL: {error}") from error
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise UrlRefused("only http and https URLs with a host, and without a login, are followed")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80), target


def _connected(url: str, allowed: Policy, until: float) -> tuple[Any, str]:
    """A connection to a checked address, and what to ask it for. Raises UrlRefused."""
    import http.client
    import socket

    scheme, host, port, target = _parts(url)
    exact = allowed.check(host)
    left = max(0.1, until - time.monotonic())
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UrlRefused(f"the host '{host[:100]}' is not known") from error
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    for address in addresses:
        if not exact and not is_public(address):
            raise UrlRefused(
                f"the host '{host[:100]}' has an address of a private network; {VARIABLE} has to name it exactly"
            )
    last: Exception | None = None
    for address in addresses:
        try:
            sock = socket.create_connection((address, port), timeout=left)
        except OSError as error:
            last = error
            continue
        try:
            if scheme == "https":
                import ssl

                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
        except OSError as error:
            sock.close()
            raise UrlRefused(f"the host '{host[:100]}' cannot be trusted: {_reason(error)}") from error
        connection = http.client.HTTPConnection(host, port, timeout=left)
        if scheme == "https":
            connection.default_port = 443
        connection.sock = sock
        return connection, target
    raise UrlRefused(f"the host '{host[:100]}' cannot be reached: {_reason(last)}")


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet, also where another kind of address holds it."""
    import ipaddress

    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in ipaddress.ip_network(_NAT64):
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if found.teredo is not None:
            return False
    return found.is_global and not found.is_multicast


def _read(response: Any, limit: int, until: float) -> bytes:
    parts, size = [], 0
    while True:
        piece = response.read1(_PIECE)
        if not piece:
            break
        parts.append(piece)
        size += len(piece)
        if size > limit:
            raise UrlRefused(f"the file is larger than {limit} bytes, the limit for bodies")
        if time.monotonic() > until:
            raise UrlRefused("the file took too long to arrive")
    if response.length:
        raise UrlRefused("the file broke off")
    return b"".join(parts)


def _joined(url: str, location: str) -> str:
    import urllib.parse

    return urllib.parse.urljoin(url, location)


def _name(url: str) -> str:
    import urllib.parse

    last = urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2], errors="replace")
    return "".join("_" if sign in "/\0" else sign for sign in last)[-100:]


def _reason(error: Exception | None) -> str:
    text = str(getattr(error, "strerror", None) or error or type(error).__name__)
    return text.splitlines()[0][:200].lower() if text else type(error).__name__


def _size(text: str) -> int:
    """`CORTEN_BODY_LIMIT` in bytes. The server has refused to start with one that is no size."""
    digits = text.strip().rstrip("bBkKmMgGiI ")
    unit = _UNITS.get(text.strip()[len(digits) :].strip().lower().rstrip("b"), 1)
    return int(digits) * unit if digits.isascii() and digits.isdigit() else 64 << 20
