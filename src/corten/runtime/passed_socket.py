"""A listening socket of this machine's network that a container gets, and what the container may do with it: accept.

A socket belongs to the network in which it was made, wherever the process is that holds it. Without more, a container that
has no network could dissolve the socket (connect(2) with AF_UNSPEC) and connect it to this machine's loopback, or to any host;
or bind an accepted one to another port and listen there. seccomp cannot see the address of a connect(2). So the socket
gets a filter of packets (socket(7), SO_ATTACH_FILTER and SO_LOCK_FILTER), which accepted sockets inherit and which nobody
can take off again:

- what is not sent to its own port and address is dropped;
- what would complete a connection that began here is dropped, and so is the refusal of one: nothing is learned of who listens.

Newer kernels let only CAP_NET_ADMIN do that to a TCP socket. There a plain user's container gets no socket of this machine's network,
connected ones neither, which could be dissolved as well: Corten's forwarder connects to the server in the container's own network.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

from corten.errors import RuntimeFailure
from corten.runtime.descriptors import Passed
from corten.runtime.port_variables import telling, told_port, variables
from corten.values import replace

_SO_ATTACH_FILTER, _SO_LOCK_FILTER = 26, 44
_NETWORK_HEADER = -0x100000 & 0xFFFFFFFF
"""SKF_NET_OFF of <linux/filter.h>: offsets from here up are in the IP header; plain ones are in TCP's."""
_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE, _AND, _RETURN = 0x20, 0x28, 0x30, 0x54, 0x06
_EQUAL = 0x15
_RST, _SYN, _ACK = 0x04, 0x02, 0x10
_ALL, _NOTHING = 0xFFFFFFFF, 0


class Step(NamedTuple):
    """An instruction of a classic BPF program. `then` and `otherwise` are how many of the next are skipped."""

    operation: int
    operand: int
    then: int = 0
    otherwise: int = 0


def accept_only(port: int, address: bytes) -> list[Step]:
    """The program for a TCP socket that listens on `port`, and on the IPv4 or IPv6 `address`; an empty one stands for every
    address."""
    place = 16 if len(address) == 4 else 24
    checks = [(Step(_LOAD_HALF, 2), port)]
    checks += [
        (Step(_LOAD_WORD, _NETWORK_HEADER + place + at), int.from_bytes(address[at : at + 4], "big"))
        for at in range(0, len(address), 4)
    ]
    end = [
        Step(_LOAD_BYTE, 13),
        Step(_AND, _SYN | _ACK | _RST),
        Step(_EQUAL, _SYN | _ACK, then=4),  # the second packet of a connection that began here
        Step(_EQUAL, _RST | _ACK, otherwise=2),
        Step(_LOAD_WORD, 4),
        Step(
            _EQUAL, 0, then=1
        ),  # a refusal has no sequence number; the end of an accepted connection has one
        Step(_RETURN, _ALL),
        Step(_RETURN, _NOTHING),
    ]
    program: list[Step] = []
    for number, (load, wanted) in enumerate(checks):
        left = 2 * (len(checks) - number - 1) + len(end) - 1
        program += [load, Step(_EQUAL, wanted, otherwise=left)]
    return program + end


def let_only_accept(descriptor: int) -> bool:
    """Give the listening TCP socket its filter, for good. Nothing happens where it has one. False where the kernel lets only
    CAP_NET_ADMIN do so (newer ones, of TCP sockets). Raises RuntimeFailure."""
    with socket.socket(fileno=os.dup(descriptor)) as listener:
        try:
            if listener.getsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER):
                return True
            host, port = listener.getsockname()[:2]
            packed = socket.inet_pton(listener.family, host.partition("%")[0])
            # An IPv4 address in IPv6 form arrives in IPv4 packets: its port alone is checked.
            address = b"" if not any(packed) or packed.startswith(bytes(10) + b"\xff\xff") else packed
            steps = accept_only(port, address)
            text = b"".join(
                struct.pack("HBBI", step.operation, step.then, step.otherwise, step.operand) for step in steps
            )
            code = ctypes.create_string_buffer(text)
            listener.setsockopt(
                socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(steps), ctypes.addressof(code))
            )
            listener.setsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)
            return True
        except PermissionError:
            return False
        except OSError as error:
            raise RuntimeFailure(
                f"the port cannot be passed into a container safely: {(error.strerror or '').lower()}",
                hint="'corten run -p' publishes a port without passing a socket on",
            ) from error


def forwarded(serving: Passed, environment: Iterable[str]) -> tuple[Passed, tuple[tuple[str, str], ...]]:
    """The same served by Corten's model server without the socket: on the port that `environment` (`NAME=VALUE`) names, behind the
    forwarder. Also the variables that tell it so."""
    assert serving.listener is not None
    environment = tuple(environment)
    _, told = told_port(variables(environment))
    # The server refuses what is no port with a sentence of its own, wherever it is looked for.
    port = told or 8080
    with socket.socket(fileno=os.dup(serving.listener)) as listener:
        host, outer = listener.getsockname()[:2]
    place = f"[{host}]:{outer}" if ":" in host else f"{host}:{outer}"
    saying = (*(telling(port, environment) if told else ()), ("CORTEN_FORWARDED", place))
    return replace(serving, forward=port, ready="/readyz", drains=True), saying
