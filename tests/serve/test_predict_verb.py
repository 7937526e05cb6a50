"""`corten predict` with a server that runs: one request, streams, and files of them, interrupted and gone on with."""

from __future__ import annotations

import base64
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import ClassVar

import pytest

CODE = """
    import os, time
    from typing import Iterator, Optional

    class P:
        endpoints = ("count", "raw")

        def predict(self, text: str, n: int = 1, wait: float = 0.0) -> dict:
            time.sleep(wait)
            if text == "bad":
                raise ValueError("this one")
            if text == "die":
                os._exit(3)
            return {"text": text * n}

        def count(self, to: int) -> Iterator[int]:
            for number in range(to):
                yield number

        def raw(self, data: bytes) -> bytes:
            return data[::-1]
"""


def corten(*words: str, cwd=None, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corten", "predict", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=60,
        **options,
    )


@pytest.fixture
def url(start):
    server = start(CODE, "predict:P", CORTEN_WORKERS="2")
    return f"http://127.0.0.1:{server.port}"


def test_one_request(url, tmp_path):
    (tmp_path / "a.json").write_text('{"text": "x", "n": 3}')
    assert json.loads(corten(url, "text=7", "n=2").stdout) == {"text": "77"}
    assert json.loads(corten(url, f"@{tmp_path}/a.json", "n=2").stdout) == {"text": "xx"}
    assert json.loads(corten(url, "@-", input='{"text": "s"}').stdout) == {"text": "s"}
    done = corten(url, "--endpoint", "count", "to=3")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [0, 1, 2]
    for words, code, message in (
        (["text=bad"], 1, "error: the predictor raised ValueError"),
        (["n=1"], 1, "text: "),
        (["txt=1"], 2, "did you mean 'text'?"),
        (["--endpoint", "rank", "a=1"], 2, "the server has no prediction '/rank'"),
    ):
        done = corten(url, *words)
        assert (done.returncode, message in done.stderr) == (code, True), done.stderr


def test_nobody_there_and_no_model_server(url):
    done = corten("http://127.0.0.1:9", "text=a")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    done = corten(f"{url}/readyz", "text=a")
    assert done.returncode == 1
    assert "no model server" in done.stderr


