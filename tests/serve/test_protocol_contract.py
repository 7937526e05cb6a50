"""A live server and the clients that others have published: Triton's for the Open Inference Protocol, schemathesis for what
`openapi.json` promises, and requests as the platforms send them."""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import hypothesis
import numpy
import pytest
import schemathesis
import tritonclient.http as triton
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tritonclient.utils import InferenceServerException

TABLE = """
    import dataclasses
    from typing import Literal

    @dataclasses.dataclass
    class Verdict:
        label: str
        score: float

    def predict(width: float, length: float, kind: Literal["a", "b"] = "a") -> Verdict:
        return Verdict(kind, width * length)
"""
MANY = """
    import dataclasses, datetime, enum, numpy
    from typing import Annotated, Iterator, Literal, Optional

    class Colour(enum.Enum):
        RED = "red"
        BLUE = "blue"

    @dataclasses.dataclass
    class Point:
        x: float
        y: float = 0.0

    @dataclasses.dataclass
    class Verdict:
        label: str
        points: list[Point]

    class Predictor:
        endpoints = ("embed", "picture", "count", "mean", "upload")

        def predict(self, a: float, b: int = 1, colour: Colour = Colour.RED, points: Optional[list[Point]] = None,
                    day: Optional[datetime.date] = None, tag: Literal["x", 3] = "x", names: list[str] = []) -> Verdict:
            return Verdict(colour.value, points or [])

        def embed(self, text: str, size: Annotated[int, "how long"] = 3) -> list[float]:
            return [float(len(text))] * max(0, min(size, 10))

        def picture(self, data: bytes, times: int = 1) -> bytes:
            return data

        def count(self, n: int = 3) -> Iterator[int]:
            yield from range(max(0, min(n, 50)))

        def mean(self, x: numpy.ndarray) -> dict[str, float]:
            return {"size": float(x.size)}

        def upload(self, files: list[bytes], table: dict[str, int] = {}) -> int:
            return len(files)
"""


@contextlib.contextmanager
def client(port: int) -> Iterator[Any]:
    made = triton.InferenceServerClient(f"127.0.0.1:{port}")
    try:
        yield made
    finally:
        made.close()


def tensor(name: str, array: Any, datatype: str, binary: bool = True) -> Any:
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


class TestTriton:
    def test_health_and_metadata(self, start):
        server = start(TABLE, CORTEN_NAME="demo", CORTEN_VERSION="7")
        with client(server.port) as ask:
            assert ask.is_server_live()
            assert ask.is_server_ready()
            assert ask.is_model_ready("demo")
            assert ask.is_model_ready("demo", "7")
            assert not ask.is_model_ready("another")
            assert "binary_tensor_data" in ask.get_server_metadata()["extensions"]
            found = ask.get_model_metadata("demo")
            assert (found["versions"], [each["name"] for each in found["inputs"]]) == (
                ["7"],
                ["width", "length", "kind"],
            )
            with pytest.raises(InferenceServerException):
                ask.get_model_metadata("another")

    @pytest.mark.parametrize("binary", [True, False])
    def test_rows(self, start, binary):
        server = start(TABLE, CORTEN_NAME="demo")
        inputs = [
            tensor("width", numpy.array([1, 2], "f4"), "FP32", binary),
            tensor("length", numpy.array([[3], [4]], "i8"), "INT64", binary),
            tensor("kind", numpy.array(["b", "a"], object), "BYTES", binary),
        ]
        asked = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("score", "label")]
        with client(server.port) as ask:
            for outputs in (asked, None):
                answer = ask.infer("demo", inputs, request_id="r9", outputs=outputs)
                assert answer.get_response()["id"] == "r9"
                assert answer.as_numpy("score").tolist() == [3.0, 8.0]
                labels = [
                    each.decode() if isinstance(each, bytes) else each for each in answer.as_numpy("label")
                ]
                assert labels == ["b", "a"]

    def test_errors_have_the_form_that_it_reads(self, start):
        server = start(TABLE, CORTEN_NAME="demo")
        with client(server.port) as ask:
            with pytest.raises(InferenceServerException, match="length: missing; expected a number") as error:
                ask.infer("demo", [tensor("width", numpy.ones(1, "f4"), "FP32")])
            assert error.value.status() == "400"

    @pytest.mark.parametrize(
        ("datatype", "dtype"),
        [("BOOL", "?"), ("INT8", "i1"), ("INT16", "i2"), ("INT32", "i4"), ("INT64", "i8"), ("UINT8", "u1"),
         ("UINT16", "u2"), ("UINT32", "u4"), ("UINT64", "u8"), ("FP16", "f2"), ("FP32", "f4"), ("FP64", "f8")],
    )  # fmt: skip
    def test_arrays_of_every_type_come_back(self, shared, datatype, dtype):
        array = numpy.arange(6).reshape(2, 3).astype(dtype)
        with client(shared(datatype)) as ask:
            for binary in (True, False) if datatype != "FP16" else (True,):
                answer = ask.infer(datatype.lower(), [tensor("x", array, datatype, binary)])
                assert answer.as_numpy("output").dtype == array.dtype
                assert numpy.array_equal(answer.as_numpy("output"), array)

    @pytest.fixture
    def shared(self, start):
        """A model for each datatype would take a process each: one at a time is enough."""

        def served(datatype: str) -> int:
            names = {"BOOL": "bool_", "FP16": "float16", "FP32": "float32", "FP64": "float64"}
            code = f"""
                import numpy, numpy.typing
                def predict(x: numpy.typing.NDArray[numpy.{names.get(datatype, datatype.lower())}]):
                    return x
            """
            return int(start(code, CORTEN_NAME=datatype.lower()).port)

        return served

    def test_gzip_and_batches(self, start):
        code = """
            class Predictor:
                def predict_batch(self, items: list[float]) -> list[float]:
                    return [item * 2 for item in items]
        """
        server = start(code, "predict:Predictor", CORTEN_NAME="demo")
        with client(server.port) as ask:
            array = numpy.arange(1000, dtype="f8")
            answer = ask.infer("demo", [tensor("item", array, "FP64")])
            assert numpy.array_equal(answer.as_numpy("output"), array * 2)


