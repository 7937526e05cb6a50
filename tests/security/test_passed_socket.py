"""The listening socket that a container gets accepts, and does nothing else: it belongs to this machine's network."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from corten.runtime.descriptors import Passed
from corten.runtime.passed_socket import forwarded, let_only_accept
from support.kept import kept, running_as
from support.plain_user import as_user, interpreter, plain_user
from support.runner import Plain

_libc = ctypes.CDLL(None, use_errno=True)
_ADDRESSES = ["127.0.0.1", "0.0.0.0", "::1", "::"]


def dissolved(held: socket.socket) -> None:
    """What a container can do with any socket: connect(2) with AF_UNSPEC."""
    assert _libc.connect(held.fileno(), struct.pack("H14x", socket.AF_UNSPEC), 16) == 0, os.strerror(
        ctypes.get_errno()
    )
    held.settimeout(0.2)


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def loopback(address: str) -> str:
    return "::1" if ":" in address else "127.0.0.1"


@pytest.fixture(params=_ADDRESSES)
def address(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def listener(address: str) -> Iterator[socket.socket]:
    with socket.create_server((address, 0), family=family_of(address)) as made:
        assert let_only_accept(made.fileno())
        assert let_only_accept(made.fileno())
        yield made


@pytest.fixture
def secret(address: str) -> Iterator[tuple[str, int]]:
    """A service on this machine's loopback."""
    with socket.create_server((loopback(address), 0), family=family_of(address)) as made:

        def serve() -> None:
            while True:
                try:
                    connection, _ = made.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"secret")

        thread = threading.Thread(target=serve)
        thread.start()
        yield made.getsockname()[:2]
        made.shutdown(socket.SHUT_RDWR)
        thread.join()


def accepted(listener: socket.socket, address: str) -> tuple[socket.socket, socket.socket]:
    client = socket.create_connection((loopback(address), listener.getsockname()[1]))
    server, _ = listener.accept()
    return client, server


def test_it_serves_as_before(listener: socket.socket, address: str) -> None:
    client, server = accepted(listener, address)
    with client, server:
        sent = os.urandom(1 << 20)
        threading.Thread(target=client.sendall, args=(sent,)).start()
        assert server.recv(len(sent), socket.MSG_WAITALL) == sent
        server.sendall(b"answer")
        assert client.recv(6) == b"answer"
        # A client that is gone is noticed.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        server.settimeout(5)
        with pytest.raises(ConnectionResetError):
            server.recv(1)


@pytest.mark.parametrize("which", ["listener", "accepted"])
def test_it_cannot_connect_to_this_machine(
    listener: socket.socket, secret: tuple[str, int], address: str, which: str
) -> None:
    client, server = accepted(listener, address)
    with client, server:
        held = listener if which == "listener" else server
        dissolved(held)
        with pytest.raises(TimeoutError):
            held.connect(secret)


@pytest.mark.parametrize("which", ["listener", "accepted"])
def test_it_does_not_tell_whether_a_port_is_closed(listener: socket.socket, address: str, which: str) -> None:
    with socket.socket(family_of(address)) as closed:
        closed.bind((loopback(address), 0))
        client, server = accepted(listener, address)
        with client, server:
            held = listener if which == "listener" else server
            dissolved(held)
            with pytest.raises(TimeoutError):
                held.connect(closed.getsockname()[:2])


def test_an_accepted_one_cannot_listen_elsewhere(listener: socket.socket, address: str) -> None:
    client, server = accepted(listener, address)
    with client, server:
        dissolved(server)
        server.bind(("::" if ":" in address else "0.0.0.0", 0))
        server.listen()
        with pytest.raises(TimeoutError):
            socket.create_connection((loopback(address), server.getsockname()[1]), timeout=0.2)


