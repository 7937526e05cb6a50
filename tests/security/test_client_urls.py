"""URLs in requests: a client must not be able to have the server ask hosts that only the server can reach."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten_serve import urls
from support.serving import start

__all__ = ["start"]
FILES = """
from cog import BasePredictor, Path
class P(BasePredictor):
    def predict(self, file: Path) -> int:
        return len(file.read_bytes())
"""


@pytest.fixture
def host() -> Iterator[tuple[str, list[str]]]:
    """The address of a server, and what it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x" * 5000)

        do_POST = do_GET

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_no_url_of_a_request_is_followed_unless_its_host_is_allowed(start, host):
    place, asked = host
    serving = start(FILES, "predict:P", CORTEN_FOLLOW_URLS="files.example")
    answer = serving.request("POST", "/predictions", {"input": {"file": f"{place}/secret"}})
    assert answer.status == 422
    assert "CORTEN_FOLLOW_URLS can allow it" in answer.json["detail"][0]["msg"]
    assert serving.predict({"file": f"{place}/secret"}).status == 422
    body = {"input": {"file": "data:,"}, "webhook": f"{place}/hook"}
    answer = serving.request("POST", "/predictions", body, {"prefer": "respond-async"})
    assert answer.status == 422
    assert "the webhook is not called" in answer.json["error"]
    assert asked == []


def test_a_pattern_admits_no_host_with_a_private_address(host):
    place, asked = host
    everywhere = urls.Policy(("*", "*.localhost"), 1000)
    for url in (
        f"{place}/",
        place.replace("127.0.0.1", "localhost"),
        place.replace("127.0.0.1", "[::ffff:127.0.0.1]"),
    ):
        with pytest.raises(urls.UrlRefused, match="an address of a private network"):
            urls.fetch(url, everywhere)
        with pytest.raises(urls.UrlRefused, match="an address of a private network"):
            urls.post(url, b"{}", everywhere)
    assert asked == []


def test_a_file_behind_a_url_is_bounded(host):
    place, _ = host
    assert len(urls.fetch(f"{place}/a", urls.Policy(("127.0.0.1",), 5000)).data) == 5000
    with pytest.raises(urls.UrlRefused, match="larger than 4999 bytes"):
        urls.fetch(f"{place}/a", urls.Policy(("127.0.0.1",), 4999))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::", "2001:0:53aa:64c:0:5efe:102:304", "no address",
    ],
)  # fmt: skip
def test_an_address_that_is_not_of_the_public_internet_is_known_as_such(address):
    assert not urls.is_public(address)


def test_a_public_address_is_known_as_such():
    assert urls.is_public("1.1.1.1")
    assert urls.is_public("2606:4700:4700::1111")
    assert urls.is_public("64:ff9b::101:101")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://a.example/", "http://user:secret@a.example/", "http://", "http://a.example:99999/",
        "http://a.example/\r\nHost: b", "http://a.example/ b", "http://[::1/", "gopher://a.example/", "http://a.example/" + "a" * 9000,
    ],
)  # fmt: skip
def test_a_url_of_another_form_is_refused(url):
    with pytest.raises(urls.UrlRefused):
        urls.check(url, urls.Policy(("*",), 1))


@given(st.text())
def test_any_text_is_a_url_or_is_refused(text):
    try:
        urls.check(text, urls.Policy(("*",), 1))
    except urls.UrlRefused:
        pass
    else:
        assert text.lower().startswith("http")


@pytest.mark.parametrize(
    ("hosts", "host", "exact"),
    [(("a.example",), "a.example", True), (("*.example",), "a.example", False), (("*",), "b", False)],
)
def test_a_host_is_named_or_matched(hosts, host, exact):
    assert urls.Policy(hosts, 1).check(host) is exact


@pytest.mark.parametrize("hosts", [(), ("a.example",), ("*.a.example",), ("example",)])
def test_a_host_that_is_not_named_is_refused(hosts):
    with pytest.raises(urls.UrlRefused, match="are not followed"):
        urls.Policy(hosts, 1).check("b.example")
    with pytest.raises(urls.UrlRefused):
        urls.Policy(hosts, 1).check("eviltest-a.example2")


def test_a_secret_input_is_shown_nowhere(start):
    code = """
    from cog import BasePredictor, Secret
    class P(BasePredictor):
        def predict(self, key: Secret) -> str:
            return f"{key} {key!r} {len(key.get_secret_value())}"
    """
    serving = start(code, "predict:P")
    answer = serving.request("POST", "/predictions", {"input": {"key": "hunter22"}})
    assert answer.json["output"] == "********** Secret(**********) 8"
    wrong = serving.request("POST", "/predictions", {"input": {"key": ["hunter22"]}})
    assert wrong.status == 422
    assert b"hunter22" not in answer.body + wrong.body + serving.log().encode()
