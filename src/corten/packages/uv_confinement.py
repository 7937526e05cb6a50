"""What uv can reach while it resolves: the network, its cache, the folder that Corten made for it, the wheels that it was
pointed to, and an interpreter to ask. No home, no project, no other file of this machine that says anything.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from corten.sandbox.confinement import Bind, Confinement, Limits

_LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/nix/store", "/gnu/store")
_NETWORK = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ld.so.cache",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/run/systemd/resolve",
)
"""Where names and certificates are looked up. Never all of /etc/ssl: private keys lie there."""
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT")


def interpreter() -> str:
    """The interpreter that uv asks what a Python is: Corten's own, outside any virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)


def confinement(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    directory: Path,
    cache: Path,
    places: Iterable[str],
    working: Path,
    seconds: float,
) -> Confinement:
    """`command`, which is uv's, with `directory` and `cache` to write to, and `places` (files and folders) to read. The
    folders must exist; what else is missing is left out."""
    readable = [command[0], *_python(), *_LIBRARIES, *_NETWORK, *places]
    readable += [environment[name] for name in _CERTIFICATES if environment.get(name)]
    shown = {os.path.abspath(path): False for path in readable if os.path.exists(path)}
    shown |= {os.path.abspath(path): True for path in (directory, cache)}
    binds = tuple(Bind(path, path, writable) for path, writable in sorted(shown.items()))
    return Confinement(
        tuple(command),
        binds=binds,
        proc=True,
        devices=True,
        network="host",
        environment=environment,
        owner=True,
        directory=str(working),
        limits=Limits(memory=None, file_size=None, seconds=seconds),
    )


def _python() -> list[str]:
    """What the interpreter needs of this machine."""
    program, prefix = interpreter(), os.path.realpath(sys.base_prefix)
    if prefix in {"/", "/usr", "/usr/local"}:
        return [program, "/usr/local/lib"]
    return [program, prefix]