def test_a_socket_of_one_address_cannot_be_opened_to_others() -> None:
    """127.0.0.2 stands for an address that other machines reach."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        let_only_accept(listener.fileno())
        client, server = accepted(listener, "127.0.0.1")
        with client, server:
            dissolved(listener)
            dissolved(server)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.close()
            server.bind(("0.0.0.0", port))
            server.listen()
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            with pytest.raises(TimeoutError):
                socket.create_connection(("127.0.0.2", port), timeout=0.2)


def test_the_filter_cannot_be_taken_off(listener: socket.socket) -> None:
    client, server = accepted(listener, listener.getsockname()[0])
    with client, server:
        for held in (listener, server):
            for option, value in ((27, 0), (26, struct.pack("HP", 0, 0)), (44, 0)):
                with pytest.raises(PermissionError):
                    held.setsockopt(socket.SOL_SOCKET, option, value)


def plain_user_may_confine() -> bool:
    """Whether this kernel lets a plain user give a TCP socket a filter: newer ones want CAP_NET_ADMIN."""
    python, variables = interpreter()
    script = (
        "import socket; from corten.runtime.passed_socket import let_only_accept\n"
        "with socket.create_server(('127.0.0.1', 0)) as made:\n"
        "    done = let_only_accept(made.fileno()); print(done, made.getsockopt(socket.SOL_SOCKET, 44) == int(done))"
    )
    command = as_user(plain_user(), [*python, "-c", script], variables)
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout.split()
    assert said in (["True", "True"], ["False", "True"])
    return said[0] == "True"


# Answers with the sockets of the server that are not of the container's own network.
LOOK = """
import os
def predict(x: int) -> list[str]:
    own = set()
    for name, column in (("tcp", 9), ("tcp6", 9), ("unix", 6), ("netlink", 9)):
        with open(f"/proc/net/{name}") as file:
            own |= {line.split()[column] for line in file.read().splitlines()[1:]}
    found = {os.readlink(f"/proc/1/fd/{name}") for name in os.listdir("/proc/1/fd")}
    return [text for text in found if text.startswith("socket:") and text[8:-1] not in own]
"""


@pytest.mark.e2e
def test_where_a_plain_user_may_not_confine_it_the_container_gets_none(
    plain_runners: Callable[[str], Plain],
) -> None:
    plain = plain_runners("subuids")
    root = plain.home / "look"
    root.mkdir()
    (root / "predict.py").write_text(LOOK)
    subprocess.run(["chown", "-R", f"{plain.user.pw_uid}", root], check=True)
    with kept(running_as(plain), root) as service:
        request = urllib.request.Request(f"http://127.0.0.1:{service.port}/predict", b'{"x": 1}')
        with urllib.request.urlopen(request, timeout=60) as answer:
            foreign = answer.read()
    # The socket that a plain user could confine is the only one.
    assert (foreign == b"[]") is not plain_user_may_confine()


@pytest.mark.parametrize(
    ("given", "port"),
    [
        ((), 8080),
        (("PORT=9000",), 9000),
        (("PORT=9000", "AIP_HTTP_PORT=7000", "SAGEMAKER_BIND_TO_PORT="), 7000),
        (("PORT=9000", "AIP_HTTP_PORT=7000", "SAGEMAKER_BIND_TO_PORT=7001"), 7001),
    ],
)
def test_behind_the_forwarder_all_variables_name_the_port_that_it_leads_to(
    given: tuple[str, ...], port: int, address: str
) -> None:
    with socket.create_server((address, 0), family=family_of(address)) as listener:
        serving, variables = forwarded(Passed(listener.fileno(), notify=4), given)
        outer = listener.getsockname()[1]
    assert serving == Passed(serving.listener, port, 4, "/readyz", drains=True)
    told = dict(variables)
    assert told.pop("CORTEN_FORWARDED") == (
        f"[{address}]:{outer}" if ":" in address else f"{address}:{outer}"
    )
    assert set(told.values()) == {str(port)}
    assert set(told) == {"PORT"} | {item.partition("=")[0] for item in given if item.partition("=")[2]}
