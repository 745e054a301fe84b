"""The host's ordering state machine: proposals in, entries and decisions out.

A peer's proposals are taken strictly in the order of their numbers:

* above the next number: the peer is asked to send again from the next number on (`Gap`);
* below it: the proposal was decided before, and the same outcome is repeated (`Decision`);
* the next number: the proposal is checked and compiled against the state. If it is accepted, it
  becomes an `Entry`; if it is refused or changes nothing, a `Decision`.

Replicas do not see outcomes that made no entry. The ``decided`` field of the peer's next entry
carries them, so every replica that would treat the earlier number as a duplicate also knows its
outcome. A decision that is lost together with its host is harmless: no later entry of that peer
exists anywhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..document import encoded
from ..errors import MemSyncError, TooLargeError, to_wire
from ..lasting import lasting
from .clock import HybridClock
from .codec import HEADER, frame
from .compile_proposal import bug, no_memory
from .entries import Decision, Entry, Propose
from .kinds.member import MemberKind, leaving
from .log import Log
from .sessions import SessionOutcome
from .state import State, TornCopyError


@lasting
class Gap(NamedTuple):
    """A proposal came too early: the peer's proposals from `first` on are missing."""

    first: int


@lasting
class Ordered:
    """An entry and its frame, encoded once for all receivers."""

    __slots__ = ("entry", "frame")

    def __init__(self, entry: Entry, framed: bytes) -> None:
        self.entry = entry
        self.frame = framed


class _Queue:
    """What the host knows of a peer's numbers beyond the replicated session."""

    __slots__ = ("first_unknown", "next", "unreplicated_outcomes")

    def __init__(self, first: int) -> None:
        self.next = first
        self.first_unknown = first  # a missing number below was decided by a former host
        self.unreplicated_outcomes: dict[int, SessionOutcome] = {}


