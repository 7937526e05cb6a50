"""Constraints, files, images, frames, streams and batches: what a type hint says beside the plain types."""

# ruff: noqa: UP007, UP045 (both spellings of a union are what is tried here)
from __future__ import annotations

import base64
import collections.abc
import dataclasses
import datetime
import decimal
import gc
import io
import pathlib
import re
import struct
import subprocess
import sys
import typing
import zlib
from typing import Annotated, Any, BinaryIO, Literal, NewType, Optional, TypedDict, Union

import annotated_types
import jsonschema
import numpy
import numpy.typing
import pandas
import PIL.Image
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

import corten_serve
from corten_serve import Field
from corten_serve.errors import PredictorError
from corten_serve.protocols.codec import encode
from corten_serve.schema import compounds, images
from corten_serve.schema.kinds import Kind, Problems
from corten_serve.schema.signature import Described, Signature, singular
from support.properties import thorough

SOURCE = pathlib.Path(__file__).parents[2] / "src"


def signature_of(hint: Any) -> Signature:
    def call(x): ...

    call.__annotations__ = {"x": hint}
    return Signature(call)


def kind_of(hint: Any) -> Kind:
    return signature_of(hint).request.fields[0].kind


def schema_of(hint: Any) -> Any:
    return kind_of(hint).schema()


def read(hint: Any, value: Any) -> Any:
    _, keywords, problems = signature_of(hint).bind({"x": value})
    assert problems.found == []
    return keywords["x"]


def problem(hint: Any, value: Any) -> str:
    _, _, problems = signature_of(hint).bind({"x": value})
    ((field, message), *_) = problems.found
    assert field.startswith("x")
    return message


