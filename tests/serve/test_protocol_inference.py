"""The Open Inference Protocol: tensors in JSON and in bytes, what they mean for a predictor, and hostile ones."""

from __future__ import annotations

import dataclasses
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Literal, Optional

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten_serve.protocols.tensors import CODES
from support.desk import Served
from support.properties import thorough

INFER = "v2:infer"
LENGTH = "inference-header-content-length"


@dataclasses.dataclass
class Verdict:
    label: str
    score: float


def judge(width: float, length: float, kind: Literal["a", "b"] = "a") -> Verdict:
    return Verdict(kind, width * length)


def scale(x: numpy.ndarray, by: float = 2.0) -> Any:
    return x * by


def tensor(name: str, datatype: str, shape: list[int], data: list[Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data, **more}


def binary(document: dict[str, Any], *blobs: bytes) -> tuple[bytes, str]:
    """A request of the binary extension, and the header that goes with it."""
    head = json.dumps(document).encode()
    return b"".join([head, *blobs]), str(len(head))


def outputs(answer: Any) -> dict[str, Any]:
    return {each["name"]: (each["datatype"], each["shape"], each["data"]) for each in answer["outputs"]}


class TestRows:
    def test_n_rows_are_n_items_and_fields_are_outputs(self):
        answer = Served(judge).json(
            INFER,
            {
                "id": "x7",
                "inputs": [
                    tensor("width", "FP32", [3], [1, 2, 3]),
                    tensor("length", "INT8", [3, 1], [[1], [2], [3]]),
                    tensor("kind", "BYTES", [3], ["a", "b", "a"]),
                ],
            },
        )
        assert (answer["model_name"], answer["model_version"], answer["id"]) == ("demo", "1", "x7")
        assert outputs(answer) == {
            "label": ("BYTES", [3], ["a", "b", "a"]),
            "score": ("FP64", [3], [1.0, 4.0, 9.0]),
        }

    def test_a_table_has_its_columns_in_the_order_of_the_parameters(self):
        answer = Served(judge).json(INFER, {"inputs": [tensor("input-0", "FP64", [2, 2], [1, 2, 3, 4])]})
        assert outputs(answer)["score"] == ("FP64", [2], [2.0, 12.0])

    def test_parameters_fill_in_and_outputs_are_chosen(self):
        answer = Served(judge).json(
            INFER,
            {
                "inputs": [tensor("width", "FP32", [1], [2])],
                "parameters": {"length": 4, "unknown": 1},
                "outputs": [{"name": "score"}],
            },
        )
        assert outputs(answer) == {"score": ("FP64", [1], [8.0])}

    def test_a_file_is_bytes_and_an_object_is_json(self):
        def predict(data: bytes, about: Optional[dict[str, int]] = None) -> bytes:  # noqa: UP045
            return data + str(about).encode()

        served = Served(predict)
        inputs = [{"name": "data", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}}]
        inputs.append(tensor("about", "BYTES", [1], ['{"a": 1}']))
        body, length = binary(
            {"inputs": inputs, "parameters": {"binary_data_output": True}}, struct.pack("<I", 2) + b"\xff\0"
        )
        answer = served.answer(INFER, body, length)
        assert answer.body.endswith(b"\x0a\0\0\0\xff\0{'a': 1}")
        inputs[0] = tensor("data", "BYTES", [1], ["/wA="])
        assert outputs(served.json(INFER, {"inputs": inputs}))["output"] == (
            "BYTES",
            [1],
            ["/wB7J2EnOiAxfQ=="],
        )

    @pytest.mark.parametrize(
        ("result", "expected"),
        [
            (1, ("INT64", [2], [1, 1])),
            (True, ("BOOL", [2], [True, True])),
            (2**63, ("UINT64", [2], [2**63] * 2)),
            (2**64, ("BYTES", [2], [str(2**64)] * 2)),
            (None, ("BYTES", [2], ["null", "null"])),
            ([1, 2.5], ("FP64", [2, 2], [1.0, 2.5, 1.0, 2.5])),
            ([1.0, None], ("FP64", [2, 2], [1.0, None, 1.0, None])),
            ([[1], [2, 3]], ("BYTES", [2], ["[[1],[2,3]]"] * 2)),
            ([1, "a"], ("BYTES", [2], ['[1,"a"]'] * 2)),
            ([], ("FP64", [2, 0], [])),
            (numpy.array([[1, 2]], "i2"), ("INT16", [2, 1, 2], [1, 2, 1, 2])),
            (numpy.float32(0.5), ("FP32", [2], [0.5, 0.5])),
            (numpy.array(["a"]), ("BYTES", [2, 1], ["a", "a"])),
        ],
    )
    def test_results_are_stacked(self, result, expected):
        def predict(x: int) -> Any:
            return result

        answer = Served(predict).json(INFER, {"inputs": [tensor("x", "INT64", [2], [1, 2])]})
        assert outputs(answer) == {"output": expected}

    def test_a_stream_is_collected(self):
        def predict(x: int) -> Iterator[int]:
            yield from range(x)

        assert outputs(Served(predict).json(INFER, {"inputs": [tensor("x", "INT64", [1], [2])]}))["output"] == (
            "INT64", [1, 2], [0, 1],
        )  # fmt: skip


