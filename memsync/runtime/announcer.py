"""What a peer announces of the entries that it shows: patches, events and presence, in order.

A batch of patches is announced as one list. Where an entry carries an event, or changes the fields
of a peer, the patches up to that entry come first, then the event, then the rest. The count of
events in the state says whether any were missed: those of a snapshot that came instead of entries.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from ..document import encoded
from ..replication.codec import HEADER, decode_entry
from ..replication.entries import Entry
from ..replication.kinds.event import event_count, events_in_common
from ..replication.kinds.member import MemberKind
from ..replication.kinds.presence import Presence, PresenceKind, present
from ..replication.log import Log
from ..replication.state import State

_ANNOUNCED = frozenset({MemberKind.name, PresenceKind.name})


class Event(NamedTuple):
    """An event as `Events.stream` and `Events.wait` return it."""

    name: str
    args: tuple[Any, ...]
    version: int
    epoch: int
    peer: str
    """The id of the peer that emitted it."""


class Gap:
    """In the place of what did not reach an iterator; `count` is None where nobody knows it."""

    __slots__ = ("count",)

    def __init__(self, count: int | None) -> None:
        self.count = count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Gap) and self.count == other.count

    def __hash__(self) -> int:
        return hash((Gap, self.count))

    def __repr__(self) -> str:
        return f"Gap(count={self.count})"


class Announcer:
    """Announces entries once and in order (the thread that plays the role)."""

    def __init__(self, state: State, log: Log, announce: Callable[[str, Any], None]) -> None:
        self._state = state
        self._log = log
        self._announce = announce
        # Up to here all was announced: `_count` events, and `_present`.
        self._cluster_id = ""
        self._epoch = self._version = self._count = 0
        self._present: Presence = {}
        self._notices = self._snapshots = 0  # of the state, at the last call
        # An interrupt may end a call early: up to here the next call announces nothing again.
        self._begun = (0, 0)
        self.under_way = (0, 0)
        """Up to this pair all events were announced, or are being announced."""

    def entries(self, entries: list[Entry]) -> None:
        """Announce the entries that lead to the state's pair."""
        state = self._state
        if state.notices == self._notices and len(entries) == state.version - self._version:
            if entries:
                self._version = state.version
                self._announce("received_patches", partial(self._described, entries, 0))
        elif state.cluster_id != self._cluster_id or state.pair > (self._epoch, self._version):
            self.under_way = state.pair
            self._one_by_one(entries)
            is_whole = len(entries) == state.version - self._version
            if self._snapshots != state.snapshots or not is_whole:
                self._snapshots = state.snapshots
                self._presence_of_all()
            self._cluster_id, self._count = state.cluster_id, event_count(state)
            self._epoch, self._version = state.pair
            self._notices = state.notices
        else:  # this copy begins behind what was announced, and `entries` is not
            self._patches(entries, 0)

    def _patches(self, entries: list[Entry], newer: int) -> None:
        """Announce the patches of entries, before the newest `newer` of the log."""
        if entries:
            self._announce("received_patches", partial(self._described, entries, newer))

    def _described(self, entries: list[Entry], newer: int) -> tuple[list[dict[str, Any]], int]:
        """What callbacks get of the entries, and its bytes on the wire."""
        size = self._log.size_of_newest(len(entries) + newer)
        if newer:
            size -= self._log.size_of_newest(newer)
        return self._state.patches_of(entries), size

    def _one_by_one(self, entries: list[Entry]) -> None:
        if self._state.cluster_id != self._cluster_id:
            self._begun = (0, 0)
        # Without those that were lost with their host.
        self._count = events_in_common(self._state, *self._known_pair(), self._count)
        missed = self._missed(entries)
        if missed or self._begun > (self._epoch, self._version):
            entries = self._held() or entries
            missed = self._missed(entries)
        since, last, count = 0, self._version, len(entries)
        for position, entry in enumerate(entries):
            if missed and entry.version != last + 1:
                self._patches(entries[since:position], count - position)
                since = position
                self._gap(missed, entries[position:])
                missed = 0
            last = entry.version
            if entry.event is None and entry.kind not in _ANNOUNCED:
                continue
            self._begun = entry.epoch, entry.version
            self._patches(entries[since : position + 1], count - position - 1)
            since = position + 1
            if entry.event is not None:
                event = event_of(entry)
                # One statement: no interrupt comes between the call's return and the count.
                self._count, _ = self._count + 1, self._announce("event", event)
            else:
                self._presence(entry)
        if entries[since:]:
            self._begun = entries[-1].epoch, entries[-1].version
            self._patches(entries[since:], 0)
        if missed:
            self._gap(missed, [])

    def _gap(self, missed: int, rest: list[Entry]) -> None:
        """Announce how many events are missing before the rest of the entries."""
        state = self._state
        pair = (rest[0].epoch, rest[0].version - 1) if rest else state.pair
        known = event_count(state) - _events_in(rest)
        self._begun, self._count, _ = pair, known, self._announce("events missed", missed)

    def _presence(self, entry: Entry) -> None:
        """Announce the fields that a peer has after an entry of the kind presence or member."""
        if entry.kind == PresenceKind.name:
            self._is(entry.peer, entry.body)
            return
        gone, come = entry.body.get("leave"), entry.body.get("join")
        if gone is not None:
            self._is(gone, None)
        elif come is not None:  # perhaps not for the first time
            self._is(come["id"], present(self._state).get(come["id"]))

    def announce_present(self) -> None:
        """Announce what a peer that stood by has not heard: the fields of the peers."""
        for peer, fields in self._present.items():
            self._announce("presence", (peer, fields))

    def _presence_of_all(self) -> None:
        """Announce what a snapshot has changed."""
        now = present(self._state)
        for peer in [*self._present, *(peer for peer in now if peer not in self._present)]:
            self._is(peer, now.get(peer))

    def _is(self, peer: str, fields: dict[str, Any] | None) -> None:
        if encoded(fields or None) == encoded(self._present.get(peer)):
            return
        # First: an interrupt in between has it announced again, and never lost.
        self._announce("presence", (peer, fields or None))
        if fields:
            self._present[peer] = fields
        else:
            del self._present[peer]

    def _missed(self, entries: list[Entry]) -> int:
        """How many events are neither announced nor in the entries; 0 for a newcomer."""
        state = self._state
        if state.cluster_id != self._cluster_id:
            return 0
        return max(event_count(state) - self._count - _events_in(entries), 0)

    def _known_pair(self) -> tuple[int, int]:
        """The pair of the first `_count` events."""
        return max(self._begun, (self._epoch, self._version))

    def _held(self) -> list[Entry]:
        """The entries since the last call that the log holds: an error has kept them back."""
        frames = self._log.since(*self._known_pair())
        return [decode_entry(each[HEADER:]) for each in frames or ()]


def _events_in(entries: list[Entry]) -> int:
    return sum(entry.event is not None for entry in entries)


def event_of(entry: Entry) -> Event:
    """The event that an entry carries."""
    assert entry.event is not None
    name, arguments = entry.event
    return Event(name, tuple(arguments), entry.version, entry.epoch, entry.peer)
