"""Whatever arrives in whatever batches: each shows confirmed plus pending, all end equal (G1-G5).

A state machine runs the real sequencer with the host's own replica, and other peers behind it.
They make updates of every kind, on what they happen to show; proposals and frames are taken in
batches of any size. What is accepted is told by a serial model, to which the updates themselves are
applied, one after the other in the host's order.
"""

from __future__ import annotations

from ast import literal_eval
from typing import Any
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from memsync.document import Operation, is_guarded, to_plain
from memsync.document.live import old_values
from memsync.errors import ConflictError, MemSyncError, from_wire
from memsync.replication.clock import COUNTER_BITS, HybridClock, wall_time
from memsync.replication.codec import HEADER, frame
from memsync.replication.codec import decode as parse
from memsync.replication.entries import Decision, Entry, Propose, SnapshotChunk
from memsync.replication.log import Log
from memsync.replication.moved_indexes import first_relied_on
from memsync.replication.past_versions import moment_of
from memsync.replication.pending import PendingWrite
from memsync.replication.replica import Replica
from memsync.replication.sequencer import Ordered, Sequencer

from ..document.overlap_strategies import START, Call, applied, calls, checked, filters_of
from .builders import BIG, HOST, hello, new_replica, replica_of, take

PEERS = [HOST, "p1", "p2"]
FEW = 3  # entries in the host's log, so that some who come back get a snapshot

FIELDS = [None, None, *list(START)[:2]]  # of the document: what of it is looked at

times = st.integers(0, 12)


def serial(document: Any, proposal: Propose) -> Any:
    """The document after a proposed update, which knows nothing of replication."""
    call = Call(proposal.body, proposal.where)
    assert proposal.array_filters == filters_of(proposal.body)
    return applied(document, call, wall_time(proposal.timestamp))


class Peer:
    """A peer: its replica, what is on its way in both directions, what its programs were told."""

    def __init__(self, name: str, replica: Replica[PendingWrite]) -> None:
        self.name = name
        self.replica = replica
        self.writes = replica.writes
        self.inbox: list[bytes] = []
        self.outbox: list[Propose] = []
        self.outcomes: dict[int, tuple[int, object]] = {}
        self.decided = 0
        self.hidden = 0  # what the table of a snapshot covers is not on top of it
        self.is_settled = True
        self.visible: set[int] = set()  # numbers of writes that programs could see
        self.told: list[list[Operation] | None] = []
        replica._changed = lambda operations, own: self.told.append(operations)

    def write(self, call: Call, time: int) -> None:
        """What `patch` does, up to the sending."""
        try:
            body, where = checked(call)
        except MemSyncError:
            return
        epoch, version = self.replica.view_pair
        proposal = Propose(
            self.writes.next_number,
            self.writes.first_open,
            time << COUNTER_BITS,
            epoch,
            version,
            "patch",
            body,
            where,
            filters_of(body),
            relies_on=first_relied_on(
                self.replica.view, body, self.writes.pending, not self.replica.must_rebuild
            ),
        )
        sent = parse(frame(proposal)[HEADER:])
        assert isinstance(sent, Propose)
        self.outbox.append(sent)
        before = to_plain(self.replica.view)
        self.replica.show(PendingWrite(proposal))
        if repr(to_plain(self.replica.view)) != repr(before):
            self.visible.add(proposal.number)
        self.check_what_was_told(before)
        if self.is_settled:
            self.check_what_is_shown()

    def take(self, count: int) -> None:
        """Take in so many frames; nothing is shown yet."""
        taken, self.inbox = self.inbox[:count], self.inbox[count:]
        for each in taken:
            self.is_settled = False
            message = parse(each[HEADER:])
            if isinstance(message, Entry):
                take(self.replica, message)
            elif isinstance(message, SnapshotChunk):
                if self.replica.add_chunk(message, self.decided):
                    row = self.replica.state.sessions.get(self.name)
                    self.hidden = row.last if row else 0
            else:
                assert isinstance(message, Decision), message
                self.replica.decide(message)

    def complete(self) -> None:
        """The batch is at its end."""
        before, pair = to_plain(self.replica.view), self.replica.view_pair
        self.replica.publish()
        self.is_settled = True
        assert self.replica.view_pair == self.replica.pair >= pair, "what is shown went back"
        self.check_what_was_told(before)
        self.check_what_is_shown()
        published = self.replica.published()
        self.replica.advance(published)
        for write, version, error, was_rolled_back, _ in published.outcomes:
            number = write.proposal.number
            assert number not in self.outcomes, "a write has two outcomes"
            assert was_rolled_back == (number in self.visible and error is not None)
            self.outcomes[number] = (version, error and type(error))
            write.resolve(version, error)

    def check_what_is_shown(self) -> None:
        """Confirmed, and the pending updates in their order, of which some may not fit."""
        expected = to_plain(self.replica.state.document)
        for number, write in self.writes.pending.items():
            if number <= self.hidden:
                continue
            try:
                after = serial(expected, write.proposal)
            except MemSyncError:
                continue
            if repr(after) != repr(expected):
                self.visible.add(number)
            expected = after
        assert repr(to_plain(self.replica.view)) == repr(expected)

    def check_what_was_told(self, before: Any) -> None:
        """Whoever looks only where something may have changed misses nothing."""
        after = to_plain(self.replica.view)
        told, self.told[:] = list(self.told), []
        if None in told:
            return
        paths = [operation["path"] for operations in told for operation in operations or ()]
        names = {path.split("/")[1].replace("~1", "/").replace("~0", "~") for path in paths if path}
        changed = {
            name
            for name in {*before, *after}
            if repr(before.get(name, "none")) != repr(after.get(name, "none"))
        }
        assert changed <= names or "" in paths


