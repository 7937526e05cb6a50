"""`GET /metrics` of real servers, read by the parsers of Prometheus' own client library."""

from __future__ import annotations

import concurrent.futures
import gzip
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_text

from corten_serve.server.meter import Histogram
from corten_serve.server.metrics import OPEN, TEXT, Family, asks_for_open, distribution, render

SCRAPER = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
NUMBER = "def predict(x: int) -> int:\n return x"
HOLDING = """
    import ctypes, time

    def predict(x: int) -> int:
        ctypes.PyDLL(None).usleep(x * 1000)  # with the interpreter's lock
        return x
"""


class Scrape:
    """The samples of one answer by name and labels, and its families by name."""

    def __init__(self, families: Iterable[Any]) -> None:
        self.families = {family.name: family for family in families}
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in self.families.values():
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"there are two of {key}"
                self.samples[key] = sample.value

    def of(self, name: str, /, **labels: str) -> float:
        return self.samples[name, frozenset(labels.items())]

    def labels(self, name: str) -> list[dict[str, str]]:
        return [dict(labels) for found, labels in self.samples if found == name]


def scrape(server: Any, accept: str = "") -> Scrape:
    answer = server.request("GET", "/metrics", headers={"accept": accept} if accept else {})
    assert answer.status == 200
    openly = answer.headers["content-type"] == OPEN
    assert openly or answer.headers["content-type"] == TEXT
    return Scrape((parse_open if openly else parse_text)(answer.body.decode()))


def until(server: Any, holds: Callable[[Scrape], bool]) -> Scrape:
    end = time.monotonic() + 60
    while not holds(found := scrape(server)):
        assert time.monotonic() < end, found.samples
        time.sleep(0.02)
    return found


def test_requests_are_counted_by_route_and_status_in_both_formats(start):
    server = start(NUMBER)
    for body in ({"x": 1}, {"x": 2}, {"x": "?"}):
        server.predict(body)
    server.request("GET", "/livez")
    server.request("GET", "/predict")
    for accept in ("", SCRAPER):
        found = scrape(server, accept)
        about = {"model": "predictor", "route": "/predict"}
        assert found.of("corten_requests_total", **about, status="200") == 2
        assert found.of("corten_requests_total", **about, status="422") == 1
        assert found.of("corten_requests_total", model="", route="/livez", status="200") == 1
        assert found.of("corten_requests_total", model="", route="/predict", status="405") == 1
        for stage in ("queue", "predict", "encode", "total"):
            name, labels = "corten_request_duration_seconds", {"model": "predictor", "stage": stage}
            assert found.of(f"{name}_count", **labels) == 3
            assert found.of(f"{name}_bucket", **labels, le="+Inf") == 3
            assert found.of(f"{name}_sum", **labels) > 0
        assert found.of("corten_queue_bound", model="predictor") == 1000
        assert found.of("corten_workers", model="predictor", state="ready") == 1
        assert found.of("corten_worker_restarts_total", model="predictor", reason="died") == 0
        assert found.of("corten_worker_resident_bytes", model="predictor", worker="0") > 5 << 20
        assert found.of("process_resident_memory_bytes") > 5 << 20
        assert abs(found.of("process_start_time_seconds") - time.time()) < 60
        assert found.of("corten_info", name="predictor", version="0") == 1
    assert found.families["corten_requests"].type == "counter"
    assert found.families["corten_request_duration_seconds"].unit == "seconds"
    assert found.families["corten"].type == "info"


def test_what_a_client_asks_for_is_never_a_label(start):
    server = start(NUMBER)
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        for number in range(200):
            client.sendall(f"M{number} /x{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            client.recv(4096)
    for number in range(20):
        server.predict({"x": 1}, headers={"x-request-id": f"r{number}", "user-agent": f"u{number}"})
    found = scrape(server)
    assert found.of("corten_requests_total", model="", route="other", status="404") == 200
    routes = {labels["route"] for labels in found.labels("corten_requests_total")}
    assert routes <= {"other", "/predict", "/readyz", "/metrics"}
    assert len(found.samples) < 200


def test_stages_say_where_the_time_went(start):
    server = start("""
        import time

        class Slow(list):
            def __iter__(self):
                time.sleep(0.03)
                return super().__iter__()

        def predict(x: int) -> list[int]:
            time.sleep(0.06)
            return Slow([x])
    """)
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda x: server.predict({"x": x}), range(2)))
    found = scrape(server)

    def spent(stage: str) -> float:
        return found.of("corten_request_duration_seconds_sum", model="predictor", stage=stage)

    assert spent("predict") > 0.11
    assert spent("encode") > 0.05
    # The second has waited, in the queue or in the worker's hand, for the first.
    assert spent("total") > spent("predict") + spent("encode") + spent("queue")
    assert spent("batch") == 0


