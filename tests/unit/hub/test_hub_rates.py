"""Token buckets: bursts, waiting, and clocks that are set back."""

from __future__ import annotations

import pytest
from house import FixedClock
from hypothesis import given
from hypothesis import strategies as st

from projecthub.hub.rates import Rate, TokenBuckets


def test_a_burst_and_then_one_at_a_time() -> None:
    clock, rate = FixedClock(), Rate(burst=3, every_s=10)
    buckets = TokenBuckets(clock)
    assert [buckets.take("a", rate) for _ in range(4)] == [0, 0, 0, 10]
    assert buckets.take("b", rate) == 0, "another key has a bucket of its own"
    clock.advance(seconds=4)
    assert buckets.wait_s("a", rate) == pytest.approx(6)
    clock.advance(seconds=6)
    assert buckets.wait_s("a", rate) == 0
    assert [buckets.take("a", rate) for _ in range(2)] == [0, 10]


def test_what_is_given_back_can_be_taken_again_but_no_more() -> None:
    rate = Rate(burst=2, every_s=10)
    buckets = TokenBuckets(FixedClock())
    buckets.take("a", rate)
    for _ in range(5):
        buckets.give_back("a", rate)
    assert [buckets.take("a", rate) == 0 for _ in range(3)] == [True, True, False]


def test_a_clock_that_is_set_back_costs_nothing() -> None:
    clock, rate = FixedClock(), Rate(burst=1, every_s=10)
    buckets = TokenBuckets(clock)
    buckets.take("a", rate)
    clock.advance(days=-1)
    assert buckets.wait_s("a", rate) == 10
    clock.advance(days=1, seconds=10)
    assert buckets.take("a", rate) == 0


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projecthub.hub.rates._MAX_BUCKETS", 3)
    rate = Rate(burst=1, every_s=10)
    buckets = TokenBuckets(FixedClock())
    for key in "abcd":
        buckets.take(key, rate)
    assert len(buckets._buckets) == 3
    assert buckets.wait_s("a", rate) == 0, "what was used longest ago is forgotten"
    assert buckets.wait_s("d", rate) == 10


@given(
    st.integers(1, 50),
    st.floats(0.01, 100),
    st.lists(st.floats(0, 300, allow_nan=False), max_size=60),
)
def test_nobody_gets_more_than_the_burst_and_what_time_gives(burst: int, every_s: float, pauses: list[float]) -> None:
    clock, rate = FixedClock(), Rate(burst=burst, every_s=every_s)
    buckets = TokenBuckets(clock)
    taken, begin = 0, clock.now()
    for pause in pauses:
        clock.advance(seconds=pause)
        wait_s = buckets.take("a", rate)
        taken += wait_s == 0
        assert wait_s <= every_s * (1 + 1e-6)
    passed_s = (clock.now() - begin).total_seconds()
    assert taken <= burst + passed_s / every_s + 1e-6


@given(st.integers(1, 20), st.floats(0.001, 1000))
def test_who_waits_as_long_as_he_is_told_gets_one(burst: int, every_s: float) -> None:
    clock, rate = FixedClock(), Rate(burst=burst, every_s=every_s)
    buckets = TokenBuckets(clock)
    for _ in range(burst):
        assert buckets.take("a", rate) == 0
    clock.advance(seconds=buckets.take("a", rate) + 1e-6)
    assert buckets.take("a", rate) == 0
