"""TLS as this machine's settings ask for it."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from corten.errors import FetchError
from corten.network.settings import NetworkSettings

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


def tls_context(settings: NetworkSettings, insecure: bool, folder: Path | None = None) -> ssl.SSLContext:
    """The context for connections to a host whose own certificates are in `folder` (see `NetworkSettings`). Raises
    FetchError for files that cannot be used."""
    try:
        context = _trusting(settings)
        if settings.client_certificate is not None:
            context.load_cert_chain(str(settings.client_certificate))
    except (OSError, ValueError) as error:
        path = settings.client_certificate or settings.certificates
        raise FetchError(
            f"the certificate file '{path}' cannot be used", hint="check SSL_CERT_FILE and PIP_CERT"
        ) from error
    if folder is not None:
        _add_host_certificates(context, folder)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def certificates_of(host: str, folders: tuple[Path, ...]) -> Path | None:
    """The first of `folders` that keeps certificates for `host`."""
    if not host or "/" in host or host.startswith("."):
        return None
    return next((folder / host for folder in folders if os.path.isdir(folder / host)), None)


def _trusting(settings: NetworkSettings) -> ssl.SSLContext:
    if settings.certificates is None:
        context = ssl.create_default_context()
        if not context.cert_store_stats()["x509_ca"] and not ssl.get_default_verify_paths().capath:
            for bundle in _BUNDLES:  # an interpreter built elsewhere looks in a place of its own
                if os.path.exists(bundle):
                    context.load_verify_locations(bundle)
                    break
        return context
    if settings.certificates.is_dir():
        return ssl.create_default_context(capath=str(settings.certificates))
    return ssl.create_default_context(cafile=str(settings.certificates))


def _add_host_certificates(context: ssl.SSLContext, folder: Path) -> None:
    """What containers-certs.d(5) describes: `*.crt` are authorities, `NAME.cert` and `NAME.key` belong together."""
    path = folder
    try:
        for path in sorted(folder.iterdir()):
            if path.suffix == ".crt":
                context.load_verify_locations(str(path))
            elif path.suffix == ".cert":
                context.load_cert_chain(str(path), str(path.with_suffix(".key")), password=_no_password)
    except (OSError, ValueError) as error:
        raise FetchError(
            f"the certificate file '{path}' cannot be used", hint=f"check the files in '{folder}'"
        ) from error


def _no_password() -> str:
    """In place of OpenSSL's question on the terminal, for a key that has one."""
    raise ValueError("the key has a password")
