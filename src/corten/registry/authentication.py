"""Who asks: basic credentials, and bearer tokens from the token server that a registry names.

The protocol is the distribution project's ("Token Authentication Specification", "OAuth2 Token Authentication"). A token is
for scopes, `repository:NAME:pull,push`; it is kept in memory until shortly before its end, or until it is refused.
"""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.parse

from corten.errors import AccessDenied, FetchError, RegistryError
from corten.network.addresses import without_user
from corten.network.connection import Answer, Connections, host_of
from corten.network.failures import Reserved
from corten.oci.reference import is_loopback
from corten.registry.credentials import Credential, Credentials
from corten.registry.failures import Interrupted, Unsupported, from_answer, from_network, small_body
from corten.registry.headers import Challenge, parse_challenges
from corten.values import dataclass, field

Scopes = tuple[str, ...]

_LARGEST_TOKEN = 1 << 20
_LIFETIME = 60.0
"""Seconds that a token lasts when its server does not say (token specification, "expires_in")."""
_LONGEST_LIFETIME = 3600.0
_CLIENT = "corten"


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    end: float
    """By the monotonic clock: the token server's clock and ours need not agree."""


class Authenticator:
    """The Authorization header for one registry. Shared by threads; a token is asked for once, whoever needs it."""

    def __init__(self, connections: Connections, host: str, credentials: Credentials) -> None:
        self._connections = connections
        self._host = host
        self._credentials = credentials
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, Scopes], _Token] = {}
        self._found: dict[str, Credential | None] = {}
        self._lock = threading.RLock()

    def header(self, name: str, scopes: Scopes, base: str) -> str | None:
        """The header's value for a request about the repository `name` (`HOST/PATH`), None while the registry has not
        asked for any. Raises AccessDenied when the token server refuses, RegistryError otherwise."""
        with self._lock:
            if self._challenge is None:
                return None
            if self._challenge.scheme == "basic":
                credential = self.credential(name)
                return _basic(credential) if credential and credential.password else None
            return "Bearer " + self._token(name, scopes, self._challenge, base)

    def challenged(self, answer: Answer, name: str, scopes: Scopes, base: str, used: str | None) -> bool:
        """Take in an answer 401 to a request that was sent with the header `used`. True when there is a better header
        now, so that the request is worth sending again."""
        challenges = parse_challenges(answer.headers.get("www-authenticate", ""))
        with self._lock:
            chosen = self._choose(challenges)
            if chosen is None:
                return False
            if self._challenge is None or self._challenge.parameters.get("realm") != chosen.parameters.get(
                "realm"
            ):
                self._challenge = chosen
            if self._challenge.scheme == "bearer" and used is not None:
                # It has ended before its time, or was less than what is needed here.
                refused = [key for key, token in self._tokens.items() if used == "Bearer " + token.value]
                for key in refused:
                    del self._tokens[key]
            return self.header(name, scopes, base) not in (None, used)

    def notice(self, answer: Answer) -> None:
        """Take in how the registry wants to be asked, by an answer 401 to a request that did not matter."""
        with self._lock:
            if self._challenge is None and answer.status == 401:
                self._challenge = self._choose(parse_challenges(answer.headers.get("www-authenticate", "")))

    def user(self, name: str) -> str | None:
        """The user whose credentials are used for `name`, "" for a token's, None if there are none."""
        with self._lock:
            if self._challenge is None:
                return None
            credential = self.credential(name)
            return None if credential is None else credential.user

    def credential(self, name: str) -> Credential | None:
        """The credentials for `name`, looked up once."""
        with self._lock:
            if name not in self._found:
                self._found[name] = self._credentials.find(name)
            return self._found[name]

    def _choose(self, challenges: tuple[Challenge, ...]) -> Challenge | None:
        for challenge in challenges:
            if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                return challenge
        return next((challenge for challenge in challenges if challenge.scheme == "basic"), None)

    def _token(self, name: str, scopes: Scopes, challenge: Challenge, base: str) -> str:
        credential = self.credential(name)
        if credential is not None and credential.registry_token:
            return _safe(credential.registry_token, self._host)
        now = time.monotonic()
        for (owner, held), token in self._tokens.items():
            if owner == name and token.end > now and _cover(held, scopes):
                return token.value
        token = self._ask(credential, scopes, challenge, base)
        self._tokens[name, scopes] = token
        return token.value

    def _ask(self, credential: Credential | None, scopes: Scopes, challenge: Challenge, base: str) -> _Token:
        realm = self._realm(challenge, base)
        service = challenge.parameters.get("service", "")
        asked = time.monotonic()
        try:
            if credential is not None and credential.identity_token:
                answer = self._refresh(realm, service, scopes, credential.identity_token)
            else:
                answer = self._get(realm, service, scopes, credential)
            if answer.status != 200:
                raise self._refused(answer, credential)
            data = small_body(answer, _LARGEST_TOKEN, host_of(realm))
        except FetchError as error:
            blamed = self._host if isinstance(error, Reserved) else host_of(realm)
            raise from_network(error, blamed) from error
        value, lifetime = _parse_token(data, host_of(realm))
        return _Token(value, asked + max(lifetime - 10, lifetime / 2))

    def _get(self, realm: str, service: str, scopes: Scopes, credential: Credential | None) -> Answer:
        query = [("service", service)] if service else []
        query += [("scope", scope) for scope in scopes]
        headers = {}
        if credential is not None and credential.user:
            query.append(("account", credential.user))
            headers["Authorization"] = _basic(credential)
        joint = "&" if urllib.parse.urlsplit(realm).query else "?"
        url = f"{realm}{joint}{urllib.parse.urlencode(query)}" if query else realm
        return self._connections.send("GET", url, headers)

    def _refresh(self, realm: str, service: str, scopes: Scopes, identity: str) -> Answer:
        form = {
            "grant_type": "refresh_token",
            "service": service,
            "client_id": _CLIENT,
            "scope": " ".join(scopes),
            "refresh_token": identity,
        }
        body = urllib.parse.urlencode(form).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(body))}
        return self._connections.send("POST", realm, headers, body)

    def _realm(self, challenge: Challenge, base: str) -> str:
        """The token server's address, if credentials may be sent there: it is as well protected as the registry."""
        realm = challenge.parameters["realm"]
        try:
            parts = urllib.parse.urlsplit(realm)
            host = parts.hostname
        except ValueError:
            host = None
        if not host or parts.scheme not in {"http", "https"} or any(ord(letter) < 33 for letter in realm):
            raise RegistryError(f"'{self._host}' names a token server that is no address")
        secured = parts.scheme == "https" or base.startswith("http://")
        if not secured and not (is_loopback(self._host) and is_loopback(parts.netloc)):
            raise RegistryError(
                f"'{self._host}' wants credentials to be sent to '{host}' by plain http, which is refused"
            )
        return without_user(realm)

    def _refused(self, answer: Answer, credential: Credential | None) -> RegistryError:
        server = host_of(answer.url)
        if 300 <= answer.status < 400:
            answer.close()
            return RegistryError(f"the token server '{server}' redirects, which is refused")
        if answer.status in {404, 410}:
            answer.close()
            return RegistryError(
                f"the token server '{server}' gives no tokens at its address ({answer.status})"
            )
        who = None if credential is None else credential.user
        error = from_answer(answer, server, f"a token for '{self._host}'", who)
        if isinstance(error, Interrupted):
            return error
        if isinstance(error, (AccessDenied, Unsupported)) and answer.status in {400, 401, 403}:
            if credential is None:
                return AccessDenied(error.message, f"run 'corten login {self._host}'")
            return AccessDenied(
                f"'{self._host}' does not accept these credentials ({answer.status} from '{server}')",
                f"run 'corten login {self._host}' again",
            )
        return RegistryError(error.message, error.hint)


