"""A host that does not stop lets another peer host: when it is busy, or a dedicated one comes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from itertools import count
from types import SimpleNamespace

import pytest

from memsync import RendezvousError
from memsync.manager import relief
from memsync.manager.lag import Lag
from memsync.manager.machine import Machine
from memsync.manager.messages import Seek
from memsync.manager.outgoing import Attached
from memsync.manager.relief import Readiness, Relief
from memsync.replication.codec import frame
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
    """A host's group as `Relief` sees it, with a clock of its own and a lag at will."""

    def __init__(self, **own: bool) -> None:
        self.now, self.lag = 0.0, 0.0
        self.sought: list[str] = []
        members = {
            name: {"clientOnly": name == "client only", "serverOnly": name == "dedicated"}
            for name in ("client only", "dedicated", "lagging", "one", "two")
        }
        options = SimpleNamespace(server_only=own.get("server_only", False))
        machine = SimpleNamespace(
            monotonic=lambda: self.now, waits=lambda: 7, lateness=lambda due, waits: self.lag
        )
        state = SimpleNamespace(members=members)
        self.server = SimpleNamespace(short_since=None)
        self.living: dict[str, dict[str, bool]] = {}
        self.node = SimpleNamespace(
            id="host",
            options=options,
            machine=machine,
            state=state,
            no_relief_before=0.0,
            hosting=SimpleNamespace(seat=SimpleNamespace(server=self.server)),
            folder=SimpleNamespace(living_peers=lambda: self.living),
        )
        self.attached: dict[str, Attached] = {}
        self.relief = Relief(self.node, SimpleNamespace(attached=self.attached, answer=self._ask))

    def _ask(self, attached: Attached, encoded: bytes) -> None:
        assert encoded == frame(Seek())
        self.sought.append(attached.peer)

    def attach(self, *peers: str) -> None:
        for peer in peers:
            self.attached[peer] = Attached(peer, None)
            self.attached[peer].lags = peer == "lagging"

    def go_on(self, seconds: float, *, lag: float = 0.0, asked: bool = True) -> list[str]:
        """Let time pass; returns who was asked meanwhile."""
        self.lag, self.sought = lag, []
        end = self.now + seconds
        while self.now < end:
            self.relief.lag.wait_begins()
            self.now += 0.002
            self.relief.lag.wait_ended()
            if asked:
                self.relief.asked()
            self.relief.look(self.now)
        return self.sought


EVERYBODY = ("client only", "lagging", "one", "two")


def test_an_idle_host_and_one_of_whom_nobody_wants_anything_seek_nobody() -> None:
    group = Group()
    group.attach(*EVERYBODY)
    assert group.go_on(20) == []
    assert group.go_on(10, asked=False) == []
    assert group.go_on(20, lag=0.005, asked=False) == []


def test_a_busy_host_seeks_those_that_may_host_and_keep_up() -> None:
    group = Group()
    group.attach(*EVERYBODY)
    assert set(group.go_on(0.7, lag=0.005)) == {"one", "two"}
    group.relief.volunteers("lagging")
    assert group.relief.successor is None
    group.relief.volunteers("two")
    group.relief.volunteers("one")
    assert group.relief.successor == "two"


def test_who_answers_when_the_host_is_not_busy_any_more_is_not_wanted() -> None:
    group = Group()
    group.attach(*EVERYBODY)
    assert group.go_on(0.7, lag=0.005)
    group.go_on(1)
    assert group.go_on(1) == []
    group.relief.volunteers("one")
    assert group.relief.successor is None


def test_a_busy_host_that_is_asked_for_something_seldom_seeks_all_the_same() -> None:
    group = Group()
    group.attach(*EVERYBODY)
    for _ in range(3):
        group.relief.asked()
        group.go_on(0.6, lag=0.005, asked=False)
    assert set(group.go_on(0.6, lag=0.005, asked=False)) == {"one", "two"}
    assert group.now <= group.relief.next_look <= group.now + 0.1
    assert group.go_on(10, lag=0.005, asked=False)
    assert group.go_on(10, lag=0.005, asked=False) == []
    assert group.relief.next_look == float("inf")


def test_a_dedicated_host_is_sought_at_once_whatever_was_before() -> None:
    group = Group()
    group.attach(*EVERYBODY, "dedicated")
    group.node.no_relief_before = 10.0
    assert set(group.go_on(0.2, asked=False)) == {"dedicated"}


def test_a_stutter_is_no_lag() -> None:
    group = Group()
    group.attach(*EVERYBODY)
    for _ in range(20):
        assert group.go_on(0.006, lag=0.05) == []
        assert group.go_on(1.5) == []


def test_a_host_that_is_busy_for_a_part_of_the_time_seeks_as_well() -> None:
    group = Group()
    group.attach(*EVERYBODY)
    sought = [group.go_on(0.012, lag=0.004) + group.go_on(0.04) for _ in range(50)]
    assert any(sought[-10:])


def test_a_host_without_descriptors_seeks_a_successor_and_gives_up_where_all_are_outside() -> None:
    group = Group()
    group.attach(*EVERYBODY)
    group.living = {"host": {}, "one": {}, "outside": {"clientOnly": True}}
    group.server.short_since = group.now
    assert set(group.go_on(0.5, asked=False)) == {"one", "two"}
    assert "descriptors" in group.relief.reason
    assert group.relief.next_look <= group.now + 0.1
    group.attached.clear()
    group.attach("two")
    del group.living["one"]
    group.go_on(5, asked=False)
    group.living["outside"]["clientOnly"] = False
    with pytest.raises(RendezvousError, match=r"for the peers that wait.*ulimit"):
        group.go_on(1, asked=False)
    group.server.short_since = None
    assert group.go_on(5, asked=False) == []


