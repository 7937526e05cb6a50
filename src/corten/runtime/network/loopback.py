"""What a new network namespace needs at first: its loopback interface, which is down, and ports that nobody else can want."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct

_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_FREE_PORTS = "/proc/sys/net/ipv4/ip_unprivileged_port_start"


def raise_loopback() -> None:
    """Bring up the loopback interface of this process's network namespace (netdevice(7)). Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))


def free_ports() -> None:
    """Let every user of this process's network namespace listen on ports below 1024, as docker does: in a container's own network
    nobody else could want them. Where the kernel does not allow it, they stay root's."""
    with contextlib.suppress(OSError), open(_FREE_PORTS, "w", encoding="utf-8") as file:
        file.write("0")
