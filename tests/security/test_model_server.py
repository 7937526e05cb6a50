"""The model server and browsers: what a page that it knows nothing of may read from it, and make it do."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from corten.runtime.decide import served_here
from corten.runtime.network.ports import parse_ports
from corten_serve.server.origins import Origins, is_loopback
from support.browser import Browser, chromium
from support.serving import Answer, Serving

CODE = """
    from collections.abc import Iterator
    from corten_serve import endpoint

    def note(what):
        with open("/proc/self/environ") as file:
            names = dict(line.split("=", 1) for line in file.read().split(chr(0)) if "=" in line)
        with open(names["SEEN"], "a") as file:
            file.write(what + chr(10))

    class Model:
        def predict(self, text: str = "none") -> str:
            note("predict " + text)
            return text

        @endpoint
        def raw(self, data: bytes) -> int:
            note("raw")
            return len(data)

        @endpoint
        def stream(self, n: int = 2) -> Iterator[int]:
            note("stream")
            yield from range(n)
"""
EVIL = "http://evil.example"


class Noted(Serving):
    """A server whose predictor writes down that it was called."""

    seen: Path

    def calls(self) -> list[str]:
        return self.seen.read_text().split("\n")[:-1] if self.seen.exists() else []


@pytest.fixture
def serve(start, tmp_path):
    def serve(**options: str) -> Noted:
        server = start(CODE, "predict:Model", SEEN=str(tmp_path / "seen"), **options)
        server.__class__ = Noted
        server.seen = tmp_path / "seen"
        return server

    return serve


def everywhere(serve) -> Noted:
    """A server that other machines reach: it binds every interface itself, as in a container."""
    return serve(inherit=False, CORTEN_HOST="0.0.0.0")


def ask(
    server: Serving, path: str = "/predict", method: str = "POST", body: bytes = b"{}", **headers: str
) -> Answer:
    kind = {} if "content_type" in headers else {"content-type": "application/json"}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request(method, path, body if method == "POST" else None, {**kind, **names})


@pytest.mark.parametrize("inherit", [True, False], ids=["passed in", "bound"])
def test_on_loopback_a_strange_host_name_reads_nothing_and_runs_nothing(serve, inherit):
    server = serve(inherit=inherit)
    for path, method in (("/", "GET"), ("/status", "GET"), ("/openapi.json", "GET"), ("/livez", "GET"),
                         ("/predict", "POST"), ("/predict", "OPTIONS"), ("/v2", "GET")):  # fmt: skip
        answer = ask(server, path, method, host="evil.example:8000")
        assert answer.status == 403
        assert answer.json == {
            "error": "this server does not answer to the host name 'evil.example:8000'; CORTEN_HOSTS can allow it"
        }
    assert ask(server, "/", "HEAD", host="evil.example").status == 403
    assert server.calls() == []
    for name in ("localhost", "LOCALHOST:9000", "app.localhost:1", "127.0.0.1", "[::1]:80", "10.1.2.3:8000",
                 "host.docker.internal:8000", "localhost."):  # fmt: skip
        assert ask(server, host=name).status == 200, name


def test_a_client_that_names_no_host_is_answered(serve):
    server = serve()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert b" 200 " in client.makefile("rb").readline()


def test_host_names_can_be_allowed(serve):
    server = serve(CORTEN_HOSTS="Model.example.com, *.lab.example")
    for name in ("model.example.com", "a.lab.example:80", "a.b.lab.example", "localhost:1", "192.0.2.1"):
        assert ask(server, host=name).status == 200, name
    for name in ("example.com", "lab.example", "xlab.example", "model.example.com.evil.example", "["):
        assert ask(server, host=name).status == 403, name


def test_every_host_name_can_be_allowed(serve):
    assert ask(serve(CORTEN_HOSTS="*"), host="any.example").status == 200


def test_a_server_that_others_reach_answers_to_every_host_name(serve):
    server = everywhere(serve)
    for name in ("model.example.com", "10.0.0.7:8080", "svc.cluster.local", "_"):
        assert ask(server, host=name).status == 200, name


def test_a_server_that_others_reach_answers_to_few_host_names_where_it_was_said(serve):
    server = serve(inherit=False, CORTEN_HOST="0.0.0.0", CORTEN_HOSTS="model.example.com")
    assert ask(server, host="model.example.com").status == 200
    assert ask(server, host="evil.example").status == 403
    assert ask(server, host="10.0.0.7:8080").status == 200  # A probe's.


SIMPLE = [
    ("/predict", "text/plain", b'{"text": "x"}'),
    ("/predict", "text/plain;charset=utf-8", b'{"text": "x"}'),
    ("/predict", "application/x-www-form-urlencoded", b"text=x"),
    ("/predict", "multipart/form-data; boundary=b", b'--b\r\ncontent-disposition: form-data; name="text"\r\n\r\nx\r\n--b--\r\n'),
    ("/raw", "text/plain", b"upload"),
    ("/stream", "text/plain", b'{"n": 2}'),
    ("/invocations", "text/plain", b'{"text": "x"}'),
    ("/v1/models/predictor:predict", "text/plain", b'{"instances": [{"text": "x"}]}'),
    ("/v2/models/predictor/infer", "text/plain", b'{"inputs": []}'),
]  # fmt: skip


@pytest.mark.parametrize("reached", ["loopback", "others"])
def test_a_foreign_page_runs_no_prediction_in_any_protocol(serve, reached):
    server = serve() if reached == "loopback" else everywhere(serve)
    for path, kind, body in SIMPLE:
        for said in ({"origin": EVIL, "sec_fetch_site": "cross-site"}, {"origin": EVIL}, {"origin": "null"},
                     {"sec_fetch_site": "same-site"}):  # fmt: skip
            answer = ask(server, path, body=body, content_type=kind, **said)
            assert answer.status == 403, (path, kind, said)
            assert "may not call this server; CORTEN_CORS can allow it" in answer.json["error"]
    assert server.calls() == []


def test_on_loopback_a_foreign_page_runs_nothing_with_json_either(serve):
    server = serve()
    answer = ask(server, origin=EVIL)
    assert answer.status == 403
    assert answer.json["error"] == f"pages of '{EVIL}' may not call this server; CORTEN_CORS can allow it"
    assert server.calls() == []


def test_a_gateway_that_answers_preflights_itself_goes_on_working(serve):
    server = everywhere(serve)
    assert ask(server, origin="https://app.example.com", host="model.internal").status == 200


def test_the_servers_own_page_may_call_it_under_every_name(serve):
    for server in (serve(), everywhere(serve)):
        at_home = f"localhost:{server.port + 1}"  # A forwarded port.
        assert ask(server, host=at_home, origin=f"http://{at_home}").status == 200
        assert (
            ask(server, host=at_home, origin="https://x.example", sec_fetch_site="same-origin").status == 200
        )
        proxied = {"origin": "http://models.example", "x_forwarded_host": "models.example"}
        assert ask(server, **proxied).status == 200
        form = {"content_type": "application/x-www-form-urlencoded", "x_requested_with": "corten"}
        assert ask(server, body=b"text=x", origin="http://renamed.example", **form).status == 200


def test_origins_that_were_allowed_may_run_predictions(serve):
    server = serve(CORTEN_CORS="https://app.example.com")
    assert ask(server, origin="https://app.example.com", sec_fetch_site="cross-site").status == 200
    assert ask(server, origin=EVIL, sec_fetch_site="cross-site").status == 403


def test_programs_are_asked_nothing(serve):
    server = serve()
    assert server.predict({"text": "a"}).json == "a"
    kind = {"content-type": "text/plain"}
    assert server.request("POST", "/predict", b'{"text": "b"}', kind).json == "b"


@pytest.mark.parametrize(
    ("family", "address", "local"),
    [
        (socket.AF_INET, "127.0.0.1", True),
        (socket.AF_INET, "127.9.9.9", True),
        (socket.AF_INET, "0.0.0.0", False),
        (socket.AF_INET6, "::1", True),
        (socket.AF_INET6, "::ffff:127.0.0.1", True),
        (socket.AF_INET6, "::", False),
    ],
)
def test_a_socket_tells_whether_only_this_machine_reaches_it(family, address, local):
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        assert is_loopback(listener) is local


@pytest.mark.parametrize(
    ("ports", "here"),
    [
        (["8080:8080"], True),
        (["127.0.0.1:80:8080", "[::1]:80:8080"], True),
        (["0.0.0.0:8080:8080"], False),
        (["8080:8080", "10.0.0.1:80:8080"], False),
        ([], False),
    ],
)
def test_a_port_that_is_published_on_loopback_answers_to_local_names_only(ports, here):
    published = [port for text in ports for port in parse_ports(text)]
    expected = {"CORTEN_HOSTS": "localhost"} if here else {}
    assert served_here({"dev.corten.entry": "predict"}, published) == expected
    assert served_here({"dev.corten.entry": "command"}, published) == {}


def test_remembered_host_names_are_few():
    origins = Origins((), (), local=True)
    for number in range(1000):
        assert origins.answers_to(f"a{number}.localhost")
    assert len(origins._known) <= 256


# A real browser.


@contextmanager
def foreign(target: str) -> Iterator[str]:
    """A page of another origin that tries everything it may against `target`, and shows what came of it."""
    script = f"""
    const results = [];
    const attempt = async (name, path, options) => {{
      try {{ results.push([name, (await (await fetch("{target}" + path, options)).text()).slice(0, 99)]); }}
      catch (error) {{ results.push([name, "failed"]); }}
    }};
    const form = new FormData(); form.append("text", "form");
    (async () => {{
      await attempt("plain", "/predict", {{method: "POST", body: '{{"text": "plain"}}'}});
      await attempt("blind", "/predict", {{method: "POST", mode: "no-cors", body: '{{"text": "blind"}}'}});
      await attempt("form", "/predict", {{method: "POST", mode: "no-cors", body: form}});
      await attempt("upload", "/raw", {{method: "POST", mode: "no-cors", body: new Blob(["x"])}});
      await attempt("stream", "/stream", {{method: "POST", mode: "no-cors", body: "{{}}"}});
      await attempt("json", "/predict", {{method: "POST", body: "{{}}", headers: {{"content-type": "application/json"}}}});
      navigator.sendBeacon("{target}/predict", '{{"text": "beacon"}}');
      document.title = JSON.stringify(results);
    }})();
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"<!doctype html><title>…</title><script>{script}</script>".encode()
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as window:
        yield window


