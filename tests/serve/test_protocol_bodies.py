"""Bodies of every content type in, results of every content type out, and nothing hostile gets further than a 4xx."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from typing import Any, Optional

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten_serve.protocols import npy
from corten_serve.protocols.accept import choose, parse
from corten_serve.protocols.forms import MOST_PARTS, multipart
from corten_serve.protocols.interface import Answer, BadRequest, ResultError
from support.desk import Served
from support.properties import thorough

PREDICT = "json:predict"


def echo(
    data: bytes = b"",
    name: str = "",
    n: int = 1,
    on: bool = False,
    tags: list[str] = [],  # noqa: B006
    x: Any = None,
) -> dict[str, Any]:
    return {"data": data.decode("latin-1"), "name": name, "n": n, "on": on, "tags": tags, "x": x}


def form(*parts: tuple[str, bytes], boundary: str = "b1") -> tuple[bytes, str]:
    """A body of parts, each the rest of its content-disposition and its content, and the content type."""
    lines = [
        f"--{boundary}\r\ncontent-disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"
        for head, content in parts
    ]
    return b"".join(lines) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def saved(array: Any) -> bytes:
    file = io.BytesIO()
    numpy.save(file, array)
    return file.getvalue()


class TestForms:
    def test_fields_become_what_the_hints_say(self):
        body, kind = form(
            ('name="data"; filename="a.bin"\r\ncontent-type: image/png', b"\x00\r\n--b\xff"),
            ('name="name"', "Grüße".encode()),
            ('name="n"', b"7"),
            ('name="on"', b"true"),
            ('name="tags"', b"a"),
            ('name="tags"', b""),
        )
        answer = Served(echo).json(PREDICT, body, kind)
        assert answer == {
            "data": "\x00\r\n--b\xff", "name": "Grüße", "n": 7, "on": True, "tags": ["a", ""], "x": None
        }  # fmt: skip

    def test_one_field_may_hold_an_array_or_anything(self):
        body, kind = form(
            ('name="tags"', b'["p", "q"]'), ('name="x"', b'{"deep": [1]}'), ('name="name"', b"12")
        )
        answer = Served(echo).json(PREDICT, body, kind)
        assert (answer["tags"], answer["x"], answer["name"]) == (["p", "q"], {"deep": [1]}, "12")
        body, kind = form(('name="tags"', b"alone"), ('name="x"', b"no json"))
        answer = Served(echo).json(PREDICT, body, kind)
        assert (answer["tags"], answer["x"]) == (["alone"], "no json")

    def test_problems_name_the_field(self):
        body, kind = form(('name="n"', b"many"), ('name="n"', b"2"), ('name="size"', b"1"))
        status, text = Served(echo).refused(PREDICT, body, kind)
        assert (status, text) == (422, "n: expected one, got 2")
        body, kind = form(('name="n"', b"many"), ('name="nam"', b"1"))
        status, text = Served(echo).refused(PREDICT, body, kind)
        assert text == "n: expected an integer, got string 'many'; nam: unknown field; did you mean 'name'?"

    def test_an_upload_that_a_browser_left_empty_is_not_there(self):
        def predict(data: Optional[bytes] = None) -> bool:  # noqa: UP045
            return data is None

        body, kind = form(('name="data"; filename=""', b""))
        assert Served(predict).json(PREDICT, body, kind) is True

    def test_several_files_are_a_list(self):
        def predict(files: list[bytes]) -> list[int]:
            return [len(file) for file in files]

        body, kind = form(('name="files"; filename="a"', b"1"), ('name="files"; filename="b"', b"22"))
        assert Served(predict).json(PREDICT, body, kind) == [1, 2]

    @pytest.mark.parametrize(
        ("head", "name", "file"),
        [
            ('name="a b"; filename="x.png"', "a b", "x.png"),
            (r'name="a\"b"', 'a"b', None),
            (r'name="a"; filename="C:\dir\x.png"', "a", r"C:\dir\x.png"),
            ("name=plain", "plain", None),
            ("name=a; filename*=UTF-8''%e2%82%ac.txt", "a", "€.txt"),
        ],
    )
    def test_names(self, head, name, file):
        body, _ = form((head, b""))
        ((part),) = multipart(body, {"boundary": "b1"})
        assert (part.name, part.file) == (name, file)

    @pytest.mark.parametrize(
        ("body", "boundary", "message"),
        [
            (b"--b1\r\n", "", "has no 'boundary'"),
            (b"--b1\r\n", "x" * 71, "has no 'boundary'"),
            (b"", "b1", "has no part"),
            (b"--b1\r\n--b1--", "b1", "no headers"),
            (b"--b1\r\nx: y\r\n\r\nz", "b1", "has no part that is whole"),
            (b"--b1\r\nx: y\r\n\r\nz\r\n--b1--", "b1", "no 'content-disposition"),
            (b"--b1\r\n" + b"x" * 70000 + b"\r\n--b1--", "b1", "no headers"),
            (
                b'--b1\r\ncontent-disposition: form-data; name="a"\r\n\r\n\r\n' * (MOST_PARTS + 1),
                "b1",
                "at most 1000",
            ),
        ],
    )
    def test_what_is_no_form_is_refused(self, body, boundary, message):
        with pytest.raises(BadRequest) as error:
            multipart(body, {"boundary": boundary})
        assert error.value.status == 400
        assert message in error.value.problems[0][1]

    @given(
        st.lists(st.tuples(st.text("abcö", min_size=1, max_size=4), st.binary(max_size=40)), max_size=5),
        st.binary(max_size=20),
    )
    def test_every_content_comes_back(self, fields, noise):
        contents = [content for _, content in fields]
        body, _ = form(*((f'name="{name}"', content) for name, content in fields))
        if any(b"\r\n--b1" in b"\r\n" + content for content in contents):
            return
        parts = multipart(memoryview(body), {"boundary": "b1"})
        assert [(part.name, bytes(part.data)) for part in parts] == fields
        spoiled = body[: len(body) // 2] + noise + body[len(body) // 2 :]
        assert Served(echo).answer(PREDICT, spoiled, "multipart/form-data; boundary=b1").status in (
            200,
            400,
            415,
            422,
        )

    def test_url_encoding_and_what_curl_calls_so(self):
        kind = "application/x-www-form-urlencoded"
        answer = Served(echo).json(PREDICT, b"name=a+b%26&n=3&data=aGk%3D&tags=1&tags=2", kind)
        assert (answer["name"], answer["n"], answer["data"], answer["tags"]) == ("a b&", 3, "hi", ["1", "2"])
        assert Served(echo).json(PREDICT, b' {"n": 5}', kind)["n"] == 5
        assert Served(echo).refused(PREDICT, b"\xff\xfe", kind)[0] == 400


class TestJson:
    def test_a_byte_order_mark_and_other_charsets_are_read(self):
        served = Served(echo)
        assert served.json(PREDICT, b'\xef\xbb\xbf{"name": "a"}', "application/json")["name"] == "a"
        assert (
            served.json(PREDICT, '{"name": "ü"}'.encode("latin-1"), "application/json; charset=ISO-8859-1")[
                "name"
            ]
            == "ü"
        )
        assert (
            served.json(PREDICT, '{"name": "ü"}'.encode(), 'application/vnd.x+json;charset="utf-8"')["name"]
            == "ü"
        )
        status, text = served.refused(PREDICT, b"{}", "application/json; charset=ebcdic")
        assert (status, text) == (415, "the charset 'ebcdic' is not known")

    def test_other_types_are_refused_by_name(self):
        def predict(x: int = 0) -> int:
            return x

        status, text = Served(predict).refused(PREDICT, b"..", "image/png")
        assert status == 415
        assert "'application/json', 'multipart/form-data'" in text
        assert "'image/png'" in text

    def test_a_whole_body_is_the_only_upload(self):
        assert Served(echo).json(PREDICT, b"\x89PNG", "image/png")["data"] == "\x89PNG"

        def two(a: bytes, b: bytes) -> int:
            return 0

        assert Served(two).refused(PREDICT, b"..", "image/png")[0] == 415


class TestArrays:
    def test_an_array_is_taken_and_given(self):
        def predict(x: numpy.ndarray, k: int = 2) -> numpy.ndarray:
            assert x.dtype == numpy.float32
            assert x.flags.writeable
            return x * k

        array = numpy.arange(6, dtype="f4").reshape(2, 3)
        for given_ in (array, numpy.asfortranarray(array)):
            answer = Served(predict).answer(PREDICT, saved(given_), npy.NPY, f"{npy.NPY}, */*;q=0.1")
            assert answer.type == npy.NPY
            assert numpy.array_equal(numpy.load(io.BytesIO(answer.body)), array * 2)
        assert Served(predict).json(PREDICT, saved(array), npy.NPY) == (array * 2).tolist()

    def test_types_that_do_not_fit_are_refused(self):
        def predict(x: numpy.typing.NDArray[numpy.uint8]) -> int:
            return int(x.sum())

        assert Served(predict).json(PREDICT, saved(numpy.array([1, 255])), npy.NPY) == 256
        assert Served(predict).refused(PREDICT, saved(numpy.array([256])), npy.NPY) == (
            422,
            "x: expected numbers from 0 to 255",
        )
        status, text = Served(predict).refused(PREDICT, saved(numpy.array([1.5])), npy.NPY)
        assert (status, text) == (
            422,
            "x: expected an array of integers of zero and above, got elements of the type 'float64'",
        )

    def test_lists_of_numbers_take_arrays_too(self):
        def predict(rows: list[list[float]]) -> float:
            return sum(map(sum, rows))

        assert Served(predict).json(PREDICT, saved(numpy.ones((2, 3), "f2")), npy.NPY) == 6.0

    @pytest.mark.parametrize(
        ("array", "reason"),
        [
            (numpy.array([{}], dtype=object), "its elements are not numbers or booleans"),
            (numpy.array(["a"]), "its elements are not numbers or booleans"),
            (numpy.array([1j]), "its elements are not numbers or booleans"),
            (numpy.array([(1, 2)], dtype="i4,i4"), "its elements are not numbers or booleans"),
            (numpy.array([1], dtype=">i4"), "its elements are big endian"),
        ],
    )
    def test_objects_and_texts_are_not_loaded(self, array, reason):
        file = io.BytesIO()
        numpy.save(file, array, allow_pickle=True)
        with pytest.raises(BadRequest, match=reason):
            npy.load(file.getvalue())

    @pytest.mark.parametrize(
        "header",
        [
            "{'descr': '<f8', 'fortran_order': False, 'shape': (1 << 3,)}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (1e3,)}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (999999999, 0)}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999, 99999999999)}",
            "{'descr': '<f8', 'fortran_order': 0, 'shape': (1,)}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'x': 1}",
            "{'descr': ['<f8'], 'fortran_order': False, 'shape': (1,)}",
            "__import__('os').abort()",
            "{[]: 1}",
            "(" * 5000,
            "9" * 9000,
        ],
    )
    def test_hostile_headers_are_refused(self, header):
        data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(8)
        with pytest.raises(BadRequest, match="not an array in NumPy's format"):
            npy.load(data)

    @thorough(300)
    @given(st.data())
    def test_no_bytes_are_a_failure(self, data):
        whole = saved(numpy.zeros((2, 2), data.draw(st.sampled_from(["f4", "i8", "?", "u2"]))))
        place = data.draw(st.integers(0, len(whole)))
        spoiled = (
            whole[:place] + data.draw(st.binary(max_size=6)) + whole[place + data.draw(st.integers(0, 6)) :]
        )
        for body in (spoiled, data.draw(st.binary(max_size=30))):
            try:
                npy.load(body)
            except BadRequest as error:
                assert error.problems  # noqa: PT017 (either is right)

    def test_a_result_that_is_no_array_is_told(self):
        def predict() -> Any:
            return {"a": 1}

        with pytest.raises(ResultError, match="no array of numbers"):
            Served(predict).answer(PREDICT, b"", "", npy.NPY)


class TestAccept:
    @pytest.mark.parametrize(
        ("header", "chosen"),
        [
            ("", "a/b"), ("*/*", "a/b"), ("c/d", "c/d"), ("c/*", "c/d"), ("A/B", "a/b"), ("x/y", None),
            ("a/b;q=0.5, c/d", "c/d"), ("*/*;q=0.1, c/d;q=0.2", "c/d"), ("a/b;q=0, */*", "c/d"),
            ("c/d;level=1;q=0.9, a/b;q=0.8", "c/d"), ("a/b;q=x, c/d", "c/d"), ("a/b;q=0", None),
            (",,;;q=1, /", "a/b"), ("c/d;q=2, a/b;q=0.1", "a/b"), ("x" * 9000, "a/b"),
        ],
    )  # fmt: skip
    def test_preferences(self, header, chosen):
        assert choose(header, ("a/b", "c/d")) == chosen

    @given(st.text())
    def test_any_header_has_an_answer(self, header):
        choose(header, ("a/b", "c/*"))
        parse(header)

    def test_a_quoted_parameter(self):
        assert parse(r'Form/Data; Name="a\"b;c" ; x=y') == ("form/data", {"name": 'a"b;c', "x": "y"})

    def test_what_cannot_be_had_is_406_before_anything_is_predicted(self):
        def predict() -> dict[str, int]:
            raise AssertionError("predicted")

        assert Served(predict).refused(PREDICT, b"", "", "image/png") == (
            406,
            "the result can be had as 'application/json'",
        )


class TestResults:
    def test_bytes_are_sent_as_they_are_or_as_base64(self):
        def predict(data: bytes) -> bytes:
            return data

        served = Served(predict)
        assert served.answer(PREDICT, b"\x00\xff", "image/gif", "*/*") == Answer(
            200, b"\x00\xff", "application/octet-stream"
        )
        assert served.json(PREDICT, {"data": "AP8="}, "", "application/json") == "AP8="

    def test_streams_are_lines_events_text_or_one_array(self):
        def predict() -> Iterator[str]:
            yield "ä\n"
            yield "b"

        served = Served(predict)
        lines = served.answer(PREDICT, b"")
        assert (lines.type, lines.body.decode()) == ("application/x-ndjson", '"ä\\n"\n"b"\n')
        events = served.answer(PREDICT, b"", "", "text/event-stream")
        assert events.body.decode() == 'data: "ä\\n"\n\ndata: "b"\n\nevent: end\ndata: null\n\n'
        assert served.answer(PREDICT, b"", "", "text/plain").body == "ä\nb".encode()
        assert served.json(PREDICT, b"", "", "application/json") == ["ä\n", "b"]

    def test_what_goes_wrong_inside_a_stream_is_told_there(self):
        def predict() -> Iterator[int]:
            yield 1

        served = Served(predict)
        for accept, expected in (
            ("application/x-ndjson", b'{"error": "it broke"}\n'),
            ("text/event-stream", b'event: error\ndata: {"error": "it broke"}\n\n'),
        ):
            from corten_serve.protocols.interface import Call

            work = served.desk.read(Call(PREDICT, "", ("", accept), b""))
            assert work.stream is not None
            assert work.stream.error("it broke") == expected

    def test_headers_travel_in_meta(self):
        assert Answer(200, b"{}").meta() == b""
        assert Answer(200, b"", "a/b", (("x", "1\r\ny: 2"), ("z", "ü"))).meta() == b"a/b\0x\x001??y: 2\0z\0?"


def test_deep_json_in_a_form_is_refused():
    body, kind = form(('name="x"\r\ncontent-type: application/json', b"[" * 100_000))
    assert Served(echo).refused(PREDICT, body, kind) == (422, "x: nested too deeply")
    assert json.loads(Served(echo).answer(PREDICT, b"[" * 100_000).body)["problems"][0]["field"] == ""
