"""Values that are wrong, deep, endless or no numbers, in every protocol of a real server, while others ask what is right."""

from __future__ import annotations

import io
import json
import time

import numpy
import pytest

from support.load import Load

CODE = """
    import numpy, numpy.typing

    class P:
        endpoints = ("scores", "odd")

        def predict(self, x: int) -> int:
            return x

        def scores(self, rows: numpy.typing.NDArray[numpy.float32]) -> list[float]:
            return [float(each) for each in rows.sum(axis=-1).ravel()]

        def odd(self, which: str) -> object:
            deep = []
            for _ in range(100_000):
                deep = [deep]
            return {"nan": float("nan"), "inf": [float("inf"), -float("inf")], "deep": deep,
                    "array": numpy.array([1, numpy.nan]), "set": {object()}, "text": "\\ud800"}[which]
"""
DEEP = b"[" * 200_000
JSON = "application/json"
V2 = "/v2/models/predictor/infer"


def saved(array: numpy.ndarray) -> bytes:
    file = io.BytesIO()
    numpy.save(file, array, allow_pickle=True)
    return file.getvalue()


def v2(datatype: object, shape: object, data: object, name: object = "x") -> bytes:
    return json.dumps(
        {"inputs": [{"name": name, "datatype": datatype, "shape": shape, "data": data}]}
    ).encode()


def raw(blob: bytes, datatype: str = "INT64", shape: object = (1,), size: object = None) -> tuple[bytes, str]:
    parameters = {"binary_data_size": len(blob) if size is None else size}
    entry = {"name": "x", "datatype": datatype, "shape": shape, "parameters": parameters}
    head = json.dumps({"inputs": [entry]}).encode()
    return head + blob, str(len(head))


def form(value: bytes) -> bytes:
    return b'--b\r\ncontent-disposition: form-data; name="x"\r\n\r\n' + value + b"\r\n--b--\r\n"


PLAIN = [b'{"x": NaN}', b'{"x": Infinity}', b'{"x": -Infinity}', b'{"x": 1e999}', b'{"x": 1.5}', b'{"x": "1"}',
         b'{"x": null}', b'{"x": [1]}', b'{"x": true}', b'{"x": 1' + b"0" * 5000 + b"}", b'{"y": 1}', b"{", b"",
         DEEP, b'{"x":' + DEEP, b'{"x":' * 100_000, b"\xff\xfe{", b'{"x": "\\ud800"}', b"\0" * 100]  # fmt: skip
SHAPES = [b'{"rows": [[1, 2], [3]]}', b'{"rows": [[NaN]]}', b'{"rows": [[1e999]]}', b'{"rows": [["a"]]}', b'{"rows": "no"}',
          b'{"rows": ' + DEEP, b'{"rows": ' + b"[" * 100 + b"1" + b"]" * 100 + b"}", b'{"rows": {"a": 1}}']  # fmt: skip
ARRAYS = [saved(numpy.array(["a"])), saved(numpy.array([{}], object)), saved(numpy.ones(3))[:-5], b"\x93NUMPY",
          saved(numpy.ones(3)).replace(b"(3,)", b"(9,)"), saved(numpy.ones(3)).replace(b"(3,)", b"(-3,)"),
          saved(numpy.ones(3)).replace(b"(3,), }        ", b"(99999999999,), "), saved(numpy.ones(2, "c16"))]  # fmt: skip
