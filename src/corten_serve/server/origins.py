"""Which requests a browser may bring: host names that this server answers to, and pages of other origins that may call it.

Two rules of the web leave a server open to pages that it knows nothing of. A page can let its own name lead to this machine
(DNS rebinding); then the browser takes the server for a part of that page, but still says the page's name in `Host`. And a page
may send a "simple" request to any server unasked (the Fetch standard, CORS protocol); then the browser says so in
`Sec-Fetch-Site` and `Origin`. Programs send neither, and pay for two look-ups.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

Headers = list[tuple[str, str]]
_EXPOSED = ("access-control-expose-headers", "x-request-id, traceparent, retry-after")
_HOUR = ("access-control-max-age", "3600")
_SIMPLE = frozenset(("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"))
"""Content types that a page may send to another origin without a preflight."""
_SIMPLE_METHODS = frozenset(("GET", "HEAD", "POST"))
_OWN = "x-requested-with"
"""A header that the page at `/` sends. Another origin's page could not, without a preflight."""
_REMEMBERED = 256


class Origins:
    """Decides who may call. `allowed` are origins whose pages may, or a star; without any, nothing is ever answered to them.
    `hosts` are host names beside `localhost` and addresses that the server answers to, or a star. `local` says that it listens
    on this machine's loopback interface alone: then it answers to no other names, else to all unless there are `hosts`."""

    def __init__(self, allowed: tuple[str, ...], hosts: tuple[str, ...] = (), local: bool = False) -> None:
        self.any = bool(allowed)
        self.by_name = bool(hosts or local) and "*" not in hosts
        self._everybody = "*" in allowed
        self._allowed = frozenset(allowed)
        self._hosts = frozenset(hosts)
        self._local = local
        self._known: set[str] = set()

    def answers_to(self, host: str | None) -> bool:
        """Whether a request with this `Host` is answered. A client that names none is no browser."""
        if not host or host in self._known:
            return True
        if not self._names(host):
            return False
        if len(self._known) < _REMEMBERED:
            self._known.add(host)
        return True

    def _names(self, host: str) -> bool:
        name = _name(host)
        if name in self._hosts or name == "localhost" or name.endswith((".localhost", ".internal")):
            return True
        suffixes = (pattern[1:] for pattern in self._hosts if pattern.startswith("*."))
        return _is_address(name) or any(name.endswith(suffix) for suffix in suffixes)

    def foreign(self, method: str, get: Callable[[str], str | None]) -> str | None:
        """The origin of a page that may not make this request; None where it may, or no page makes it. `get` gives the
        request's headers.

        Behind a proxy, what needs a preflight is taken: we refuse every preflight, so somebody in front allowed it. Nobody
        is in front of the loopback interface."""
        site, origin = get("sec-fetch-site"), get("origin")
        if site is None and origin is None:
            return None
        if site in ("same-origin", "none") or self._everybody or origin in self._allowed or get(_OWN):
            return None
        if site is None and origin is not None:
            host = origin.partition("://")[2]
            if host and (host == get("host") or host == (get("x-forwarded-host") or "").partition(",")[0]):
                return None
        if not self._local and not _is_simple(method, get("content-type")):
            return None
        return origin or "null"

    def headers(self, origin: str | None) -> Headers:
        """What an answer to a page of `origin` carries. It depends on the origin, and caches have to know."""
        if self._everybody:
            return [("access-control-allow-origin", "*"), _EXPOSED]
        if origin is None or origin not in self._allowed:
            return [("vary", "origin")]
        return [("access-control-allow-origin", origin), ("vary", "origin"), _EXPOSED]

    def preflight(self, origin: str | None, methods: str, wanted: str | None) -> Headers:
        """The answer to the question whether a request may be sent."""
        headers = self.headers(origin)
        if headers[0][0] != "access-control-allow-origin":
            return headers
        headers += [("access-control-allow-methods", methods), _HOUR]
        if wanted:
            clean = "".join(sign for sign in wanted[:1000] if sign.isascii() and sign.isprintable())
            headers.append(("access-control-allow-headers", clean))
        return headers


def is_loopback(listener: socket.socket, forwarded: str = "") -> bool:
    """Whether only this machine reaches a socket. It knows its address wherever it was bound, in another network namespace,
    too. What a Unix socket brings, a program sends. `forwarded`: the address and port outside that lead to it."""
    if forwarded:
        return _is_local(forwarded.rpartition(":")[0].strip("[]"))
    if listener.family == socket.AF_INET:
        return _is_local(str(listener.getsockname()[0]))
    if listener.family == socket.AF_INET6:
        return _is_local(str(listener.getsockname()[0]))
    return False


def _is_local(address: str) -> bool:
    return address == "::1" or address.startswith(("127.", "::ffff:127."))


def _name(host: str) -> str:
    """The name or address in a `Host`, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".").lower()


def _is_address(name: str) -> bool:
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    try:
        socket.inet_pton(family, name)
    except (OSError, ValueError):
        return False
    return True


def _is_simple(method: str, kind: str | None) -> bool:
    """Whether a page may send it to another origin without a preflight."""
    return method in _SIMPLE_METHODS and (kind or "").partition(";")[0].strip().lower() in _SIMPLE


def forwarded_client(header: str | None) -> str:
    """The address (and a port, which nobody knows) of a client of Corten's forwarder, which writes it behind those that the client
    names. A hyphen where it could not: it looks at HTTP/1 alone."""
    last = (header or "").rpartition(",")[2].strip()
    if not 0 < len(last) <= 60 or not last.isascii() or not last.isprintable():
        return "-:0"
    return f"[{last}]:0" if ":" in last else f"{last}:0"
