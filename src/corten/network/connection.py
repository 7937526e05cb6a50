"""One request, followed to its answer: pools, proxies, certificates, credentials, redirects, `file://`.

The only module that opens connections for packages. What may be tried again is told apart from what may not by the
class of the error; trying again is `corten.packages.http`'s. Nothing here ever names a credential: addresses are shown
without user, password and query.
"""

from __future__ import annotations

import os
import ssl
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from corten.errors import FetchError

if TYPE_CHECKING:
    import urllib3

Credentials = Callable[[str], tuple[str, str] | None]
"""The user and password for an address, if there are any."""

_REDIRECTS = 10
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


class Absent(FetchError):
    """The host answered, and does not have the file (404, 410, no such local file)."""


class Refused(FetchError):
    """The host wants credentials, or other ones (401, 403, 407)."""


class Transient(FetchError):
    """It may work a moment later: the host is down or busy, or the connection was cut. `retry_after` is in seconds;
    `down` is for a host that was not reached at all."""

    def __init__(
        self, message: str, hint: str | None = None, retry_after: float | None = None, down: bool = False
    ) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after
        self.down = down


def no_credentials(url: str) -> None:
    """The credentials of somebody who has none."""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """How this machine reaches others. `certificates` is a CA bundle in place of the system's; `insecure` holds hosts
    (`host` or `host:port`) whose certificates are not checked; `connect` and `read` are seconds of silence allowed."""

    certificates: Path | None = None
    client_certificate: Path | None = None
    insecure: frozenset[str] = frozenset()
    credentials: Credentials = field(default=no_credentials, repr=False)
    connect: float = 10.0
    read: float = 30.0
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)


class Answer(Protocol):
    """A status, headers with lower-case names, and a body that arrives piece by piece."""

    status: int
    headers: Mapping[str, str]
    url: str

    def read1(self, size: int) -> bytes:
        """At most `size` bytes, as soon as some are there; nothing at the end. Raises Transient."""

    def close(self) -> None:
        """Give the connection back, or drop it when the body was not read to its end."""


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


class Connections:
    """Connections to every host, kept open and shared by threads."""

    def __init__(self, settings: NetworkSettings) -> None:
        self.settings = settings
        self._pools: dict[tuple[str | None, bool], urllib3.PoolManager] = {}

    def open(self, url: str, headers: Mapping[str, str], method: str = "GET") -> Answer:
        """The final answer to a request: 200, 206, 304 or 416. Credentials go to the host they belong to and to no host
        that it redirects to. Raises Absent, Refused, Transient, or FetchError for what trying again cannot mend."""
        path = local_path(url)
        if path is not None:
            return _LocalAnswer(path, url, headers)
        own = _user_of(url)
        origin = _origin(url)
        for _ in range(_REDIRECTS):
            bare = _without_user(url)
            credentials = (own if _origin(url) == origin else None) or self.settings.credentials(bare)
            answer = self._request(method, bare, headers, credentials)
            location = answer.headers.get("location")
            if answer.status not in {301, 302, 303, 307, 308} or not location:
                return _checked(answer)
            answer.close()
            url = _redirected(bare, location)
        raise FetchError(f"'{shown(url)}' redirects in a circle")

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], credentials: tuple[str, str] | None
    ) -> _RemoteAnswer:
        import urllib3
        from urllib3 import exceptions

        sent = {"User-Agent": "corten", "Accept-Encoding": "identity", **headers}
        if credentials is not None:
            sent |= urllib3.make_headers(basic_auth=":".join(credentials))
        host = host_of(url)
        try:
            response = self._pool(url).request(
                method,
                url,
                headers=sent,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=self.settings.connect, read=self.settings.read),
            )
        except exceptions.LocationValueError as error:
            raise FetchError(f"'{shown(url)}' is not an address") from error
        except (exceptions.HTTPError, OSError) as error:
            raise _network_error(error, host) from error
        return _RemoteAnswer(response, url, host)

    def _pool(self, url: str) -> urllib3.PoolManager:
        import urllib3

        proxy = _proxy(url, self.settings.environment)
        host = host_of(url)
        insecure = host in self.settings.insecure or host.rpartition(":")[0] in self.settings.insecure
        key = (proxy, insecure)
        pool = self._pools.get(key)
        if pool is None:
            context = _tls(self.settings, insecure)
            if proxy is None:
                pool = urllib3.PoolManager(num_pools=16, maxsize=16, ssl_context=context)
            else:
                user = _user_of(proxy)
                pool = urllib3.ProxyManager(
                    _without_user(proxy),
                    num_pools=16,
                    maxsize=16,
                    ssl_context=context,
                    proxy_headers=urllib3.make_headers(proxy_basic_auth=":".join(user)) if user else None,
                )
            self._pools[key] = pool
        return pool


class _RemoteAnswer:
    def __init__(self, response: urllib3.BaseHTTPResponse, url: str, host: str) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = {key.lower(): value for key, value in response.headers.items()}
        self.url = url
        self.reason = response.reason or ""
        self._response = response
        self._host = host

    def read1(self, size: int) -> bytes:
        from urllib3 import exceptions

        try:
            return self._response.read1(size, decode_content=False) or b""
        except (exceptions.HTTPError, OSError) as error:
            raise _network_error(error, self._host) from error

    def close(self) -> None:
        remaining = self._response.length_remaining
        if remaining is not None and remaining <= 1 << 16:
            self._response.drain_conn()  # so that the connection serves the next request
        self._response.close()


class _LocalAnswer:
    """A local file, answered as a server would: also from the middle."""

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