class TestConstraints:
    @pytest.mark.parametrize(
        "hint",
        [
            Annotated[int, Field(ge=0, le=10)],
            Annotated[int, pydantic.Field(ge=0, le=10)],
            Annotated[int, annotated_types.Interval(ge=0, le=10)],
            Annotated[int, annotated_types.Ge(0), annotated_types.Le(10)],
            Annotated[NewType("N", Annotated[int, Field(ge=0)]), Field(le=10)],
        ],
    )
    def test_bounds_however_they_are_written(self, hint):
        assert schema_of(hint) == {"type": "integer", "minimum": 0, "maximum": 10}
        assert [read(hint, value) for value in (0, 10, 3.0)] == [0, 10, 3]
        assert problem(hint, 11).startswith("expected an integer")
        assert "got number 11" in problem(hint, 11)
        assert "got number -1" in problem(hint, -1)

    @pytest.mark.parametrize(
        ("hint", "value", "message"),
        [
            (Annotated[int, Field(ge=0, le=10)], 11, "expected an integer from 0 to 10, got number 11"),
            (Annotated[float, Field(gt=0)], 0, "expected a number above 0, got number 0"),
            (Annotated[float, Field(lt=1)], 1, "expected a number below 1, got number 1"),
            (Annotated[int, Field(multiple_of=4)], 6, "expected an integer that is a multiple of 4, got number 6"),
            (Annotated[str, Field(min_length=1)], "", "expected a string of at least 1 character, got string ''"),
            (Annotated[str, Field(max_length=2)], "abc", "expected a string of at most 2 characters, got string 'abc'"),
            (Annotated[str, Field(min_length=1, max_length=2)], "abc", "expected a string of 1 to 2 characters, got string 'abc'"),
            (Annotated[list[int], Field(min_length=2, max_length=2)], [1], "expected an array of 2 items, got an array"),
            (Annotated[dict[str, int], Field(max_length=0)], {"a": 1}, "expected an object of at most 0 fields, got an object"),
            (Annotated[str, Field(pattern="^a")], "b", "expected a string that matches '^a', got string 'b'"),
            (Annotated[bytes, Field(max_length=2)], "aGVsbG8=", "expected a string of base64 of at most 2 bytes, got string 'aGVsbG8='"),
            (Annotated[int, annotated_types.Predicate(lambda n: n % 2)], 2, "expected an integer for which '<lambda>' holds, got number 2"),
            (Annotated[set[int], Field(min_length=2)], [1, 1], "expected an array of at least 2 items, got an array"),
        ],
    )  # fmt: skip
    def test_the_message_names_the_rule(self, hint, value, message):
        assert problem(hint, value) == message

    def test_a_missing_field_is_told_with_its_rule(self):
        _, _, problems = signature_of(Annotated[float, Field(ge=0, le=1)]).bind({})
        assert problems.found == [("x", "missing; expected a number from 0 to 1")]

    def test_rules_hold_inside_arrays_and_dataclasses(self):
        share = Annotated[float, Field(ge=0, le=1)]
        assert read(list[share], [0, 1.0]) == [0.0, 1.0]
        assert problem(list[share], [0, 2]) == "expected a number from 0 to 1, got number 2"

        @dataclasses.dataclass
        class Point:
            x: Annotated[float, Field(ge=0)] = 0

        Point.__annotations__["x"] = Annotated[float, Field(ge=0)]
        assert problem(Point, {"x": -1}) == "expected a number of at least 0, got number -1"

    def test_dates_and_decimals_have_bounds_too(self):
        after = Annotated[datetime.date, Field(ge=datetime.date(2026, 1, 1))]
        assert read(after, "2026-01-01") == datetime.date(2026, 1, 1)
        assert "of at least 2026-01-01" in problem(after, "2025-12-31")
        assert "minimum" not in schema_of(after)
        money = Annotated[decimal.Decimal, Field(gt=0)]
        assert read(money, "0.01") == decimal.Decimal("0.01")
        assert "above 0" in problem(money, "0")
        # One with a time zone and one without cannot be compared: it is refused, and no failure.
        naive = Annotated[datetime.datetime, Field(ge=datetime.datetime(2026, 1, 1))]
        assert "of at least 2026" in problem(naive, "2026-02-01T00:00:00Z")

    def test_descriptions_and_examples(self):
        class Doc:
            documentation = "from a Doc"

        assert schema_of(Annotated[int, "words"]) == {"type": "integer", "description": "words"}
        assert schema_of(Annotated[int, Doc()])["description"] == "from a Doc"
        assert schema_of(Annotated[int, Field(description="d", examples=[1, 2])]) == {
            "type": "integer",
            "description": "d",
            "examples": [1, 2],
        }
        assert schema_of(Annotated[int, pydantic.Field(description="p", title="T", examples=[3])]) == {
            "type": "integer",
            "description": "p",
            "title": "T",
            "examples": [3],
        }

    @pytest.mark.parametrize(
        ("hint", "message"),
        [
            (Annotated[str, Field(ge=3)], "'ge' says nothing about a string (of parameter 'x')"),
            (Annotated[int, Field(min_length=3)], "'min_length' says nothing about an integer"),
            (Annotated[int, Field(pattern="a")], "'pattern' says nothing about an integer"),
            (Annotated[str, Field(pattern="(")], "the pattern '(' cannot be used"),
            (Annotated[str, Field(max_length=-1)], "'max_length' is -1"),
            (Annotated[int, Field(multiple_of=0)], "'multiple_of' is 0"),
        ],
    )
    def test_rules_that_make_no_sense_are_errors_at_start(self, hint, message):
        with pytest.raises(PredictorError) as error:
            signature_of(hint)
        assert error.value.message.startswith(message)
        assert error.value.hint

    @pytest.mark.parametrize("default", [Field(ge=0), pydantic.Field(ge=0)])
    def test_rules_in_the_place_of_a_default_are_an_error_at_start(self, default):
        def predict(x: int = default): ...

        with pytest.raises(PredictorError, match="the default of parameter 'x'"):
            Signature(predict)

    def test_a_pattern_is_searched_for_and_its_end_is_the_end(self):
        assert read(Annotated[str, Field(pattern="b+")], "abba") == "abba"
        assert problem(Annotated[str, Field(pattern="^[a-z]+$")], "abc\n")
        assert read(Annotated[str, Field(pattern=r"^[$]\$$")], "$$") == "$$"
        assert read(Annotated[str, annotated_types.Len(0, 3), pydantic.Field(pattern="^a?$")], "a") == "a"

    def test_floats_are_multiples_as_far_as_their_digits_go(self):
        tenth = Annotated[float, Field(multiple_of=0.1)]
        assert read(tenth, 0.3) == 0.3
        assert problem(tenth, 0.35)
        assert problem(Annotated[int, Field(multiple_of=0.5)], 10**400)
        assert read(Annotated[int, Field(multiple_of=3)], 3 * 10**400) == 3 * 10**400

    RULES: typing.ClassVar[list[Any]] = [
        Annotated[int, Field(ge=-1, lt=3)],
        Annotated[float, Field(gt=-2.5, le=2)],
        Annotated[int, Field(multiple_of=2)],
        Annotated[str, Field(min_length=1, max_length=2)],
        Annotated[str, Field(pattern="^a|b$")],
        Annotated[list[int], Field(min_length=1, max_length=2)],
        Annotated[dict[str, int], Field(min_length=1)],
        Annotated[tuple[int, ...], Field(max_length=1)],
        Annotated[Optional[int], Field(ge=2)],
        Annotated[Union[int, str], Field(ge=2, max_length=1)],
        Annotated[Union[int, bool, list[int], None], Field(le=1, min_length=1)],
        Annotated[Literal[1, 2, "a", "bb"], Field(ge=2, max_length=1)],
        list[Annotated[int, Field(ge=0)]],
        list[Annotated[str, Field(max_length=1)]],
        Annotated[Any, Field(ge=0, min_length=1, pattern="a")],
    ]
    VALUES: typing.ClassVar[Any] = st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-4, 4)
        | st.floats(-4, 4)
        | st.sampled_from(["", "a", "b", "ab", "abc", "bb", 10**30, 2.0, -0.0]),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
        ),
        max_leaves=4,
    )

    @thorough(500)
    @given(st.sampled_from(RULES), VALUES)
    def test_reading_and_schema_agree(self, hint, value):
        signature = signature_of(hint)
        _, _, problems = signature.bind({"x": value})
        validator = jsonschema.Draft202012Validator(signature.request.definition())
        validator.check_schema(validator.schema)
        assert (not problems.found) == validator.is_valid({"x": value})


