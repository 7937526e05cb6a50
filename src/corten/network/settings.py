"""How this machine reaches others, as its environment says."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

from corten.values import dataclass, field

Credentials = Callable[[str], tuple[str, str] | None]
"""The user and password for an address, if there are any."""


def no_credentials(url: str) -> None:
    """The credentials of somebody who has none."""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """How this machine reaches others. `certificates` is a CA bundle in place of the system's; `insecure` holds hosts
    (`host` or `host:port`) whose certificates are not checked; `connect` and `read` are seconds of silence allowed.
    `host_certificates` are folders where a folder named for a host (and port) holds what that host alone needs, as docker
    and podman keep it: authorities in `*.crt`, this machine's certificate in `*.cert` with its `*.key`.

    `reserved` None: every host may be asked. Otherwise hosts that are this machine, its link or a metadata service are
    refused, by name and by the address that was reached, except those origins (scheme, host and port)."""

    certificates: Path | None = None
    client_certificate: Path | None = None
    insecure: frozenset[str] = frozenset()
    credentials: Credentials = field(default=no_credentials, repr=False)
    connect: float = 10.0
    read: float = 30.0
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    host_certificates: tuple[Path, ...] = ()
    reserved: Container[tuple[str, str]] | None = None


_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def network_from(environment: Mapping[str, str], *, indexes: bool = True, **changes: Any) -> NetworkSettings:
    """The network settings that an environment asks for: certificates as pip, requests, curl and uv name them. pip's own
    win for package `indexes`, and count last for other hosts."""
    values: dict[str, Any] = {"environment": dict(environment)}
    for key in ("PIP_CERT", *_BUNDLES) if indexes else (*_BUNDLES, "PIP_CERT"):
        if environment.get(key):
            values["certificates"] = Path(environment[key])
            break
    for key in ("PIP_CLIENT_CERT", "SSL_CLIENT_CERT") if indexes else ("SSL_CLIENT_CERT", "PIP_CLIENT_CERT"):
        if environment.get(key):
            values["client_certificate"] = Path(environment[key])
            break
    return NetworkSettings(**{**values, **changes})
