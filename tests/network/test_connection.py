"""One exchange, against servers made of a socket that do one thing each."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corten.errors import FetchError
from corten.network.connection import Connections
from corten.network.failures import NotTls, NotTrusted, Refused, Transient, retry_after
from corten.network.settings import NetworkSettings, network_from
from support.certificates import Authority

ANSWER = b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch"
ENDLESS = 64 << 20
"""More bytes than any buffer between two sockets."""


@contextmanager
def server(serve: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that hands every connection to `serve`, and its `HOST:PORT`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    def one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            if tls is None:
                serve(connection)
            else:
                with tls.wrap_socket(connection, server_side=True) as wrapped:
                    serve(wrapped)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def head_of(connection: socket.socket) -> bytes:
    """Read to the end of a request's headers, byte by byte so that its body stays."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        # What is longer is the rest of a body that nobody reads; looking through megabytes of it would slow all other tests.
        if not byte or len(data) > 1 << 16:
            raise OSError("no request")
        data += byte
    return data


def body(size: int) -> Iterator[bytes]:
    for _ in range(size >> 20):
        yield bytes(1 << 20)


def settings(**changes: object) -> NetworkSettings:
    return NetworkSettings(environment={}, connect=5, read=2, **changes)  # type: ignore[arg-type]


def answers_at_once(connection: socket.socket) -> None:
    head_of(connection)
    connection.sendall(ANSWER)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    authority = Authority.make(tmp_path_factory.mktemp("authority"))
    issued = authority.issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    return authority.ca, context


@pytest.mark.parametrize("announced", [True, False])
def test_an_answer_before_the_end_of_the_request(announced: bool) -> None:
    headers = {"Content-Length": str(ENDLESS)} if announced else {}
    with server(answers_at_once) as address:
        answer = Connections(settings()).send("PUT", f"http://{address}/x", headers, body(ENDLESS))
        assert (answer.status, answer.read1(100)) == (413, b"much")


def test_an_answer_before_the_end_of_the_request_over_tls(
    certificates: tuple[Path, ssl.SSLContext],
) -> None:
    """Servers leave their clients a moment to read before they close."""

    def serve(connection: socket.socket) -> None:
        answers_at_once(connection)
        threading.Event().wait(0.3)

    ca, context = certificates
    with server(serve, context) as address:
        connections = Connections(settings(certificates=ca))
        answer = connections.send("PUT", f"https://{address}/x", {}, body(ENDLESS))
        assert (answer.status, answer.read1(100)) == (413, b"much")


def test_a_server_that_answers_and_takes_no_more(certificates: tuple[Path, ssl.SSLContext]) -> None:
    """It keeps the connection open, so only the time that passes tells."""
    done = threading.Event()

    def serve(connection: socket.socket) -> None:
        answers_at_once(connection)
        done.wait(20)

    ca, context = certificates
    for scheme, tls in (("http", None), ("https", context)):
        with server(serve, tls) as address:
            connections = Connections(settings(certificates=ca))
            answer = connections.send("PUT", f"{scheme}://{address}/x", {}, body(ENDLESS))
            assert (answer.status, answer.read1(100)) == (413, b"much")
            done.set()
        done.clear()


def test_what_is_not_wanted_is_not_sent() -> None:
    """The server would take all of it."""
    taken = 0

    def serve(connection: socket.socket) -> None:
        nonlocal taken
        answers_at_once(connection)
        while data := connection.recv(1 << 20):
            taken += len(data)

    with server(serve) as address:
        answer = Connections(settings()).send("PUT", f"http://{address}/x", {}, body(ENDLESS))
        assert (answer.status, answer.read1(100)) == (413, b"much")
        answer.close()
    assert taken < ENDLESS


def test_a_server_that_takes_nothing_and_says_nothing() -> None:
    done = threading.Event()

    def serve(connection: socket.socket) -> None:
        head_of(connection)
        done.wait(20)

    with server(serve) as address:
        with pytest.raises(Transient, match="stopped taking"):
            Connections(settings()).send("PUT", f"http://{address}/x", {}, body(ENDLESS))
        done.set()


