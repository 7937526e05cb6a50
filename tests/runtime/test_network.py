"""Networks as they are decided: ports as people write them, ways to a private network, name servers."""

from __future__ import annotations

import os
import socket

import pytest

from corten.errors import RuntimeFailure, UsageError
from corten.runtime.identity import Identity
from corten.runtime.network import pasta
from corten.runtime.network.plan import Machine, choose, plan_private
from corten.runtime.network.ports import Port, check_distinct, parse_ports, take
from corten.runtime.network.resolvers import FORWARDED, resolvers

ROOT, PLAIN = Identity("root"), Identity("single", ((0, 1000, 1),), ((0, 1000, 1),))
WEB = Port(8080, 80)


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("8080", [Port(8080, 8080)]),
        ("8080:80", [Port(8080, 80)]),
        ("0:80", [Port(0, 80)]),
        ("127.0.0.1::80", [Port(0, 80)]),
        (":80", [Port(0, 80)]),
        ("0.0.0.0:53:5353/udp", [Port(53, 5353, "0.0.0.0", "udp")]),
        ("[::1]:8080:80", [Port(8080, 80, "::1")]),
        ("8000-8001:80-81", [Port(8000, 80), Port(8001, 81)]),
        ("0:80-81/tcp", [Port(0, 80), Port(0, 81)]),
    ],
)
def test_ports_as_people_write_them(text: str, ports: list[Port]) -> None:
    assert list(parse_ports(text)) == ports


@pytest.mark.parametrize(
    "text",
    ["", "x", "0", "80:0", "70000", "80-70", "8000-8010:80", "1.2.3:80:80", "1.2.3.999:80:80", "80:80/sctp", "1-2000", "[::1:80:80", "80:80\n", "٣:80", "1:2:3:4", "9" * 200],
)  # fmt: skip
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_ports(text)


def test_a_port_is_published_once() -> None:
    check_distinct([WEB, Port(8080, 80, protocol="udp"), Port(8080, 80, "::1"), Port(0, 1), Port(0, 1)])
    with pytest.raises(UsageError, match="published twice"):
        check_distinct([WEB, Port(8080, 81)])


def test_taken_ports_are_told_and_free_ones_chosen() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        number = other.getsockname()[1]
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(RuntimeFailure, match=f"127.0.0.1:{number}/tcp is in use"):
            take([Port(0, 80), Port(number, 80)])
        assert len(os.listdir("/proc/self/fd")) == before
    found = take([Port(0, 80), Port(0, 53, protocol="udp")], kept=[Port(0, 53, protocol="udp")])
    assert all(item.port.outside > 0 for item in found)
    assert [item.listener is None for item in found] == [True, False]
    assert found[1].listener is not None
    os.close(found[1].listener)
    with pytest.raises(UsageError, match="not an address of this machine"):
        take([Port(0, 80, "203.0.113.7")])


def test_who_decides_the_network() -> None:
    assert choose(None, None, ()) == "none"
    assert choose(None, "host", ()) == "host"
    assert choose("none", "private", ()) == "none"
    assert choose(None, "none", (WEB,)) == "private"
    assert choose("container:web", None, ()) == "container:web"
    for asked in ("none", "host", "container:web"):
        with pytest.raises(UsageError, match="private network"):
            choose(asked, None, (WEB,))
    # An image cannot ask for the network of somebody's container.
    for asked, label in (("lan", None), ("container:", None), (None, "container:web")):
        with pytest.raises(UsageError, match="unknown network"):
            choose(asked, label, ())


def test_ways_to_a_private_network() -> None:
    whole = Machine("/usr/bin/pasta", tun=True)
    low, datagrams, wide = Port(80, 80), Port(5353, 53, protocol="udp"), Port(8080, 80, "0.0.0.0")
    ports = (WEB, low, datagrams, wide)
    way = plan_private(ROOT, ports, whole)
    assert (way.pasta, way.by_pasta, way.by_forwarder) == ("/usr/bin/pasta", (WEB,), (low, datagrams, wide))
    way = plan_private(PLAIN, ports, whole)
    assert (way.by_pasta, way.by_forwarder) == ((WEB, low), (datagrams, wide))
    for machine in (Machine(None, tun=True), Machine("/usr/bin/pasta", tun=False)):
        way = plan_private(ROOT, ports, machine)
        assert (way.pasta, way.by_forwarder) == (None, ports)
        for identity, published in ((ROOT, ()), (PLAIN, ports), (PLAIN, ())):
            with pytest.raises(RuntimeFailure, match="a private network needs"):
                plan_private(identity, published, machine)


def test_pasta_is_closed_to_the_machines_loopback() -> None:
    for ports in ((), (WEB,)):
        words = pasta.arguments("/usr/bin/pasta", ports, forwards_names=False, namespace="/n", ready="/r")
        assert "--no-map-gw" in words
        for option in ("--tcp-ns", "--udp-ns", "--udp-ports"):
            assert words[words.index(option) + 1] == "none"
        assert words[words.index("--tcp-ports") + 1] == ("127.0.0.1/8080:80" if ports else "none")


@pytest.mark.parametrize(
    ("own", "upstream", "expected"),
    [
        ("nameserver 9.9.9.9\nsearch a b\n# x\n", "", ("nameserver 9.9.9.9\nsearch a b\n", False)),
        ("nameserver 127.0.0.53\noptions edns0", "nameserver 10.1.1.1\n", ("nameserver 10.1.1.1\noptions edns0\n", False)),
        ("nameserver 127.0.0.53\nnameserver 9.9.9.9\n", "", ("nameserver 9.9.9.9\n", False)),
        ("nameserver ::1\n", "nameserver 127.0.0.1", (f"nameserver {FORWARDED}\n", True)),
        ("nameserver fe80::1%eth0\nnameserver x\n", "", ("", False)),
        ("", "nameserver 10.1.1.1", ("nameserver 10.1.1.1\n", False)),
    ],
)  # fmt: skip
def test_name_servers_that_can_be_reached(own: str, upstream: str, expected: tuple[str, bool]) -> None:
    texts = {"/etc/resolv.conf": own, "/run/systemd/resolve/resolv.conf": upstream}
    assert resolvers(lambda path: texts[path]) == expected