def _checked(answer: _RemoteAnswer) -> _RemoteAnswer:
    """`answer`, if it is one that a caller can use."""
    status, host = answer.status, host_of(answer.url)
    if status in {200, 206, 304, 416}:
        return answer
    answer.close()
    if status in {404, 410}:
        raise Absent(f"'{host}' has no '{urllib.parse.urlsplit(answer.url).path}'")
    if status in {401, 403, 407}:
        raise Refused(
            f"'{host}' refused access to '{urllib.parse.urlsplit(answer.url).path}' ({status})",
            hint=f"put credentials for '{host}' into ~/.netrc or the index's environment variables",
        )
    if status in {408, 425, 429, 500, 502, 503, 504}:
        raise Transient(
            f"'{host}' answered {status} {answer.reason}".rstrip(),
            hint="try again later, or configure another mirror",
            retry_after=_seconds(answer.headers.get("retry-after")),
        )
    raise FetchError(f"'{host}' answered {status} {answer.reason}".rstrip())


def _network_error(error: Exception, host: str) -> FetchError:
    """The sentence for what went wrong below HTTP."""
    from urllib3 import exceptions

    if isinstance(error, exceptions.ProxyError):
        return Transient(
            f"the proxy for '{host}' cannot be reached", hint="check HTTPS_PROXY and NO_PROXY", down=True
        )
    if isinstance(error, exceptions.SSLError):
        return FetchError(
            f"the certificate of '{host}' is not trusted: {_tls_reason(error)}",
            hint="name the certificate authority's file in SSL_CERT_FILE or PIP_CERT",
        )
    if isinstance(error, exceptions.NameResolutionError):
        return Transient(
            f"there is no host '{host}'",
            hint="check the address and this machine's name resolution",
            down=True,
        )
    if isinstance(error, exceptions.ConnectTimeoutError) and not isinstance(
        error, exceptions.NewConnectionError
    ):
        return Transient(
            f"'{host}' does not answer", hint="check the network, or configure another mirror", down=True
        )
    if isinstance(error, (exceptions.ReadTimeoutError, TimeoutError)):
        return Transient(f"'{host}' stopped sending", hint="try again, or configure another mirror")
    if isinstance(error, exceptions.NewConnectionError):
        return Transient(
            f"'{host}' is down: the connection was refused",
            hint="check the address and the network",
            down=True,
        )
    if isinstance(error, (exceptions.ProtocolError, OSError)):
        return Transient(f"'{host}' cut the connection", hint="try again, or configure another mirror")
    return FetchError(f"'{host}' answered with something that is not HTTP")


def _tls_reason(error: Exception) -> str:
    cause: BaseException | None = (
        error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    )
    return str(
        getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or "handshake failed"
    ).lower()


def _tls(settings: NetworkSettings, insecure: bool) -> ssl.SSLContext:
    try:
        if settings.certificates is None:
            context = ssl.create_default_context()
            if not context.cert_store_stats()["x509_ca"] and not ssl.get_default_verify_paths().capath:
                for bundle in _BUNDLES:  # an interpreter built elsewhere looks in a place of its own
                    if os.path.exists(bundle):
                        context.load_verify_locations(bundle)
                        break
        elif settings.certificates.is_dir():
            context = ssl.create_default_context(capath=str(settings.certificates))
        else:
            context = ssl.create_default_context(cafile=str(settings.certificates))
        if settings.client_certificate is not None:
            context.load_cert_chain(str(settings.client_certificate))
    except OSError as error:
        path = settings.client_certificate or settings.certificates
        raise FetchError(
            f"the certificate file '{path}' cannot be used", hint="check SSL_CERT_FILE and PIP_CERT"
        ) from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _proxy(url: str, environment: Mapping[str, str]) -> str | None:
    """The proxy for `url`, as curl and Python read the environment (lower case wins; no upper-case HTTP_PROXY in CGI)."""
    import urllib.request

    parts = urllib.parse.urlsplit(url)
    lowered = {
        key.lower(): value for key, value in environment.items() if key.lower().endswith("_proxy") and value
    }
    lowered |= {key: value for key, value in environment.items() if key.endswith("_proxy") and value}
    if "REQUEST_METHOD" in environment and "http_proxy" not in environment:
        lowered.pop("http_proxy", None)
    proxy = lowered.get(f"{parts.scheme}_proxy") or lowered.get("all_proxy")
    if proxy is None:
        return None
    excluded = {"no": lowered.get("no_proxy", "")}
    if urllib.request.proxy_bypass_environment(host_of(url), excluded):  # type: ignore[attr-defined]
        return None
    if not proxy.startswith(("http://", "https://")):
        if "://" in proxy:
            raise FetchError(
                f"a {proxy.partition(':')[0]} proxy is not supported", hint="use an http:// proxy"
            )
        proxy = f"http://{proxy}"
    return proxy


def _redirected(url: str, location: str) -> str:
    target = urllib.parse.urljoin(url, location)
    parts = urllib.parse.urlsplit(target)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise FetchError(f"'{host_of(url)}' redirects to something that is not on the web")
    if urllib.parse.urlsplit(url).scheme == "https" and parts.scheme == "http":
        raise FetchError(f"'{host_of(url)}' redirects from https to plain http, which is refused")
    return target


def _origin(url: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2].lower()


def _user_of(url: str) -> tuple[str, str] | None:
    user, at, _ = urllib.parse.urlsplit(url).netloc.rpartition("@")
    if not at:
        return None
    name, _, password = user.partition(":")
    return urllib.parse.unquote(name), urllib.parse.unquote(password)


def _without_user(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def _seconds(text: str | None) -> float | None:
    """`Retry-After` in seconds, from seconds or from a date (RFC 9110, section 10.2.3)."""
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    import email.utils
    import time

    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
