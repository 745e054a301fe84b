"""Presence between processes: it vanishes with a process, and outlives the host."""

from __future__ import annotations

from typing import Any

import pytest

from memsync import MemSync
from memsync.testing import Cluster, until

from ..process_helpers import EVENTS_ONLY

pytestmark = pytest.mark.process

_calls: list[Any] = []  # in each peer


def state(mem: MemSync[Any], **fields: Any) -> str:
    mem.presence.update(fields)
    return mem.id


def listen(mem: MemSync[Any]) -> None:
    mem.presence.on_change(lambda peer, fields: _calls.append((peer, fields)))


def calls(mem: MemSync[Any]) -> list[Any]:
    return list(_calls)


def everybody(mem: MemSync[Any]) -> dict[str, Any]:
    return mem.presence.all()


def test_the_fields_of_a_killed_client_vanish_within_a_second(cluster: Cluster) -> None:
    """The end of its connection tells of its death; whatever else could would take a minute."""
    host, victim, witness = cluster.start(3, options=EVENTS_ONLY)
    ids = [peer.run(state, at=number) for number, peer in enumerate((host, victim, witness))]
    witness.run(listen)
    until(lambda: len(witness.run(everybody)) == 3)
    victim.kill()
    until(lambda: witness.run(calls))
    assert witness.run(calls) == [(ids[1], None)]
    assert witness.run(everybody) == host.run(everybody) == {ids[0]: {"at": 0}, ids[2]: {"at": 2}}


def test_those_of_a_killed_host_vanish_and_the_others_stay(cluster: Cluster) -> None:
    peers = cluster.start(4, options=EVENTS_ONLY)
    ids = [peer.run(state, at=number) for number, peer in enumerate(peers)]
    peers[3].run(listen)
    peers[0].kill()
    left = {ids[number]: {"at": number} for number in (1, 2, 3)}
    until(lambda: peers[3].run(calls))
    assert peers[3].run(calls) == [(ids[0], None)]
    until(lambda: all(peer.run(everybody) == left for peer in peers[1:]))
    assert peers[2].run(state, more=1) == ids[2]
    left[ids[2]] = {"at": 2, "more": 1}
    until(lambda: all(peer.run(everybody) == left for peer in peers[1:]))


def test_a_newcomer_sees_those_that_are_there(cluster: Cluster) -> None:
    ids = [peer.run(state, n=1) for peer in cluster.start(2)]
    newcomer = cluster.start(1)[0]
    assert newcomer.run(everybody) == {peer: {"n": 1} for peer in ids}


def test_a_frozen_host_keeps_its_fields_when_it_comes_back(cluster: Cluster) -> None:
    options = {"network": {"lease": 0.5}}
    host, other = cluster.start(2, options=options)
    peer = host.run(state, n=1)
    host.pause()
    other.run(state, n=2)
    host.resume()
    until(lambda: other.run(everybody).get(peer) == {"n": 1})
    until(lambda: host.run(everybody) == other.run(everybody))