def test_who_has_relieved_or_was_relieved_waits_before_the_next_time() -> None:
    group = Group()
    group.attach(*EVERYBODY)
    group.node.no_relief_before = relief.PAUSE
    assert group.go_on(relief.PAUSE - 0.1, lag=0.005) == []
    assert group.go_on(0.7, lag=0.005)


def test_a_dedicated_host_is_sought_by_idle_hosts_and_by_nobody_else_when_it_is_there() -> None:
    group = Group()
    group.attach(*EVERYBODY, "dedicated")
    assert set(group.go_on(0.2, asked=False)) == {"dedicated"}
    assert set(group.go_on(2, lag=0.005)) == {"dedicated"}


def lag_of_a_loop(seconds: float, work: float = 0.0) -> Lag:
    """A loop that works for so long in each of its rounds, and then waits."""
    machine = Machine()
    lag, end = Lag(machine), machine.monotonic() + seconds
    lag.watch(machine.monotonic())
    while machine.monotonic() < end:
        lag.wait_begins()
        time.sleep(max(lag.due - machine.monotonic(), 0))
        lag.wait_ended()
        begun = time.thread_time()
        while time.thread_time() - begun < work:
            sum(range(100))
    return lag


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells waits and preemptions apart")
@pytest.mark.parametrize("work", [0.0, 0.03])
def test_waiting_for_a_processor_and_own_work_are_no_lag(work: float) -> None:
    """On a machine with much to do no peer would volunteer, and hosts would seek successors."""
    burning = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(burning) for _ in range(3 * (os.cpu_count() or 1))]
    try:
        assert not lag_of_a_loop(1.0, work).is_busy(time.monotonic())
    finally:
        for other in others:
            other.kill()
            other.wait()


@pytest.mark.parametrize("work", [0.0, 0.03])
def test_waiting_for_the_interpreter_is_lag(work: float) -> None:
    is_over = threading.Event()
    busy = threading.Thread(target=burn, args=(is_over,), name="busy")
    busy.start()
    try:
        until(lambda: lag_of_a_loop(0.5, work).is_busy(time.monotonic()))
        assert not lag_of_a_loop(0.5, work).is_idle(time.monotonic())
    finally:
        is_over.set()
        busy.join()


def test_what_is_not_known_is_neither_busy_nor_idle() -> None:
    lag = lag_of_a_loop(0.1)
    assert not lag.is_busy(time.monotonic())
    assert not lag.is_idle(time.monotonic())


def burn(is_over: threading.Event) -> None:
    """Count in pure Python."""
    while not is_over.is_set():
        sum(range(100))


class Asked:
    """A peer that a host asks, with a clock and a lag at will."""

    def __init__(self, **own: bool) -> None:
        self.now, self.lag, self.spare, self.wakes = 0.0, 0.0, 100, 0
        machine = SimpleNamespace(
            monotonic=lambda: self.now,
            waits=lambda: 7,
            lateness=lambda due, waits: self.lag,
            spare_descriptors=lambda: self.spare,
        )
        options = SimpleNamespace(server_only=own.get("server_only", False))
        state = SimpleNamespace(members={"one": {}, "two": {}})
        waker = SimpleNamespace(wake=self._wake)
        node = SimpleNamespace(machine=machine, options=options, state=state, waker=waker)
        self._readiness = Readiness(node)

    def _wake(self) -> None:
        self.wakes += 1

    def answers(self, times: int, *, lag: float = 0.0, every: float = 0.05) -> list[bool]:
        """What it answers to so many requests."""
        self.lag = lag
        found = []
        for _ in range(times):
            found.append(self._readiness.sought())
            end = self.now + every
            while self.now < end:
                self._readiness.look(self.now)
                self._readiness.lag.wait_begins()
                self.now += 0.002
                self._readiness.lag.wait_ended()
        return found


def test_a_peer_volunteers_when_it_was_idle_for_a_while() -> None:
    peer = Asked()
    assert not any(peer.answers(5))
    assert peer.wakes == 1
    assert all(peer.answers(10)[2:])
    peer.answers(2, lag=0.005)
    assert not any(peer.answers(10))
    assert all(peer.answers(30)[20:])


def test_a_peer_that_is_busy_now_and_then_does_not_volunteer() -> None:
    peer = Asked()
    for _ in range(10):
        assert not any(peer.answers(4) + peer.answers(1, lag=0.005))


def test_what_a_peer_found_long_ago_does_not_count() -> None:
    assert not any(Asked().answers(20, every=0.6))


def test_a_peer_without_descriptors_does_not_volunteer() -> None:
    peer = Asked()
    peer.spare = 9
    assert not any(peer.answers(20))
    peer.spare = 10
    assert any(peer.answers(1))


def test_a_dedicated_host_volunteers_at_once_whatever_else_it_does() -> None:
    assert Asked(server_only=True).answers(1, lag=0.005) == [True]


def test_a_dedicated_host_seeks_nobody() -> None:
    group = Group(server_only=True)
    group.attach(*EVERYBODY, "dedicated")
    assert group.go_on(20, lag=0.005) == []
