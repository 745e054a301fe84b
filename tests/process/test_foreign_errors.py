"""An error that is none of memsync's, in the middle of a host's step: MemoryError or a bug.

Nothing has happened then, or the host hands over and gets the object anew. No acknowledged write is
lost or doubled, all copies are equal, and no peer stops.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import chain
from typing import Any

import pytest

from memsync import ConditionError, ConflictError, MemSync, TooLargeError, UpdateError
from memsync.document.live.sharing import Sharing
from memsync.manager.client import link as link_module
from memsync.manager.host.fanout import FanOut
from memsync.manager.host.ordering import Ordering
from memsync.manager.transport.channel import Channel
from memsync.replication import sequencer as sequencer_module
from memsync.replication.clock import HybridClock
from memsync.replication.conflicts import ConflictIndex
from memsync.replication.kinds.patch import PatchKind
from memsync.replication.log import Log
from memsync.replication.replica import Replica
from memsync.replication.sequencer import Sequencer
from memsync.replication.sessions import WriterSession
from memsync.replication.state import State
from memsync.runtime.writer import Writer
from memsync.testing import Cluster, Peer

pytestmark = pytest.mark.process

PLACES: dict[str, tuple[Any, str]] = {
    "admission by the clock": (HybridClock, "admit"),
    "acceptance": (Sequencer, "_accept"),
    "ordering": (PatchKind, "order"),
    "encoding": (sequencer_module, "frame"),
    "a refusal": (Sequencer, "_decide"),
    "the state": (State, "apply"),
    "the replay on both documents": (Sharing, "replay_both"),
    "the replay on one document": (Sharing, "replay_confirmed"),
    "the conflict index": (ConflictIndex, "note"),
    "the session": (WriterSession, "record"),
    "the log": (Log, "append"),
    "the push": (Ordering, "_push"),
    "the fan-out": (FanOut, "push"),
    "the answer": (FanOut, "answer"),
    "an own entry": (Replica, "ordered"),
    "an own decision": (Replica, "decide"),
    "publishing": (Replica, "publish"),
}
NEVER_OWN = {"the answer", "admission by the clock", "the replay on both documents"}
NEVER_OTHERS = {"an own decision", "the replay on one document"}
CORE = {"ordering", "a refusal", "the log", "the push"}
OUTSIDE = {"publishing"}  # not in the step of a single write

ERRORS = {"MemoryError": MemoryError, "RuntimeError": RuntimeError}
# The error, whether the function has done its work before, and at which of its calls.
FAULTS = [
    ("MemoryError", False, 1),
    ("RuntimeError", True, 4),
]
DATA: dict[str, Any] = {"all": [], "by": {"0": [], "1": [], "2": []}, "n": 0}
REFUSED = (ConditionError, ConflictError, UpdateError, TooLargeError)  # "not_applied"
WRITES = 16  # of each peer after each fault


def let_fail(
    mem: MemSync[Any],
    place: tuple[Any, str],
    is_here: Callable[[], bool],
    error: str,
    after: bool,
    call: int,
) -> Callable[[], None]:
    """Have a function fail once, at a call that is `is_here`; returns what undoes that."""
    owner, name = place
    facts = vars(mem).setdefault("facts", {})
    facts.update(fired=False, left=call)
    original = getattr(owner, name)

    def failing(*args: Any, **kwargs: Any) -> Any:
        if facts["fired"] or not is_here():
            return original(*args, **kwargs)
        facts["left"] -= 1
        if facts["left"] > 0:
            return original(*args, **kwargs)
        if after:
            original(*args, **kwargs)
        facts["fired"] = True
        raise ERRORS[error]("made by the test")

    setattr(owner, name, failing)
    return lambda: setattr(owner, name, original)


def fail_once(mem: MemSync[Any], place: str, error: str, own: bool, after: bool, call: int) -> None:
    """Have a function of this process fail once, at a write of its own or of another peer."""
    whose: list[bool] = []
    order, order_own = Ordering.order, Ordering._order_own

    def is_here() -> bool:
        return (bool(whose) and whose[-1] == own) or place in OUTSIDE

    put_place_back = let_fail(mem, PLACES[place], is_here, error, after, call)

    def noting(function: Any, is_own: bool) -> Any:
        def ordering(*args: Any) -> Any:
            whose.append(is_own)
            try:
                return function(*args)
            finally:
                whose.pop()

        return ordering

    Ordering.order = noting(order, False)  # type: ignore[method-assign]
    Ordering._order_own = noting(order_own, True)  # type: ignore[method-assign]

    def put_back() -> None:
        put_place_back()
        Ordering.order, Ordering._order_own = order, order_own  # type: ignore[method-assign]

    vars(mem)["facts"]["put back"] = put_back


def restore(mem: MemSync[Any]) -> bool:
    """Undo `fail_once`; returns whether the function has failed."""
    facts = vars(mem)["facts"]
    facts["put back"]()
    has_failed: bool = facts["fired"]
    return has_failed


def write(mem: MemSync[Any], writer: str, turn: str, waits: bool) -> list[str]:
    """Write in several ways; returns the marks of the accepted writes."""
    accepted: list[str] = []
    futures: list[tuple[str, Any]] = []
    for number in range(WRITES):
        mark = f"{writer}-{turn}-{number}"
        push = {"$push": {"all": mark, f"by.{writer}": mark}}
        update, where = [
            (push, None),
            (push | {"$inc": {"n": 1}}, {"n": -1}),
            ({"$push": {"all": {"$each": [mark], "$position": 0}, f"by.{writer}": mark}}, None),
            (push | {"$set": {"last": mark}}, None),
        ][number % 4]
        try:
            if number % 3 or not waits:
                futures.append((mark, mem.submit(update, where=where, timeout=15)))
            else:
                mem.patch(update, where=where, timeout=15)
                accepted.append(mark)
        except REFUSED:
            continue
    for mark, future in futures:
        with suppress(*REFUSED):
            future.result(15)
            accepted.append(mark)
    return accepted


def write_until_it_fails(
    peers: list[Peer], victim: Peer, turn: int, reads_itself: bool = True
) -> list[str]:
    """All peers write until the function of the victim has failed; returns the accepted marks."""
    accepted: list[str] = []
    for attempt in range(10):
        tickets = [
            (p, p.begin(write, str(n), f"{turn}.{attempt}", reads_itself or p is not victim))
            for n, p in enumerate(peers)
        ]
        for peer, ticket in tickets:
            accepted += peer.result(ticket)
        if victim.run(lambda mem: vars(mem)["facts"]["fired"]):
            break
    assert victim.run(restore), "the function was not called"
    return accepted


def check(content: dict[str, Any], accepted: list[str]) -> None:
    """Every accepted write is in the object once, as a whole, and no refused one is."""
    assert sorted(content["all"]) == sorted(accepted)
    assert sorted(chain(*content["by"].values())) == sorted(accepted)


def _by_speed(places: Iterable[str]) -> list[Any]:
    """Some of the places for every interpreter, and all of them for the default one."""
    return [
        pytest.param(place, marks=[] if place in CORE else pytest.mark.slow)
        for place in sorted(places)
    ]


def ids(peers: list[Peer]) -> list[str]:
    """A peer that has stopped and started again has another id."""
    return [peer.run(lambda mem: mem.id) for peer in peers]


@pytest.mark.parametrize("own", [True, False], ids=["own write", "write of another"])
@pytest.mark.parametrize("place", _by_speed(PLACES))
def test_nothing_has_happened_or_the_host_hands_over(
    cluster: Cluster, place: str, own: bool
) -> None:
    if place in (NEVER_OWN if own else NEVER_OTHERS):
        pytest.skip("no write comes there")
    peers = cluster.start(3, DATA)
    before, accepted = ids(peers), []
    for turn, (error, after, call) in enumerate(FAULTS):
        host = cluster.host()
        host.run(fail_once, place, error, own, after, call)
        accepted += write_until_it_fails(peers, host, turn)
        check(cluster.settled(peers), accepted)
    assert ids(peers) == before


@pytest.mark.parametrize("place", _by_speed(PLACES.keys() - NEVER_OWN))
def test_a_host_without_others_goes_on(cluster: Cluster, place: str) -> None:
    (host,) = cluster.start(1, DATA)
    before, accepted = ids([host]), []
    for turn, (error, after, call) in enumerate(FAULTS):
        host.run(fail_once, place, error, True, after, call)
        accepted += write_until_it_fails([host], host, turn)
        found = host.snapshot()["all"]
        assert set(found) == set(accepted)
        # It has no second copy: the write that failed in the middle may be in the object twice.
        assert len(found) - len(accepted) <= turn + 1
    assert ids([host]) == before
    assert cluster.host() is host


CLIENT_PLACES: dict[str, tuple[Any, str]] = {
    "decoding": (link_module, "parse_entries"),
    "the state": (State, "apply"),
    "the session": (WriterSession, "record"),
    "the log": (Log, "append"),
    "a decision": (Replica, "decide"),
    "publishing": (Replica, "publish"),
    "completing": (Writer, "complete_all"),
}
DRAINING = (Channel, "drain")


def fail_in_the_driver(
    mem: MemSync[Any], place: tuple[Any, str], error: str, after: bool, call: int
) -> None:
    """Have a function fail once on the driver's thread of this process."""

    def is_here() -> bool:
        return threading.current_thread().name == "memsync-driver"

    put_back = let_fail(mem, place, is_here, error, after, call)
    vars(mem)["facts"]["put back"] = put_back


@pytest.mark.parametrize("place", CLIENT_PLACES)
def test_a_client_gets_the_object_again(cluster: Cluster, place: str) -> None:
    peers = cluster.start(3, DATA)
    before, accepted = ids(peers), []
    for turn, (error, after, call) in enumerate(FAULTS):
        peers[1].run(fail_in_the_driver, CLIENT_PLACES[place], error, after, call)
        # A thread that waits for its write reads itself.
        accepted += write_until_it_fails(peers, peers[1], turn, reads_itself=False)
        check(cluster.settled(peers), accepted)
    assert ids(peers) == before
    assert cluster.host() is peers[0]


@pytest.mark.parametrize("error", ERRORS)
def test_a_client_survives_an_error_while_it_drains_a_lost_link(
    cluster: Cluster, error: str
) -> None:
    peers = cluster.start(3, DATA)
    accepted = peers[1].run(write, "1", "before", True)
    before = ids(peers[1:])
    peers[1].run(fail_in_the_driver, DRAINING, error, False, 1)
    peers[0].kill()
    accepted += peers[1].run(write, "1", "after", True)
    check(cluster.settled(peers[1:]), accepted)
    assert peers[1].run(restore), "the function was not called"
    assert ids(peers[1:]) == before
