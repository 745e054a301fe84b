"""Writers, hosts that die, and heirs: no acknowledged write is lost, none is in twice (G1-G3).

A state machine runs the real sequencer, replicas and pending writes. Each peer's connection is a
list of frames of which it has read a chunk; a host that dies takes along what a peer's kernel has
not got. Proposals may be sent twice. What a peer appends to its own list tells its fate.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from memsync.document import apply_update, to_plain
from memsync.replication.clock import HybridClock
from memsync.replication.codec import HEADER, frame
from memsync.replication.codec import decode as parse
from memsync.replication.entries import Decision, Entry, Propose, SnapshotChunk
from memsync.replication.log import Log
from memsync.replication.pending import PendingWrite
from memsync.replication.recovery_reports import RecoveryReports
from memsync.replication.replica import Replica
from memsync.replication.sequencer import Gap, Ordered, Sequencer

from .builders import BIG, hello, new_replica, replica_of, take

PEERS = ["p0", "p1", "p2"]


class Client:
    """A peer: its copy, its writes, and what is on its way in both directions."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.replica = new_replica(name, max_entries=6)
        self.writes = self.replica.writes
        self.acknowledged: list[int] = []
        self.refused: list[int] = []
        self.inbox: list[bytes] = []
        self.outbox: list[Propose] = []
        self.pair = (0, 0)
        self.decided = 0

    def write(self, good: bool) -> None:
        """Append the write's own number to the own list; a bad one adds to a string, too."""
        number = self.writes.next_number
        update = {"$push": {self.name: number}} | ({} if good else {"$inc": {"text": 1}})
        epoch, version = self.replica.view_pair
        proposal = Propose(number, self.writes.first_open, number, epoch, version, "patch", update)
        self.replica.show(PendingWrite(proposal))
        self.outbox.append(proposal)

    def read(self, count: int) -> None:
        """Take in so many frames, as one batch."""
        taken, self.inbox = self.inbox[:count], self.inbox[count:]
        for each in taken:
            self.take(parse(each[HEADER:]))
        self.replica.publish()
        published = self.replica.published()
        self.replica.advance(published)
        for write, version, error, *_ in published.outcomes:
            if not write.done:
                number = write.proposal.number
                (self.acknowledged if error is None else self.refused).append(number)
            write.resolve(version, error)
        assert self.replica.pair >= self.pair, "a copy went back"
        self.pair = self.replica.pair
        self.check_what_is_shown()

    def check_what_is_shown(self) -> None:
        """What programs read is the confirmed document with the pending writes on top."""
        expected = to_plain(self.replica.state.document)
        for write in self.writes.pending.values():
            if write.operations:
                expected = apply_update(expected, write.proposal.body)
        assert repr(to_plain(self.replica.view)) == repr(expected)

    def take(self, message: object) -> None:
        """Take in one message."""
        if isinstance(message, Entry):
            take(self.replica, message)
        elif isinstance(message, SnapshotChunk):
            self.replica.add_chunk(message, self.decided)
        elif isinstance(message, Decision):
            self.replica.decide(message)
        elif isinstance(message, Gap):
            self.outbox = [write.proposal for write in self.writes.after(message.first - 1)]


