"""A page that a script makes is ready when it is shown, and an exception instead of it ends the start. Programs that answer as the frameworks do
stand in for them; tests/corpus has the real ones."""

from __future__ import annotations

import pytest

from corten.runtime.first_page import Page
from support.forwarded import forwarded

SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, text = ANSWERS.pop(0) if len(ANSWERS) > 1 else ANSWERS[0]
        self.send_response(status if self.path == "/app" else 418)
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_):
        pass
ANSWERS = {answers}
http.server.HTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""
BOKEH = b'<script src="static/js/bokeh.min.js"></script>'


def program(*answers: tuple[int, bytes]) -> str:
    return SERVER.replace("{answers}", repr(list(answers)))


@pytest.mark.parametrize(
    "answers",
    [
        [(200, b"hello")],
        [(503, b""), (503, b""), (200, b"hello")],
        [(500, b""), (200, b"hello")],
        [(200, BOKEH + b'docs = [{"roots":{"p1":"x"}}]')],
        [(302, b"")],
    ],
    ids=["a page", "busy first", "one error", "Bokeh", "elsewhere"],
)
def test_a_page_that_is_shown_is_ready(answers):
    with forwarded(program(*answers), "page:/app") as found:
        found.until("READY=1")
        assert not [word for word in found.words if word.startswith("FAILED")]


@pytest.mark.parametrize(
    ("answer", "said"),
    [((500, b"oops"), "500 Internal Server Error (GET /app)"), ((200, BOKEH), "its page is empty")],
    ids=["an error", "an empty page of Bokeh"],
)
def test_an_exception_instead_of_the_page_ends_the_start(answer, said):
    with forwarded(program(answer), "page:/app") as found:
        word = found.until("FAILED=")
        assert word.startswith(f"FAILED=shows an exception instead of its page: {said}")
        assert "READY=1" not in found.words


def test_what_a_server_error_is_is_said_while_it_is_waited_for():
    with forwarded(program((503, b"")).replace("/app", "/health"), "/health") as found:
        found.until(
            "STATUS=it listens on 127.0.0.1:8080, and answers GET /health with 503 Service Unavailable"
        )


def test_marks_are_found_wherever_the_pieces_part():
    answer = b"HTTP/1.1 200 OK\r\n\r\n" + BOKEH + b' x "roots":{'
    for size in (1, 2, 7, 1000):
        page = Page()
        for start in range(0, len(answer), size):
            page.feed(answer[start : start + size])
        assert (page.raised, page.wants_more) == ("", False)
