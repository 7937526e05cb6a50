"""The loopback interface of a new network namespace, which is down at first."""

from __future__ import annotations

import fcntl
import socket
import struct

_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


def raise_loopback() -> None:
    """Bring up the loopback interface of this process's network namespace (netdevice(7)). Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
