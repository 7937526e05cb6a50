"""Where a registry may lead whoever asks it: a registry elsewhere to nothing of this machine, nor to a cloud's metadata."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from corten.errors import RegistryError
from corten.network.settings import NetworkSettings
from corten.registry.credentials import Given
from corten.registry.exchange import Exchange
from corten.registry.settings import RegistrySettings

TOKEN = b'{"token": "of-a-service-on-loopback"}'


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers.get("Authorization")))  # type: ignore[attr-defined]
        status, headers, body = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def answering(status: int, headers: dict[str, str], body: bytes = b"") -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.seen = []  # type: ignore[attr-defined]
    server.answer = (status, headers, body)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def through(proxy: ThreadingHTTPServer) -> RegistrySettings:
    """Settings with which every registry is `proxy`: the test needs no host of another name."""
    environment = {"http_proxy": f"http://127.0.0.1:{proxy.server_port}", "no_proxy": "127.0.0.1,localhost"}
    return RegistrySettings(NetworkSettings(environment=environment), Given(None), insecure=True)


@pytest.mark.parametrize("spelling", ["127.0.0.1", "localhost", "0x7f.1", "[::ffff:127.0.0.1]"])
@pytest.mark.parametrize("way", ["token server", "redirect"])
def test_a_registry_elsewhere_leads_to_nothing_of_this_machine(way: str, spelling: str) -> None:
    with answering(200, {}, TOKEN) as local:
        place = f"http://{spelling}:{local.server_port}/latest"
        told = {"WWW-Authenticate": f'Bearer realm="{place}",service="x"'}
        answer = (401, told) if way == "token server" else (307, {"Location": place})
        with answering(*answer) as evil:
            exchange = Exchange("registry.example", through(evil))
            with pytest.raises(RegistryError, match="leads to an address of this machine"):
                exchange.ask("GET", "/v2/x/manifests/1", frozenset({200}), what="'x'", name="x")
    assert local.seen == []  # type: ignore[attr-defined]
    assert all(header is None for _, header in evil.seen)  # type: ignore[attr-defined]


def test_a_registry_on_this_machine_may_have_its_token_server_there() -> None:
    with answering(200, {}, TOKEN) as local:
        realm = f'Bearer realm="http://127.0.0.1:{local.server_port}/token"'
        with answering(401, {"WWW-Authenticate": realm}) as registry:
            exchange = Exchange(f"127.0.0.1:{registry.server_port}", through(registry))
            with pytest.raises(RegistryError, match="refused access"):
                exchange.ask("GET", "/v2/x/manifests/1", frozenset({200}), what="'x'", name="x")
    assert local.seen  # type: ignore[attr-defined]