def test_a_connection_that_was_left_in_the_middle_is_not_used_again() -> None:
    seen: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        while True:
            seen.append(head_of(connection).split(b"\r\n")[0])
            connection.sendall(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
            if seen[-1].startswith(b"PUT"):
                threading.Event().wait(0.3)

    with server(serve) as address:
        connections = Connections(settings())
        connections.send("PUT", f"http://{address}/first", {}, body(ENDLESS)).close()
        answer = connections.send("GET", f"http://{address}/second", {})
        answer.close()
        assert answer.status == 401
    assert seen == [b"PUT /first HTTP/1.1", b"GET /second HTTP/1.1"]


def test_a_body_is_sent_as_announced() -> None:
    seen: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        seen.append(head_of(connection).lower())
        taken = b""
        while not taken.endswith(b"zz" if b"content-length" in seen[-1] else b"0\r\n\r\n"):
            taken += connection.recv(1 << 16)
        seen.append(taken)
        connection.sendall(b"HTTP/1.1 201 Made\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with server(serve) as address:
        connections = Connections(settings())
        for headers in ({"Content-Length": "6"}, {}):
            assert (
                connections.send("PUT", f"http://{address}/", headers, iter([b"aaaa", b"", b"zz"])).status
                == 201
            )
    assert b"transfer-encoding" not in seen[0]
    assert seen[1] == b"aaaazz"
    assert b"transfer-encoding: chunked" in seen[2]
    assert seen[3] == b"4\r\naaaa\r\n2\r\nzz\r\n0\r\n\r\n"


def test_errors_of_the_body_are_its_own() -> None:
    def broken() -> Iterator[bytes]:
        yield b"x"
        raise TimeoutError("of the body")

    def serve(connection: socket.socket) -> None:
        head_of(connection)
        connection.recv(100)

    with server(serve) as address, pytest.raises(TimeoutError, match="of the body"):
        Connections(settings()).send("PUT", f"http://{address}/", {}, broken())


def test_plain_http_behind_https_is_told() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

    with server(serve) as address, pytest.raises(NotTls, match="does not speak https"):
        Connections(settings()).send("GET", f"https://{address}/", {})


@pytest.mark.parametrize(
    ("alert", "sentence", "passes"),
    [
        (50, "the TLS handshake with '127.0.0.1:PORT' failed: .*decode error", True),
        (80, "the TLS handshake with '127.0.0.1:PORT' failed: .*internal error", True),
        (
            40,
            "'127.0.0.1:PORT' and this machine have no TLS version or cipher in common: .*handshake failure",
            False,
        ),
        (
            70,
            "'127.0.0.1:PORT' and this machine have no TLS version or cipher in common: .*protocol version",
            False,
        ),
        (42, "'127.0.0.1:PORT' wants a client certificate: .*bad certificate", False),
        (48, "'127.0.0.1:PORT' wants a client certificate: .*unknown ca", False),
    ],
)
def test_an_alert_says_nothing_of_the_hosts_certificate(alert: int, sentence: str, passes: bool) -> None:
    """Numbers are those of RFC 8446, section 6."""

    def serve(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(bytes([0x15, 3, 1, 0, 2, 2, alert]))

    with server(serve) as address, pytest.raises(FetchError) as caught:
        Connections(settings()).send("GET", f"https://{address}/", {})
    port = address.rpartition(":")[2]
    assert re.fullmatch(sentence.replace("PORT", port), caught.value.message)
    assert isinstance(caught.value, Transient) is passes
    assert not isinstance(caught.value, NotTrusted)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0),
        (" 7 ", 7.0),
        (None, None),
        ("soon", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("-1", None),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    assert retry_after(text) == seconds


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_credentials_is_named(scheme: str) -> None:
    """It was one that cannot be reached, or a host that wants a login."""

    def refuse(connection: socket.socket) -> None:
        head_of(connection)
        answer = (
            b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(answer)

    with server(refuse) as address:
        proxies = {"http_proxy": f"http://{address}", "https_proxy": f"http://{address}"}
        connections = Connections(NetworkSettings(environment=proxies))
        with pytest.raises(Refused, match=r"the proxy for 'registry.example' wants credentials") as caught:
            connections.open(f"{scheme}://registry.example/file", {})
        assert "USER:PASSWORD" in str(caught.value.hint)


def test_pip_s_certificates_win_for_indexes_alone(tmp_path: Path) -> None:
    names = {"PIP_CERT": "/pip.pem", "SSL_CERT_FILE": "/all.pem", "CURL_CA_BUNDLE": "/curl.pem"}
    assert network_from(names).certificates == Path("/pip.pem")
    assert network_from(names, indexes=False).certificates == Path("/all.pem")
    assert network_from({"PIP_CERT": "/pip.pem"}, indexes=False).certificates == Path("/pip.pem")
