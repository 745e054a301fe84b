"""The test of the tests: every mutation is found within a thousand seeds."""

from __future__ import annotations

import pytest

from .mutations import FOCUS, MUTATIONS
from .run import run

SEEDS = 1000
# Where a rare one was found last, so that the search begins there: it takes minutes from 0 on.
FIRST = {
    "a_refusal_is_forgotten_after_an_earlier_write_was_recalled": 100,
    "a_survivor_reports_before_it_has_drained": 80,
    "a_version_is_enough_to_bring_a_peer_level": 110,
    "a_write_that_changed_nothing_comes_back_as_pending": 150,
    "an_interrupted_reader_does_not_mark_the_state_torn": 100,
    "an_own_write_is_hidden_before_it_has_come": 130,
    "callbacks_hear_again_what_came_before_an_interrupt": 90,
    "the_fence_does_not_wait_for_the_reader": 360,
    "two_entries_are_swapped": 210,
    "two_threads_send_at_once": 425,
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MUTATIONS)
def test_it_is_found(name: str) -> None:
    with MUTATIONS[name]():
        focus = FOCUS.get(name, {})
        first = FIRST.get(name, 0)
        seeds = [*range(first, SEEDS), *range(first)]
        found = (seed for seed in seeds if run(seed, **focus)[0].violations)
        assert next(found, None) is not None, f"not in {SEEDS} seeds"


def test_a_mutation_ends_with_its_context() -> None:
    name = "duplicates_are_ordered_again"
    seeds = range(20)
    with MUTATIONS[name]():
        found = [seed for seed in seeds if run(seed)[0].violations]
    assert found
    assert not any(run(seed)[0].violations for seed in found)