REQUESTS: dict[str, list[tuple[str, bytes, dict[str, str]]]] = {
    "json": [("/predict", body, {"content-type": JSON}) for body in PLAIN if body]
    + [("/scores", body, {"content-type": JSON}) for body in SHAPES],
    "npy": [("/scores", body, {"content-type": "application/x-npy"}) for body in ARRAYS],
    "multipart": [
        ("/predict", form(value), {"content-type": "multipart/form-data; boundary=b"})
        for value in (b"NaN", b"Infinity", b"1.5", b"", b"\xff", DEEP, b'{"a": 1}')
    ]
    + [("/predict", form(b"1")[:-9], {"content-type": "multipart/form-data; boundary=b"})],
    "v2": [
        (V2, body, {"content-type": JSON})
        for body in (
            v2("FP32", [1], [float("nan")]), v2("INT64", [1], [1.5]), v2("INT64", [1], ["a"]), v2("INT64", [2], [1]),
            v2("INT64", [-1], [1]), v2("INT64", [1 << 62, 4], [1]), v2("INT64", [1 << 80], [1]), v2("INT64", 1, [1]),
            v2("INT65", [1], [1]), v2(None, [1], [1]), v2("BYTES", [1], ["1"]), v2("BOOL", [1], [2]), v2("UINT8", [1], [256]),
            v2("INT64", [], []), v2("INT64", [1], [10**400]), v2("INT64", [1] * 5000, [1]),
            b'{"inputs":' + DEEP, b'{"inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "data": ' + DEEP,
            b'{"inputs": []}', b"[]", b"null",
        )
    ],
    "v2 binary": [
        (V2, body, {"inference-header-content-length": length})
        for body, length in (
            raw(b"\1" * 7), raw(b"\1" * 9), raw(b"\1" * 8, shape=[2]), raw(b"\1" * 8, shape=[-1]), raw(b"\1" * 8, size=-8),
            raw(b"\1" * 8, size=1 << 62), raw(b"\1" * 8, "INT7"), raw(b"\0\0\xc0\x7f", "FP32"), raw(b"\xff" * 8, "BYTES"),
            (raw(b"\1" * 8)[0], "999999"), (raw(b"\1" * 8)[0], "-1"), (raw(b"\1" * 8)[0], "nan"),
        )
    ],
    "v1": [
        ("/v1/models/predictor:predict", body, {"content-type": JSON})
        for body in (b'{"instances": [NaN]}', b'{"instances": [{"x": Infinity}]}', b'{"instances": [1.5]}', b'{"instances": 1}',
                     b'{"instances": [[1, 2]]}', b'{"instances": ' + DEEP, b'{"instances": [{"y": 1}]}', b"{}", b"[]")
    ],
    "sagemaker": [
        ("/invocations", body, {"content-type": kind})
        for body, kind in (*((body, JSON) for body in PLAIN if body), (b"a,b\n1", "text/csv"), (b"NaN", "text/csv"),
                           (b"1.5", "text/csv"), (b"x", "image/png"))
    ],
}  # fmt: skip


@pytest.mark.parametrize("protocol", REQUESTS)
def test_what_is_wrong_is_the_clients_fault_and_nobody_elses(start, protocol):
    server = start(CODE, "predict:P", CORTEN_LOG="off")
    (worker,) = server.children()
    with Load(server.port, clients=3) as load:
        for path, body, headers in REQUESTS[protocol]:
            answer = server.request("POST", path, body, headers)
            assert answer.status in (400, 415, 422), (path, body[:100], headers, answer)
            assert len(answer.body) < 10_000, (path, body[:100])
            error = json.loads(answer.body)["error"]
            assert error, (path, body[:100])
            assert "Traceback" not in error
        answered = load.answered
        while load.answered < answered + 20:
            time.sleep(0.01)
    assert load.failures == []
    assert set(load.differences) == {0}
    assert server.children() == [worker], "it was not replaced"
    assert "Traceback" not in server.log()
    assert "bug" not in server.log()


def test_results_that_no_document_can_have(start):
    """NaN is null in JSON (RFC 8259 has none), and bytes of an array keep it; what cannot be written is the project's fault."""
    server = start(CODE, "predict:P", CORTEN_LOG="off")
    ask = {
        which: server.request("POST", "/odd", {"which": which})
        for which in ("nan", "inf", "array", "deep", "set")
    }
    assert ask["nan"].body == b"null"
    assert ask["inf"].body.replace(b" ", b"") == b"[null,null]"
    assert ask["array"].json == [1.0, None]
    assert (ask["deep"].status, ask["set"].status) == (500, 500)
    assert all(len(answer.body) < 1000 for answer in ask.values())
    text = server.request("POST", "/odd", {"which": "text"})
    assert text.status in (200, 500)
    text.body.decode()
    rows = numpy.array([[numpy.nan, 1], [numpy.inf, 2]], "f4")
    answer = server.request("POST", "/scores", saved(rows), {"content-type": "application/x-npy"})
    assert answer.json == [None, None]
    assert server.predict({"x": 4}).json == 4
    assert server.request("GET", "/status").json["models"][0]["workers"][0]["restarts"] == 0
