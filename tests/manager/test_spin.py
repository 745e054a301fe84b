"""When a wait polls and when it blocks, with a clock that only polls and waits move."""

from __future__ import annotations

import pytest

from memsync.manager.platform import spin as spins
from memsync.manager.platform.spin import NO_SPIN, Spin
from memsync.manager.timing import TIMING

LIMIT = 0.0002
POLL = 0.000001  # how long one poll takes
NEVER = 3600.0


class Clock:
    """A clock, and a thing to wait for that becomes ready `after` so many seconds."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ready_at = 0.0
        self.polls = 0
        self.blocked: list[float] = []
        self.lost_in_poll = 0.0  # how long another process has the processor in the next poll

    def monotonic(self) -> float:
        return self.now

    def ready(self, timeout: float) -> bool:
        if timeout <= 0:
            self.polls += 1
            self.now += POLL + self.lost_in_poll
            self.lost_in_poll = 0.0
        else:
            self.blocked.append(timeout)
            self.now = min(self.now + timeout, max(self.now, self.ready_at))
        return self.now >= self.ready_at

    def wait(self, spin: Spin, after: float, timeout: float = 1.0) -> bool:
        """One wait; returns whether it polled."""
        polls = self.polls
        self.ready_at = self.now + after
        assert spin.wait(self.ready, timeout) is (after <= timeout)
        return self.polls > polls


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(spins, "monotonic", clock.monotonic)
    monkeypatch.setattr(spins, "processors", lambda: 2)
    return clock


def test_a_short_wait_only_polls(clock: Clock) -> None:
    spin = Spin(LIMIT)
    for _ in range(100):
        assert clock.wait(spin, LIMIT / 2)
    assert clock.blocked == []


def test_a_wait_that_polled_in_vain_blocks_for_the_rest(clock: Clock) -> None:
    spin = Spin(LIMIT)
    assert clock.wait(spin, after=0.5)
    assert clock.blocked == [pytest.approx(1.0 - LIMIT, abs=2 * POLL)]


def test_vain_polls_become_rare(clock: Clock) -> None:
    spin = Spin(LIMIT)
    begin, polled = clock.now, 0
    while clock.now < begin + 10:
        polled += clock.wait(spin, after=0.001)
    at_most = 10 / TIMING.spin_longest_pause + 10  # and those before the pause is at its limit
    assert 10 / TIMING.spin_longest_pause / 2 < polled < at_most


def test_polls_go_on_after_short_waits_again(clock: Clock) -> None:
    spin = Spin(LIMIT)
    for _ in range(1000):
        clock.wait(spin, after=0.001)
    clock.now += TIMING.spin_longest_pause
    assert all(clock.wait(spin, LIMIT / 2) for _ in range(100))
    clock.wait(spin, after=0.001)
    clock.now += 2 * TIMING.spin_first_pause
    assert clock.wait(spin, LIMIT / 2)


def test_a_poll_that_lost_the_processor_is_the_last_for_long(clock: Clock) -> None:
    spin = Spin(LIMIT)
    clock.lost_in_poll = 2 * TIMING.spin_preempted
    assert clock.wait(spin, after=3 * TIMING.spin_preempted)
    clock.now += 0.9 * TIMING.spin_preempted_pause
    assert not clock.wait(spin, LIMIT / 2)
    clock.now += 0.2 * TIMING.spin_preempted_pause
    assert clock.wait(spin, LIMIT / 2)


def test_a_wait_polls_no_longer_than_its_own_time(clock: Clock) -> None:
    begin = clock.now
    assert clock.wait(Spin(LIMIT), after=NEVER, timeout=LIMIT / 4)
    assert clock.now - begin == pytest.approx(LIMIT / 4, abs=2 * POLL)


def test_a_wait_that_had_little_time_was_not_in_vain(clock: Clock) -> None:
    spin = Spin(LIMIT)
    assert clock.wait(spin, after=NEVER, timeout=LIMIT / 4)
    assert clock.wait(spin, LIMIT / 2)


@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_a_wait_without_time_asks_once(clock: Clock, timeout: float) -> None:
    clock.ready_at = NEVER
    assert not Spin(LIMIT).wait(clock.ready, timeout)
    assert (clock.polls, clock.blocked) == (1, [])


def test_nothing_polls_without_a_limit_or_on_one_processor(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not clock.wait(Spin(0), LIMIT / 2)
    assert not clock.wait(NO_SPIN, LIMIT / 2)
    monkeypatch.setattr(spins, "processors", lambda: 1)
    assert not clock.wait(Spin(LIMIT), LIMIT / 2)
