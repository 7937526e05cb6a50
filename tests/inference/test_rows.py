"""Rows of requests and of results, as files have them."""

from __future__ import annotations

import tracemalloc

import pytest

from corten.errors import UsageError
from corten.inference.operations import Operation
from corten.inference.rows import Writer, count_rows, read_rows

FIELDS = {"text": {"type": "string"}, "n": {"type": "integer"}}
OPERATION = Operation("/predict", {"type": "object", "properties": FIELDS}, {})


def text(lines) -> str:
    return "".join(lines)


def rows(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    return list(read_rows(path, OPERATION)), count_rows(path)


def test_json_lines(tmp_path):
    found, count = rows(tmp_path, "a.jsonl", b'\xef\xbb\xbf{"text": "\xc3\xa9"}\n\n[1]\n{"n":1}')
    assert found == [{"text": "é"}, [1], {"n": 1}]
    assert count == 4


def test_csv_cells_are_read_as_their_fields_ask(tmp_path):
    found, count = rows(tmp_path, "a.csv", b'text,n\r\n"a, ""b""\nc",5\r\n007,\r\n')
    assert found == [{"text": 'a, "b"\nc', "n": 5}, {"text": "007"}]
    assert count >= 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"{}\n{\n", "line 2 of .* is not JSON"),
        ("a.jsonl", b"\xff\n", "not UTF-8"),
        ("a.csv", b"text,n\na\n", "line 2 of .* has 1 cells"),
        ("a.csv", b"text,text\na,b\n", "two columns of one name"),
        ("a.csv", b'text,n\n"a"b,1\n', "line 2 of .* is not CSV"),
        ("a.txt", b"", "neither JSON lines nor CSV"),
    ],
)
def test_what_cannot_be_read_says_where(tmp_path, name, content, message):
    with pytest.raises(UsageError, match=message):
        rows(tmp_path, name, content)


def test_results_as_csv_have_the_columns_of_the_first_that_there_is():
    writer = Writer("csv")
    given = {"text": "a,b", "n": 1}
    assert text(writer.lines(given, None, "no, not this")) == ""
    assert text(writer.lines(given, {"text": "x", "score": 0.5}, None)) == (
        'text,n,predicted_text,score,error\n"a,b",1,,,"no, not this"\n"a,b",1,x,0.5,\n'
    )
    assert text(writer.lines(given, None, "again")) == '"a,b",1,,,again\n'
    assert text(writer.finish()) == ""


def test_results_as_csv_when_no_row_has_one():
    writer = Writer("csv")
    assert text(writer.lines({"n": 1}, None, "bad")) == ""
    assert text(writer.finish()) == "n,prediction,error\n1,,bad\n"
    assert text(Writer("csv").finish()) == ""


def test_plain_results():
    assert text(Writer("csv").lines({"n": 1}, [1, "é"], None)) == 'n,prediction,error\n1,"[1,""é""]",\n'
    assert text(Writer("jsonl").lines({"n": 1}, {"é": None}, None)) == '{"é":null}\n'
    assert text(Writer("jsonl").lines({"n": 1}, None, "bad")) == '{"error":"bad"}\n'


def test_failed_rows_that_wait_for_a_result_are_not_held_in_memory():
    writer = Writer("csv")
    request = {"text": "x" * 10_000}
    tracemalloc.start()
    for _ in range(3000):
        assert text(writer.lines(request, None, "bad")) == ""
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    peak = count = 0
    for line in writer.lines({"text": "y"}, {"score": 1}, None):
        count += line.count("\n")
        peak = max(peak, len(line))
    tracemalloc.stop()
    assert (count, peak < 20_000) == (3002, True)
