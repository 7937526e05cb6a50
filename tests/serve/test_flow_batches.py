"""Requests that are predicted together."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import socket
import time

TOGETHER = """
    import time

    class P:
        def predict_batch(self, items: list[int]) -> list[list[int]]:
            time.sleep(0.1)
            return [[item, len(items)] for item in items]
"""


def ask(server, values, **options):
    with concurrent.futures.ThreadPoolExecutor(len(values)) as threads:
        answers = [threads.submit(server.request, "POST", "/predict", value, **options) for value in values]
        return [answer.result() for answer in answers]


def bodies(server, values):
    """Bodies in the form that the server describes."""
    document = server.request("GET", "/openapi.json").json
    schema = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    (name,) = schema["properties"]
    return [{name: value} for value in values]


def test_what_comes_while_the_worker_is_busy_is_predicted_together(start):
    server = start(TOGETHER, "predict:P")
    answers = ask(server, bodies(server, range(20)))
    assert [answer.json[0] for answer in answers] == list(range(20))
    sizes = sorted(answer.json[1] for answer in answers)
    assert sizes[-1] >= 10
    batch = server.request("GET", "/status").json["models"][0]["batch"]
    assert batch["enabled"]
    assert batch["count"] <= 10


def test_a_batch_is_no_larger_than_it_may_be(start):
    server = start(TOGETHER, "predict:P", CORTEN_BATCH_SIZE="4")
    answers = ask(server, bodies(server, range(20)))
    assert max(answer.json[1] for answer in answers) == 4


def test_batches_can_be_turned_off(start):
    server = start(TOGETHER, "predict:P", CORTEN_BATCH_SIZE="1")
    answers = ask(server, bodies(server, range(5)))
    assert {answer.json[1] for answer in answers} == {1}


def test_an_idle_server_adds_no_delay(start):
    server = start(
        """
        class P:
            def predict_batch(self, items: list[int]) -> list[int]: return items
        """,
        "predict:P",
        CORTEN_BATCH_DELAY="10000",
    )
    (body,) = bodies(server, [7])
    begun = time.monotonic()
    for _ in range(5):
        assert server.predict(body).json == 7
    assert time.monotonic() - begun < 10, "none of them waited for others"


def test_an_error_is_that_of_its_item(start):
    server = start(
        """
        import time

        class P:
            def predict_batch(self, items: list[int]) -> list[int]:
                time.sleep(0.1)
                return [ValueError(str(item)) if item % 2 else item for item in items]
        """,
        "predict:P",
    )
    answers = ask(server, [*bodies(server, range(8)), {"wrong": 1}])
    assert [answer.status for answer in answers] == [200, 500] * 4 + [422]


def test_a_batch_is_cancelled_only_when_all_of_its_clients_have_left(start):
    server = start(
        """
        import time
        from corten_serve import Cancelled

        class P:
            def predict_batch(self, items: list[float]) -> list[float]:
                try:
                    time.sleep(max(items))
                except Cancelled:
                    print("stopped", flush=True)
                    raise
                print("done", len(items), flush=True)
                return items
        """,
        "predict:P",
    )
    first, *two = bodies(server, [0.5, 1.0, 0.9])
    (stays,) = bodies(server, [0.8])
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        busy = threads.submit(server.predict, first)
        server.wait_for_requests(1)
        leavers = [_send(server.port, body) for body in two]
        waiting = threads.submit(server.predict, stays)
        time.sleep(0.7)
        for client in leavers:
            client.close()
        assert busy.result().status == 200
        assert waiting.result().json == 0.8
    assert server.out.read_text() == "done 1\ndone 3\n"
    leavers = [_send(server.port, body) for body in bodies(server, [30.0])]
    while not server.request("GET", "/status").json["models"][0]["queue"]["handed"]:
        time.sleep(0.01)
    for client in leavers:
        client.close()
    end = time.monotonic() + 60
    while "stopped" not in server.out.read_text() and time.monotonic() < end:
        time.sleep(0.02)
    assert server.out.read_text() == "done 1\ndone 3\nstopped\n"


def test_a_worker_that_dies_over_a_batch_loses_that_batch_alone(start):
    server = start(
        """
        import os, time

        class P:
            def predict_batch(self, items: list[int]) -> list[int]:
                time.sleep(0.3)
                if 99 in items: os._exit(5)
                return items
        """,
        "predict:P",
        CORTEN_BATCH_SIZE="4",
    )
    values = bodies(server, [99, *range(12)])
    with concurrent.futures.ThreadPoolExecutor(13) as threads:
        deadly = threads.submit(server.predict, values[0])
        time.sleep(0.1)
        others = [threads.submit(server.predict, value) for value in values[1:]]
        assert deadly.result().status == 502
        assert [other.result().json for other in others] == list(range(12))


def test_many_clients_in_turn_get_their_own(start):
    server = start(TOGETHER.replace("0.1", "0.002"), "predict:P", CORTEN_WORKERS="2", CORTEN_LOG="off")
    (form,) = bodies(server, [0])
    (name,) = form
    wrong = []

    def client(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        for value in range(first, first + 40):
            connection.request("POST", "/predict", json.dumps({name: value}))
            answer = json.loads(connection.getresponse().read())
            if answer[0] != value:
                wrong.append((value, answer))
        connection.close()

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        list(threads.map(client, range(0, 16000, 1000)))
    assert not wrong


def _send(port: int, body) -> socket.socket:
    data = json.dumps(body).encode()
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data)
    )
    return client
