"""What is to be done with a service, from what is seen of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.supervise.decide import SETTLED, Seen, Step, delay, next_step, row_after

READY = Seen(now=100.0, serving="ready", begun=90.0, busy=95.0)


def test_restarts_in_a_row_come_later_and_later() -> None:
    assert [delay(number) for number in range(9)] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert delay(10**6) == 30


def test_one_that_lived_begins_a_new_row() -> None:
    assert row_after(5, SETTLED - 0.1) == 5
    assert row_after(5, SETTLED) == 0


@pytest.mark.parametrize(
    ("seen", "step"),
    [
        (Seen(now=0), Step("start")),
        (Seen(now=5, due=7), Step("wait", 7)),
        (Seen(now=7, due=7), Step("start")),
        (Seen(now=5, asleep=True), Step("listen")),
        (Seen(now=5, asleep=True, knocked=True), Step("start")),
        (Seen(now=5, asleep=True, knocked=True, due=6), Step("wait", 6)),
        (Seen(now=5, serving="starting", begun=1), Step("wait")),
        (Seen(now=5, serving="starting", begun=1, patience=10), Step("wait", 11)),
        (Seen(now=11, serving="starting", begun=1, patience=10), Step("give up")),
        (Seen(now=11, serving="ready", begun=1, patience=10), Step("wait")),
        (READY, Step("wait")),
        (replace(READY, idle=10.0), Step("wait", 105.0)),
        (replace(READY, idle=5.0), Step("sleep")),
        (replace(READY, idle=5.0, updating=True), Step("wait")),
    ],
)
def test_each_situation(seen: Seen, step: Step) -> None:
    assert next_step(seen) == step
    assert next_step(replace(seen, ending=True)) == Step("end")


situations = st.builds(
    Seen,
    now=st.floats(0, 1000),
    serving=st.sampled_from(["none", "starting", "ready"]),
    begun=st.floats(0, 1000),
    busy=st.floats(0, 1000),
    due=st.floats(0, 1000),
    asleep=st.booleans(),
    knocked=st.booleans(),
    updating=st.booleans(),
    ending=st.just(False),
    idle=st.none() | st.floats(0.1, 1000),
    patience=st.none() | st.floats(0.1, 1000),
)


@given(situations)
def test_nothing_is_started_beside_what_serves_and_waiting_ends(seen: Seen) -> None:
    step = next_step(seen)
    assert (step.action in ("start", "listen")) <= (seen.serving == "none")
    assert (step.action == "sleep") <= (seen.serving == "ready" and seen.idle is not None)
    if step.until is not None:
        assert step.until > seen.now
        # When that moment has come, something is done.
        assert next_step(replace(seen, now=step.until)).action != "wait"
