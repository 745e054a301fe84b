"""The host's ordering state machine: proposals in, entries and decisions out.

The proposals of a peer are taken strictly in sequence. For each number there are three cases:

* above the next one: there is a gap, the peer is asked to send again from the next one (`Gap`);
* below: it was decided before, the old outcome is repeated (`Decision`), nothing runs twice;
* the next one: it is checked and compiled against the state. Accepted, it becomes an `Entry`;
  refused or without effect, a `Decision`.

Outcomes that made no entry are not known to the replicas. They ride along in the ``decided`` field
of the same peer's next entry, so that whoever has that entry (and so would treat the earlier number
as a duplicate) also knows what became of it. The order in a peer's stream does the rest: a decision
that was lost together with the host came before no entry anybody has.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import (
    MemSyncError,
    TooLargeError,
    to_wire,
)
from .clock import HybridClock
from .codec import encode_value, frame
from .entries import Decision, Entry, Propose
from .kinds.member import MemberKind, leaving
from .log import Log
from .state import State


class Gap(NamedTuple):
    """A proposal came too early: those of its peer from `first` on are missing."""

    first: int


class Ordered:
    """An entry together with its frame, encoded once for all who get it."""

    __slots__ = ("entry", "frame")

    def __init__(self, entry: Entry, encoded: bytes) -> None:
        self.entry = entry
        self.frame = encoded


class _Queue:
    """What the host knows of a peer's numbers beyond the replicated row."""

    __slots__ = ("first_unknown", "next", "unreplicated_outcomes")

    def __init__(self, first: int) -> None:
        self.next = first
        self.first_unknown = first  # a number below that does not come was settled by a former host
        self.unreplicated_outcomes: dict[
            int, list[Any]
        ] = {}  # outcomes which no entry has carried yet


class Sequencer:
    """Orders the writes of one reign on top of `state`; `log` receives every entry."""

    def __init__(
        self, state: State, log: Log, clock: HybridClock, *, host: str, epoch: int, max_frame: int
    ) -> None:
        self.state = state
        self.log = log
        self.host = host
        self.epoch = epoch
        self._clock = clock
        self._max_frame = max_frame
        self._queues: dict[str, _Queue] = {}

    def attach(self, peer: str, first_open: int, first_unknown: int = 1) -> list[Decision]:
        """Take up a peer's sequence where it stands; the outcomes it may not know are returned.

        `first_open` is the first_open number whose outcome the peer does not know. Below `known`
        there may be numbers which a former host refused, of which no replica has heard: they leave
        no gap. There may also be accepted ones which this host has not got, if the peer was frozen
        through a recovery: those it brings back.
        """
        row = self.state.sessions.get(peer)
        first = row.last + 1 if row else 1
        queue = self._queues.setdefault(peer, _Queue(first))
        queue.first_unknown = max(queue.first_unknown, first_open, first_unknown)
        outcomes = dict(row.outcomes) if row else {}
        outcomes.update(queue.unreplicated_outcomes)
        return [Decision(n, *outcome) for n, outcome in sorted(outcomes.items()) if n >= first_open]

    def last(self, peer: str) -> int:
        """The last number of the peer's that was decided."""
        return self._queues[peer].next - 1

    def propose(self, peer: str, proposal: Propose) -> Ordered | Decision | Gap:
        """Decide a proposal of an attached peer."""
        queue = self._queues[peer]
        if proposal.number > max(queue.next, queue.first_unknown):
            return Gap(queue.next)
        if proposal.number < queue.next:
            return self._repeat(peer, queue, proposal.number)
        queue.unreplicated_outcomes = {
            n: o for n, o in queue.unreplicated_outcomes.items() if n >= proposal.acked_below
        }
        queue.next = proposal.number + 1
        self._clock.merge(proposal.timestamp)
        try:
            ordered = self._accept(peer, proposal, queue)
        except MemSyncError as error:
            return self._decide(queue, proposal.number, to_wire(error))
        if ordered is None:
            return self._decide(queue, proposal.number, None)
        queue.unreplicated_outcomes = {}
        return ordered

    def append_system(self, kind: str, body: Any) -> Ordered:
        """Append an entry of the host's own making: a reign, a member's coming or going."""
        entry = Entry(
            self.epoch, self.state.version + 1, self.host, 0, self._clock.last, kind, body
        )
        return self._append(entry)

    def leave(self, peer: str, *, keeps_row: bool = False) -> Ordered:
        """A peer is gone: its membership ends, and its row as well if that is certain."""
        self._queues.pop(peer, None)
        return self.append_system(MemberKind.name, leaving(peer, keeps_row=keeps_row))

    def _accept(self, peer: str, proposal: Propose, queue: _Queue) -> Ordered | None:
        order = self.state.kind(proposal.kind).order(self.state, peer, proposal)
        if order is None:
            return None
        entry = Entry(
            self.epoch,
            self.state.version + 1,
            peer,
            proposal.number,
            proposal.timestamp,
            proposal.kind,
            order.body,
            proposal.acked_below,
            [[n, version, error] for n, (version, error, _) in queue.unreplicated_outcomes.items()],
            list(order.written),
        )
        return self._append(entry)

    def _append(self, entry: Entry) -> Ordered:
        encoded = frame(entry)
        if len(encoded) > self._max_frame:
            raise TooLargeError(
                f"the compiled patch has {len(encoded)} bytes, over network.maxFrame "
                f"({self._max_frame}): split the update, or raise the limit for the whole group"
            )
        self.state.apply(entry, fit=True)
        self.log.append(entry, len(encoded))
        return Ordered(entry, encoded)

    def _decide(self, queue: _Queue, number: int, error: list[Any] | None) -> Decision:
        version = self.state.version
        if error is not None:
            error = shortened(error, self._max_frame // 4)
        queue.unreplicated_outcomes[number] = [version, error, False]
        return Decision(number, version, error)

    def _repeat(self, peer: str, queue: _Queue, number: int) -> Decision:
        row = self.state.sessions.get(peer)
        outcome = queue.unreplicated_outcomes.get(number) or (
            row.outcomes.get(number) if row else None
        )
        if outcome is None:  # settled: the peer has read it before, so it does not wait for it
            return Decision(number, self.state.version)
        return Decision(number, *outcome)


def shortened(error: list[Any], limit: int) -> list[Any]:
    """A wire error of at most `limit` bytes: the facts it carries go first, then the message."""
    if len(encode_value(error)) <= limit:
        return error
    code, message, _ = error
    return [code, f"{message[: limit // 2]}...", {}]