def test_a_batch_has_a_size_and_a_time_in_which_it_grew(start):
    server = start(
        """
        import time

        class P:
            def predict_batch(self, xs: list[int]) -> list[int]:
                time.sleep(0.05)
                return xs
        """,
        "predict:P",
        CORTEN_BATCH_DELAY="400",
    )
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        for _ in range(3):
            list(threads.map(lambda x: server.predict({"x": x}), range(16)))
        server.predict({"x": 1})  # it is expected that others come, and none does
    found = scrape(server)
    assert found.of("corten_batch_size_sum", model="predictor") == 49
    batches = found.of("corten_batch_size_count", model="predictor")
    assert 4 <= batches < 49
    assert found.of("corten_batch_size_bucket", model="predictor", le="1024.0") == batches
    name = "corten_request_duration_seconds"
    assert found.of(f"{name}_count", model="predictor", stage="batch") == 49
    assert found.of(f"{name}_sum", model="predictor", stage="batch") > 0.05


def test_it_answers_while_the_queue_is_full_and_predict_holds_the_interpreter(start):
    server = start(HOLDING, CORTEN_QUEUE="2")
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(server.predict, {"x": 1500}) for _ in range(2)]
        until(server, lambda found: found.of("corten_in_flight", model="predictor") == 2)
        assert server.predict({"x": 0}).status == 503
        # The refused request counts until its answer has gone out.
        until(server, lambda found: found.of("corten_in_flight", model="predictor") == 2)
        assert not any(answer.done() for answer in answers)
        assert [answer.result().status for answer in answers] == [200, 200]
    found = scrape(server)
    assert found.of("corten_in_flight", model="predictor") == 0
    assert found.of("corten_requests_total", model="predictor", route="/predict", status="503") == 1


def test_restarts_and_states_of_workers(start):
    server = start(NUMBER, CORTEN_WORKERS="2")
    os.kill(server.children()[0], signal.SIGKILL)
    found = until(
        server, lambda found: found.of("corten_worker_restarts_total", model="predictor", reason="died") == 1
    )
    until(server, lambda found: found.of("corten_workers", model="predictor", state="ready") == 2)
    assert {labels["reason"] for labels in found.labels("corten_worker_restarts_total")} == {
        "died",
        "hang",
        "memory",
        "health",
    }


def test_several_models_are_apart(start):
    server = start(
        "def one(x: int) -> int: return x\ndef two(x: int) -> int: return x",
        '{"a": "predict:one", "b": "predict:two"}',
    )
    server.request("POST", "/b/predict", {"x": 1})
    found = scrape(server, SCRAPER)
    assert found.of("corten_requests_total", model="b", route="/b/predict", status="200") == 1
    name = "corten_request_duration_seconds_count"
    assert [found.of(name, model=model, stage="total") for model in "ab"] == [0, 1]
    assert [found.of("corten_workers", model=model, state="ready") for model in "ab"] == [1, 1]


def test_it_is_there_before_the_predictor_is(start):
    server = start("import time; time.sleep(30)", ready=False)
    end = time.monotonic() + 60
    while True:
        try:
            found = scrape(server)
            break
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.02)
    assert found.of("corten_workers", model="predictor", state="starting") == 1
    assert found.of("corten_workers", model="predictor", state="ready") == 0


def test_a_name_with_quotes_and_line_breaks_is_escaped(start):
    version = 'a"b\\c\nd\\n€'
    server = start(NUMBER, CORTEN_VERSION=version)
    for accept in ("", SCRAPER):
        assert scrape(server, accept).of("corten_info", name="predictor", version=version) == 1


def test_it_is_packed_for_who_takes_that(start):
    answer = start(NUMBER).request("GET", "/metrics", headers={"accept": SCRAPER, "accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    Scrape(parse_open(gzip.decompress(answer.body).decode()))


@pytest.mark.parametrize(
    ("accept", "openly"),
    [
        (None, False),
        ("*/*", False),
        ("text/plain", False),
        (SCRAPER, True),
        ("application/openmetrics-text", True),
        ('application/openmetrics-text; version="1.0.0"', True),
        ("Application/OpenMetrics-Text;Version=1.0.0, */*", True),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.1,text/plain;q=0.5", False),
        ("application/openmetrics-text;q=x", False),
        (";,;=,q=,", False),
    ],
)
def test_which_format_is_asked_for(accept, openly):
    assert asks_for_open(accept) is openly


def test_a_histogram_is_cumulated_and_the_same_series_in_both_formats():
    histogram = Histogram((1, 2.5))
    for value in (0.5, 1, 2, 3, 4):
        histogram.add(value)
    family = Family("h_seconds", "histogram", 'a\\b\n"c"', distribution(histogram, ()), "seconds")
    text, openly = (render([family], each).decode() for each in (False, True))
    for parsed in (parse_text(text), parse_open(openly)):
        found = Scrape(parsed)
        assert [found.of("h_seconds_bucket", le=le) for le in ("1.0", "2.5", "+Inf")] == [2, 3, 5]
        assert found.of("h_seconds_sum") == 10.5
        assert found.of("h_seconds_count") == 5
    assert openly.endswith("# EOF\n")
    assert [line for line in openly.splitlines() if not line.startswith("#")] == [
        line for line in text.splitlines() if not line.startswith("#")
    ]
