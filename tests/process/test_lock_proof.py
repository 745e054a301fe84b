"""A short run of the proof, and checks that its checker sees what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from memsync.testing import Cluster

from ..lock_proof.checker import Hold, fence_violations, holds_of, violations
from ..lock_proof.proof import Proof

GOOD = ["acquired 7 1 0.0 1.0", "releasing 7 2.0", "acquired 9 2 0.5 2.5", "releasing 9 3.0"]


def test_a_history_of_a_mutex_is_accepted() -> None:
    holds = holds_of(GOOD)
    assert holds == [Hold(7, 1, 0.0, 1.0, 2.0), Hold(9, 2, 0.5, 2.5, 3.0)]
    assert list(violations(holds)) == []
    assert list(violations([*holds, Hold(10, 3, 3.1, 3.2), Hold(11, 4, 3.1, 3.3, 4.0)])) == []


def test_two_holders_at_a_time_are_seen() -> None:
    holds = holds_of([*GOOD, "acquired 12 3 0.5 2.9"])
    assert "had ended" in next(violations(holds))


def test_an_order_against_time_is_seen() -> None:
    holds = [Hold(7, 1, 5.0, 6.0), Hold(9, 2, 1.0, 2.0)]
    assert "with a larger token" in next(violations(holds))


def test_a_fence_that_goes_back_or_has_two_owners_is_seen() -> None:
    assert list(fence_violations([(1, 10), (1, 10), (3, 11)])) == []
    assert "after 3" in next(fence_violations([(1, 10), (3, 11), (1, 10)]))
    assert "of 10 and of 11" in next(fence_violations([(1, 10), (1, 11)]))


@pytest.mark.process
def test_g9_holds_in_some_rounds_of_kills_freezes_and_stops(
    cluster: Cluster, tmp_path: Path
) -> None:
    report = Proof(cluster, tmp_path, seed=4).run(6)
    assert report.violations == []
    assert report.refused == report.late
    assert report.holds > 10
