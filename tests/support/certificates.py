"""Certificates for tests: an authority of our own and what it issues, made by openssl."""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_LEAF = """\
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid,issuer
subjectAltName = {names}
"""


@dataclass(frozen=True)
class Certificate:
    """A server's (or client's) certificate and its private key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """A certificate authority that nobody trusts unless told to: `ca` is its certificate as a PEM file."""

    directory: Path

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    @classmethod
    def make(cls, directory: Path) -> Authority:
        """A new authority with its files in `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        key, ca = directory / "ca.key", directory / "ca.pem"
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        _openssl(
            *("req", "-x509", *_EC, "-keyout", key, "-out", ca),
            *("-days", "10", "-subj", "/CN=an authority of the tests", *usage),
        )
        return cls(directory)

    def issue(
        self, name: str, hosts: Sequence[str] = ("localhost", "127.0.0.1", "::1"), *, expired: bool = False
    ) -> Certificate:
        """A certificate for `hosts`; an expired one ended yesterday."""
        issued = Certificate(self.directory / f"{name}.pem", self.directory / f"{name}.key")
        request, extensions = self.directory / f"{name}.csr", self.directory / f"{name}.ext"
        _openssl("req", *_EC, "-keyout", issued.key, "-out", request, "-subj", f"/CN={name}")
        extensions.write_text(_LEAF.format(names=",".join(map(_alternative, hosts))))
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.directory / "ca.key"),
            *("-CAcreateserial", "-extfile", extensions, "-out", issued.certificate),
            *("-days", "-1" if expired else "10"),
        )
        return issued


def _alternative(host: str) -> str:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return f"DNS:{host}"
    return f"IP:{host}"


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"openssl {arguments[0]}: {done.stderr}"
