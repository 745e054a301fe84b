"""A large write keeps a process busy for longer than others wait for a suspended one.

The peers of these tests take their time for large writes only, so they are late on any machine.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from memsync import MemSync
from memsync.manager import timing
from memsync.manager.timing import TIMING
from memsync.replication.replica import Replica
from memsync.replication.sequencer import Sequencer
from memsync.testing import Cluster, Peer, until

from ..process_helpers import driver_of

LEASE = 1.5  # seconds; a host that only waits for a processor is not replaced
OPTIONS = {"network": {"lease": LEASE, "poll": 0.2, "recovery": 0.3}}
# A host that waits for a processor before it is killed stays the host.
LONG_LEASE = {"network": {"lease": 20, "poll": 0.2, "recovery": 0.3}}
LARGE = "x" * 4 * TIMING.step_bytes
STEP = 2 * LEASE  # a third of what the peers state for a write of this size

pytestmark = pytest.mark.process


def order_slowly(mem: MemSync[Any], seconds: float) -> None:
    """Let the host take its time to order a large write."""
    propose = Sequencer.propose

    def slow(self: Sequencer, peer: str, proposal: Any) -> Any:
        if "large" in str(proposal.body)[:40]:
            time.sleep(seconds)
        return propose(self, peer, proposal)

    Sequencer.propose = slow  # type: ignore[method-assign]


def apply_slowly(mem: MemSync[Any], seconds: float, sign: Path) -> None:
    """Let a client take its time to apply a large write; note when, and whether it is alone.

    The file `sign` shows that it has begun.
    """
    apply, notes = Replica.apply, mem.__dict__
    notes["began"], notes["ended"], notes["alone"] = 0.0, 0.0, True
    inside: list[Any] = []

    def slow(self: Replica[Any], entry: Any, body: Any) -> None:
        notes["alone"] = notes["alone"] and not inside
        inside.append(entry)
        if len(body) > TIMING.step_bytes:
            notes["began"] = time.monotonic()
            sign.touch()
            time.sleep(seconds)
            notes["ended"] = time.monotonic()
        apply(self, entry, body)
        inside.pop()

    Replica.apply = slow  # type: ignore[method-assign]


def note_hosting(mem: MemSync[Any]) -> None:
    """Note when this peer becomes host."""
    notes = mem.__dict__
    notes["opened"] = float("inf")

    def on_connected(role: str) -> None:
        if role == "host":
            notes["opened"] = time.monotonic()

    mem.on("connected", on_connected)


def shorten_the_fence(mem: MemSync[Any]) -> None:
    structs.force_setattr(timing.TIMING, "fence", 0.1)


def long_step(mem: MemSync[Any]) -> float:
    """The seconds for which this peer states that it is busy."""
    return driver_of(mem).ctx.place.folder.long_step(mem.id)


def note(peer: Peer, name: str) -> Any:
    return peer.run(lambda mem: mem.__dict__[name])


def test_a_host_that_orders_a_large_write_is_not_replaced(cluster: Cluster) -> None:
    host, client, writer = cluster.start(3, {}, OPTIONS)
    host.run(order_slowly, STEP)
    writer.run(lambda mem: mem.patch({"$set": {"large": LARGE}}, timeout=20))
    client.run(lambda mem: mem.patch({"$set": {"after": 1}}, timeout=20))
    assert host.status()["status"] == "host"
    assert host.status()["epoch"] == client.status()["epoch"] == 1


def test_a_host_that_stays_away_after_a_large_write_is_replaced(cluster: Cluster) -> None:
    host, client, writer = cluster.start(3, {}, OPTIONS)
    writer.run(lambda mem: mem.patch({"$set": {"large": LARGE}}, timeout=20))
    until(lambda: client.version == host.version)
    until(lambda: not host.run(long_step))  # it has answered before it ends the step
    host.pause()
    until(lambda: "host" in {client.status()["status"], writer.status()["status"]}, 10)


@pytest.mark.parametrize("writes_itself", [False, True])
def test_a_candidate_waits_for_a_peer_that_applies_a_large_write(
    cluster: Cluster, writes_itself: bool, tmp_path: Path
) -> None:
    host, slow, other = cluster.start(3, {"n": 0}, LONG_LEASE)
    sign = tmp_path / "began"
    slow.run(apply_slowly, STEP, sign)
    for peer in (slow, other):
        peer.run(note_hosting)
    writer = slow if writes_itself else other
    ticket = writer.begin(lambda mem: mem.patch({"$set": {"large": LARGE}}, timeout=20))
    until(sign.exists)
    host.kill()
    writer.result(ticket)
    opened = until(lambda: {note(slow, "opened"), note(other, "opened")} - {float("inf")}, 20)
    assert note(slow, "began") < note(slow, "ended") < opened.pop()
    assert cluster.settled([slow, other])["large"] == LARGE


def test_g3_a_lost_link_is_drained_after_its_reader_has_applied_a_large_write(
    cluster: Cluster, tmp_path: Path
) -> None:
    host, slow, other = cluster.start(3, {"n": 0}, LONG_LEASE)
    slow.run(shorten_the_fence)
    host.run(order_slowly, 0.3)  # so that the waiting thread is the reader
    sign = tmp_path / "began"
    slow.run(apply_slowly, STEP, sign)
    ticket = slow.begin(lambda mem: mem.patch({"$set": {"large": LARGE}}, timeout=20))
    until(sign.exists)
    other.run(lambda mem: mem.patch({"$inc": {"n": 1}}, timeout=20))
    host.kill()
    slow.result(ticket)
    assert cluster.settled([slow, other]) == {"n": 1, "large": LARGE}
    assert note(slow, "alone")
