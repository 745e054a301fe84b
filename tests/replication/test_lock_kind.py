"""Named locks in the log: who holds them is decided by the entries alone."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from memsync.errors import (
    LockLostError,
    MemSyncError,
    ProtocolError,
    QueueFullError,
    TooLargeError,
    UsageError,
    from_wire,
)
from memsync.replication.entries import Decision, Entry, Propose
from memsync.replication.kinds import lock as lock_kind
from memsync.replication.kinds.lock import LockKind, acquiring, expiring, releasing, settling
from memsync.replication.lock_part import (
    Acquire,
    Hold,
    LockPart,
    Place,
    lock_facts,
    lock_part,
    pair_of,
    token_of,
)
from memsync.replication.sequencer import Sequencer
from memsync.replication.state import State

from .builders import entry_of, hello, new_state, proposal, reign


class Group:
    """A host, and peers that propose changes of the locks."""

    def __init__(self, *peers: str, host: Sequencer | None = None) -> None:
        self.host = host or reign({"n": 0}, *peers)
        self.numbers = dict.fromkeys(peers, 0)

    def propose(self, peer: str, body: Any, **more: Any) -> Any:
        """The result of the next proposal of a peer."""
        self.numbers[peer] += 1
        fields = {"kind": "lock", **more}
        return self.host.propose(peer, proposal(self.numbers[peer], body, **fields))

    def ask(self, peer: str, request: int, name: str = "k", **more: Any) -> Any:
        return self.propose(peer, acquiring(Acquire(name, request, **more)))

    def free(self, peer: str, request: int) -> Any:
        return self.propose(peer, releasing(request, "held or not"))

    def holders(self, name: str = "k") -> list[tuple[str, int]]:
        lock = lock_part(self.host.state).locks.get(name)
        return [(each.peer, each.request) for each in lock.holders] if lock else []

    def queue(self, name: str = "k") -> list[tuple[str, int]]:
        lock = lock_part(self.host.state).locks.get(name)
        return [(each.peer, each.request) for each in lock.queue] if lock else []

    def token(self, peer: str, request: int) -> int:
        hold = lock_part(self.host.state).find(peer, request)
        assert isinstance(hold, Hold)
        return hold.token


def refusal(result: Any) -> MemSyncError:
    """The error of a refused proposal."""
    assert isinstance(result, Decision), result
    assert result.error is not None
    return from_wire(result.error)


def test_the_first_holds_it_and_the_others_wait_in_their_order() -> None:
    group = Group("a", "b", "c")
    for peer in "abc":
        group.ask(peer, 1)
    assert group.holders() == [("a", 1)]
    assert group.queue() == [("b", 1), ("c", 1)]
    group.free("a", 1)
    assert (group.holders(), group.queue()) == ([("b", 1)], [("c", 1)])
    group.free("b", 1)
    group.free("c", 1)
    assert lock_part(group.host.state).locks == {}
    assert lock_part(group.host.state).by_peer == {}


def test_the_token_is_that_of_the_entry_that_grants_the_lock() -> None:
    group = Group("a", "b")
    first = entry_of(group.ask("a", 1))
    group.ask("b", 1)
    assert pair_of(group.token("a", 1)) == (first.epoch, first.version)
    release = entry_of(group.free("a", 1))
    assert pair_of(group.token("b", 1)) == (release.epoch, release.version)
    assert token_of(2, 1) > token_of(1, 1 << 39)


def test_since_is_the_time_of_the_grant() -> None:
    group = Group("a", "b")
    group.propose("a", acquiring(Acquire("k", 1)), timestamp=5000 << 16)
    group.propose("b", acquiring(Acquire("k", 1)), timestamp=6000 << 16)
    group.propose("a", releasing(1), timestamp=7000 << 16)
    facts = lock_facts(group.host.state)["k"]
    token = group.token("b", 1)
    holder = {"id": "b", "pid": 7, "since": 7.0, "token": token, "lease": None}
    assert facts == {"places": 1, "holders": [holder], "queue": []}


def test_a_waiting_request_is_withdrawn_and_the_order_of_the_others_stays() -> None:
    group = Group("a", "b", "c")
    for peer in "abc":
        group.ask(peer, 1)
    group.free("b", 1)
    group.free("a", 1)
    assert group.holders() == [("c", 1)]


def test_a_withdrawal_that_crosses_the_grant_releases_it() -> None:
    group = Group("a", "b", "c")
    for peer in "abc":
        group.ask(peer, 1)
    group.free("a", 1)  # grants it to b, which is giving up
    group.free("b", 1)
    assert group.holders() == [("c", 1)]


@pytest.mark.parametrize("request_number", [2, -1, 10**9])
def test_a_release_of_nothing_makes_no_entry(request_number: int) -> None:
    group = Group("a", "b")
    group.ask("a", 1)
    group.ask("b", 2)
    for peer, number in [("a", request_number), ("b", 1), ("b", 2)]:  # the last one waits
        assert isinstance(refusal(group.propose(peer, releasing(number))), LockLostError)
    assert isinstance(group.free("a", request_number), Decision)
    assert isinstance(group.free("b", 1), Decision)  # it is another peer's
    assert group.holders() == [("a", 1)]


def test_a_request_that_does_not_wait_makes_no_entry_where_no_place_is_free() -> None:
    group = Group("a", "b")
    entry_of(group.ask("a", 1, waits=False))
    assert isinstance(group.ask("b", 1, waits=False), Decision)
    assert group.queue() == []


def test_a_semaphore_has_as_many_holders_as_places() -> None:
    group = Group("a", "b")
    for number in (1, 2):
        group.ask("a", number, places=3)
        group.ask("b", number, places=3)
    assert group.holders() == [("a", 1), ("b", 1), ("a", 2)]
    assert group.queue() == [("b", 2)]
    group.free("b", 1)
    assert group.holders() == [("a", 1), ("a", 2), ("b", 2)]


def test_another_number_of_places_is_refused_while_the_name_is_in_use() -> None:
    group = Group("a", "b")
    group.ask("a", 1, places=2)
    error = refusal(group.ask("b", 1))
    assert isinstance(error, UsageError)
    assert "'k' is in use with 2 places, not 1" in str(error)
    group.free("a", 1)
    entry_of(group.ask("b", 2))


@pytest.mark.parametrize("keeps_session", [False, True])
def test_a_member_that_leaves_loses_its_locks_and_its_places_in_queues(
    keeps_session: bool,
) -> None:
    group = Group("a", "b", "c", "d")
    for peer in "abcd":
        group.ask(peer, 1)
    group.ask("b", 2, "other")
    group.host.leave("b", keeps_session=keeps_session)
    entry = group.host.leave("a", keeps_session=keeps_session).entry
    assert (group.holders(), group.queue()) == ([("c", 1)], [("d", 1)])
    assert pair_of(group.token("c", 1)) == (entry.epoch, entry.version)
    assert group.holders("other") == []


def test_the_host_ends_a_lease_and_nobody_else_may() -> None:
    group = Group("a", "b")
    group.ask("a", 1, lease=5.0)
    group.ask("b", 1)
    assert isinstance(refusal(group.propose("b", expiring("a", 1))), UsageError)
    group.host.append_system("lock", expiring("a", 1))
    assert group.holders() == [("b", 1)]
    group.host.append_system("lock", expiring("a", 1))  # it has gone already
    assert group.holders() == [("b", 1)]


def test_a_write_with_a_lock_needs_the_hold_of_its_own_peer() -> None:
    group = Group("a", "b")
    group.ask("a", 1)
    token = group.token("a", 1)
    update = {"$inc": {"n": 1}}
    entry_of(group.propose("a", update, kind="patch", lock=["k", 1, token]))
    for peer, proof in [
        ("a", ["k", 1, token + 1]),
        ("a", ["k", 2, token]),
        ("a", ["other", 1, token]),
        ("b", ["k", 1, token]),
    ]:
        error = refusal(group.propose(peer, update, kind="patch", lock=proof))
        assert isinstance(error, LockLostError), proof
    group.free("a", 1)
    group.ask("b", 1)
    error = refusal(group.propose("a", update, kind="patch", lock=["k", 1, token]))
    assert isinstance(error, LockLostError)
    assert f"peer b holds it now with the token {group.token('b', 1)}" in str(error)
    assert group.host.state.document == {"n": 1}


def test_a_write_with_a_lock_is_decided_by_the_lock_and_not_by_the_conflict_rule() -> None:
    group = Group("a", "b")
    group.ask("a", 1)
    base = group.host.state.version
    entry_of(group.propose("b", {"$set": {"n": 5}}, kind="patch", timestamp=9 << 40, version=base))
    old = {"kind": "patch", "timestamp": 1 << 16, "version": base}
    assert isinstance(group.propose("a", {"$set": {"n": 6}}, **old), Decision)
    proof = ["k", 1, group.token("a", 1)]
    entry_of(group.propose("a", {"$set": {"n": 6}}, lock=proof, **old))


def test_a_reader_may_lock_and_a_stranger_may_not() -> None:
    group = Group()
    group.host.append_system("member", {"join": hello("reader", ()).member()})
    for peer in ("reader", "stranger"):
        group.host.attach(peer, 1)
        group.numbers[peer] = 0
    entry_of(group.ask("reader", 1))
    assert isinstance(refusal(group.ask("stranger", 1)), ProtocolError)


def test_a_result_ends_a_lock_for_good() -> None:
    group = Group("a", "b")
    group.ask("a", 1)
    group.ask("b", 1)
    token = group.token("a", 1)
    assert isinstance(refusal(group.propose("b", settling(1, token, b"r"))), LockLostError)
    assert isinstance(refusal(group.propose("a", settling(1, token - 1, b"r"))), LockLostError)
    entry_of(group.propose("a", settling(1, token, b"r")))
    assert lock_part(group.host.state).results == {"k": b"r"}
    assert (group.holders(), group.queue()) == ([], [])
    assert lock_part(group.host.state).by_peer == {}
    assert isinstance(group.ask("b", 2), Decision)  # without an entry: the result is there


def test_g14_results_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_kind, "RESULT_BYTES", 10)
    monkeypatch.setattr(lock_kind, "RESULTS_BYTES", 15)
    group = Group("a")
    sizes = [(1, 11, TooLargeError), (2, 10, None), (3, 6, TooLargeError), (4, 5, None)]
    for number, size, error in sizes:
        group.ask("a", number, f"k{number}")
        token = group.token("a", number)
        result = group.propose("a", settling(number, token, bytes(size)))
        assert isinstance(refusal(result), error) if error else entry_of(result)


def test_g14_the_requests_of_a_peer_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_kind, "REQUESTS_MAX", 2)
    group = Group("a", "b")
    group.ask("a", 1, "x")
    group.ask("a", 2, "y")
    assert isinstance(refusal(group.ask("a", 3, "z")), QueueFullError)
    entry_of(group.ask("b", 1, "z"))
    group.free("a", 1)
    entry_of(group.ask("a", 4, "z"))


def test_the_last_one_keeps_its_place() -> None:
    group = Group("a", "b")
    group.ask("a", 1, places=100)
    group.ask("b", 1, places=100)
    entry_of(group.propose("a", releasing(1, "unless last")))
    assert isinstance(group.propose("b", releasing(1, "unless last")), Decision)
    assert group.holders() == [("b", 1)]


BAD: list[Any] = [
    None,
    "text",
    {},
    {"release": 1},
    {"release": [1, "somehow"]},
    {"release": [1, "held"], "settle": [1, 2, b""]},
    {"settle": [1, 2, "text"]},
    {"expire": ["a", 1]},
    {"unknown": 1},
    {"acquire": ["k"]},
    {"acquire": ["", 1]},
    {"acquire": ["k" * 321, 1]},
    {"acquire": [b"k", 1]},
    {"acquire": ["k", 1, 0]},
    {"acquire": ["k", 1, 10**7]},
    {"acquire": ["k", 1, 1, 0.1]},
    {"acquire": ["k", 1, 1, 1e9]},
    {"acquire": ["k", 1, 1, None, True, "more"]},
]


@pytest.mark.parametrize("wrong", BAD)
def test_g13_the_host_refuses_a_forged_change(wrong: Any) -> None:
    host = reign({}, "a")
    refused = host.propose("a", Propose(1, 1, 1 << 16, 1, 1, "lock", wrong))
    assert isinstance(refusal(refused), UsageError)
    assert lock_part(host.state).locks == {}


@pytest.mark.parametrize("wrong", [[], ["k"], ["k", 1, "token"], "text", {"k": 1}, [1, 1, 1]])
def test_g13_the_host_refuses_a_forged_hold(wrong: Any) -> None:
    host = reign({"n": 0}, "a")
    refused = host.propose(
        "a", Propose(1, 1, 1 << 16, 1, 1, "patch", {"$inc": {"n": 1}}, lock=wrong)
    )
    assert isinstance(refusal(refused), UsageError)


def test_a_request_number_is_used_once() -> None:
    group = Group("a")
    group.ask("a", 1)
    assert isinstance(refusal(group.ask("a", 1, "other")), ProtocolError)


def copy_of(state: State) -> State:
    """A copy by way of a snapshot."""
    copy = new_state()
    copy.restore(state.encode())
    return copy


class LockMachine(RuleBasedStateMachine):
    """Peers that come, go, ask and release, against a model that is a list for each lock."""

    PEERS = "abcd"
    NAMES = ("k", "s")
    PLACES: ClassVar = {"k": 1, "s": 2}

    def __init__(self) -> None:
        super().__init__()
        self.group = Group(*self.PEERS)
        self.asked = 0
        self.queues: dict[str, list[tuple[str, int]]] = {name: [] for name in self.NAMES}
        self.tokens: dict[tuple[str, str, int], int] = {}
        self.largest = dict.fromkeys(self.NAMES, 0)
        self.epoch = 1

    @rule(peer=st.sampled_from(PEERS), name=st.sampled_from(NAMES), waits=st.booleans())
    def asks(self, peer: str, name: str, waits: bool) -> None:
        self.asked += 1
        queue, places = self.queues[name], self.PLACES[name]
        if waits or len(queue) < places:
            queue.append((peer, self.asked))
        self.group.ask(peer, self.asked, name, places=places, waits=waits)

    @rule(name=st.sampled_from(NAMES), position=st.integers(0, 5))
    def releases(self, name: str, position: int) -> None:
        queue = self.queues[name]
        if position < len(queue):
            peer, number = queue.pop(position)
            entry_of(self.group.free(peer, number))

    @rule(name=st.sampled_from(NAMES), position=st.integers(0, 1))
    def expires(self, name: str, position: int) -> None:
        queue = self.queues[name]
        if position < min(len(queue), self.PLACES[name]):
            self.group.host.append_system("lock", expiring(*queue.pop(position)))

    @rule(peer=st.sampled_from(PEERS), keeps_session=st.booleans())
    def leaves_and_comes_back(self, peer: str, keeps_session: bool) -> None:
        host = self.group.host
        host.leave(peer, keeps_session=keeps_session)
        for queue in self.queues.values():
            queue[:] = [each for each in queue if each[0] != peer]
        host.append_system("member", {"join": hello(peer).member()})
        host.attach(peer, 1)
        self.group.numbers[peer] = host.last(peer)

    @rule()
    def the_host_is_replaced(self) -> None:
        self.epoch += 1
        copy = copy_of(self.group.host.state)
        host = self.group.host = reign(None, *self.PEERS, epoch=self.epoch, state=copy)
        # A refusal made no entry, so the next host does not know its number.
        self.group.numbers = {peer: host.last(peer) for peer in self.PEERS}

    @invariant()
    def the_locks_are_those_of_the_model(self) -> None:
        part = lock_part(self.group.host.state)
        for name, places in self.PLACES.items():
            queue = self.queues[name]
            assert self.group.holders(name) == queue[:places]
            assert self.group.queue(name) == queue[places:]
        assert part.locks.keys() == {name for name in self.NAMES if self.queues[name]}
        known = {(peer, number) for peer, own in part.by_peer.items() for number in own}
        assert known == {each for queue in self.queues.values() for each in queue}

    @invariant()
    def tokens_grow(self) -> None:
        for name in self.NAMES:
            lock = lock_part(self.group.host.state).locks.get(name)
            for hold in lock.holders if lock else ():
                assert isinstance(hold, Hold)
                key = (name, hold.peer, hold.request)
                if key in self.tokens:
                    assert self.tokens[key] == hold.token
                    continue
                self.tokens[key] = hold.token
                is_mutex = self.PLACES[name] == 1
                assert hold.token >= self.largest[name] + is_mutex
                self.largest[name] = hold.token

    @invariant()
    def a_snapshot_has_all(self) -> None:
        copy, own = lock_part(copy_of(self.group.host.state)), lock_part(self.group.host.state)
        assert (copy.locks, copy.by_peer) == (own.locks, own.by_peer)
        assert all(isinstance(each, Place) for lock in copy.locks.values() for each in lock.queue)


TestLockMachine = LockMachine.TestCase
TestLockMachine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_what_has_changed_since_a_revision_is_known_unless_it_is_too_much() -> None:
    part, entry = LockPart({}, {}), Entry(1, 1, "p", 0, 0, LockKind.name, None)
    for request in (1, 2):
        part.request("p", Acquire("k", request), entry)
    before = part.revision
    assert part.touched_since(before) == set()
    part.release("p", 1, entry)
    assert part.touched_since(before) == {("p", 1), ("p", 2)}  # one ended, one was granted
    for request in range(3, 1004):
        part.request("p", Acquire(f"k{request}", request), entry)
    assert part.touched_since(before) is None
    assert LockPart({}, {}).touched_since(before) is None  # a part that has begun again