class Reigns(RuleBasedStateMachine):
    """Peers write, read, and lose their host."""

    some_freeze = False  # whether a peer may miss a recovery

    @initialize()
    def begin(self) -> None:
        self.clients = {name: Client(name) for name in PEERS}
        self.epoch = 0
        first = new_replica()
        first.bootstrap({"text": "x"}, {})
        self.open(first)
        for client in self.clients.values():
            client.read(BIG)

    def open(self, replica: Replica[PendingWrite]) -> None:
        """A host that is none of the peers opens the next epoch on this copy."""
        self.epoch += 1
        self.host = Sequencer(
            replica.state,
            replica.log,
            HybridClock(),
            host="h",
            epoch=self.epoch,
            max_frame=BIG,
        )
        self.host.append_system("epoch", {"host": "h", "pid": 1, "address": "/x"})
        for name in self.clients:
            if name not in self.host.state.members:
                self.host.append_system("member", {"join": hello(name).member()})
        for client in self.clients.values():
            self.attach(client)

    def attach(self, client: Client) -> None:
        """Bring a peer level and have it send what the host has not decided."""
        decisions = self.host.attach(
            client.name, client.writes.first_open, client.writes.first_unknown
        )
        _, frames = replica_of(self.host).catch_up(*client.replica.pair)
        client.decided = last = self.host.last(client.name)
        client.inbox = [*frames, *map(frame, decisions)]
        # A peer writes to a host only when it is level with it.
        client.read(len(frames))
        client.outbox = [write.proposal for write in client.writes.after(last)]

    @rule(name=st.sampled_from(PEERS), good=st.booleans(), ordered=st.booleans())
    def write(self, name: str, good: bool, ordered: bool) -> None:
        self.clients[name].write(good)
        if ordered:
            self.order(name, again=False)

    @rule(name=st.sampled_from(PEERS), again=st.booleans())
    def order(self, name: str, again: bool) -> None:
        """The host takes the next proposal of a peer; perhaps it comes once more."""
        client = self.clients[name]
        if not client.outbox:
            return
        proposal = client.outbox[0] if again else client.outbox.pop(0)
        result = self.host.propose(name, proposal)
        if isinstance(result, Ordered):
            for each in self.clients.values():
                each.inbox.append(result.frame)
        else:
            assert isinstance(result, Decision)
            client.inbox.append(frame(result))

    @rule(name=st.sampled_from(PEERS), good=st.booleans())
    def write_and_wait(self, name: str, good: bool) -> None:
        """A write that has its outcome before anything else happens."""
        client = self.clients[name]
        client.write(good)
        while client.outbox:
            self.order(name, again=False)
            client.read(len(client.inbox))

    @rule(name=st.sampled_from(PEERS), count=st.integers(1, 5))
    def read(self, name: str, count: int) -> None:
        self.clients[name].read(count)

    @rule(name=st.sampled_from(PEERS), kept=st.integers(0, 5))
    def break_connection(self, name: str, kept: int) -> None:
        """Some bytes arrive still, the rest are gone; the same host is joined again."""
        client = self.clients[name]
        client.read(kept)
        client.replica.drop_chunks()
        self.attach(client)

    @precondition(lambda self: self.epoch < 6)
    @rule(data=st.data())
    def kill_host(self, data: st.DataObject) -> None:
        """Each peer drains what its kernel has; the best copy is what the next host begins with."""
        for client in self.clients.values():
            drained = data.draw(st.sampled_from(["nothing", "half", "all"]))
            client.read({"nothing": 0, "half": len(client.inbox) // 2}.get(drained, BIG))
            client.replica.drop_chunks()
        frozen = data.draw(st.sampled_from([None, *PEERS])) if self.some_freeze else None
        recovery = RecoveryReports("new", (0, 0), set(self.clients))
        for name, client in self.clients.items():
            if name != frozen:
                recovery.report(name, client.replica.pair)
        best, pair = recovery.best()
        heir = new_replica()
        if pair == (0, 0):
            heir.bootstrap({"text": "x"}, {})
        else:
            heir.state.restore(self.clients[best].replica.state.encode())
            heir.must_rebuild = True  # nobody reads its view
            heir.log = Log(*pair, max_entries=1000, max_bytes=BIG)
        self.open(heir)
        for client in self.clients.values():
            if data.draw(st.booleans()):
                client.read(BIG)

    @invariant()
    def nothing_is_lost_doubled_or_disordered(self) -> None:
        if not hasattr(self, "host"):
            return
        for name, client in self.clients.items():
            found = list(self.host.state.document.get(name, []))
            assert found == sorted(set(found)), f"{name}: doubled or disordered: {found}"
            coming = {proposal.number for proposal in client.outbox}
            lost = set(client.acknowledged) - set(found) - coming
            assert not lost, f"{name}: acknowledged writes are lost: {lost}"
            assert not set(client.refused) & set(found), f"{name}: a refused write is in"

    def teardown(self) -> None:
        """When everything arrives, all are level and every write has its outcome."""
        if not hasattr(self, "host"):
            return
        for _ in range(100):
            for name, client in self.clients.items():
                while client.outbox:
                    self.order(name, again=False)
            for client in self.clients.values():
                client.read(len(client.inbox))
        for client in self.clients.values():
            assert not client.writes.pending, "a write has no outcome"
            assert client.replica.state.encode() == self.host.state.encode()
        self.nothing_is_lost_doubled_or_disordered()


class ReignsWithFrozenPeers(Reigns):
    """As above; a peer may be frozen while a new host recovers, and brings its own writes back."""

    some_freeze = True


SETTINGS = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestReigns = Reigns.TestCase
TestReigns.settings = SETTINGS
TestReignsWithFrozenPeers = ReignsWithFrozenPeers.TestCase
TestReignsWithFrozenPeers.settings = SETTINGS
