"""What the server decides, apart from what it does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten_serve.server import machine
from corten_serve.server.batching import expect, fresh, patience, window
from corten_serve.server.meter import Histogram, ModelMeter
from corten_serve.server.origins import Origins
from corten_serve.server.suspects import Suspects
from corten_serve.server.tables import merged, read_table
from corten_serve.server.tracing import Ids


@pytest.mark.parametrize(
    ("typical", "most"), [(None, 1), (0.00001, 256), (0.0002, 20), (0.001, 4), (0.01, 2), (0.03, 1), (5.0, 1)]
)
def test_a_worker_holds_four_milliseconds_of_work(typical, most):
    assert window(typical) == most


def test_a_batch_waits_only_where_more_is_expected():
    assert patience(1, 64, 0.0, expected=0.0, delay=0.002) == 0
    assert patience(1, 64, 0.0, expected=1.0, delay=0.002) == 0
    assert patience(1, 64, 0.0005, expected=32.0, delay=0.002) == pytest.approx(0.0015)
    assert patience(32, 64, 0.0, expected=32.0, delay=0.002) == 0
    assert patience(64, 64, 0.0, expected=100.0, delay=0.002) == 0
    assert patience(1, 64, 0.002, expected=32.0, delay=0.002) == 0


@given(
    st.integers(1, 200),
    st.integers(1, 100),
    st.floats(0, 10),
    st.floats(0, 300),
    st.floats(0, 5, allow_nan=False),
)
def test_nobody_waits_longer_than_the_delay(queued, size, waited, expected, delay):
    assert 0 <= patience(queued, size, waited, expected, delay) <= max(0.0, delay - waited)


def test_what_is_expected_fades_with_the_load():
    expected = expect(0.0, 50, 0.01)
    assert expected == 50
    for _ in range(20):
        expected = expect(expected, 1, 0.01)
    assert expected == 1
    assert expect(50.0, 1, 1.0) == 1
    assert fresh(50.0, 1.0) == 0
    assert fresh(50.0, 0.01) == 50


def test_an_input_is_guilty_the_second_time_and_innocent_when_it_was_answered():
    suspects = Suspects()
    assert not suspects.may_be(b"a")
    suspects.accuse(b"a", b"a", 0.0)
    assert not suspects.guilty(b"a", 1.0)
    suspects.accuse(b"a", b"a", 2.0)
    assert suspects.guilty(b"a", 3.0)
    assert not suspects.guilty(b"b", 3.0)
    assert not suspects.guilty(b"a", 1000.0), "forgotten after a while"
    suspects.accuse(b"c", b"c", 0.0)
    suspects.innocent(b"c")
    suspects.accuse(b"c", b"c", 1.0)
    assert not suspects.guilty(b"c", 1.0)
    for number in range(1000):
        suspects.accuse(str(number).encode(), b"a", 2.0)
    assert len(suspects._known) <= 256


def test_after_a_crash_only_bodies_that_look_like_its_own_are_hashed():
    suspects = Suspects()
    guilty = b'{"x": [' + b"1.5, " * 10_000 + b"0]}"
    suspects.accuse(b"key", guilty, 0.0)
    assert suspects.may_be(guilty)
    assert not suspects.may_be(guilty + b" ")
    assert not suspects.may_be(guilty.replace(b"1.5", b"2.5")), (
        "of the same size, as all tensors of a model are"
    )
    suspects.innocent(b"key")
    assert not suspects.may_be(guilty)


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_processors_are_those_of_the_cgroup(tmp_path):
    many = len(machine.os.sched_getaffinity(0))
    assert machine.cpus(tmp_path) == many
    assert machine.cpus(write(tmp_path / "a", sys__fs__cgroup__cpu_DOT_max="50000 100000")) == 1
    assert machine.cpus(write(tmp_path / "b", sys__fs__cgroup__cpu_DOT_max="max 100000")) == many
    old = {
        "sys__fs__cgroup__cpu__cpu_DOT_cfs_quota_us": "100000",
        "sys__fs__cgroup__cpu__cpu_DOT_cfs_period_us": "100000",
    }
    assert machine.cpus(write(tmp_path / "c", **old)) == 1
    old["sys__fs__cgroup__cpu__cpu_DOT_cfs_quota_us"] = "-1"
    assert machine.cpus(write(tmp_path / "d", **old)) == many


def test_memory_is_what_machine_and_cgroup_leave(tmp_path):
    files = {"proc__meminfo": "MemTotal: 8000 kB\nMemAvailable: 4000 kB\n"}
    assert machine.memory_left(write(tmp_path, **files)) == 4000 << 10
    files |= {
        "sys__fs__cgroup__memory_DOT_max": "1000000\n",
        "sys__fs__cgroup__memory_DOT_current": "900000\n",
    }
    assert machine.memory_left(write(tmp_path, **files)) == 100_000
    files |= {"sys__fs__cgroup__memory_DOT_stat": "anon 5\ninactive_file 50000\nactive_file 7\n"}
    assert machine.memory_left(write(tmp_path, **files)) == 150_000
    files |= {"sys__fs__cgroup__memory_DOT_max": "max\n"}
    assert machine.memory_left(write(tmp_path, **files)) == 4000 << 10


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, ("0", "1")),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, ("0", "1")),
        ({"NVIDIA_VISIBLE_DEVICES": "void"}, ()),
        ({"CUDA_VISIBLE_DEVICES": "3,GPU-8"}, ("3", "GPU-8")),
        ({"CUDA_VISIBLE_DEVICES": "1,-1,2"}, ("1",)),
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
    ],
)
def test_accelerators_are_those_that_cuda_would_see(tmp_path, environment, found):
    write(tmp_path, dev__nvidia0="", dev__nvidia1="", dev__nvidiactl="")
    assert machine.accelerators(environment, tmp_path) == found


def test_what_a_worker_announces_is_read_with_care():
    table = read_table(
        json.dumps(
            {
                "predictor": {"async": True, "concurrency": 10**9},
                "routes": [
                    {
                        "method": "post",
                        "path": "/p",
                        "route": "json:p",
                        "headers": ["Accept", 3],
                        "batch": True,
                    },
                    {"path": 1},
                    "x",
                ],
                "documents": [
                    {"path": "/v2", "body": {"a": 1}},
                    {"path": "/t", "type": "text/plain", "body": "t"},
                    4,
                ],
                "openapi": {"paths": {}},
            }
        ).encode()
    )
    assert table.predictor.concurrency == 10_000
    (operation,) = table.operations
    assert (operation.method, operation.headers, operation.batch) == ("POST", ("accept",), True)
    assert [(d.path, d.kind, d.body) for d in table.documents] == [
        ("/v2", "application/json", b'{"a":1}'),
        ("/t", "text/plain", b"t"),
    ]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(["routes", "documents", "predictor", "openapi", "path", "method", "route"]), x
            )
        ),
    )
)
def test_nothing_that_a_worker_announces_breaks_the_server(value):
    table = read_table(json.dumps(value).encode())
    merged("t", "1", [table.openapi])


def test_documents_of_several_models_become_one():
    one = {
        "openapi": "3.1.0",
        "info": {"title": "a", "description": "d"},
        "paths": {"/a": 1},
        "components": {"schemas": {"A": 1}},
    }
    two = {
        "openapi": "3.1.0",
        "info": {"title": "b"},
        "paths": {"/b": 2},
        "components": {"schemas": {"B": 2}},
    }
    assert json.loads(merged("both", "2", [one, two])) == {
        "openapi": "3.1.0",
        "info": {"title": "both", "description": "d", "version": "2"},
        "paths": {"/a": 1, "/b": 2},
        "components": {"schemas": {"A": 1, "B": 2}},
    }


def test_ids_that_are_made_are_never_the_same():
    ids = [Ids().of(None, None) for _ in range(3)] + [(one := Ids()).of(None, None), one.of("", "x")]
    assert len(set(ids)) == 5


def test_only_origins_that_were_named_are_let_in():
    origins = Origins(("https://a.example.com",))
    assert ("vary", "origin") in origins.headers("https://b.example.com")
    assert (
        dict(origins.headers("https://a.example.com"))["access-control-allow-origin"]
        == "https://a.example.com"
    )
    assert not Origins(()).any


def test_numbers_are_counted():
    histogram = Histogram((1, 2, 4))
    for value in (0.5, 1, 1.5, 4, 9):
        histogram.add(value)
    assert (histogram.counts, histogram.total, histogram.count) == ([2, 1, 1, 1], 16.0, 5)
    meter = ModelMeter()
    for milliseconds in range(1, 101):
        meter.answered("/predict", 200, milliseconds / 1000)
    assert meter.requests == {("/predict", 200): 100}
    p50, p90, p99, count = meter.quantiles()
    assert (round(p50, 3), round(p90, 3), round(p99, 3), count) == (0.051, 0.09, 0.099, 100)
    assert len(meter.recent) == 50