class TestArrays:
    def test_an_array_takes_the_tensor_whole(self):
        answer = Served(scale).json(
            INFER,
            {"inputs": [tensor("x", "INT32", [2, 2], [[1, 2], [3, 4]]), tensor("by", "FP32", [1], [0.5])]},
        )
        assert outputs(answer) == {"output": ("FP64", [2, 2], [0.5, 1.0, 1.5, 2.0])}

    def test_more_than_one_row_beside_an_array_is_refused(self):
        inputs = [tensor("x", "FP32", [2], [1, 2]), tensor("by", "FP32", [2], [1, 2])]
        assert Served(scale).refused(INFER, {"inputs": inputs}) == (
            400,
            "expected one row beside a parameter that is an array, got 2",
        )

    def test_one_dimension_more_is_many_items(self):
        def predict(row: list[float | None], text: str = "") -> str:
            return text + str(row)

        inputs = [tensor("any", "FP32", [2, 2], [1, 2, 3, 4])]
        assert outputs(Served(predict).json(INFER, {"inputs": inputs}))["output"] == (
            "BYTES",
            [2],
            ["[1.0, 2.0]", "[3.0, 4.0]"],
        )
        inputs = [tensor("row", "INT8", [2, 1], [1, 2]), tensor("text", "BYTES", [2], ["a", "b"])]
        assert outputs(Served(predict).json(INFER, {"inputs": inputs}))["output"][2] == ["a[1.0]", "b[2.0]"]
        inputs = [tensor("row", "INT8", [2], [1, 2])]
        assert outputs(Served(predict).json(INFER, {"inputs": inputs}))["output"] == (
            "BYTES",
            [1],
            ["[1.0, 2.0]"],
        )
        inputs = [
            {"name": "row", "datatype": "FP64", "shape": [1, 2], "parameters": {"binary_data_size": 16}}
        ]
        body, length = binary({"inputs": inputs}, struct.pack("<2d", float("nan"), 1))
        assert outputs(json.loads(Served(predict).answer(INFER, body, length).body))["output"][2] == [
            "[None, 1.0]"
        ]

    def test_nan_travels_in_bytes(self):
        def predict(x: numpy.typing.NDArray[numpy.float32]) -> Any:
            return x

        inputs = [{"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}]
        asked = [{"name": "output", "parameters": {"binary_data": True}}]
        body, length = binary({"inputs": inputs, "outputs": asked}, struct.pack("<2f", float("nan"), 1))
        answer = Served(predict).answer(INFER, body, length)
        assert answer.type == "application/octet-stream"
        head = json.loads(answer.body[: int(dict(answer.headers)[LENGTH])])
        assert head["outputs"] == [
            {"name": "output", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
        ]
        assert numpy.isnan(numpy.frombuffer(answer.body[-8:], "<f4")).tolist() == [True, False]

    @pytest.mark.parametrize("datatype", CODES)
    def test_every_datatype_in_both_forms(self, datatype):
        values = [1, 0, 1] if datatype != "BOOL" else [True, False, True]
        served = Served(lambda x: x)  # without a hint an element may be anything
        in_json = served.json(INFER, {"inputs": [tensor("x", datatype, [3], values)]})
        blob = struct.pack(f"<3{CODES[datatype]}", *values)
        inputs = [
            {"name": "x", "datatype": datatype, "shape": [3], "parameters": {"binary_data_size": len(blob)}}
        ]
        in_bytes = json.loads(served.answer(INFER, *binary({"inputs": inputs}, blob)).body)
        assert outputs(in_json) == outputs(in_bytes)
        assert outputs(in_json)["output"][2] == values

    def test_without_numpy_tensors_are_lists(self):
        code = """if True:
            import struct, sys
            from corten_serve.protocols.tensors import Tensor
            found = Tensor.from_bytes("INT16", (2, 3), struct.pack("<6h", *range(6)))
            print(found.flat(), found.nested(), found.array())
            print(Tensor.from_bytes("FP64", (2, 0), b"").nested(), "numpy" in sys.modules)
        """
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == [
            "[0, 1, 2, 3, 4, 5] [[0, 1, 2], [3, 4, 5]] None", "[[], []] False",
        ]  # fmt: skip


class TestRefused:
    SERVED = (Served(judge), Served(scale))

    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            ([tensor("width", "FP32", [2], [1])], "inputs[0]: expected 2 elements for the shape [2], got 1"),
            ([tensor("width", "FP31", [1], [1])], "inputs[0]: 'datatype' is not one of BOOL"),
            ([tensor("width", "FP32", [-1], [1])], "a shape is an array of whole numbers"),
            ([tensor("width", "FP32", [1.0], [1])], "a shape is an array of whole numbers"),
            ([tensor("width", "FP32", [1] * 33, [1])], "at most 32 dimensions"),
            ([tensor("width", "FP32", [10**9, 0], [])], "cannot have such a shape"),
            ([tensor("width", "INT8", [1], [128])], "expected elements of INT8, got number 128"),
            ([tensor("width", "UINT8", [1], [-1])], "expected elements of UINT8, got number -1"),
            ([tensor("width", "INT8", [1], [True])], "expected elements of INT8, got true"),
            ([tensor("width", "FP32", [1], [None])], "expected elements of FP32, got null"),
            ([tensor("width", "FP32", [1], [[[1], 2]])], "arrays beside values"),
            ([tensor("width", "BYTES", [1], ["a"])], "width: expected a number, got string 'a'"),
            ([tensor("width", "FP32", [1, 2], [1, 2])], "width: expected the shape [n] or [n, 1]"),
            ([tensor("width", "FP32", [0], [])], "width: expected the shape [n] or [n, 1]"),
            ([tensor("width", "FP32", [1], [1])] * 2, "a 'name' that no other input has"),
            ([tensor("wide", "FP32", [1], [1])], "wide: there is no such input; expected width, length, kind"),
            ([tensor("width", "FP32", [2], [1, 2]), tensor("length", "FP32", [1], [1])], "different numbers of rows"),
            ([tensor("width", "FP32", [2], [1, 2]), tensor("length", "BOOL", [2], [True, False])], "row 0: expected a number"),
            ([tensor("width", "FP32", [1], [1], parameters={"shared_memory_region": "r"})], "shared memory"),
            ([tensor("width", "FP32", [1], [1], parameters={"binary_data_size": 4})], "'binary_data_size' is no number"),
            ("x", "inputs: missing"),
            ([1], "expected an object with a 'name'"),
        ],
    )  # fmt: skip
    def test_inputs(self, inputs, message):
        status, text = Served(judge).refused(INFER, {"inputs": inputs})
        assert status == 400
        assert message in text

    def test_outputs_that_nobody_has(self):
        inputs = [tensor("in", "FP32", [1, 2], [1, 2])]
        asked = [{"name": "scores"}]
        assert Served(judge).refused(INFER, {"inputs": inputs, "outputs": asked}) == (
            400, "there is no output 'scores'; there are: label, score",
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("body", "length", "message"),
        [
            (b"{}", "3", "expected a number from 1 to the body's 2 bytes"),
            (b"{}", "-1", "expected a number"),
            (b"{}", "0", "expected a number"),
            (b"{}", "9" * 40, "expected a number"),
            (b'{"inputs":[]}zz', "13", "2 bytes of the body belong to no input"),
            (b"\xff", "", "not JSON"),
            (b"[" * 99999, "", "nested too deeply"),
        ],
    )
    def test_bodies(self, body, length, message):
        status, text = Served(judge).refused(INFER, body, length)
        assert status == 400
        assert message in text

    def test_byte_strings_that_are_cut_off(self):
        def predict(x: str) -> str:
            return x

        for blob in (b"\1", b"\xff\xff\xff\xff", b"\2\0\0\0a", b"\1\0\0\0\xff", b"\1\0\0\0a\1\0\0\0a"):
            inputs = [
                {
                    "name": "x",
                    "datatype": "BYTES",
                    "shape": [1],
                    "parameters": {"binary_data_size": len(blob)},
                }
            ]
            assert Served(predict).refused(INFER, *binary({"inputs": inputs}, blob))[0] == 400

    @thorough(300)
    @given(st.data())
    def test_nothing_is_a_failure(self, data):
        served = data.draw(st.sampled_from(self.SERVED))
        leaves = (
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.sampled_from(["a", "x", "width", *CODES])
        )
        names = ["name", "shape", "datatype", "data", "parameters", "binary_data_size"]
        anything = st.recursive(
            leaves,
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names), inner, max_size=5)
            ),
        )
        entry = tensor("width", data.draw(st.sampled_from([*CODES, "BYTES"])), [1], [1]) | data.draw(
            st.dictionaries(st.sampled_from(names), anything, max_size=3)
        )
        document = {"inputs": [entry, *data.draw(st.lists(anything, max_size=2))]}
        document |= data.draw(
            st.dictionaries(st.sampled_from(["id", "outputs", "parameters"]), anything, max_size=2)
        )
        length = data.draw(st.sampled_from(["", "5", "70"]))
        answer = served.answer(
            INFER, json.dumps(document).encode() + data.draw(st.binary(max_size=9)), length
        )
        assert answer.status in (200, 400)


def test_metadata_names_inputs_and_outputs():
    pages = {document.path: json.loads(document.body) for document in Served(judge).desk.documents()}
    assert pages["/v2/models/demo/versions/1"] == pages["/v2/models/demo"]
    assert pages["/v2/models/demo"] == {
        "name": "demo",
        "versions": ["1"],
        "platform": "corten",
        "inputs": [
            {"name": "width", "datatype": "FP64", "shape": [-1]},
            {"name": "length", "datatype": "FP64", "shape": [-1]},
            {"name": "kind", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "score", "datatype": "FP64", "shape": [-1]},
        ],
    }

    def predict(rows: list[list[int]], x: numpy.typing.NDArray[numpy.float32]) -> list[str]: ...

    pages = {document.path: json.loads(document.body) for document in Served(predict).desk.documents()}
    assert pages["/v2/models/demo"]["inputs"] == [
        {"name": "rows", "datatype": "INT64", "shape": [-1, -1]},
        {"name": "x", "datatype": "FP32", "shape": [-1]},
    ]
    assert pages["/v2/models/demo"]["outputs"] == [{"name": "output", "datatype": "BYTES", "shape": [-1]}]