def scopes_of(answer: Answer) -> Scopes:
    """The scopes that an answer 401 says a token must be for."""
    for challenge in parse_challenges(answer.headers.get("www-authenticate", "")):
        if challenge.scheme == "bearer":
            return tuple(challenge.parameters.get("scope", "").split())
    return ()


def _cover(held: Scopes, wanted: Scopes) -> bool:
    """Whether a token for `held` serves for `wanted`: the same resources, at least these actions."""
    rights: dict[str, set[str]] = {}
    for scope in held:
        resource, _, actions = scope.rpartition(":")
        rights.setdefault(resource, set()).update(actions.split(","))
    return all(
        set(actions.split(",")) <= rights.get(resource, set())
        for resource, _, actions in (scope.rpartition(":") for scope in wanted)
    )


def _parse_token(data: bytes, server: str) -> tuple[str, float]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        # Not chained: a JSON error carries the text.
        raise RegistryError(f"the token server '{server}' answered with something that is not a token")
    value = document.get("token") or document.get("access_token")
    if not isinstance(value, str):
        raise RegistryError(f"the token server '{server}' answered without a token")
    lifetime = document.get("expires_in")
    if not isinstance(lifetime, (int, float)) or isinstance(lifetime, bool) or not lifetime > 0:
        lifetime = _LIFETIME
    return _safe(value, server), min(float(lifetime), _LONGEST_LIFETIME)


def _safe(token: str, server: str) -> str:
    """`token`, if it fits into a header."""
    if not token or not all(33 <= ord(character) < 127 for character in token):
        raise RegistryError(f"the token for '{server}' is not one that a header may hold")
    return token


def _basic(credential: Credential) -> str:
    pair = f"{credential.user}:{credential.password}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