class Sequencer:
    """Orders the writes of one epoch on top of `state`; `log` receives every entry."""

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
        """Continue a peer's sequence; returns the outcomes that the peer may not know.

        `first_open` is the lowest number whose outcome the peer does not know. Below
        `first_unknown` the peer has known every outcome at some time: a number missing there was
        refused by a former host, and leaves no gap. Accepted writes that this host lacks, because
        the peer was frozen during the recovery, are sent again by the peer.
        """
        session = self.state.sessions.get(peer)
        queue = self._queues.setdefault(peer, _Queue(session.last + 1 if session else 1))
        queue.first_unknown = max(queue.first_unknown, first_open, first_unknown)
        outcomes = {**(session.outcomes if session else {}), **queue.unreplicated_outcomes}
        return [Decision(n, *outcome) for n, outcome in sorted(outcomes.items()) if n >= first_open]

    def last(self, peer: str) -> int:
        """The last decided number of an attached peer."""
        return self._queues[peer].next - 1

    def propose(self, peer: str, proposal: Propose) -> Ordered | Decision | Gap:
        """Decide a proposal of an attached peer.

        Raises `TornCopyError` for an error in the middle of the change. After any other error
        nothing has happened, and the number is not taken.
        """
        queue = self._queues[peer]
        if proposal.number != queue.next:
            if proposal.number > max(queue.next, queue.first_unknown):
                return Gap(queue.next)
            if proposal.number < queue.next:
                return self._repeat(peer, queue, proposal.number)
        outcomes = queue.unreplicated_outcomes
        if outcomes:
            acked_below = proposal.acked_below
            queue.unreplicated_outcomes = {n: o for n, o in outcomes.items() if n >= acked_below}
        self._clock.merge(proposal.timestamp)
        try:
            with self.state.guard:  # from the compilation to the change
                ordered = self._accept(peer, proposal, queue)
        except MemSyncError as error:
            return self._decide(queue, proposal.number, to_wire(error))
        if ordered is None:
            return self._decide(queue, proposal.number, None)
        queue.next = proposal.number + 1
        if queue.unreplicated_outcomes:
            queue.unreplicated_outcomes = {}
        return ordered

    def refuse(self, peer: str, number: int, error: Exception) -> Decision:
        """Refuse a proposal of an attached peer on which `propose` has failed with an error."""
        queue = self._queues[peer]
        if number < queue.next:
            return self._repeat(peer, queue, number)
        session = self.state.sessions.get(peer)
        if session is not None and session.last >= number:  # its entry is in this copy only
            raise self._torn(error)
        return self._decide(queue, number, to_wire(bug(error)))

    def refuse_unread(self, peer: str, size: int) -> Decision:
        """Refuse the next proposal of an attached peer, which this process had no room to read."""
        queue = self._queues[peer]
        return self._decide(queue, queue.next, to_wire(no_memory(size)))

    def append_system(self, kind: str, body: Any) -> Ordered:
        """Append an entry that the host makes itself, for a new epoch or a change of members.

        Raises `TornCopyError` if that fails, and `TooLargeError` for a body over the frame limit.
        """
        entry = Entry(
            self.epoch, self.state.version + 1, self.host, 0, self._clock.last, kind, body
        )
        try:
            with self.state.guard:
                return self._append(entry)
        except (TornCopyError, MemSyncError):
            raise
        except Exception as error:  # such an entry cannot be left out
            raise self._torn(error) from error

    def leave(self, peer: str, *, keeps_session: bool = False) -> Ordered:
        """End a membership, and the session as well unless the peer may still live."""
        self._queues.pop(peer, None)
        return self.append_system(MemberKind.name, leaving(peer, keeps_session=keeps_session))

    def _accept(self, peer: str, proposal: Propose, queue: _Queue) -> Ordered | None:
        try:
            order = self.state.kind(proposal.kind).order(self.state, peer, proposal)
            if order is None:
                return None
            outcomes = queue.unreplicated_outcomes.items()
            entry = Entry(
                self.epoch,
                self.state.version + 1,
                peer,
                proposal.number,
                proposal.timestamp,
                proposal.kind,
                order.body,
                proposal.acked_below,
                [[n, version, error] for n, (version, error, _) in outcomes],
                None if order.written is None else list(order.written),
                order.event,
            )
            return self._append(entry)
        except MemoryError as error:  # nothing has changed
            raise no_memory() from error

    def _append(self, entry: Entry) -> Ordered:
        framed = frame(entry)
        if len(framed) > self._max_frame:
            raise TooLargeError(
                f"the compiled patch has {len(framed)} bytes, over network.maxFrame "
                f"({self._max_frame}): split the update, or raise the limit for the whole group"
            )
        body, ordered = framed[HEADER:], Ordered(entry, framed)
        try:
            self.state.apply(entry, fit=True)
            self.log.append(entry, body)
        except TornCopyError:
            raise
        except Exception as error:
            raise self._torn(error) from error
        return ordered

    def _torn(self, error: Exception) -> TornCopyError:
        self.state.tear()
        return TornCopyError(f"the host has failed in a step ({error!r})")

    def _decide(self, queue: _Queue, number: int, error: list[Any] | None) -> Decision:
        """Take the number for an outcome that makes no entry."""
        version = self.state.version
        if error is not None:
            error = shortened(error, self._max_frame // 4)
        decision = Decision(number, version, error)
        queue.unreplicated_outcomes[number] = [version, error, False]
        queue.next = number + 1
        return decision

    def _repeat(self, peer: str, queue: _Queue, number: int) -> Decision:
        session = self.state.sessions.get(peer)
        outcomes = {**(session.outcomes if session else {}), **queue.unreplicated_outcomes}
        if number not in outcomes:  # the peer has read the outcome, so it does not wait for it
            return Decision(number, self.state.version)
        return Decision(number, *outcomes[number])


def shortened(error: list[Any], limit: int) -> list[Any]:
    """A wire error of at most `limit` bytes: its facts are dropped first, then the message cut."""
    if len(encoded(error)) <= limit:
        return error
    code, message, _ = error
    return [code, f"{message[: limit // 2]}...", {}]
