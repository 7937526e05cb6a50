"""pasta(1), which gives a network namespace a way out without any right on this machine: how it is called.

It opens connections on this machine for what the container sends, so it could reach the machine's own loopback, which is where
people keep what nobody else shall reach. Its defaults do that, in three ways, and all are switched off: the ports of the
namespace's loopback that lead to the machine's (-T, -U), those of the machine that lead inside (-t, -u), and the gateway's
address, which stands for the machine's loopback (--no-map-gw).

The container's address is one of its own, not a copy of the machine's as pasta would have it: a container reaches services on
this machine's other addresses as any neighbour on the network does, and advertises no address that is not its.
"""

from __future__ import annotations

from collections.abc import Sequence

from corten.runtime.network.ports import Port
from corten.runtime.network.resolvers import FORWARDED

ADDRESS = "10.0.2.100"
_NETMASK, _GATEWAY = "24", "10.0.2.2"
_MTU = "32768"
"""With its default of 65520 pasta of 2023 now and then resets or stalls a long upload; with 1500 it is slow."""


def arguments(
    path: str, ports: Sequence[Port], *, forwards_names: bool, namespace: str, ready: str
) -> list[str]:
    """The command line of pasta at `path` for the network namespace at `namespace`. It stays in the foreground, where it has
    no process namespace of its own, so that nobody takes it for the container's first process; it writes its number
    to `ready` when everything is."""
    command = [path, "--foreground", "--quiet", "--pid", ready, "--config-net", "--no-map-gw"]
    command += ["--ns-ifname", "eth0"]
    command += ["--address", ADDRESS, "--netmask", _NETMASK, "--gateway", _GATEWAY, "--mtu", _MTU]
    for port in ports:
        command += ["--tcp-ports", f"{port.address}/{port.outside}:{port.inside}"]
    if not ports:
        command += ["--tcp-ports", "none"]
    command += ["--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"]
    if forwards_names:
        command += ["--dns-forward", FORWARDED]
    return [*command, "--netns", namespace]


def reason(said: str) -> str:
    """What went wrong, of all that it said on standard error."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    # Where there is no system log it complains about that too.
    lines = [line for line in lines if "to syslog" not in line]
    return lines[-1][:300] if lines else "nothing"
