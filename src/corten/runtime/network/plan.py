"""What a container's network is, decided from what is asked for, its project and the machine: pure, but for the questions to the
machine in `survey`.

private, a plain user   pasta, which runs as this user in the container's user namespace
private, root           pasta as well, as the user nobody in a user namespace made for it: a way out without a bridge, firewall
                        rules or forwarding on this machine, which netavark would need. Corten's own forwarder has the ports
                        below 1024, which nobody may listen on.
both                    Corten's forwarder also has what pasta does not pass on well: ports on other addresses than the
                        loopback's, and UDP.
                        Without pasta, Corten's forwarder has all published ports, and there is no way out: it is said.
container:NAME          the network namespace of a container that runs, of this user. A plain user's two share the user
                        namespace too: the right to enter one is held in the other.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from corten.errors import RuntimeFailure, UsageError
from corten.runtime.identity import Identity, find_program
from corten.runtime.network.ports import Port
from corten.values import dataclass

_TUN = "/dev/net/tun"
_PRIVILEGED_BELOW = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
_INSTALL = "install it (apt install passt), or use --network host"
_KINDS = ("none", "host", "private")


@dataclass(frozen=True, slots=True)
class Machine:
    """What matters of this machine: `pasta` is its path; `tun` whether this process may open the device; `privileged_below`:
    ports below need a right that only root has."""

    pasta: str | None
    tun: bool
    privileged_below: int = 1024


@dataclass(frozen=True, slots=True)
class Way:
    """How a private network is made: `pasta` (its path) has a way out and the ports in `by_pasta`; Corten's forwarder has
    those in `by_forwarder`."""

    pasta: str | None
    by_pasta: tuple[Port, ...] = ()
    by_forwarder: tuple[Port, ...] = ()


def choose(asked: str | None, project: str | None, ports: Sequence[Port]) -> str:
    """`none`, `host`, `private` or `container:NAME`: what is asked for, else what the project's own configuration says; ports
    are published from a private network unless another one is asked for. Raises UsageError."""
    network = asked or ("private" if ports else project) or "none"
    if network not in _KINDS and not (network.startswith("container:") and asked and network[10:]):
        raise UsageError(
            f"unknown network '{network[:40]}'",
            hint="use none, host, private, or container:NAME to share that of another container",
        )
    if ports and network != "private":
        what = {"none": "nothing to publish", "host": "all of its ports on this machine already"}.get(
            network, "the ports that the other container publishes"
        )
        raise UsageError(
            f"-p publishes ports of a private network: with --network {network} a container has {what}",
            hint="leave one of the two out",
        )
    return network


def survey() -> Machine:
    """This machine, as this process sees it."""
    try:
        os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
        tun = True
    except OSError:
        tun = False
    try:
        with open(_PRIVILEGED_BELOW, encoding="utf-8") as file:
            privileged_below = int(file.read())
    except (OSError, ValueError):
        privileged_below = 1024
    return Machine(find_program("pasta"), tun, privileged_below)


def plan_private(identity: Identity, ports: tuple[Port, ...], machine: Machine) -> Way:
    """How a private network with `ports` is made for containers of `identity`. Raises RuntimeFailure where it cannot be."""
    root = identity.kind == "root"
    if machine.pasta is not None and machine.tun:
        kept = tuple(port for port in ports if not _is_for_pasta(port, root, machine))
        return Way(machine.pasta, tuple(port for port in ports if port not in kept), kept)
    if root and ports:
        return Way(None, by_forwarder=ports)
    if machine.pasta is None:
        raise RuntimeFailure("a private network needs 'pasta', which is not installed", hint=_INSTALL)
    raise RuntimeFailure(
        f"a private network needs '{_TUN}', which this user may not open",
        hint=f"as root: modprobe tun; chmod 0666 {_TUN} (usual elsewhere); or use --network host",
    )


def _is_for_pasta(port: Port, root: bool, machine: Machine) -> bool:
    """Whether pasta passes on what arrives at `port`. That of 2023 loses what a program inside says first to somebody who does
    not come from the machine's loopback, as those for mail and databases do; and datagrams that do come from there, where
    the numbers differ."""
    if port.protocol != "tcp" or not port.address.startswith("127."):
        return False
    return not root or port.outside == 0 or port.outside >= machine.privileged_below
