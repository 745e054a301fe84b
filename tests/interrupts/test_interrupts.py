"""An exception at any place of a call leaves handle, group and process usable.

Each test interrupts a sample of the places of one call; ``python -m tests.interrupts`` takes all.
"""

from __future__ import annotations

import pytest

from ..process_helpers import start_helpers
from .lifecycles import LIFE, OTHERS, interrupt_life
from .sample import sample
from .scenarios import CALLS, GROUPS, interrupt_calls

PLACES = 10  # of each call
ATTEMPTS = 5  # a call may take another way when it is interrupted than when it was looked at


def _marks(name: str) -> list[pytest.MarkDecorator]:
    return [] if "memory" in name else [pytest.mark.process]


@pytest.fixture(autouse=True, scope="module")
def helpers() -> None:
    """Start what multiprocessing keeps until the end before any test looks for leaks."""
    start_helpers()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("group", [pytest.param(each, marks=_marks(each)) for each in GROUPS])
def test_an_interrupted_call(group: str, call: str) -> None:
    for attempt in range(ATTEMPTS):
        report = interrupt_calls(group, call, sample(PLACES, seed=len(group + call) + attempt))
        assert not report.broken
        if report.reached:
            return
    pytest.fail(f"no place of {ATTEMPTS} samples was reached again")


@pytest.mark.parametrize("call", LIFE)
@pytest.mark.parametrize("others", [pytest.param(each, marks=_marks(each)) for each in OTHERS])
def test_an_interrupted_start_or_stop(others: str, call: str) -> None:
    report = interrupt_life(others, call, sample(PLACES, seed=len(others + call)))
    assert not report.broken
    assert report.reached
