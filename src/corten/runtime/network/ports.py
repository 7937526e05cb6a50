"""Published ports: a port of this machine that leads to one of a container."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Literal

from corten.errors import RuntimeFailure, UsageError
from corten.lazy import regex
from corten.values import dataclass, replace

Protocol = Literal["tcp", "udp"]
HERE = "127.0.0.1"
"""The address where a port is published unless another one is asked for: nobody but this machine reaches it, as with `up`."""

_HINT = "write it as 8080:80, 0.0.0.0:8080:80, 53:53/udp, 8000-8010:8000-8010, or 0:80 for any free port"
_PORT = regex(
    r"(?:(?P<address>[0-9]+(?:\.[0-9]+){3}|\[[0-9a-fA-F:.]+\]|localhost):)?"
    r"(?:(?P<outside>[0-9]{1,5}(?:-[0-9]{1,5})?)?(?P<colon>:))?"
    r"(?P<inside>[0-9]{1,5}(?:-[0-9]{1,5})?)(?:/(?P<protocol>tcp|udp))?"
)
_MOST = 1024


@dataclass(frozen=True, slots=True)
class Port:
    """What arrives at `outside` of the machine's `address` goes to the port `inside` of the container. `outside` is 0 where
    any free port will do."""

    outside: int
    inside: int
    address: str = HERE
    protocol: Protocol = "tcp"

    @property
    def place(self) -> str:
        """Its side of this machine, as people write it."""
        return f"[{self.address}]:{self.outside}" if ":" in self.address else f"{self.address}:{self.outside}"

    def __str__(self) -> str:
        return f"{self.place}->{self.inside}/{self.protocol}"


def parse_ports(text: str) -> tuple[Port, ...]:
    """`[IP:]HOST:CONTAINER[/udp]`, also of ranges; `PORT` alone has the same number on both sides. Raises UsageError."""
    match = _PORT.fullmatch(text) if len(text) < 100 else None
    if match is None:
        raise UsageError(f"'{text[:80]}' is not a port to publish", hint=_HINT)
    address = HERE if match["address"] in (None, "localhost") else _address(match["address"])
    inside = _range(match["inside"], text)
    # An empty one, as in `127.0.0.1::80`, is docker's way to ask for a free one.
    outside = inside if not match["colon"] else _range(match["outside"] or "0", text, free=True)
    if outside == [0]:
        outside = [0] * len(inside)
    if len(outside) != len(inside):
        raise UsageError(
            f"'{text}' has {len(outside)} ports on one side and {len(inside)} on the other",
            hint="give both sides of a range the same length",
        )
    protocol: Protocol = "udp" if match["protocol"] == "udp" else "tcp"
    return tuple(Port(out, port, address, protocol) for out, port in zip(outside, inside, strict=True))


def check_distinct(ports: Sequence[Port]) -> None:
    """Raise UsageError for a port that is published twice, and for more than a container can have."""
    if len(ports) > _MOST:
        raise UsageError(
            f"{len(ports)} ports are more than a container can publish", hint=f"publish {_MOST} at most"
        )
    seen = set()
    for port in ports:
        key = (port.address, port.outside, port.protocol)
        if port.outside and key in seen:
            raise UsageError(f"{port.place}/{port.protocol} is published twice", hint="leave one of them out")
        seen.add(key)


def _address(text: str) -> str:
    # Few publish ports, and every start would pay for this.
    import ipaddress

    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError as error:
        raise UsageError(f"'{text[:60]}' is not an address of this machine", hint=_HINT) from error


def _range(text: str, whole: str, *, free: bool = False) -> list[int]:
    first, _, last = text.partition("-")
    low, high = int(first), int(last or first)
    if free and low == high == 0:
        return [0]
    if not 0 < low <= high < 65536 or high - low >= _MOST:
        raise UsageError(f"'{text}' in '{whole[:80]}' is no port, or no range of them", hint=_HINT)
    return list(range(low, high + 1))


@dataclass(frozen=True, slots=True)
class Taken:
    """A port that nobody else has, with its socket (a descriptor) where that is kept."""

    port: Port
    listener: int | None = None


def take(ports: Sequence[Port], kept: Sequence[Port] = ()) -> tuple[Taken, ...]:
    """Bind each of `ports`, so that what is in use is told before anything starts, and choose the free ones. Those in `kept`
    stay bound, the others are free again. Raises RuntimeFailure, UsageError."""
    import os

    taken: list[Taken] = []
    try:
        for port in ports:
            descriptor, number = _bind(port)
            taken.append(Taken(replace(port, outside=number), descriptor))
    except BaseException:
        for item in taken:
            if item.listener is not None:
                os.close(item.listener)
        raise
    found = []
    for port, item in zip(ports, taken, strict=True):
        if port in kept or item.listener is None:
            found.append(item)
        else:
            os.close(item.listener)
            found.append(Taken(item.port))
    return tuple(found)


def _bind(port: Port) -> tuple[int, int]:
    """The descriptor of a bound socket, which listens where that is the way of its protocol, and its number."""
    import socket

    family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    bound = socket.socket(family, kind)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if port.protocol == "tcp":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((port.address, port.outside))
        if port.protocol == "tcp":
            bound.listen(4096)
    except OSError as error:
        bound.close()
        raise _refused(port, error) from error
    number = int(bound.getsockname()[1])
    return bound.detach(), number


def _refused(port: Port, error: OSError) -> RuntimeFailure | UsageError:
    import errno

    if error.errno == errno.EADDRINUSE:
        return RuntimeFailure(
            f"the port {port.place}/{port.protocol} is in use",
            hint=f"publish another one, or 0:{port.inside} for any free one",
        )
    if error.errno == errno.EACCES:
        return RuntimeFailure(
            f"this user may not listen on port {port.outside}",
            hint="use one above 1023, or as root: sysctl net.ipv4.ip_unprivileged_port_start",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return UsageError(
            f"'{port.address}' is not an address of this machine", hint="'ip address' lists those it has"
        )
    return RuntimeFailure(
        f"the port {port.place}/{port.protocol} cannot be published: {(error.strerror or '').lower()}",
        hint="use another address or port",
    )


def free_port(wanted: int) -> int:
    """`wanted` where nobody on this machine listens there, else another one. Raises RuntimeFailure."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise RuntimeFailure("no port is free on this machine", hint="stop what uses them")
