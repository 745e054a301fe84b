"""A host that does not stop lets another peer host: when it is busy, or a dedicated one comes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from memsync.manager.host.fanout import ClientSession
from memsync.manager.host.loop_lag import LoopLag
from memsync.manager.host.step_down import StepDown
from memsync.manager.platform.platform import Platform
from memsync.manager.timing import TIMING
from memsync.manager.transport.messages import Ping, parse
from memsync.replication.codec import HEADER
from memsync.testing import Cluster, Peer, until

pytestmark = pytest.mark.process

DEDICATED = {"serverOnly": True}


def get_busy(mem) -> None:
    """A thread of the peer's process counts in pure Python, until `is_idle` is set."""
    import threading

    def burn() -> None:
        while not mem.__dict__.get("is_idle"):
            sum(range(100))

    threading.Thread(target=burn, name="busy", daemon=True).start()


def get_idle(mem) -> None:
    mem.__dict__["is_idle"] = True


def increment_until_host_is(mem, pid: int) -> int:
    """Increments until that process hosts; returns how many."""
    import time

    deadline = time.monotonic() + 20
    for done in count():
        if mem.get_status()["host"] and mem.get_status()["host"]["pid"] == pid:
            return done
        if time.monotonic() > deadline:
            raise AssertionError(f"still hosted by {mem.get_status()['host']}")
        mem.patch({"$inc": {"n": 1}})


def test_a_busy_host_lets_an_idle_peer_host_and_goes_on_as_a_client(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0})
    busy = cluster.peer()
    idle = cluster.peer()
    for peer in (host, busy):
        peer.run(get_busy)
    done = busy.run(increment_until_host_is, idle.pid)
    assert cluster.settled()["n"] == done
    status = until(lambda: (s := host.status())["status"] == "client" and s)
    assert "busy" in status["reason"]
    assert host.patch({"$inc": {"n": 1}}) > 0
    assert cluster.settled()["n"] == done + 1
    for peer in (host, busy):
        peer.run(get_idle)


def test_what_a_busy_host_writes_itself_meanwhile_counts_once(cluster: Cluster) -> None:
    host, other = cluster.start(2, {"n": 0, "own": 0})
    host.run(get_busy)

    def keep_writing(mem) -> int:
        done = 0
        while mem.get_status()["status"] == "host" or done % 50:
            mem.patch({"$inc": {"own": 1}})
            done += 1
        return done

    ticket = host.begin(keep_writing)
    done = other.run(increment_until_host_is, other.pid)
    own = host.result(ticket)
    host.run(get_idle)
    assert cluster.settled() == {"n": done, "own": own}


def is_host(peer: Peer) -> bool:
    return peer.status()["status"] == "host"


def test_a_dedicated_host_hosts_as_soon_as_it_comes(cluster: Cluster) -> None:
    first, second = cluster.start(2, {"n": 0})
    dedicated = cluster.peer(None, DEDICATED)
    until(lambda: is_host(dedicated))
    for peer in (first, second, dedicated):
        peer.patch({"$inc": {"n": 1}})
    assert cluster.settled() == {"n": 3}
    reason = until(lambda: (s := first.status())["status"] == "client" and s["reason"])
    assert "dedicated" in reason


def test_a_dedicated_host_is_preferred_when_the_host_is_killed(cluster: Cluster) -> None:
    first = cluster.peer({"n": 0}, DEDICATED)
    others = [cluster.peer() for _ in range(3)]
    second = cluster.peer(None, DEDICATED)
    first.kill()
    others[0].patch({"$inc": {"n": 1}})
    assert cluster.host() is second
    second.kill()
    others[0].patch({"$inc": {"n": 1}})
    assert cluster.host() in others
    assert cluster.settled() == {"n": 2}


def test_a_dedicated_host_is_preferred_when_the_host_stops(cluster: Cluster) -> None:
    first = cluster.peer({"n": 0}, DEDICATED)
    others = [cluster.peer() for _ in range(2)]
    second = cluster.peer(None, DEDICATED)
    first.stop()
    others[0].patch({"$inc": {"n": 1}})
    assert is_host(second)


