"""When a silent host counts as one that hangs."""

from __future__ import annotations

import pytest

from memsync.replication.lease import Lease

LEASE = 3.0


def looks(lease: Lease, *seen: tuple[float, int]) -> list[bool]:
    """What the lease says at (time, heartbeat), all of one epoch."""
    return [lease.observe(7, heartbeat, now) for now, heartbeat in seen]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([(0, 1), (1, 1), (2, 1), (3, 1)], [False, False, False, True]),
        ([(0, 1), (1, 2), (2, 2), (3, 2), (3.9, 2), (4, 2)], [False] * 5 + [True]),
        ([(0, 1), (1.4, 1), (2.8, 2), (4.2, 3)], [False] * 4),
        # It was not looking for more than half a lease: the heartbeats between are not known.
        ([(0, 1), (1, 1), (60, 1), (61, 1), (62, 1), (63, 1)], [False] * 5 + [True]),
        ([(100, 1)], [False]),
    ],
)
def test_it_runs_out_when_the_same_heartbeat_was_seen_for_its_length(
    seen: list[tuple[float, int]], expected: list[bool]
) -> None:
    assert looks(Lease(LEASE), *seen) == expected


def test_another_epoch_has_a_lease_of_its_own() -> None:
    lease = Lease(LEASE)
    assert looks(lease, (0, 1), (1, 1), (2, 1)) == [False, False, False]
    assert not lease.observe(8, 1, 3.0)
    assert not lease.observe(8, 1, 4.0)


def test_there_are_several_looks_in_a_lease() -> None:
    lease = Lease(LEASE)
    assert lease.rhythm < lease.calm_rhythm < lease.seconds / 2
    lease.seconds = 30.0
    assert lease.rhythm < lease.calm_rhythm < lease.seconds / 2