class Interleavings(RuleBasedStateMachine):
    """Peers write, and what they send is ordered and delivered in pieces of any size."""

    mode = "timestamp"

    @initialize()
    def begin(self) -> None:
        # Everything but the host's own state is as `Host` does it.
        first = new_replica(HOST)
        first.state.bootstrap(START, {"conflict": self.mode})
        log = Log(0, 0, max_entries=FEW, max_bytes=BIG)
        self.host = Sequencer(first.state, log, HybridClock(), host=HOST, epoch=1, max_frame=BIG)
        self.host.append_system("epoch", {"host": HOST, "pid": 1, "address": "/x"})
        for name in PEERS:
            self.host.append_system("member", {"join": hello(name).member()})
        own = replica_of(self.host)
        own.must_rebuild = True
        self.peers = {HOST: Peer(HOST, own)}
        self.peers |= {name: Peer(name, new_replica(name)) for name in PEERS[1:]}
        self.model: Any = to_plain(first.state.document)
        self.entries: list[Entry] = []
        self.models = {first.state.version: repr(self.model)}  # by version
        self.fates: dict[tuple[str, int], tuple[int, object, bool]] = {}
        self.host.attach(HOST, 1)
        self.peers[HOST].complete()
        for peer in self.others:
            self.attach(peer)

    @property
    def others(self) -> list[Peer]:
        """All peers but the host."""
        return [peer for peer in self.peers.values() if peer.name != HOST]

    def attach(self, peer: Peer) -> None:
        """Bring a peer level and have it send what the host has not decided."""
        decisions = self.host.attach(peer.name, peer.writes.first_open, peer.writes.first_unknown)
        _, frames = self.peers[HOST].replica.catch_up(*peer.replica.pair)
        peer.decided = last = self.host.last(peer.name)
        peer.inbox = [*frames, *map(frame, decisions)]
        peer.take(len(frames))
        peer.complete()
        peer.outbox = [write.proposal for write in peer.writes.after(last)]

    @rule(name=st.sampled_from(PEERS), call=calls, time=times)
    def write(self, name: str, call: Call, time: int) -> None:
        self.peers[name].write(call, time)

    @rule(
        pair=st.permutations(PEERS), first=calls, second=calls, time=times, count=st.integers(0, 6)
    )
    def cross(self, pair: list[str], first: Call, second: Call, time: int, count: int) -> None:
        """A write that is under way when another one is ordered; its own peer reads of that."""
        self.peers[pair[0]].write(first, time)
        self.peers[pair[1]].write(second, 6)
        self.order(pair[1], BIG, again=False)
        if count:
            self.read(pair[0], count)

    @rule(name=st.sampled_from(PEERS), count=st.integers(1, 4), again=st.booleans())
    def order(self, name: str, count: int, again: bool) -> None:
        """The host takes some proposals of a peer; perhaps the first one comes twice."""
        peer = self.peers[name]
        taken, peer.outbox = peer.outbox[:count], peer.outbox[count:]
        for proposal in [*(taken[:1] if again else ()), *taken]:
            is_new = proposal.number > self.host.last(name)
            result = self.host.propose(name, proposal)
            if is_new:
                self.note(name, proposal, result)
            own = self.peers[HOST]
            if isinstance(result, Ordered):
                for each in self.others:
                    each.inbox.append(result.frame)
                own.replica.ordered(result.entry)
                own.is_settled = False
            elif name == HOST:
                assert isinstance(result, Decision)
                own.replica.decide(result)
                own.is_settled = False
            else:
                assert isinstance(result, Decision)
                peer.inbox.append(frame(result))

    def note(self, name: str, proposal: Propose, result: object) -> None:
        """What the host has decided must be what the serial model says."""
        try:
            after = serial(self.model, proposal)
        except MemSyncError as failure:
            after = failure
        fate = self.fates
        if isinstance(result, Ordered):
            assert not isinstance(after, MemSyncError), after
            assert repr(after) != repr(self.model)
            self.entries.append(result.entry)
            fate[name, proposal.number] = (result.entry.version, None, True)
            self.model = after
            self.models[result.entry.version] = repr(after)
        else:
            assert isinstance(result, Decision)
            error = None if result.error is None else from_wire(result.error)
            fate[name, proposal.number] = (result.version, error and type(error), False)
            if error is None:
                assert repr(after) == repr(self.model), "an update was lost"
            elif "may name another element" in str(error):  # guarded or not
                assert type(error) is ConflictError
                assert isinstance(proposal.body, list)
            elif isinstance(after, MemSyncError):
                if not (type(error) is ConflictError and not is_guarded(proposal.body)):
                    assert type(error) is type(after)
            else:
                assert type(error) is ConflictError
                assert proposal.where is None
                assert not is_guarded(proposal.body)
        assert repr(self.host.state.document) == repr(self.model)

    @rule(name=st.sampled_from(PEERS), count=st.integers(1, 6))
    def read(self, name: str, count: int) -> None:
        """A batch arrives, and is shown."""
        self.peers[name].take(count)
        self.peers[name].complete()

    @rule(name=st.sampled_from(PEERS[1:]), count=st.integers(1, 3))
    def begin_to_read(self, name: str, count: int) -> None:
        """The first chunk of a batch; a thread may write before it is shown."""
        self.peers[name].take(count)

    @rule(name=st.sampled_from(PEERS[1:]), kept=st.integers(0, 3))
    def come_again(self, name: str, kept: int) -> None:
        """A link breaks; what had arrived is kept, perhaps not shown yet."""
        peer = self.peers[name]
        peer.take(kept)
        peer.replica.drop_chunks()
        self.attach(peer)

    @rule(name=st.sampled_from(PEERS), back=st.integers(0, 9), field=st.sampled_from(FIELDS))
    def look_back(self, name: str, back: int, field: str | None) -> None:
        """A version that a peer holds is what it was, in the order of its fields."""
        replica = self.peers[name].replica
        log, state = replica.log, replica.state
        version = log.version - min(back, len(log.past()[0]))
        moment = moment_of(state, log, version, field)
        assert moment is not None
        found = moment.goes_back_to(version, state.kinds)
        expected = self.models.get(version, self.models[min(self.models)])
        if field is None:
            assert repr(found) == expected
        else:
            assert repr(found.get(field)) == repr(literal_eval(expected).get(field))

    def teardown(self) -> None:
        """When everything has arrived, all are equal, and each write has had one outcome."""
        if not hasattr(self, "peers"):
            return
        for name in self.peers:
            self.order(name, BIG, again=False)
            self.look_back(name, 9, None)
        for peer in self.peers.values():
            peer.take(BIG)
            peer.complete()
        numbers = [(entry.peer, entry.number) for entry in self.entries]
        for name, peer in self.peers.items():
            assert not peer.writes.pending
            assert repr(peer.replica.state.document) == repr(self.model)
            assert repr(to_plain(peer.replica.view)) == repr(self.model)
            assert peer.replica.state.encode() == self.host.state.encode()
            assert set(peer.outcomes) == set(range(1, peer.writes.next_number))
            for number, (version, error) in peer.outcomes.items():
                assert (version, error) == self.fates[name, number][:2]
                is_in = self.fates[name, number][2]
                assert numbers.count((name, number)) == is_in
                assert error is None or not is_in


class StrictInterleavings(Interleavings):
    """As above; whatever had not seen the other is refused."""

    mode = "strict"


class ReferringInterleavings(Interleavings):
    """As above; replaced containers are kept by reference, and orders of fields are noted."""

    def __init__(self) -> None:
        super().__init__()
        self._patch = mock.patch.multiple(old_values, ENCODED=-1, COUNTED=0)
        self._patch.start()

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self._patch.stop()


SETTINGS = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = SETTINGS
TestReferringInterleavings = ReferringInterleavings.TestCase
TestReferringInterleavings.settings = settings(SETTINGS, max_examples=40)
TestStrictInterleavings = StrictInterleavings.TestCase
TestStrictInterleavings.settings = SETTINGS
