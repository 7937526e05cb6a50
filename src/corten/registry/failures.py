"""A registry's refusals in one sentence: registry, repository, status, its own words, and what to do about it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

from corten.errors import AccessDenied, CortenError, FetchError, NotInRegistry, RegistryError
from corten.lazy import regex
from corten.network.connection import Answer
from corten.network.failures import PROXY_HINT, NotTls, NotTrusted, Reserved, Transient, retry_after
from corten.registry.headers import length

_ERROR_BODY = 1 << 16
_LONGEST_WORDS = 300
_FULL_HINT = "the registry's space for this is used up: delete images there, or ask its owner for more"
_SLOW, _SLOWEST = 60.0, 500
"""After so many seconds a small body must have come with so many bytes a second."""
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
_NO_ROOM = regex(r"\bquota\b|storage (?:limit|resource)|insufficient storage|upper limit", re.IGNORECASE)
"""How registries say that a repository's space is used up; they have no common code or status for it."""
_THINGS = ("'", "blob ", "repository ")
"""How the names of what may be absent begin."""


class Interrupted(RegistryError):
    """It may work a moment later: the registry is down or busy, or the connection was cut. `retry_after` is in seconds;
    `down` is for a registry that was not reached at all."""

    def __init__(
        self, message: str, hint: str | None = None, retry_after: float | None = None, down: bool = False
    ) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after
        self.down = down


class DigestMismatch(RegistryError):
    """The registry gave other bytes than those that were asked for."""


class Unsupported(RegistryError):
    """The registry does not do this, or not so (400, 405, 413, 416 and the like). `status` and the registry's own error
    `codes` tell which."""

    def __init__(self, message: str, hint: str | None, status: int, codes: tuple[str, ...]) -> None:
        super().__init__(message, hint)
        self.status = status
        self.codes = codes


def from_network(error: FetchError, host: str) -> RegistryError:
    """What went wrong below HTTP, as a registry's error."""
    if isinstance(error, Transient):
        return Interrupted(error.message, error.hint, error.retry_after, error.down)
    if isinstance(error, Reserved):
        return RegistryError(
            f"'{host}' leads to an address of this machine or of the cloud it runs in, which is refused",
            hint="a registry on this machine itself may do so: name it by its address on loopback",
        )
    hint = error.hint
    if isinstance(error, NotTls):
        hint = "if it serves plain http, and the network in between is trusted, use '--insecure'"
    elif isinstance(error, NotTrusted) and error.fault in {"authority", "other"}:
        hint = (
            f"put its authority's certificate into '/etc/containers/certs.d/{host}/ca.crt', or name the file in "
            "SSL_CERT_FILE; '--insecure' does not check"
        )
    return RegistryError(error.message, hint)


def from_answer(answer: Answer, host: str, what: str, user: str | None = None) -> CortenError:
    """The error for an answer that is no success; reads and closes it. `what` is what was asked for, as in
    `'team/model:1.0'`; `user` whose credentials were sent, None if none were."""
    codes, words = registry_words(answer)
    status = answer.status
    said = f": {words}" if words else ""
    message = f"'{host}' answered {status} for {what}{said}"
    if status == 407:
        return RegistryError(f"the proxy for '{host}' wants credentials, or other ones (407)", PROXY_HINT)
    if status not in _PASSING and _NO_ROOM.search(words):
        return Unsupported(message, _FULL_HINT, status, codes)
    if status in {401, 403}:
        return AccessDenied(
            f"'{host}' refused access to {what} ({status}){said}", hint=_access_hint(host, user)
        )
    if status in {404, 410}:
        if what.startswith(_THINGS):
            message = f"'{host}' has no {what} ({status}){said}"
        return NotInRegistry(message, hint=_absent_hint(host, codes))
    if status in _PASSING:
        wait = retry_after(answer.headers.get("retry-after"))
        return Interrupted(message, _busy_hint(host, status, wait, user), wait)
    return Unsupported(message, _other_hint(status), status, codes)


def registry_words(answer: Answer) -> tuple[tuple[str, ...], str]:
    """The codes and messages of an error's body (distribution-spec, "Error codes"), made fit to be shown; closes the
    answer. A body that is something else gives nothing."""
    try:
        document = json.loads(small_body(answer, _ERROR_BODY, ""))
    except (ValueError, RecursionError, CortenError):
        return (), ""
    errors = document.get("errors") if isinstance(document, dict) else None
    items = [item for item in errors[:4] if isinstance(item, dict)] if isinstance(errors, list) else []
    codes = tuple(item["code"] for item in items if isinstance(item.get("code"), str))
    return codes, printable("; ".join(_words(items)))


def small_body(answer: Answer, limit: int, host: str) -> bytes:
    """The answer's body, closed afterwards. Raises RegistryError when it has more than `limit` bytes, Interrupted when it
    was cut."""
    parts, total = [], 0
    announced = length(answer.headers.get("content-length"))
    started = time.monotonic()
    try:
        while piece := answer.read1(1 << 16):
            total += len(piece)
            elapsed = time.monotonic() - started
            if elapsed > _SLOW and total < _SLOWEST * elapsed:
                raise Interrupted(f"'{host}' sends too slowly", hint="try again later")
            if total > limit:
                raise RegistryError(f"an answer of '{host}' has more than {limit} bytes, which is refused")
            parts.append(piece)
    except FetchError as error:
        raise from_network(error, host) from error
    finally:
        answer.close()
    if announced is not None and total < announced:
        raise Interrupted(f"'{host}' cut the connection", hint="try again later")
    return b"".join(parts)


def printable(text: str, longest: int = _LONGEST_WORDS) -> str:
    """`text` without control characters, escapes and bidirectional tricks, and not longer than `longest`."""
    clean = "".join(character if character.isprintable() else " " for character in text[: 4 * longest])
    clean = " ".join(clean.split())
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def _words(items: list[dict[str, object]]) -> Iterator[str]:
    seen = set()
    for item in items:
        words = item.get("message") or item.get("code")
        if isinstance(words, str) and words not in seen:
            seen.add(words)
            yield words


def _access_hint(host: str, user: str | None) -> str:
    if user is None:
        return f"it does not exist, or needs credentials: run 'corten login {host}'"
    who = f"'{user}'" if user else "this login"
    return f"{who} may not do this: ask the registry's owner, or run 'corten login {host}' as somebody else"


def _absent_hint(host: str, codes: tuple[str, ...]) -> str:
    if "NAME_UNKNOWN" in codes:
        return f"check the name; a private repository may need 'corten login {host}'"
    return "check the name and the tag"


def _busy_hint(host: str, status: int, wait: float | None, user: str | None) -> str:
    if status != 429:
        return "try again later"
    when = ""
    if wait:
        when = time.strftime(" after %H:%M:%S", time.localtime(time.time() + min(wait, 86400 * 7)))
    login = "" if user is not None else f", or run 'corten login {host}': who is known may ask more often"
    return f"the registry limits requests: try again{when or ' later'}{login}"


def _other_hint(status: int) -> str | None:
    return {
        400: None,
        405: "the registry does not allow this",
        411: "something in between wants to know lengths ahead",
        413: "the registry, or a proxy before it, refuses uploads of this size",
        415: "the registry does not take this kind of content",
        501: "the registry does not do this",
        507: _FULL_HINT,
    }.get(status)
