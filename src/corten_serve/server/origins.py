"""Pages of other origins that call this server (the Fetch standard, CORS protocol)."""

from __future__ import annotations

Headers = list[tuple[str, str]]
_EXPOSED = ("access-control-expose-headers", "x-request-id, traceparent, retry-after")
_HOUR = ("access-control-max-age", "3600")


class Origins:
    """Decides who may call. Without `allowed` origins nothing is ever answered to it."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self.any = bool(allowed)
        self._everybody = "*" in allowed
        self._allowed = frozenset(allowed)

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
