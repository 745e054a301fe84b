"""When a busy host steps down, and for whom, on a clock of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from memsync.manager.host.fanout import ClientSession
from memsync.manager.host.step_down import StepDown
from memsync.manager.timing import TIMING
from memsync.manager.transport.messages import Ping, parse
from memsync.replication.codec import HEADER


class Group:
    """A host's group as `StepDown` sees it, with a clock of its own and a lag at will."""

    def __init__(self, **own: bool) -> None:
        self.now = 0.0
        self.others_cpu: float | None = None
        self.trips: dict[str, float] = {}
        self.pinged: list[str] = []
        members = {
            name: {"clientOnly": name == "client only", "serverOnly": name == "dedicated"}
            for name in ("client only", "dedicated", "lagging", "one", "two")
        }
        self.ctx = SimpleNamespace(
            id="host",
            options=SimpleNamespace(server_only=own.get("server_only", False)),
            platform=SimpleNamespace(
                monotonic=lambda: self.now,
                waits=lambda: None,
                other_threads_cpu=lambda: self.others_cpu,
            ),
            participant=SimpleNamespace(state=SimpleNamespace(members=members)),
            timing=TIMING,
            no_step_down_before=0.0,
        )
        self.clients: dict[str, ClientSession] = {}
        self._answers: list[tuple[float, str, int]] = []
        ctx: Any = self.ctx
        fanout: Any = SimpleNamespace(clients=self.clients, answer=self._ping)
        self.step_down = StepDown(ctx, fanout)

    def _ping(self, session: ClientSession, encoded: bytes) -> None:
        message = parse(encoded[HEADER:])
        assert isinstance(message, Ping)
        self.pinged.append(session.peer)
        if session.peer in self.trips:
            when = self.now + self.trips[session.peer]
            self._answers.append((when, session.peer, message.token))

    def attach(self, *peers: str, **trips: float) -> None:
        """Attach peers; `trips` says in which time they answer, if they do."""
        no_channel: Any = None  # nothing is sent to it
        self.trips |= trips
        for peer in (*peers, *trips):
            self.clients[peer] = ClientSession(peer, no_channel)
            self.clients[peer].is_slow = peer == "lagging"

    def go_on(self, seconds: float, *, lag: float = 0.0, asked: bool = True) -> set[str]:
        """Let time pass; returns the peers that were pinged meanwhile."""
        self.pinged = []
        end = self.now + seconds
        while self.now < end and self.step_down.successor is None:
            until = max(min(self.step_down.next_check, end, self.now + 0.03), self.now + 0.0002)
            self.step_down.lag.wait_begins()
            self.now = until + (lag if until - self.now > 0.0002 else 0.0)
            self.step_down.lag.wait_ended()
            for answer in sorted(self._answers):
                if answer[0] <= self.now:
                    self._answers.remove(answer)
                    self.step_down.answered(*answer[1:])
            if asked:
                self.step_down.asked()
            self.step_down.check(self.now)
        return set(self.pinged)


EVERYBODY = ("client only", "lagging", "one", "two")


def test_an_idle_host_and_a_host_without_requests_ping_nobody() -> None:
    group = Group()
    group.attach(*EVERYBODY)
    assert not group.go_on(20)
    assert not group.go_on(10, asked=False)
    assert not group.go_on(20, lag=0.005, asked=False)
    assert group.step_down.next_check == float("inf")


def test_a_host_whose_other_threads_rest_is_not_woken_to_measure() -> None:
    group = Group()
    group.attach(*EVERYBODY)
    group.others_cpu = 0.0
    assert not group.go_on(5)
    assert group.step_down.next_check == float("inf")


@pytest.mark.parametrize("works", [0.02, 0.1, 0.2])
def test_a_host_whose_other_threads_work_by_turns_is_measured(works: float) -> None:
    """They rest as long as they work; to the measurement they are busy all the time."""
    group = Group()
    group.attach(*EVERYBODY)
    group.others_cpu = 0.0
    pinged: set[str] = set()
    while group.now < 3:
        pinged |= group.go_on(works)
        group.others_cpu += works
        pinged |= group.go_on(works, lag=0.005)
    assert pinged == {"one", "two"}
    group.go_on(1)
    assert group.step_down.next_check == float("inf")


def test_a_busy_host_chooses_the_fastest_of_those_that_may_host_and_keep_up() -> None:
    group = Group()
    group.attach("client only", "lagging", one=0.001, two=0.0005)
    assert group.go_on(1, lag=0.005) == {"one", "two"}
    assert group.step_down.successor == "two"
    assert group.now < 1


def test_peers_that_answer_late_or_never_or_once_in_a_while_are_not_chosen() -> None:
    group = Group()
    group.attach("one", two=0.006)
    assert group.go_on(5, lag=0.005) == {"one", "two"}
    group.trips["two"] = 0.0005
    while not group.step_down._quick["two"]:
        group.go_on(0.001, lag=0.005)
    group.trips["two"] = 0.006
    group.go_on(5, lag=0.005)
    assert group.step_down.successor is None


def test_a_host_that_is_not_busy_any_more_pings_nobody() -> None:
    group = Group()
    group.attach(*EVERYBODY)
    assert group.go_on(1, lag=0.005)
    group.go_on(1)
    assert not group.go_on(1)


def test_a_dedicated_host_hosts_at_once_however_late_it_answers() -> None:
    group = Group()
    group.attach(*EVERYBODY, dedicated=0.02)
    group.ctx.no_step_down_before = 10.0
    assert group.go_on(0.1, asked=False) == {"dedicated"}
    assert group.step_down.successor == "dedicated"


def test_a_dedicated_host_is_the_only_one_that_is_pinged_and_pings_nobody_itself() -> None:
    group = Group()
    group.attach(*EVERYBODY, "dedicated")
    assert group.go_on(2, lag=0.005) == {"dedicated"}
    group = Group(server_only=True)
    group.attach(*EVERYBODY, "dedicated")
    assert not group.go_on(5, lag=0.005)


def test_a_stutter_is_no_lag() -> None:
    group = Group()
    group.attach(*EVERYBODY)
    for _ in range(20):
        assert not group.go_on(0.1, lag=0.05)
        assert not group.go_on(1.5)


def test_after_a_hand_over_a_pause_follows() -> None:
    group = Group()
    group.attach(*EVERYBODY)
    group.ctx.no_step_down_before = TIMING.step_down_pause
    assert not group.go_on(TIMING.step_down_pause - 0.1, lag=0.005)
    assert group.go_on(1, lag=0.005)
