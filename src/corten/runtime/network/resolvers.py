"""The name servers of a private network: the machine's own, where they can be reached from it (resolv.conf(5))."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable

FORWARDED = "10.0.2.3"
"""The address inside that stands for a name server on the machine's own loopback (pasta's --dns-forward)."""
_UPSTREAM = "/run/systemd/resolve/resolv.conf"
"""Where systemd-resolved writes the servers that it asks itself."""
_LIMIT = 1 << 16


def read_file(path: str) -> str:
    """A small file's text; empty where there is none."""
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read(_LIMIT)
    return ""


def resolvers(read: Callable[[str], str] = read_file) -> tuple[str, bool]:
    """The text of a private network's resolv.conf, and whether queries to `FORWARDED` in it must be passed on to the machine's
    loopback, which a container does not reach."""
    text = read("/etc/resolv.conf")
    servers = _servers(text)
    outside = [server for server in servers if not _is_loopback(server)]
    if outside:
        return _with(text, outside), False
    upstream = [server for server in _servers(read(_UPSTREAM)) if not _is_loopback(server)]
    if upstream:
        return _with(text, upstream), False
    return (_with(text, [FORWARDED]), True) if servers else ("", False)


def _with(text: str, servers: list[str]) -> str:
    kept = [
        line.strip()
        for line in text.splitlines()
        if line.split()[:1] in (["search"], ["domain"], ["options"])
    ]
    # The C library asks three of them at most.
    return "".join(f"{line}\n" for line in [*(f"nameserver {server}" for server in servers[:3]), *kept])


def _servers(text: str) -> list[str]:
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            with contextlib.suppress(ValueError):
                ipaddress.ip_address(words[1].partition("%")[0])
                # A link-local one needs the name of an interface, which is another one inside.
                if "%" not in words[1]:
                    found.append(words[1])
    return found


def _is_loopback(server: str) -> bool:
    address = ipaddress.ip_address(server)
    return address.is_loopback or address.is_unspecified
