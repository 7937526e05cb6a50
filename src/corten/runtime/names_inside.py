"""How a container calls itself and others: its /etc/hostname, /etc/hosts and /etc/resolv.conf."""

from __future__ import annotations

import contextlib
import errno

from corten.errors import RuntimeFailure, UsageError
from corten.runtime.options import HOST_GATEWAY, RunOptions

_LIMIT = 1 << 20


def name_files(name: str, network: str, options: RunOptions, resolvers: str = "") -> dict[str, str]:
    """The three files by name. On the machine's own network they begin with what the machine has; elsewhere `resolv.conf`
    is `resolvers`. The name servers that were asked for come instead. Raises UsageError for name servers without a network."""
    if options.dns and network == "none":
        raise UsageError("--dns is of no use without a network", hint="add --network, or leave --dns out")
    name = options.hostname or name
    texts = {
        "hostname": f"{name}\n",
        "hosts": f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {name}\n",
        "resolv.conf": resolvers,
    }
    if network == "host":
        for file_name in ("hosts", "resolv.conf"):
            with (
                contextlib.suppress(OSError),
                open(f"/etc/{file_name}", encoding="utf-8", errors="replace") as file,
            ):
                texts[file_name] = file.read(_LIMIT)
    # The first line with a name counts (hosts(5)), so those that were asked for come before all others.
    asked = "".join(
        f"{own_address(network) if address == HOST_GATEWAY else address} {host}\n"
        for host, address in options.hosts
    )
    texts["hosts"] = asked + texts["hosts"]
    if options.dns:
        texts["resolv.conf"] = "".join(f"nameserver {address}\n" for address in options.dns)
    return texts


def own_address(network: str) -> str:
    """This machine's address as a container with `network` reaches it: on the machine's own network its loopback, elsewhere the
    address that others reach it at. Raises RuntimeFailure where it has none."""
    if network == "host":
        return "127.0.0.1"
    # Few ask for it, and every start would pay for this.
    import socket

    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        # Nothing is sent: the kernel only chooses the address that it would send from.
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            return str(probe.getsockname()[0])
    raise RuntimeFailure(
        f"'{HOST_GATEWAY}' stands for this machine's address, and it has none but its loopback",
        hint="write an address, or use --network host",
    )


def put_into(root: str, files: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Write `files`, (place on this machine, place inside), into the writable root at `root`, where programs may change them and
    what they write counts as any other file. Returns those whose place is no plain one, which are to be mounted."""
    # Few roots are writable, and every start would pay for this.
    from corten.oci.inside import Inside

    left = []
    with Inside(root) as inside:
        for place, target in files:
            with open(place, "rb") as source:
                data = source.read()
            try:
                inside.write(target, data, replace=True)
            except (NotADirectoryError, IsADirectoryError):
                left.append((place, target))
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
                left.append((place, target))
    return tuple(left)
