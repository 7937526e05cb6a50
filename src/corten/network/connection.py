"""One request and its answer: pools, proxies, certificates, credentials, redirects, `file://`.

The only module that opens connections. What may be tried again is told apart from what may not by the class of the error
(`corten.network.failures`); trying again is `corten.packages.http`'s and `corten.registry.exchange`'s. Nothing here ever
names a credential: addresses are shown without user, password and query.
"""

from __future__ import annotations

import os
import threading
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from corten.errors import FetchError
from corten.network.addresses import host_of, local_path, origin, redirected, shown, user_of, without_user
from corten.network.failures import (
    PROXY_HINT,
    Absent,
    NotTls,
    NotTrusted,
    Refused,
    Transient,
    network_error,
    retry_after,
)
from corten.network.proxy import proxy_for
from corten.network.settings import Credentials, NetworkSettings, no_credentials
from corten.network.tls import certificates_of, tls_context

if TYPE_CHECKING:
    import urllib3

__all__ = [
    "Absent",
    "Answer",
    "Connections",
    "Credentials",
    "NetworkSettings",
    "NotTls",
    "NotTrusted",
    "Refused",
    "Transient",
    "host_of",
    "local_path",
    "no_credentials",
    "shown",
]

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 10


_LISTS = frozenset({"www-authenticate", "proxy-authenticate", "link"})
"""Headers that may come several times, which is as good as one with all of the values (RFC 9110, section 5.3). Of any other
the first counts."""


class Answer(Protocol):
    """A status, headers with lower-case names, and a body that arrives piece by piece."""

    status: int
    reason: str
    headers: Mapping[str, str]
    url: str

    def read1(self, size: int) -> bytes:
        """At most `size` bytes, as soon as some are there; nothing at the end. Raises Transient."""

    def close(self) -> None:
        """Give the connection back, or drop it when the body was not read to its end."""


class Connections:
    """Connections to every host, kept open and shared by threads."""

    def __init__(self, settings: NetworkSettings) -> None:
        self.settings = settings
        self._pools: dict[tuple[str | None, bool, Path | None, bool], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def open(self, url: str, headers: Mapping[str, str], method: str = "GET") -> Answer:
        """The final answer to a request: 200, 206, 304 or 416. Credentials go to the host they belong to and to no host
        that it redirects to; after a redirect to another host none are sent at all. Raises Absent, Refused, Transient, or FetchError for what trying again cannot mend."""
        path = local_path(url)
        if path is not None:
            return _LocalAnswer(path, url, headers)
        own = user_of(url)
        first = origin(url)
        for _ in range(_MOST_REDIRECTS):
            bare = without_user(url)
            credentials = (own or self.settings.credentials(bare)) if same_host(origin(url), first) else None
            sent = dict(headers)
            if credentials is not None:
                sent |= basic(credentials)
            answer = self.send(method, bare, sent)
            location = answer.headers.get("location")
            if answer.status not in REDIRECTS or not location:
                return _checked(answer)
            answer.close()
            url = redirected(bare, location)
        raise FetchError(f"'{shown(url)}' redirects in a circle")

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None = None,
    ) -> Answer:
        """One exchange: the answer of whatever status, redirects too. An iterable body is sent as it is produced, chunked
        unless `headers` name a Content-Length; an answer that comes before all of it was sent ends the sending and is
        returned. No credentials are added. Raises Transient, NotTrusted, NotTls, FetchError, and as they are the errors
        of the iterable itself."""
        import urllib3
        from urllib3 import exceptions

        from corten.network.sending import BodyFailed, guarded

        host = host_of(url)
        guarded_host = self._guarded(url)
        try:
            response = self._pool(url, guarded_host).request(
                method,
                url,
                headers={"User-Agent": "corten", "Accept-Encoding": "identity", **headers},
                body=body if body is None or isinstance(body, bytes) else guarded(body),
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=self.settings.connect, read=self.settings.read),
            )
        except exceptions.LocationValueError as error:
            raise FetchError(f"'{shown(url)}' is not an address") from error
        except BodyFailed as error:
            raise error.__cause__ or error  # noqa: B904 - the caller's own error, as if nothing were in between
        except (exceptions.HTTPError, OSError) as error:
            raise network_error(error, host) from error
        return _RemoteAnswer(response, url, host)

    def _guarded(self, url: str) -> bool:
        """Whether `url` may not lead to a reserved address. Raises FetchError where its host says that it does."""
        if self.settings.reserved is None or origin(url) in self.settings.reserved:
            return False
        from corten.network.reserved import refused, reserved_url

        if reserved_url(url):
            raise refused(host_of(url))
        return True

    def _pool(self, url: str, guarded_host: bool) -> urllib3.PoolManager:
        settings = self.settings
        proxy = proxy_for(url, settings.environment)
        host = host_of(url)
        insecure = host in settings.insecure or host.rpartition(":")[0] in settings.insecure
        folder = certificates_of(host, settings.host_certificates)
        key = (proxy, insecure, folder, guarded_host)
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                pool = self._pools[key] = self._new_pool(*key)
        return pool

    def _new_pool(
        self, proxy: str | None, insecure: bool, folder: Path | None, guarded_host: bool
    ) -> urllib3.PoolManager:
        import urllib3

        from corten.network.sending import pool_of

        context = tls_context(self.settings, insecure, folder)
        if insecure:  # it was asked for: nobody needs to be told with every request
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        if proxy is None:
            pool = urllib3.PoolManager(num_pools=16, maxsize=16, ssl_context=context)
        else:
            user = user_of(proxy)
            pool = urllib3.ProxyManager(
                without_user(proxy),
                num_pools=16,
                maxsize=16,
                ssl_context=context,
                proxy_headers=urllib3.make_headers(proxy_basic_auth=":".join(user)) if user else None,
            )
        # What a proxy reaches is the proxy's to know; the connection here is to the proxy.
        return pool_of(pool, self.settings.read, guarded_host and proxy is None)


