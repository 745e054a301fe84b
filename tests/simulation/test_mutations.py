"""The test of the tests: every mutation is found, most of them within a few seeds."""

from __future__ import annotations

import pytest

from .mutations import FOCUS, MUTATIONS, RARE
from .run import run

SEEDS = 1000
# Where one that needs many seeds was found last, so that the search begins there.
FIRST = {
    "a_missing_file_counts_as_a_free_one": 30,
    "a_number_is_given_twice_after_an_interrupt": 20,
    "a_refusal_is_forgotten_after_an_earlier_write_was_recalled": 100,
    "a_survivor_reports_before_it_has_drained": 80,
    "a_version_is_enough_to_bring_a_peer_level": 110,
    "a_write_that_changed_nothing_comes_back_as_pending": 30,
    "an_interrupted_reader_does_not_mark_the_state_torn": 100,
    "an_own_write_is_hidden_before_it_has_come": 130,
    "callbacks_hear_again_what_came_before_an_interrupt": 90,
    "events_that_were_lost_with_their_host_count_as_known": 30,
    "the_rule_last_refuses": 20,
    "the_fence_does_not_wait_for_the_reader": 360,
    "two_entries_are_swapped": 210,
}


def parameters() -> list[object]:
    """The mutations; those that take minutes run in an environment of their own."""
    return [pytest.param(name, marks=[pytest.mark.rare] * (name in RARE)) for name in MUTATIONS]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", parameters())
def test_it_is_found(name: str) -> None:
    focus, first = FOCUS.get(name, {}), FIRST.get(name, 0)
    seeds = [*range(first, SEEDS), *range(first)]
    with MUTATIONS[name]():
        found = next((seed for seed in seeds if run(seed, **focus)[0].violations), None)
    assert found is not None, f"not in {SEEDS} seeds"
    assert run(found, **focus)[0].violations == [], f"seed {found}, without the mutation as well"


def test_a_mutation_ends_with_its_context() -> None:
    name = "duplicates_are_ordered_again"
    seeds = range(20)
    with MUTATIONS[name]():
        found = [seed for seed in seeds if run(seed)[0].violations]
    assert found
    assert not any(run(seed)[0].violations for seed in found)