def attempts(browser: Browser, url: str) -> dict[str, str]:
    browser.open(url)
    title = browser.wait(lambda: found if (found := browser.run("return document.title")) != "…" else None)
    return dict(json.loads(title))


def refused(server: Serving, count: int) -> None:
    """Wait until the log has so many requests that were refused: what a beacon sends comes late."""
    end = time.monotonic() + 60
    while server.log().count(" 403 ") < count:
        assert time.monotonic() < end, server.log()
        time.sleep(0.02)


def test_a_foreign_page_in_a_browser_runs_and_reads_nothing(serve, browser):
    server = serve()
    with foreign(f"http://127.0.0.1:{server.port}") as url:
        results = attempts(browser, url)
        refused(server, 6)
    assert {results[name] for name in ("plain", "json")} == {"failed"}
    assert {results[name] for name in ("blind", "form", "upload", "stream")} == {""}
    assert server.calls() == []


def test_a_page_of_an_allowed_origin_runs_and_reads(serve, browser):
    server = serve(CORTEN_CORS="*")
    with foreign(f"http://127.0.0.1:{server.port}") as url:
        results = attempts(browser, url)
    assert results["plain"] == '"plain"'
    assert "predict form" in server.calls()


@contextmanager
def forwarded(port: int) -> Iterator[int]:
    """Another port of this machine that leads to `port`, byte by byte, as `ssh -L` makes one."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", port))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def test_the_page_works_through_a_forwarded_port(serve, browser):
    server = serve()
    with forwarded(server.port) as port:
        browser.open(f"http://localhost:{port}/#/predict")
        browser.labelled("text").replace("through")
        browser.find("#run").click()
        browser.see("through", "#answer")
    assert server.calls() == ["predict through"]
