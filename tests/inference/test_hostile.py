"""Servers that answer with what no model server says."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corten.errors import RuntimeFailure
from corten.inference import batch
from corten.inference.client import Answered, Client
from corten.inference.operations import Operation, operations
from corten.network.settings import network_from

NONSENSE = [b"nonsense", b"\xff\xfe", b"[" * 100_000]


@pytest.fixture(params=NONSENSE)
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """Of a server that says that its answers are JSON."""
    body: bytes = request.param

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", "0")))
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Client(f"http://127.0.0.1:{server.server_port}", network_from({}))
        server.shutdown()
        thread.join()


def test_an_answer_that_is_no_json_is_the_error_of_its_row(client: Client, tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"x": 1}\n{"x": 2}\n')
    job = batch.Job(source, target, Operation("/predict", {}, {}), "it", 1)
    assert batch.run(job, lambda: client, lambda _: None) == batch.Done(2, 2, 0)
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert lines == 2 * [{"error": "the answer says that it is 'application/json', and is not"}]


def test_a_document_that_is_no_json_is_none(client: Client) -> None:
    with pytest.raises(RuntimeFailure, match="no model server"):
        client.document()


@pytest.mark.parametrize("body", NONSENSE)
def test_a_failure_says_what_can_be_read_of_it(body: bytes) -> None:
    assert len(Answered(500, "", body).message) <= 200


def test_a_path_never_changes_the_host() -> None:
    post = {"post": {"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}}}
    document = {"paths": dict.fromkeys(("@evil.example/predict", ".evil.example", ":80/x", "/predict"), post)}
    assert list(operations(document)) == ["/predict"]