class _RemoteAnswer:
    def __init__(self, response: urllib3.BaseHTTPResponse, url: str, host: str) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = _merged(response.headers.items())
        self.url = url
        self.reason = response.reason or ""
        self._response = response
        self._host = host

    def read1(self, size: int) -> bytes:
        from urllib3 import exceptions

        try:
            return self._response.read1(size, decode_content=False) or b""
        except (exceptions.HTTPError, OSError) as error:
            raise network_error(error, self._host) from error

    def close(self) -> None:
        remaining = self._response.length_remaining
        if remaining is not None and remaining <= 1 << 16:
            self._response.drain_conn()  # so that the connection serves the next request
        self._response.close()


def _merged(lines: Iterable[tuple[str, str]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for key, value in lines:
        name = key.lower()
        if name not in headers:
            headers[name] = value
        elif name in _LISTS:
            headers[name] += f", {value}"
    return headers


class _LocalAnswer:
    """A local file, answered as a server would: also from the middle."""

    reason = ""

    def __init__(self, path: Path, url: str, headers: Mapping[str, str]) -> None:
        self.url = url
        start = 0
        span = headers.get("Range", "")
        if span.startswith("bytes=") and span.endswith("-"):
            start = int(span[6:-1])
        try:
            self._file: IO[bytes] = path.open("rb")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Absent(f"there is no file '{path}'") from error
        except OSError as error:
            raise FetchError(f"'{path}' cannot be read: {(error.strerror or str(error)).lower()}") from error
        size = os.fstat(self._file.fileno()).st_size
        self._file.seek(start)
        self.status = 206 if start else 200
        self.headers: Mapping[str, str] = {
            "content-length": str(max(size - start, 0)),
            "content-range": f"bytes {start}-{size - 1}/{size}",
        }
        if start and start >= size:
            self.status = 416

    def read1(self, size: int) -> bytes:
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()


def same_host(here: tuple[str, str], first: tuple[str, str]) -> bool:
    """Whether credentials for `first` may follow a redirect to `here`: the same origin, or the same host by https."""
    return here == first or (here[0] == "https" and first[0] == "http" and here[1] == first[1])


def basic(credentials: tuple[str, str]) -> dict[str, str]:
    """The header that carries a user and a password."""
    import base64

    return {"Authorization": "Basic " + base64.b64encode(":".join(credentials).encode()).decode()}


def _checked(answer: Answer) -> Answer:
    """`answer`, if it is one that a caller can use."""
    status, host = answer.status, host_of(answer.url)
    if status in {200, 206, 304, 416}:
        return answer
    answer.close()
    if status in {404, 410}:
        raise Absent(f"'{host}' has no '{urllib.parse.urlsplit(answer.url).path}'")
    if status == 407:
        raise Refused(f"the proxy for '{host}' wants credentials, or other ones (407)", hint=PROXY_HINT)
    if status in {401, 403}:
        raise Refused(
            f"'{host}' refused access to '{urllib.parse.urlsplit(answer.url).path}' ({status})",
            hint=f"put credentials for '{host}' into ~/.netrc or the index's environment variables",
        )
    if status in {408, 425, 429, 500, 502, 503, 504}:
        raise Transient(
            f"'{host}' answered {status} {answer.reason}".rstrip(),
            hint="try again later",
            retry_after=retry_after(answer.headers.get("retry-after")),
        )
    raise FetchError(f"'{host}' answered {status} {answer.reason}".rstrip())
