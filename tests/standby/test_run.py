"""A short run of `python -m tests.standby`."""

from __future__ import annotations

import pytest

from ..process_helpers import start_helpers
from .run import run


@pytest.fixture(scope="module", autouse=True)
def helpers() -> None:
    """The processes of multiprocessing exist before a test looks for leftovers."""
    start_helpers()


@pytest.mark.process
def test_g8_never_two_writers_and_the_next_one_begins_soon() -> None:
    verdict = run(6, seed=4)
    print(verdict)
    assert verdict.violations == []
    assert verdict.ends == 6
    assert sum(map(len, verdict.takeovers.values())) == 6