PIXEL = PIL.Image.new("RGB", (3, 2), (255, 0, 0))


def encoded(image: PIL.Image.Image, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def base(data: bytes) -> str:
    return base64.b64encode(data).decode()


def from_bytes(hint: Any, data: bytes | memoryview, content_type: str = "") -> Any:
    problems = Problems()
    value = kind_of(hint).read_bytes(data, content_type, (None, "x"), problems)
    assert problems.found == []
    return value


class TestFiles:
    def test_bytes_in_json_and_alone(self):
        assert read(bytes, base(b"hi")) == b"hi"
        assert read(bytes, "data:text/plain;charset=utf-8;base64,aGk=") == b"hi"
        assert read(bytearray, base(b"hi")) == bytearray(b"hi")
        assert from_bytes(bytes, memoryview(b"hi")) == b"hi"
        assert type(from_bytes(bytearray, b"hi")) is bytearray
        assert kind_of(bytes).media == ("application/octet-stream",)
        for wrong in ("%", "aGk", "data:,hi", "data:;base64", 3, None, ["aGk="]):
            assert problem(bytes, wrong).startswith("expected a string of base64")

    @pytest.mark.parametrize("hint", [BinaryIO, typing.IO[bytes], io.BytesIO])
    def test_an_open_file(self, hint):
        assert read(hint, base(b"hi")).read() == b"hi"
        assert from_bytes(hint, b"there").read() == b"there"

    def test_a_path_is_a_file_as_long_as_somebody_has_it(self):
        path = from_bytes(pathlib.Path, memoryview(b"a,b\n"), "text/csv; charset=utf-8")
        assert isinstance(path, pathlib.Path)
        assert path.suffix == ".csv"
        assert path.read_bytes() == b"a,b\n"
        # A path made of it does not carry the file off when it goes.
        assert path.with_suffix(".txt") != path
        gc.collect()
        assert path.exists()
        name = str(path)
        assert not pathlib.Path(name).stat().st_mode & 0o077
        del path
        gc.collect()
        assert not pathlib.Path(name).exists()

    def test_uploads_of_a_process_that_was_killed_go_with_the_next(self, tmp_path):
        code = """if True:
            import os, pathlib, signal, sys
            from corten_serve.schema.signature import Signature
            def call(x: pathlib.Path): ...
            (path,) = Signature(call).bind({"x": "aGk="})[1].values()
            if not os.fork():
                sys.exit(0)
            os.wait()
            print(path.parent.parent, path.read_text(), flush=True)
            sys.stdin.read()
            os.kill(os.getpid(), int(sys.argv[1]))
        """
        environment = {"TMPDIR": str(tmp_path), "PYTHONPATH": str(SOURCE)}

        def begin(signal: int) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-c", code, str(signal)]
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert process.stdout is not None
            assert process.stdout.readline() == f"{tmp_path} hi\n".encode()
            return process

        killed, stays = begin(9), begin(0)
        assert len(list(tmp_path.iterdir())) == 2
        killed.communicate()
        assert killed.returncode == -9
        assert len(list(tmp_path.iterdir())) == 2
        last = begin(0)
        assert len(list(tmp_path.iterdir())) == 2
        stays.communicate()
        last.communicate()
        assert list(tmp_path.iterdir()) == []

    def test_a_path_that_the_client_names_is_not_opened(self):
        assert problem(pathlib.Path, "/etc/passwd").startswith("expected a file")

    def test_results_that_are_files(self, tmp_path):
        assert kind_of(bytes).encode(b"x") == ("application/octet-stream", b"x")
        assert kind_of(bytes).encode("text") is None
        file = tmp_path / "table.csv"
        file.write_text("a\n")
        assert kind_of(pathlib.Path).encode(file) == ("text/csv", b"a\n")
        with open(file, "rb") as opened:
            assert kind_of(BinaryIO).encode(opened) == ("text/csv", b"a\n")
            assert opened.closed
        assert kind_of(Optional[bytes]).encode(b"x") == ("application/octet-stream", b"x")
        assert kind_of(Optional[bytes]).encode(None) is None
        assert kind_of(dict).encode({}) is None

    def test_the_content_type_can_be_said(self, tmp_path):
        wave = Annotated[bytes, Field(media="audio/wav", max_length=3)]
        assert kind_of(wave).media == ("audio/wav",)
        assert kind_of(wave).produces == "audio/wav"
        assert kind_of(wave).encode(b"x") == ("audio/wav", b"x")
        assert schema_of(wave)["contentMediaType"] == "audio/wav"
        problems = Problems()
        kind_of(wave).read_bytes(b"four", "", (None, "x"), problems)
        assert problems.found == [("x", "expected a string of base64 of at most 3 bytes, got 4 bytes")]

    def test_kinds_that_take_bytes_say_so_through_others(self):
        assert kind_of(Optional[bytes]).media
        assert kind_of(Annotated[bytes, "words"]).media
        item = kind_of(list[bytes]).item
        assert item is not None
        assert item.media
        assert from_bytes(Optional[bytes], b"x") == b"x"
        assert not kind_of(list[bytes]).media
        assert not kind_of(int).media


class TestImages:
    @pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
    def test_formats(self, form):
        image = from_bytes(PIL.Image.Image, encoded(PIXEL, form), "application/octet-stream")
        assert (image.size, image.format) == ((3, 2), form)
        assert read(PIL.Image.Image, base(encoded(PIXEL, form))).size == (3, 2)
        assert read(PIL.Image.Image, "data:image/png;base64," + base(encoded(PIXEL, form))).size == (3, 2)

    @pytest.mark.parametrize(
        "data",
        [b"", b"hello", encoded(PIXEL)[:40], encoded(PIXEL, "JPEG")[:200], encoded(PIXEL, "TIFF")[:60],
         b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%!"],
    )  # fmt: skip
    def test_what_is_no_whole_image_is_refused(self, data):
        assert problem(PIL.Image.Image, base(data)).startswith("not an image that can be read")

    @thorough(200)
    @given(st.sampled_from(["PNG", "GIF", "TIFF", "BMP", "JPEG", "WEBP"]), st.data())
    def test_spoiled_images_are_no_failure(self, form, draw):
        data = bytearray(encoded(PIXEL, form))
        for _ in range(3):
            data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
        kind_of(PIL.Image.Image).read_bytes(bytes(data), "", None, Problems())

    def test_a_bomb_is_refused_before_it_is_decoded(self):
        """2.5 GB of pixels that fit into a few bytes of compressed nothing."""
        head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
        chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
        data = b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in chunks
        )
        assert re.fullmatch(
            r"an image has at most \d+ pixels, not 50000 × 50000|not an image that can be read.*",
            problem(PIL.Image.Image, base(data)),
        )
        assert problem(PIL.Image.Image, base(encoded(PIL.Image.new("1", (10_000, 9_000))))).startswith(
            "an image has at most 89478485 pixels, not 10000 × 9000"
        )

    def test_results_are_png(self):
        kind = kind_of(PIL.Image.Image)
        assert kind.produces == "image/png"
        for mode in ("RGB", "RGBA", "L", "P", "1", "CMYK", "F", "YCbCr"):
            pair = kind.encode(PIL.Image.new(mode, (2, 2)))
            assert pair is not None
            assert pair[0] == "image/png"
            assert PIL.Image.open(io.BytesIO(pair[1])).size == (2, 2)
        assert kind.encode("no image") is None
        url = images.data_url(PIXEL)
        assert url is not None
        assert read(PIL.Image.Image, url).tobytes() == PIXEL.tobytes()

    def test_the_schema_says_what_it_is(self):
        assert schema_of(PIL.Image.Image) == {
            "type": "string",
            "contentEncoding": "base64",
            "contentMediaType": "image/*",
        }
        assert "image/png" in kind_of(PIL.Image.Image).media


FRAME = pandas.DataFrame({"a": [1, 2], "b": ["x", None]})


class TestFrames:
    @pytest.mark.parametrize("orient", ["records", "list", "split"])
    def test_every_form_gives_the_same_frame(self, orient):
        value = {
            "records": [{"a": 1, "b": "x"}, {"a": 2, "b": None}],
            "list": {"a": [1, 2], "b": ["x", None]},
            "split": {"columns": ["a", "b"], "data": [[1, "x"], [2, None]], "index": [0, 1]},
        }[orient]
        pandas.testing.assert_frame_equal(read(pandas.DataFrame, value), FRAME)

    @pytest.mark.parametrize(
        ("value", "field", "message"),
        [
            (3, "x", "expected a table: an array of objects, or an object of columns, got number 3"),
            ([1], "x[0]", "expected an object, got number 1"),
            ([{"a": [1]}], "x[0].a", "expected a plain value, got an array"),
            ({"a": 1}, "x.a", "expected an array, got number 1"),
            ({"a": [1], "b": [1, 2]}, "x.b", "expected 1 items like the first column, got 2"),
            ({"columns": ["a"], "data": [[1, 2]]}, "x.data[0]", "expected 1 items, one for each column, got 2"),
            ({"columns": [1], "data": []}, "x.columns[0]", "expected a string, got number 1"),
        ],
    )  # fmt: skip
    def test_problems_name_their_place(self, value, field, message):
        _, _, problems = signature_of(pandas.DataFrame).bind({"x": value})
        assert problems.found == [(field, message)]

    @thorough(300)
    @given(st.sampled_from([pandas.DataFrame, pandas.Series]), TestConstraints.VALUES)
    def test_reading_is_never_laxer_than_the_schema(self, hint, value):
        for tried in (value, [value], {"a": value}, {"columns": ["a"], "data": value}):
            signature = signature_of(hint)
            _, _, problems = signature.bind({"x": tried})
            if not problems.found:
                validator = jsonschema.Draft202012Validator(signature.request.definition())
                assert validator.is_valid({"x": tried})

    def test_numbers_beyond_everything_are_no_failure(self):
        for value in ([{"a": 10**400}], {"a": [1e308, 10**30]}, [{"": True}]):
            assert len(read(pandas.DataFrame, value)) > 0

    def test_csv(self):
        pandas.testing.assert_frame_equal(from_bytes(pandas.DataFrame, b"a,b\n1,x\n2,\n", "text/csv"), FRAME)
        for broken in (b"", b'a,b\n1,"x', b"a\n1,2,3\n1,2,3,4,5\n", b"\xff\xfe"):
            problems = Problems()
            kind_of(pandas.DataFrame).read_bytes(broken, "text/csv", None, problems)
            assert problems.found[0][1].startswith("not a table in CSV")

    def test_columns(self):
        assert read(pandas.Series, [1, 2]).tolist() == [1, 2]
        assert read(pandas.Series, {"a": 1, "b": 2}).to_dict() == {"a": 1, "b": 2}
        assert problem(pandas.Series, [[1]]) == "expected a plain value, got an array"

    def test_missing_cells_of_results_are_null(self):
        frame = pandas.DataFrame(
            {"at": [pandas.Timestamp("2026-01-02"), pandas.NaT], "n": pandas.array([1, None], dtype="Int64")}
        )
        assert encode(frame) == b'[{"at":"2026-01-02T00:00:00","n":1},{"at":null,"n":null}]'
        assert encode({"shot": PIXEL}).startswith(b'{"shot":"data:image/png;base64,')

    def test_results_are_records(self):
        def predict() -> pandas.DataFrame: ...

        assert Signature(predict).result["type"] == "array"
        assert Signature(predict).result["items"]["type"] == "object"


class TestStreams:
    def test_generators_say_what_one_piece_is(self):
        def words() -> collections.abc.Iterator[str]:
            yield ""

        def iterable() -> collections.abc.Iterable[int]:
            yield 1

        async def numbers() -> collections.abc.AsyncIterator[float]:
            yield 1.0

        def whole() -> typing.Generator[Annotated[int, "words"], None, None]:
            yield 1

        def bare():
            yield 1

        results = [
            (Signature(call).streams, Signature(call).result)
            for call in (words, iterable, numbers, whole, bare)
        ]
        assert results == [
            (True, {"type": "string"}),
            (True, {"type": "integer"}),
            (True, {"type": "number"}),
            (True, {"type": "integer", "description": "words"}),
            (True, {}),
        ]

    def test_functions_that_return_an_iterator_stream_too(self):
        def relay() -> collections.abc.Iterator[str]:
            return iter(())

        def later() -> collections.abc.Awaitable[int]: ...

        def several() -> collections.abc.Iterable[int]:
            return [1]

        async def single() -> int:
            return 1

        assert Signature(relay).streams
        assert [Signature(call).streams for call in (later, several, single)] == [False, False, False]
        assert Signature(later).result == {"type": "integer"}
        assert Signature(several).result == {"type": "array", "items": {"type": "integer"}}


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x must not be negative")


class Movie(TypedDict):
    title: str
    year: typing.NotRequired[int]


class TestBatches:
    def item(self, signature: Signature, value: Any) -> Any:
        arguments, keywords, problems = signature.bind(value)
        assert problems.found == []
        return signature.item(arguments, keywords)

    def test_the_item_says_what_a_request_is(self):
        def texts(texts: list[str]) -> list[int]: ...
        def points(points: list[Point]) -> list[float]: ...
        def movies(movies: collections.abc.Sequence[Movie]) -> list[Movie]: ...
        def bare(items): ...

        signature = Signature.from_batch(texts)
        assert signature.batch
        assert signature.request.definition()["properties"] == {"text": {"type": "string"}}
        assert signature.result == {"type": "integer"}
        assert self.item(signature, {"text": "a"}) == "a"
        signature = Signature.from_batch(points)
        assert signature.request.definition()["required"] == ["x"]
        assert self.item(signature, {"x": 1}) == Point(1.0, 0.0)
        assert signature.bind({"x": -1})[2].found == [("", "x must not be negative")]
        signature = Signature.from_batch(movies)
        assert self.item(signature, {"title": "M"}) == {"title": "M"}
        assert signature.result == {"$ref": "#/components/schemas/Movie"}
        assert self.item(Signature.from_batch(bare), {"item": [1]}) == [1]

    def test_predict_says_it_where_both_are_there(self):
        def one(x: float) -> float: ...
        def two(x: float, y: float = 2.0) -> float: ...
        def ordered(x: float, y: float = 2.0, /) -> float: ...
        def batch(items: list[Any]) -> list[float]: ...
        def points(items: list[Point]) -> list[float]: ...
        def movies(items: list[Movie]) -> list[float]: ...

        assert self.item(Signature.from_batch(batch, one), {"x": 1}) == 1.0
        assert self.item(Signature.from_batch(batch, two), {"x": 1}) == {"x": 1.0, "y": 2.0}
        assert self.item(Signature.from_batch(batch, ordered), {"x": 1}) == {"x": 1.0, "y": 2.0}
        assert self.item(Signature.from_batch(points, two), {"x": 1}) == Point(1.0, 2.0)
        with pytest.raises(PredictorError, match="whose fields are not the parameters of 'predict'"):
            Signature.from_batch(movies, two)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [("texts", "text"), ("boxes", "box"), ("queries", "query"), ("classes", "class"), ("mass", "mass"), ("s", "s"),
         ("batches", "batch"), ("features", "feature"), ("batch", "batch")],
    )  # fmt: skip
    def test_singular(self, name, expected):
        assert singular(name) == expected

    def test_fields_that_are_no_identifiers(self):
        call = Described(
            lambda **inputs: inputs, [("input.1", int, True, None), ("a b", str, False, "z")], Any
        )
        signature = Signature(call)
        arguments, keywords, problems = signature.bind({"input.1": 3})
        assert problems.found == []
        assert call(*arguments, **keywords) == {"input.1": 3}
        assert signature.request.definition()["properties"]["a b"] == {"type": "string", "default": "z"}


