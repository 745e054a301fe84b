"""The hybrid clock never stands still and never runs back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsync.replication.clock import COUNTER_BITS, TOLERANCE_MS, HybridClock, wall_time

NOW = 1_700_000_000_000


def test_a_timestamp_holds_the_wall_time() -> None:
    assert wall_time(HybridClock().tick(NOW)) == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_within_one_millisecond_the_counter_grows() -> None:
    clock = HybridClock()
    first = clock.tick(NOW)
    assert [clock.tick(NOW) for _ in range(3)] == [first + 1, first + 2, first + 3]
    assert clock.tick(NOW + 1) == (NOW + 1) << COUNTER_BITS


def test_a_clock_set_back_by_an_hour_goes_on_where_it_was() -> None:
    clock = HybridClock()
    before = clock.tick(NOW)
    assert clock.tick(NOW - 3_600_000) == before + 1


def test_own_timestamps_after_a_merge_are_later_than_the_merged_one() -> None:
    clock = HybridClock()
    clock.tick(NOW)
    clock.merge((NOW + 500) << COUNTER_BITS)
    clock.merge(5)
    assert clock.tick(NOW) == ((NOW + 500) << COUNTER_BITS) + 1


@pytest.mark.parametrize("ahead_ms", [-(10**12), -1, 0, 1, TOLERANCE_MS])
def test_a_timestamp_of_the_past_or_a_little_ahead_is_taken_as_it_is(ahead_ms: int) -> None:
    timestamp = (NOW + ahead_ms) << COUNTER_BITS
    assert HybridClock().admit(timestamp, NOW) == timestamp


@pytest.mark.parametrize(
    "timestamp", [(NOW + TOLERANCE_MS + 1) << COUNTER_BITS, 2**63, 2**64 - 1, -1, -(2**63)]
)
def test_a_timestamp_far_ahead_or_no_time_at_all_becomes_the_next_own_one(timestamp: int) -> None:
    clock = HybridClock()
    before = clock.tick(NOW)
    assert clock.admit(timestamp, NOW) == before + 1
    assert clock.tick(NOW) == before + 2


def test_a_host_whose_clock_was_set_back_accepts_known_timestamps() -> None:
    clock = HybridClock()
    known = clock.tick(NOW)
    assert clock.admit(known, NOW - 3_600_000) == known


steps = st.lists(
    st.tuples(st.sampled_from(["tick", "merge"]), st.integers(0, 2**40)), min_size=1, max_size=50
)


@given(steps)
def test_every_tick_is_above_all_that_was_read_or_merged_before(steps: list[Any]) -> None:
    clock, highest = HybridClock(), 0
    for kind, wall_ms in steps:
        if kind == "tick":
            timestamp = clock.tick(wall_ms)
            assert timestamp > highest
            assert timestamp >= wall_ms << COUNTER_BITS
        else:
            timestamp = wall_ms << COUNTER_BITS
            clock.merge(timestamp)
        highest = max(highest, timestamp)