def test_a_frozen_dedicated_host_keeps_nobody_from_hosting(cluster: Cluster) -> None:
    first = cluster.peer({"n": 0}, DEDICATED)
    others = [cluster.peer() for _ in range(2)]
    second = cluster.peer(None, DEDICATED)
    second.pause()
    first.kill()
    others[0].patch({"$inc": {"n": 1}})
    assert cluster.host() in others
    second.resume()
    assert cluster.settled() == {"n": 1}
    until(lambda: is_host(second))


def test_a_dedicated_host_founds_with_its_own_data(cluster: Cluster) -> None:
    dedicated = cluster.peer({"n": "its own"}, DEDICATED)
    assert is_host(dedicated)
    assert cluster.peer({"n": "of a later one"}).snapshot() == {"n": "its own"}


class Group:
    """A host's group as `StepDown` sees it, with a clock of its own and a lag at will."""

    def __init__(self, **own: bool) -> None:
        self.now, self.trips = 0.0, {}
        self.pinged: list[str] = []
        members = {
            name: {"clientOnly": name == "client only", "serverOnly": name == "dedicated"}
            for name in ("client only", "dedicated", "lagging", "one", "two")
        }
        self.ctx: Any = SimpleNamespace(
            id="host",
            options=SimpleNamespace(server_only=own.get("server_only", False)),
            platform=SimpleNamespace(monotonic=lambda: self.now, waits=lambda: None),
            participant=SimpleNamespace(state=SimpleNamespace(members=members)),
            timing=TIMING,
            no_step_down_before=0.0,
        )
        self.clients: dict[str, ClientSession] = {}
        self._answers: list[tuple[float, str, int]] = []
        self.relief = StepDown(self.ctx, SimpleNamespace(session=self.clients, answer=self._ping))

    def _ping(self, session: ClientSession, encoded: bytes) -> None:
        message = parse(encoded[HEADER:])
        assert isinstance(message, Ping)
        self.pinged.append(session.peer)
        if session.peer in self.trips:
            when = self.now + self.trips[session.peer]
            self._answers.append((when, session.peer, message.token))

    def attach(self, *peers: str, **trips: float) -> None:
        """Attach peers; `trips` says in which time they answer, if they do."""
        self.trips |= trips
        for peer in (*peers, *trips):
            self.clients[peer] = ClientSession(peer, None)
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


def is_busy(work: float) -> bool:
    """Whether a loop is busy that works for so long in each of its rounds, and then waits."""
    platform = Platform()
    lag, end = LoopLag(platform, TIMING), platform.monotonic() + 1.0
    lag.watch(platform.monotonic())
    while platform.monotonic() < end:
        lag.wait_begins()
        time.sleep(max(lag.due - platform.monotonic(), 0))
        lag.wait_ended()
        begun = time.thread_time()
        while time.thread_time() - begun < work:
            sum(range(100))
    return lag.is_busy


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells waits and preemptions apart")
@pytest.mark.parametrize("work", [0.0, 0.03])
def test_waiting_for_a_processor_and_own_work_are_no_lag(work: float) -> None:
    """On a machine with much to do hosts would hand over again and again."""
    burning = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(burning) for _ in range(3 * (os.cpu_count() or 1))]
    try:
        assert not is_busy(work)
    finally:
        for other in others:
            other.kill()
            other.wait()


@pytest.mark.parametrize("work", [0.0, 0.003])
def test_waiting_for_the_interpreter_is_lag(work: float) -> None:
    is_over = threading.Event()
    busy = threading.Thread(target=burn, args=(is_over,), name="busy")
    busy.start()
    try:
        until(lambda: is_busy(work))
    finally:
        is_over.set()
        busy.join()


def burn(is_over: threading.Event) -> None:
    """Count in pure Python."""
    while not is_over.is_set():
        sum(range(100))
