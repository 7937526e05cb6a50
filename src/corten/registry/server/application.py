"""From a request to its answer: who may ask, what may be asked, and which endpoint answers."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping

from corten.errors import FormatError
from corten.registry.server.answers import blobs, lists, manifests, uploads
from corten.registry.server.contents import Contents
from corten.registry.server.exchange import Answer, Request, document
from corten.registry.server.passwords import Passwords
from corten.registry.server.refusals import Refusal
from corten.registry.server.routes import Route, route
from corten.registry.server.uploads import Uploads
from corten.registry.server.wire import Body, Head
from corten.store.disk import FULL

_READING = ("GET", "HEAD")


class Application:
    """The registry over `contents`. Without `passwords` everybody may do everything; with `guarded` the server is meant for
    this machine alone, and what a browser could be made to ask is refused. Safe from many threads."""

    def __init__(
        self,
        contents: Contents,
        *,
        passwords: Passwords | None = None,
        read_only: bool = False,
        guarded: bool = False,
    ) -> None:
        self.contents, self.uploads = contents, Uploads(contents)
        self._passwords, self._read_only, self._guarded = passwords, read_only, guarded
        self._endpoints = self._table()

    def answer(self, head: Head, body: Body) -> Answer:
        """The answer to a request; a refusal is one, too. Raises Disconnected when the other side is gone."""
        try:
            self._admit(head)
            found = route(head.target)
            return self._endpoint(head.method, found)(
                Request("GET" if head.method == "HEAD" else head.method, found, head.headers, body)
            )
        except Refusal as refusal:
            return refused(refusal)
        except FormatError as error:
            return refused(Refusal(500, "UNKNOWN", error.message))
        except OSError as error:
            return refused(_unable(error))

    def _admit(self, head: Head) -> None:
        if self._passwords is not None and not self._passwords.admit(head.headers.get("authorization")):
            raise Refusal(
                401,
                "UNAUTHORIZED",
                "user and password are needed, or are not the right ones",
                headers={"WWW-Authenticate": 'Basic realm="corten registry", charset="UTF-8"'},
            )
        if self._guarded:
            _refuse_browsers(head.method, head.headers)

    def _endpoint(self, method: str, found: Route) -> Callable[[Request], Answer]:
        allowed = self._endpoints[found.kind]
        endpoint = allowed.get("GET" if method == "HEAD" else method)
        if endpoint is None:
            raise Refusal(
                405,
                "UNSUPPORTED",
                "that cannot be done at this address",
                headers={"Allow": ", ".join(["HEAD", *allowed])},
            )
        if self._read_only and (method not in _READING or found.kind == "upload"):
            allow = {"Allow": ", ".join(_READING)}
            raise Refusal(405, "UNSUPPORTED", "this registry is read-only", headers=allow)
        return endpoint

    def _table(self) -> Mapping[str, dict[str, Callable[[Request], Answer]]]:
        contents, pending = self.contents, self.uploads
        return {
            "base": {"GET": lambda request: document({})},
            "catalog": {"GET": lambda request: lists.catalog(contents, request)},
            "tags": {"GET": lambda request: lists.tags(contents, request)},
            "referrers": {"GET": lambda request: lists.referrers(contents, request)},
            "blob": {
                "GET": lambda request: blobs.pull(contents, request),
                "DELETE": lambda request: blobs.delete(contents, request),
            },
            "manifest": {
                "GET": lambda request: manifests.pull(contents, request),
                "PUT": lambda request: manifests.push(contents, request),
                "DELETE": lambda request: manifests.delete(contents, request),
            },
            "uploads": {"POST": lambda request: uploads.begin(contents, pending, request)},
            "upload": {
                "GET": lambda request: uploads.state(pending, request),
                "PATCH": lambda request: uploads.append(pending, request),
                "PUT": lambda request: uploads.finish(pending, request),
                "DELETE": lambda request: uploads.cancel(pending, request),
            },
        }


def refused(refusal: Refusal) -> Answer:
    """A refusal as an answer."""
    return Answer(refusal.status, {"Content-Type": "application/json", **refusal.headers}, refusal.body())


def _unable(error: OSError) -> Refusal:
    if error.errno in FULL:
        return Refusal(507, "UNKNOWN", "the registry's disk is full")
    return Refusal(500, "UNKNOWN", f"the registry's disk: {(error.strerror or 'an error').lower()}")


def _refuse_browsers(method: str, headers: Mapping[str, str]) -> None:
    """Raise Refusal for what a page in this machine's browser may have been made to send. A page of another site can send some
    requests to a local server, and with a name that it lets lead here, all of them; but it cannot help sending `Origin` when
    it changes something, nor its own name in `Host`. No registry client sends the one, or a strange name in the other."""
    if "origin" in headers and method not in _READING:
        raise Refusal(403, "DENIED", "requests from web pages are not taken")
    host = headers.get("host", "localhost").rsplit(":", 1)[0] if "]" not in headers.get("host", "") else ""
    if host and not _own_name(host):
        raise Refusal(
            403, "DENIED", "this registry is for its own machine: call it 'localhost', or give it passwords"
        )


def _own_name(host: str) -> bool:
    if host == "localhost" or host.endswith((".localhost", ".internal")):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
