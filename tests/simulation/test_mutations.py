"""The test of the tests: every mutation is found within a thousand seeds."""

from __future__ import annotations

import pytest

from .mutations import FOCUS, MUTATIONS
from .run import run

SEEDS = 1000


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MUTATIONS)
def test_it_is_found(name: str) -> None:
    with MUTATIONS[name]():
        focus = FOCUS.get(name, {})
        found = (seed for seed in range(SEEDS) if run(seed, **focus)[0].violations)
        assert next(found, None) is not None, f"not in {SEEDS} seeds"


def test_a_mutation_ends_with_its_context() -> None:
    name = "duplicates_are_ordered_again"
    seeds = range(20)
    with MUTATIONS[name]():
        found = [seed for seed in seeds if run(seed)[0].violations]
    assert found
    assert not any(run(seed)[0].violations for seed in found)
