"""Addresses that a project may not name: this machine itself, its link, and what clouds answer there.

A service on loopback, or a cloud's metadata service, trusts whoever reaches it. An index there is right only when the
user's own configuration says so. Pure; host names are looked up where a connection is made.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse

from corten.lazy import regex
from corten.network.failures import Reserved

_NAMES = ("localhost", "metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal")
_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "100.100.100.200/32",  # Alibaba Cloud's metadata
        "168.63.129.16/32",  # Azure's host
        "192.0.0.192/32",  # Oracle Cloud's metadata
        "::/127",
        "fe80::/10",
        "fd00:ec2::/32",  # AWS: metadata, names and time
        "fd20:ce::254/128",  # Google Cloud's metadata
    )
)
_NUMBERS = regex(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}", re.IGNORECASE)


def reserved_host(host: str) -> bool:
    """Whether a host, by a name or in any spelling of an address, is this machine, its link or a metadata service."""
    name = host.strip("[]").partition("%")[0].rstrip(".").lower()
    if not name or name in _NAMES or name.endswith((".localhost", ".localdomain")):
        return True
    address = _address(name)
    return address is not None and reserved_address(address)


def reserved_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """The same for an address, also one of IPv4 written as IPv6."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None and reserved_address(inner):
            return True
    return any(address.version == network.version and address in network for network in _NETWORKS)


def refused(host: str) -> Reserved:
    """The error for a host that only the user's own configuration can name."""
    return Reserved(
        f"'{host}' is an address of this machine or of the cloud it runs in, and only your own configuration can name it",
        hint="name it in UV_INDEX or pip.conf, or confirm it with 'corten lock --trust-index'",
    )


def is_loopback(host: str) -> bool:
    """Whether what is sent to a host stays on this machine."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def reserved_url(url: str) -> bool:
    """Whether an address on the web leads to a reserved host."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme.lower() in {"http", "https"} and reserved_host(parts.hostname or "")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if _NUMBERS.fullmatch(name):
        import socket

        try:  # what a resolver makes of `2130706433`, `0x7f.1` and `0177.0.0.1`
            return ipaddress.IPv4Address(socket.inet_aton(name))
        except OSError:
            return None
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
