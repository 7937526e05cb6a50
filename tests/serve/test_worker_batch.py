from __future__ import annotations

import signal

import pytest

from corten_serve import frames
from corten_serve.frames import Item

PREFIXES = pytest.mark.parametrize("prefix", ["", "async "])


@PREFIXES
def test_items_are_the_argument_or_a_dict_of_them(begin, prefix):
    worker = begin(
        f"""
        class P:
            {prefix}def predict(self, a: int, b: str = "x") -> list: return [a, b, "alone"]
            {prefix}def predict_batch(self, items: list) -> list:
                return [[item["a"], item["b"], len(items)] for item in items]
        """,
        "predict:P",
    )
    assert worker.results([{"a": 1}, {"a": 2, "b": "y"}]) == [(200, [1, "x", 2]), (200, [2, "y", 2])]
    assert worker.ask({"a": 1}) == (200, [1, "x", "alone"])


def test_a_batch_alone_is_a_predictor(begin):
    worker = begin(
        """
        from dataclasses import dataclass

        @dataclass
        class Flower:
            length: float
            name: str = "rose"

        class P:
            def predict_batch(self, flowers: list[Flower]) -> list[str]:
                return [f"{flower.name} {flower.length} of {len(flowers)}" for flower in flowers]
        """,
        "predict:P",
    )
    assert worker.ask({"length": 1}) == (200, "rose 1.0 of 1")
    assert worker.results([{"length": 1}, {"length": 2, "name": "iris"}]) == [
        (200, "rose 1.0 of 2"),
        (200, "iris 2.0 of 2"),
    ]


@PREFIXES
def test_what_is_wrong_with_one_item_is_answered_to_that_one(begin, prefix):
    worker = begin(
        f"""
        from corten_serve import InvalidInput

        class P:
            {prefix}def predict_batch(self, numbers: list[int]) -> list[int]:
                print(numbers)
                return [ValueError("no") if n == 3 else InvalidInput("not 4") if n == 4 else n for n in numbers]
        """,
        "predict:P",
    )
    results = worker.results([{"number": n} for n in (1, "x", 3, 4, 5)])
    assert [status for status, _ in results] == [200, 422, 500, 422, 200]
    assert results[0][1] == 1
    assert results[1][1]["problems"][0]["field"] == "number"
    assert results[2][1]["error"].startswith("the predictor raised ValueError")
    assert results[3][1]["error"] == "not 4"
    assert worker.out == "[1, 3, 4, 5]\n"
    assert "ValueError: no" in worker.err


@PREFIXES
def test_a_batch_that_raises_is_tried_item_by_item_once(begin, prefix):
    worker = begin(
        f"""
        class P:
            {prefix}def predict_batch(self, numbers: list[int]) -> list[float]:
                print(numbers)
                return [1 / n for n in numbers]
        """,
        "predict:P",
    )
    results = worker.results([{"number": n} for n in (1, 0, 2)])
    assert [status for status, _ in results] == [200, 500, 200]
    assert results[2][1] == 0.5
    assert worker.out.splitlines() == ["[1, 0, 2]", "[1]", "[0]", "[2]"]
    assert worker.err.count("ZeroDivisionError") == 1


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("[1]", "returned 1 results for 2 items"),
        ("None", "returned 'NoneType', and a list of 2 was expected"),
    ],
)
def test_a_wrong_number_of_results_is_an_error_of_all(begin, returned, message):
    worker = begin(
        f"class P:\n    def predict_batch(self, numbers: list[int]): return {returned}\n", "predict:P"
    )
    for status, body in worker.results([{"number": 1}, {"number": 2}]):
        assert status == 500
        assert message in body["error"]


@PREFIXES
def test_ragged_arrays_go_in_groups_and_come_back_in_order(begin, prefix):
    worker = begin(
        f"""
        import numpy as np

        class P:
            {prefix}def predict_batch(self, rows: list[np.ndarray]) -> list[float]:
                print(len(rows))
                return np.stack(rows).sum(axis=1).tolist()
        """,
        "predict:P",
    )
    rows = [[1, 2], [1, 2, 3], [3, 4], [4], [5, 6, 7]]
    assert worker.results([{"row": row} for row in rows]) == [(200, sum(row)) for row in rows]
    assert worker.out.split() == ["2", "2", "1"]


def test_lists_of_numbers_are_grouped_and_lists_of_words_are_not(begin):
    code = """
        class P:
            def predict(self, values: list[{kind}], n: int = 0) -> int: return 0
            def predict_batch(self, items: list) -> list:
                print(len(items))
                return [len(items)] * len(items)
    """
    numbers = begin(code.format(kind="float"), "predict:P")
    assert [n for _, n in numbers.results([{"values": [1]}, {"values": [1, 2]}, {"values": [2]}])] == [
        2,
        1,
        2,
    ]
    words = begin(code.format(kind="str"), "predict:P")
    assert [n for _, n in words.results([{"values": ["a"]}, {"values": ["a", "b"]}])] == [2, 2]


def test_the_board_and_the_ids_are_those_of_the_whole_batch(begin):
    worker = begin(
        """
        from corten_serve import request_id, time_left

        class P:
            def predict_batch(self, numbers: list[int]) -> list:
                return [[request_id(), time_left() < 2]] * len(numbers)
        """,
        "predict:P",
    )
    items = [worker.item({"number": 1}, rid="a", left=9000), worker.item({"number": 1}, rid="b", left=1000)]
    worker.send(Item(0, frames.BATCH, 2), *items)
    assert {item.body for item in worker.answers(2).values()} == {b'["a,b",true]'}
    assert worker.board[0] == items[1].id


def test_a_batch_that_nobody_waits_for_is_cancelled(begin):
    worker = begin(
        """
        import time
        from corten_serve import Cancelled

        class P:
            def predict_batch(self, seconds: list[float]) -> list:
                print("begun")
                try:
                    time.sleep(seconds[0])
                except Cancelled:
                    print("cancelled")
                    raise
                return seconds
        """,
        "predict:P",
    )
    ids = worker.batch([{"second": 60}, {"second": 60}])
    worker.until("begun")
    worker.cancel(ids[0], signalled=True)
    assert {item.status for item in worker.answers(2).values()} == {499}
    assert worker.out == "begun\ncancelled\n"
    assert worker.results([{"second": 0}]) == [(200, 0.0)]


def test_an_async_batch_is_cancelled_with_its_last_client(begin):
    worker = begin(
        """
        import asyncio

        class P:
            async def predict_batch(self, seconds: list[float]) -> list:
                print("begun")
                try:
                    await asyncio.sleep(seconds[0])
                except asyncio.CancelledError:
                    print("cancelled")
                    raise
                return seconds
        """,
        "predict:P",
    )
    ids = worker.batch([{"second": 0.2}, {"second": 0.2}])
    worker.until("begun")
    worker.cancel(ids[0])
    assert {item.status for item in worker.answers(2).values()} == {200}

    ids = worker.batch([{"second": 60}, {"second": 60}])
    worker.until("begun\nbegun")
    worker.cancel(ids[0])
    worker.cancel(ids[1])
    assert {item.status for item in worker.answers(2).values()} == {499}
    assert worker.out.endswith("cancelled\n")


def test_a_signal_for_work_that_is_over_changes_nothing(begin):
    worker = begin("def predict(x: int) -> int: return x")
    assert worker.ask({"x": 1}) == (200, 1)
    worker.cancel(1, signalled=True)
    worker.cancel(77, signalled=True)
    assert worker.ask({"x": 2}) == (200, 2)
    assert worker.close() == 0
    assert signal.SIGUSR1
