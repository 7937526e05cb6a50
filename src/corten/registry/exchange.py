"""Exchanges with one registry: where it is, who asks, what is tried again.

`docker.io` is asked at its API's host. Plain http is spoken on this machine, and with `insecure`; there a first `GET /v2/`
finds out which of http and https it is. Credentials go to the registry alone, never to where it redirects; where that wants
a token, an anonymous one is asked for.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

from corten.errors import FetchError, RegistryError
from corten.network.addresses import origin, redirected
from corten.network.connection import REDIRECTS, Answer, Connections
from corten.network.failures import NotTls, Transient
from corten.network.reserved import reserved_host
from corten.oci.reference import DEFAULT_REGISTRY, is_loopback
from corten.registry import pauses
from corten.registry.authentication import Authenticator, Scopes, scopes_of
from corten.registry.credentials import Given
from corten.registry.failures import Interrupted, from_answer, from_network
from corten.registry.settings import Patience, RegistrySettings
from corten.values import replace

T = TypeVar("T")

_MOST_REDIRECTS = 5
_REPEATED = frozenset({307, 308})
"""Redirects that keep the method and the body (RFC 9110, section 15.4.8)."""


class _Named:
    """The origins that the user has named with a registry: those of its host, on any port. A registry elsewhere cannot lead to a
    service of this machine, or to the metadata of the cloud it runs in, whose answer would be sent back to it as a token."""

    def __init__(self, host: str) -> None:
        self._host = urlsplit(f"//{host}").hostname

    def __contains__(self, origin: object) -> bool:
        return isinstance(origin, tuple) and urlsplit(f"//{origin[1]}").hostname == self._host


class Exchange:
    """One per registry and command, shared by threads."""

    def __init__(self, host: str, settings: RegistrySettings) -> None:
        self.host = host
        self.patience = settings.patience
        self._insecure = settings.insecure
        self._api = f"registry-1.{DEFAULT_REGISTRY}" if host == DEFAULT_REGISTRY else host
        network = settings.network
        if is_loopback(self._api):
            network = replace(network, environment=_without_proxy(network.environment, self._api))
        if not reserved_host(urlsplit(f"//{self._api}").hostname or ""):
            network = replace(network, reserved=_Named(self._api))
        if settings.insecure:
            network = replace(network, insecure=network.insecure | {self._api})
        self._connections = Connections(network)
        self.authenticator = Authenticator(self._connections, host, settings.credentials)
        self._strangers: dict[tuple[str, str], Authenticator] = {}
        self._their_scopes: dict[tuple[tuple[str, str], str], Scopes] = {}
        self._base: str | None = None
        self._lock = threading.Lock()

    def ask(
        self,
        method: str,
        path: str,
        accept: frozenset[int],
        *,
        what: str,
        name: str = "",
        scopes: Scopes = (),
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """The answer to a request with a small body or none, if its status is in `accept`; tried again where that can
        help. Raises AccessDenied, NotInRegistry, Interrupted or another RegistryError."""

        def once() -> Answer:
            return self.once(
                method, path, accept, what=what, name=name, scopes=scopes, headers=headers, body=body
            )

        return self.patiently(once)

    def once(
        self,
        method: str,
        path: str,
        accept: frozenset[int],
        *,
        what: str,
        name: str = "",
        scopes: Scopes = (),
        headers: Mapping[str, str] | None = None,
        body: bytes | Callable[[], Iterable[bytes]] | None = None,
    ) -> Answer:
        """`ask`, tried once. A `body` that is called produces the same bytes whenever it is. `path` may be an address of
        the registry's own making (a Location): credentials are sent to the registry alone."""
        name = name or self.host
        base = self.base()
        url = redirected(base, path) if path.startswith("/") else self.own(path, base)
        try:
            answer = self._followed(method, url, name, scopes, headers or {}, body)
        except FetchError as error:
            raise from_network(error, self.host) from error
        if answer.status in accept:
            return answer
        raise from_answer(answer, self.host, what, self.authenticator.user(name))

    def patiently(self, once: Callable[[], T], patience: Patience | None = None) -> T:
        """`once()`, again while it is interrupted."""
        trying = Trying(patience or self.patience)
        while True:
            try:
                return once()
            except Interrupted as error:
                trying.wait(error)

    def base(self) -> str:
        """Scheme and host of the registry's API, found out once."""
        with self._lock:
            if self._base is None:
                self._base = self._find_base()
            return self._base

    def own(self, location: str, base: str) -> str:
        """Where an address that the registry gave leads from `base`. Behind a proxy that ends TLS many a registry takes itself
        for plain http: its own host by plain http is asked by https. Raises RegistryError."""
        if location.startswith("http://") and base.startswith("https://"):
            upgraded = "https://" + location.removeprefix("http://")
            if origin(upgraded) == origin(base):
                return upgraded
        try:
            return redirected(base, location)
        except FetchError as error:
            raise RegistryError(error.message, error.hint) from error

    def _find_base(self) -> str:
        secure, plain = f"https://{self._api}", f"http://{self._api}"
        local = is_loopback(self._api)
        if not local and not self._insecure:
            return secure
        # On this machine plain http comes first: a server that waits for it may wait long for TLS's first message to end,
        # while a server that speaks TLS answers anything else at once, by 400 or by cutting.
        first, second = (plain, secure) if local else (secure, plain)
        try:
            if self._speaks(first):
                return first
        except FetchError as error:
            if isinstance(error, Transient) and error.down and local:
                raise from_network(error, self.host) from error
            if not isinstance(error, (NotTls, Transient)) and not local:
                raise from_network(error, self.host) from error
        try:
            if self._speaks(second):
                return second
        except NotTls:
            return first
        except FetchError as error:
            raise from_network(error, self.host) from error
        return first

    def _speaks(self, base: str) -> bool:
        answer = self._connections.send("GET", f"{base}/v2/", {})
        answer.close()
        speaks = base.startswith("https://") or answer.status != 400
        if speaks:
            self.authenticator.notice(answer)
        return speaks

    def _authorised(
        self,
        method: str,
        url: str,
        name: str,
        scopes: Scopes,
        headers: Mapping[str, str],
        body: bytes | Callable[[], Iterable[bytes]] | None,
    ) -> Answer:
        base = self.base()
        place, authenticator = origin(url), self.authenticator
        stranger = place != origin(base)
        if stranger:
            authenticator, base = self._stranger(place), url
            # The repository may be called something else there, so that only a challenge tells the scopes.
            scopes = self._their_scopes.get((place, name), ())
        used = authenticator.header(name, scopes, base) if scopes or not stranger else None
        for last in (False, True):
            sent = dict(headers) if used is None else {**headers, "Authorization": used}
            answer = self._connections.send(method, url, sent, _produced(body))
            if answer.status != 401 or last:
                break
            if stranger:
                scopes = self._their_scopes[place, name] = scopes_of(answer)
            try:
                better = authenticator.challenged(answer, name, scopes, base, used)
            except BaseException:
                answer.close()
                raise
            if not better:
                break
            answer.close()
            used = authenticator.header(name, scopes, base)
        return answer

    def _stranger(self, place: tuple[str, str]) -> Authenticator:
        """Who asks a host that the registry has led to: nobody, with a token where it wants one."""
        with self._lock:
            if place not in self._strangers:
                self._strangers[place] = Authenticator(self._connections, place[1], Given(None))
            return self._strangers[place]

    def _followed(
        self,
        method: str,
        url: str,
        name: str,
        scopes: Scopes,
        headers: Mapping[str, str],
        body: bytes | Callable[[], Iterable[bytes]] | None,
    ) -> Answer:
        """The answer where redirects lead: to an object store most of the time, to another registry behind some names. An
        upload follows those that keep its method and its body."""
        answered = REDIRECTS if method in {"GET", "HEAD"} else _REPEATED
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._authorised(method, url, name, scopes, headers, body)
            location = answer.headers.get("location")
            if answer.status not in answered or not location:
                return answer
            answer.close()
            url = self.own(location, answer.url)
        raise RegistryError(f"'{self.host}' redirects in a circle")


class Trying:
    """Attempts at one piece of work, with pauses in between."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._failed = 0
        self._reached = 0

    def wait(self, error: Interrupted, reached: int = 0) -> None:
        """Wait as long as it seems good after `error`, having reached `reached` (bytes); raises `error` when it has been
        tried often enough, Stopped when the work that this is a part of has failed."""
        patience = self._patience
        if reached > self._reached:
            self._failed, self._reached = 0, reached
        self._failed += 1
        asked = error.retry_after or 0.0
        if self._failed >= (patience.knocks if error.down else patience.attempts) or asked > patience.longest:
            raise error
        pause = min(patience.pause * 2 ** (self._failed - 1), patience.longest)
        pause *= random.uniform(0.5, 1.5)  # noqa: S311 - jitter, so that many clients do not come back at once
        pauses.pause(max(pause, asked))


def _without_proxy(environment: Mapping[str, str], host: str) -> dict[str, str]:
    """`environment` with no proxy for `host`: what a proxy calls localhost is another machine. Go's clients do the same."""
    excluded = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    return {**environment, "no_proxy": f"{excluded},{host}"}


def _produced(body: bytes | Callable[[], Iterable[bytes]] | None) -> bytes | Iterable[bytes] | None:
    return body() if callable(body) else body