def ask(server: Any, path: str, body: Any, kind: str, accept: str = "") -> tuple[int, str, bytes]:
    headers = {"content-type": kind, **({"accept": accept} if accept else {})}
    answer = server.request(
        "POST", path, body if isinstance(body, bytes) else json.dumps(body).encode(), headers=headers
    )
    return answer.status, answer.headers["content-type"], answer.body


def test_sagemaker_and_vertex_and_kserve(start):
    environment = {
        "AIP_PREDICT_ROUTE": "/v1/endpoints/4:predict",
        "AIP_HEALTH_ROUTE": "/v1/endpoints/4/health",
    }
    server = start(TABLE, CORTEN_NAME="demo", **environment)
    for path in ("/ping", environment["AIP_HEALTH_ROUTE"], "/v1/models/demo", "/v2/health/ready"):
        assert server.request("GET", path).status == 200
    assert ask(server, "/invocations", b"1,2\n3,4\n", "text/csv", "text/csv")[1:] == (
        "text/csv; charset=utf-8", b"a,2.0\na,12.0\n",
    )  # fmt: skip
    expected = {"predictions": [{"label": "b", "score": 2.0}]}
    body = {"instances": [[1, 2]], "parameters": {"kind": "b"}}
    for path in ("/invocations", environment["AIP_PREDICT_ROUTE"], "/v1/models/demo:predict"):
        status, _, data = ask(server, path, body, "application/json")
        assert (status, json.loads(data)) == (200, expected)


def test_probes_are_answered_before_a_worker_is_ready(start):
    code = """
        import pathlib, time

        class Predictor:
            def setup(self) -> None:
                while not pathlib.Path(__file__).with_name("go").exists():
                    time.sleep(0.01)

            def predict(self) -> int:
                return 1
    """
    server = start(code, "predict:Predictor", ready=False, CORTEN_NAME="demo")
    paths = ("/ping", "/v2/health/ready", "/v2/models/demo/ready")
    assert server.request("GET", "/v2/health/live").status == 200
    assert [server.request("GET", path, timeout=5).status for path in paths] == [503] * 3
    (server.out.parent / "app" / "go").touch()
    server.wait_ready()
    assert [server.request("GET", path).status for path in paths] == [200] * 3


def test_arrays_uploads_and_streams_over_the_wire(start):
    server = start(MANY, "predict:Predictor", CORTEN_NAME="many")
    file = io.BytesIO()
    numpy.save(file, numpy.ones((3, 4)))
    assert json.loads(ask(server, "/mean", file.getvalue(), "application/x-npy")[2]) == {"size": 12.0}
    large = bytes(range(256)) * 8192  # 2 MiB: it goes to the worker in a file
    assert ask(server, "/picture", large, "image/png") == (200, "application/octet-stream", large)
    form = (
        b'--b\r\ncontent-disposition: form-data; name="data"; filename="a"\r\n\r\n' + large + b"\r\n--b--\r\n"
    )
    assert ask(server, "/picture", form, "multipart/form-data; boundary=b")[2] == large
    assert ask(server, "/count", {"n": 2}, "application/json")[1:] == ("application/x-ndjson", b"0\n1\n")
    assert ask(server, "/count", {"n": 1}, "application/json", "text/event-stream")[1:] == (
        "text/event-stream", b"data: 0\n\nevent: end\ndata: null\n\n",
    )  # fmt: skip
    assert ask(server, "/count", {"n": 1}, "application/json", "image/png")[0] == 406
    assert ask(server, "/embed", b"x", "image/png")[0] == 415


def test_no_request_that_the_document_describes_is_a_failure(start):
    """What schemathesis makes of `openapi.json`, right and wrong: no answer of 500, and none that the document does not
    describe."""
    server = start(
        MANY, "predict:Predictor", CORTEN_NAME="many", AIP_PREDICT_ROUTE="/vertex", CORTEN_LOG="error"
    )
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    ]
    answers: Counter[tuple[str, int]] = Counter()
    operations = [result.ok() for result in schema.get_all_operations()]
    for operation in operations:
        modes = [GenerationMode.POSITIVE] if operation.method == "get" else list(GenerationMode)
        for mode in modes:

            @hypothesis.settings(
                max_examples=30,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            def conforms(case: Any) -> None:
                response = case.call()
                answers[case.operation.label, response.status_code] += 1
                case.validate_response(response, checks=checks)

            conforms()
    posts = {operation.label for operation in operations if operation.method == "post"}
    assert len(posts) == 11
    # Where nothing was ever answered with 200, nothing was tried. Tensors are beyond what a schema can say.
    assert {label for label in posts if not answers[label, 200]} <= {
        label for label in posts if "/v2/" in label
    }
    assert all(any(answers[label, status] for status in (400, 422)) for label in posts)
    assert "Traceback" not in server.log()
