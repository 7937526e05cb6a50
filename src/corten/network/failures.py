"""What went wrong below HTTP, in one sentence, and whether a moment later it may work.

FetchError
├ Absent        the host answered, and does not have it
├ Refused       the host wants credentials, or other ones
├ Transient     it may work a moment later
├ NotTrusted    the host's certificate is not accepted
└ NotTls        what answers does not speak TLS
"""

from __future__ import annotations

import datetime
from typing import Literal

from corten.errors import FetchError

CertificateFault = Literal["early", "expired", "authority", "name", "other"]

_FAULTS: dict[int, CertificateFault] = {
    # X509_V_ERR_* of OpenSSL's x509_vfy.h
    2: "authority",
    9: "early",
    10: "expired",
    18: "authority",
    19: "authority",
    20: "authority",
    21: "authority",
    62: "name",
    64: "name",
}
_PLAIN = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "HTTP_REQUEST",
        "UNKNOWN_PROTOCOL",
        "RECORD_LAYER_FAILURE",
        "PACKET_LENGTH_TOO_LONG",
    }
)


PROXY_HINT = "write them into HTTPS_PROXY and HTTP_PROXY: http://USER:PASSWORD@HOST:PORT"


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


class NotTrusted(FetchError):
    """The host's certificate is not accepted; `fault` says what is wrong with it."""

    def __init__(self, message: str, hint: str, fault: CertificateFault) -> None:
        super().__init__(message, hint)
        self.fault = fault


class Reserved(FetchError):
    """The host is this machine, its link or a metadata service, and nobody who may has named it."""


class NotTls(FetchError):
    """The host answers https with something that is not TLS: most likely plain http."""


def network_error(error: Exception, host: str) -> FetchError:
    """The sentence for what urllib3 or the system reports about an exchange with `host`."""
    from urllib3 import exceptions

    if isinstance(error, exceptions.ProxyError):
        # http.client tells the status of a refused CONNECT in its message alone.
        if " 407 " in f"{error.original_error} ":
            return Refused(f"the proxy for '{host}' wants credentials, or other ones (407)", hint=PROXY_HINT)
        return Transient(
            f"the proxy for '{host}' cannot be reached", hint="check HTTPS_PROXY and NO_PROXY", down=True
        )
    if isinstance(error, exceptions.SSLError):
        return _tls_error(error, host)
    if isinstance(error, exceptions.NameResolutionError):
        return Transient(
            f"there is no host '{host}'",
            hint="check the address and this machine's name resolution",
            down=True,
        )
    if isinstance(error, exceptions.ConnectTimeoutError) and not isinstance(
        error, exceptions.NewConnectionError
    ):
        return Transient(f"'{host}' does not answer", hint="check the network", down=True)
    if isinstance(error, (exceptions.ReadTimeoutError, TimeoutError)):
        return Transient(f"'{host}' stopped sending", hint="try again later")
    if isinstance(error, exceptions.ProtocolError) and isinstance(error.args[-1], TimeoutError):
        return Transient(f"'{host}' stopped taking what is sent", hint="try again later")
    if isinstance(error, exceptions.NewConnectionError):
        return Transient(
            f"'{host}' is down: the connection was refused",
            hint="check the address and the network",
            down=True,
        )
    if isinstance(error, (exceptions.ProtocolError, OSError)):
        return Transient(f"'{host}' cut the connection", hint="try again later")
    return FetchError(f"'{host}' answered with something that is not HTTP")


def retry_after(text: str | None) -> float | None:
    """`Retry-After` in seconds, from seconds or from a date (RFC 9110, section 10.2.3)."""
    if not text:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    import email.utils
    import time

    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _handshake_error(reason: str, host: str) -> FetchError:
    """The other side ended the handshake, or what it sent cannot be read: `reason` is OpenSSL's (`TLSV1_ALERT_DECODE_ERROR`).

    An alert says nothing of the host's certificate (RFC 8446, section 6.2). A few name what stays as it is; all others, sent by
    a busy proxy or after damage on the way, may be gone a moment later."""
    words = reason.lower().replace("_", " ")
    if "CERTIFICATE" in reason or reason.endswith("UNKNOWN_CA"):
        return FetchError(
            f"'{host}' wants a client certificate: {words}",
            hint="Corten sends none; use an address that takes a password or a token",
        )
    if reason.endswith(
        ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "HANDSHAKE_FAILURE", "UNRECOGNIZED_NAME")
    ):
        return FetchError(
            f"'{host}' and this machine have no TLS version or cipher in common: {words}",
            hint="check the address",
        )
    return Transient(f"the TLS handshake with '{host}' failed: {words}", hint="try again later")


def _tls_error(error: Exception, host: str) -> FetchError:
    cause: object = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    reason = str(getattr(cause, "reason", "") or "")
    if reason in _PLAIN:
        return NotTls(f"'{host}' does not speak https", hint="it may serve plain http")
    code = getattr(cause, "verify_code", None)
    if code is None and (not reason or "EOF" in reason):
        return Transient(f"'{host}' cut the connection", hint="try again later")
    if code is None and reason != "CERTIFICATE_VERIFY_FAILED":
        return _handshake_error(reason, host)
    fault = _FAULTS.get(code, "other") if isinstance(code, int) else "other"
    words = str(getattr(cause, "verify_message", "") or reason or "handshake failed").lower()
    if fault in {"early", "expired"}:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M")
        hint = f"this machine's clock says {now} UTC; if that is wrong, set it"
    elif fault == "name":
        hint = "the certificate was made for another name; check the address"
    else:
        hint = "name the certificate authority's file in SSL_CERT_FILE"
    return NotTrusted(f"the certificate of '{host}' is not trusted: {words}", hint, fault)