def test_a_file_of_requests_keeps_its_order_and_every_row(url, tmp_path):
    words = ["bad" if number == 7 else "die" if number == 11 else f"t{number}" for number in range(60)]
    lines = [json.dumps({"text": text, "wait": 0.02 * (number % 3)}) for number, text in enumerate(words)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    done = corten(url, "--batch", "in.jsonl", "--out", "out.jsonl", "--together", "8", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stdout == "out.jsonl\n"
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(answers) == 60
    assert "ValueError" in answers[7]["error"]
    assert "worker" in answers[11]["error"]
    good = [number for number in range(60) if number not in (7, 11)]
    # Rows that a dead worker had begun beside that one have its error; nobody's answer is another's.
    assert all(
        answers[number] == {"text": words[number]} or "worker" in answers[number]["error"] for number in good
    )
    assert sum("error" in answers[number] for number in good) <= 2
    assert not list(tmp_path.glob("*.part*"))
    done = corten(url, "--batch", "in.jsonl", "--out", "out.jsonl", cwd=tmp_path)
    assert done.returncode == 2
    assert "'out.jsonl' exists" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_an_interrupted_file_is_gone_on_with(url, tmp_path, number, suffix):
    (tmp_path / "in.csv").write_text("text,wait\n" + "".join(f'"a,{row}",0.02\n' for row in range(100)))
    command = [sys.executable, "-m", "corten", "predict", url, "--batch", "in.csv", "--out", f"out.{suffix}"]
    process = subprocess.Popen([*command, "--together", "4"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    part = tmp_path / f"out.{suffix}.part"
    end = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > 100):
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert not (tmp_path / f"out.{suffix}").exists()
    if number == signal.SIGINT:
        assert process.returncode == 130
    else:
        with part.open("a") as file:  # a line that was being written
            file.write('{"text": "a,' if suffix == "jsonl" else '"a,5",0.0')
    done = corten(url, *command[5:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "of them before" in done.stderr
    lines = (tmp_path / f"out.{suffix}").read_text().splitlines()
    if suffix == "jsonl":
        assert [json.loads(line)["text"] for line in lines] == [f"a,{row}" for row in range(100)]
    else:
        assert lines == [
            "text,wait,predicted_text,error",
            *(f'"a,{row}",0.02,"a,{row}",' for row in range(100)),
        ]


def test_results_of_another_run_are_not_gone_on_with(url, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "out.jsonl.part").write_text('{"text": "b"}\n')
    done = corten(url, "--batch", "in.jsonl", "--out", "out.jsonl", cwd=tmp_path)
    assert done.returncode == 2
    assert "results of another run" in done.stderr
    assert (tmp_path / "out.jsonl.part").read_text() == '{"text": "b"}\n'
    os.unlink(tmp_path / "out.jsonl.part")
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n{"text"\n')
    done = corten(url, "--batch", "in.jsonl", "--out", "out.jsonl", cwd=tmp_path)
    assert done.returncode == 2
    assert "line 2 of 'in.jsonl' is not JSON" in done.stderr


class Gate(http.server.BaseHTTPRequestHandler):
    """A server in front that asks for a login, and has moved."""

    seen: ClassVar[list[tuple[str, str, str | None]]] = []
    elsewhere = ""

    def do_GET(self) -> None:
        self.seen.append((self.command, self.path, self.headers.get("authorization")))
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        target = None
        if self.path.startswith("/old/"):
            target = self.path.replace("/old", "", 1)
        elif self.path == "/lost/predict":
            target = "/predict"
        elif self.path.startswith("/away/"):
            target = self.elsewhere + self.path.removeprefix("/away")
        if target:
            self.send_response(302 if self.path.startswith("/lost/") else 307)
            self.send_header("location", target)
            answer = b""
        elif self.path.endswith("/openapi.json"):
            self.send_response(200)
            answer = json.dumps(DOCUMENT).encode()
        else:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            answer = body
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


DOCUMENT = {
    "openapi": "3.1.0",
    "paths": {"/predict": {"post": {"requestBody": {"content": {"application/json": {"schema": {
        "type": "object", "properties": {"text": {"type": "string"}}}}}}}}},
}  # fmt: skip
LOGIN = "Basic " + base64.b64encode(b"me:s3cret").decode()


@pytest.fixture
def gate():
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gate) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    Gate.seen.clear()
    Gate.elsewhere = f"http://127.0.0.1:{servers[1].server_port}"
    yield f"127.0.0.1:{servers[0].server_port}"
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_password_in_the_address_goes_to_its_host_and_is_nowhere_shown(gate, tmp_path):
    done = corten(f"http://me:s3cret@{gate}", "text=a", env={**os.environ, "NO_PROXY": "*"})
    assert json.loads(done.stdout) == {"text": "a"}
    assert {login for _, _, login in Gate.seen} == {LOGIN}
    done = corten(f"http://me:s3cret@{gate}/nothing?", "text=a", env={**os.environ, "NO_PROXY": "*"})
    assert "s3cret" not in done.stdout + done.stderr
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n')
    part = tmp_path / "out.jsonl.part.json"
    batch = ("--batch", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl"))
    (tmp_path / "out.jsonl.part").write_text("")
    part.write_text("{}")
    done = corten(f"http://me:s3cret@{gate}", *batch, env={**os.environ, "NO_PROXY": "*"})
    assert "results of another run" in done.stderr
    (tmp_path / "out.jsonl.part").unlink()
    assert corten(f"http://me:s3cret@{gate}", *batch, env={**os.environ, "NO_PROXY": "*"}).returncode == 0
    assert all("s3cret" not in path.read_text() for path in tmp_path.iterdir())


def test_redirects_keep_the_login_on_their_host_and_lose_it_elsewhere(gate):
    from corten.errors import FetchError
    from corten.inference.client import Client
    from corten.network.settings import NetworkSettings

    network = NetworkSettings(environment={})
    client = Client(f"http://me:s3cret@{gate}/old", network)
    assert client.document() == DOCUMENT
    assert client.predict("/predict", b'"x"').body == b'"x"'
    assert [login for _, _, login in Gate.seen] == [LOGIN] * 4
    Gate.seen.clear()
    away = Client(f"http://me:s3cret@{gate}/away", network)
    assert away.predict("/predict", b'"x"').body == b'"x"'
    assert [login for _, _, login in Gate.seen] == [LOGIN, None]
    with pytest.raises(FetchError, match="without the request's body"):
        Client(f"http://{gate}/lost", network).predict("/predict", b'"x"')