class TestHostile:
    def test_unions_that_multiply_come_to_an_end(self, monkeypatch):
        @dataclasses.dataclass
        class A:
            next: Any
            a: int = 0

        @dataclasses.dataclass
        class B:
            next: Any
            b: int = 0

        for cls in (A, B):
            cls.__annotations__["next"] = Union[A, B, None]
        monkeypatch.setattr(compounds, "_MOST_ATTEMPTS", 2000)
        value: Any = {"next": "bad"}
        for _ in range(40):
            value = {"next": value}
        _, _, problems = signature_of(Union[A, B]).bind({"x": value})
        assert "too many combinations of alternatives to try" in str(problems.found)

    def test_one_long_string_among_many_in_an_array_of_strings(self):
        signature = signature_of(numpy.typing.NDArray[numpy.str_])
        for value in (["a" * 70_000, *[""] * 1000], [["a" * 9_000_000], *[["b"]] * 7]):
            _, _, problems = signature.bind({"x": value})
            assert problems.found == [("x", "strings of such lengths take more than 256 MiB as an array")]
        _, keywords, problems = signature.bind({"x": ["a" * 70_000, *[""] * 900]})
        assert not problems.found
        assert keywords["x"].shape == (901,)

    @pytest.mark.parametrize(
        "hint",
        [
            *(bytes, pathlib.Path, BinaryIO, PIL.Image.Image, pandas.DataFrame, pandas.Series),
            *(numpy.ndarray, numpy.typing.NDArray[numpy.int8], numpy.float32, numpy.int8),
            *(datetime.datetime, decimal.Decimal, Annotated[int, Field(ge=0, multiple_of=3)]),
            *(Annotated[float, Field(gt=0.5, multiple_of=0.1)], Annotated[str, Field(pattern="(a|b)+$")]),
        ],
    )
    def test_nothing_is_a_failure(self, hint):
        deep: Any = []
        for _ in range(300):
            deep = [deep]
        for value in (10**400, -(10**400), 1e308, float("inf"), float("-inf"), float("nan"), "\ud800", "\0", deep, {"": deep}, [10**400], [{}], {"a": [float("nan")]}):  # fmt: skip
            signature_of(hint).bind({"x": value})


def test_the_package_shows_what_projects_may_name():
    assert corten_serve.Field is Field
    with pytest.raises(AttributeError):
        _ = corten_serve.nothing
    with pytest.raises(TypeError):
        Field(minimum=3)
