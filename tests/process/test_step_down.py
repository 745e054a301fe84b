"""A host that does not stop lets another peer host: when it is busy, or a dedicated one comes."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from msgspec import structs

from memsync import MemSync
from memsync.manager import timing
from memsync.testing import Cluster, Peer, until

pytestmark = pytest.mark.process

DEDICATED = {"serverOnly": True}


def get_busy(mem: MemSync[Any]) -> None:
    """A thread of the peer's process counts in pure Python, until `is_idle` is set."""

    def burn() -> None:
        while not mem.__dict__.get("is_idle"):
            sum(range(100))

    threading.Thread(target=burn, name="busy", daemon=True).start()


def get_idle(mem: MemSync[Any]) -> None:
    mem.__dict__["is_idle"] = True


def remember_ends(mem: MemSync[Any]) -> None:
    ends = mem.__dict__["ends"] = []
    mem.on("disconnected", ends.append)


def be_patient(mem: MemSync[Any]) -> None:
    """Wait for a dedicated host, however busy the machine is."""
    for name in ("precedence", "successor", "handover"):
        structs.force_setattr(timing.TIMING, name, 60.0)


def increment_until_host_is(mem: MemSync[Any], pid: int) -> int:
    """Increments until that process hosts; returns how many."""

    deadline = time.monotonic() + 50
    done = 0
    while True:
        if mem.get_status()["host"] and mem.get_status()["host"]["pid"] == pid:
            return done
        if time.monotonic() > deadline:
            raise AssertionError(f"still hosted by {mem.get_status()['host']}")
        mem.patch({"$inc": {"n": 1}})
        done += 1


def test_a_busy_host_lets_an_idle_peer_host_and_goes_on_as_a_client(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0})
    busy = cluster.peer()
    idle = cluster.peer()
    for peer in (host, busy):
        peer.run(get_busy)
    host.run(remember_ends)
    done = busy.result(busy.begin(increment_until_host_is, idle.pid), 60)
    assert cluster.settled()["n"] == done
    until(lambda: host.status()["status"] == "client")
    # The busy peer may have hosted in between, for a moment.
    until(lambda: "busy" in "".join(host.run(lambda mem: mem.ends[:1])))
    assert host.patch({"$inc": {"n": 1}}) > 0
    assert cluster.settled()["n"] == done + 1
    for peer in (host, busy):
        peer.run(get_idle)


def test_what_a_busy_host_writes_itself_meanwhile_counts_once(cluster: Cluster) -> None:
    host, other = cluster.start(2, {"n": 0, "own": 0})
    host.run(get_busy)

    def keep_writing(mem: MemSync[Any]) -> int:
        done = 0
        while mem.get_status()["status"] == "host" or done % 50:
            mem.patch({"$inc": {"own": 1}})
            done += 1
        return done

    ticket = host.begin(keep_writing)
    done = other.result(other.begin(increment_until_host_is, other.pid), 60)
    own = host.result(ticket, 60)
    host.run(get_idle)
    assert cluster.settled() == {"n": done, "own": own}


def is_host(peer: Peer) -> bool:
    return bool(peer.status()["status"] == "host")


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
    for peer in others:
        peer.run(be_patient)
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
    for peer in (first, *others):
        peer.run(be_patient)
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
