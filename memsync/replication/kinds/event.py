"""Entries of kind ``event``: a name and arguments that every peer gets, and that change no value.

An entry of another kind may carry an event as well (`Entry.event`): the two are one entry, so there
is never the one without the other.

The part of the state counts the events. A peer that catches up by a snapshot thus knows exactly how
many it has missed, also where entries that it had were lost with their host.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import msgspec

from ...document import encoded, normalize
from ...errors import ProtocolError, TooLargeError, UsageError
from ..entries import Entry, Propose
from ..state import Kind, Order, State

NAME_MAX = 300  # characters
EVENT_BYTES = 1 << 16  # of an encoded event; what is larger belongs into the object

_MAX_EPOCHS = 64  # as in the part of the kind ``epoch``
_MAX_VERSIONS = 1 << 16  # of events whose versions a peer remembers


class EventPart(msgspec.Struct):
    """How many events there were, and how many before the first one of each of the last epochs."""

    count: int = 0
    starts: list[tuple[int, int]] = []

    def before_epoch(self, epoch: int) -> int:
        """The number of events before an epoch."""
        return next((count for later, count in self.starts if later >= epoch), self.count)


class EventVersions:
    """The versions of the last events that this copy has applied; no part of a snapshot."""

    __slots__ = ("first_count", "first_version", "versions")

    def __init__(self, version: int, count: int) -> None:
        self.first_version = version  # up to here there were `first_count` events
        self.first_count = count
        self.versions: array[int] = array("Q")

    def add(self, version: int) -> None:
        """Note the next event."""
        versions = self.versions
        versions.append(version)
        if len(versions) > 2 * _MAX_VERSIONS:
            self.first_version = versions[_MAX_VERSIONS - 1]
            self.first_count += _MAX_VERSIONS
            del versions[:_MAX_VERSIONS]

    def up_to(self, version: int) -> int | None:
        """The number of events up to a version; None where this copy does not know it."""
        if version < self.first_version:
            return None
        return self.first_count + bisect_right(self.versions, version)


class _Counted:
    """The part of the state, and what only this copy knows."""

    __slots__ = ("part", "versions")

    def __init__(self, part: EventPart, versions: EventVersions | None) -> None:
        self.part = part
        self.versions = versions  # None: its first event after a snapshot begins it


_decoder = msgspec.msgpack.Decoder(EventPart)


class EventKind(Kind):
    """A notice to all peers."""

    name = "event"
    needs_writer = False

    def begin(self, data: dict[str, Any], options: Mapping[str, Any]) -> _Counted:
        """No event yet."""
        return _Counted(EventPart(), EventVersions(0, 0))

    def order(self, state: State, peer: str, proposal: Propose) -> Order | None:
        """Accept an event of a member.

        Raises what `checked_event` raises.
        """
        if peer not in state.members:
            raise ProtocolError(f"peer {peer} is no member, so it can emit no event")
        return Order(None, (), checked_event(proposal.event))

    def apply(self, state: State, entry: Entry, *, fit: bool) -> None:
        """Count it."""
        # Without operations: the view may show a write that this entry reports as refused.
        state.document = state.replay(state.document, entry, [], fit)
        count_event(state, entry)

    def encode(self, state: State) -> EventPart:
        """The count."""
        part: EventPart = state.parts[self.name].part
        return part

    def decode(self, data: msgspec.Raw, options: Mapping[str, Any]) -> _Counted:
        """The part of a snapshot."""
        return _Counted(_decoder.decode(data), None)


def checked_event(event: Any) -> list[Any]:
    """A detached copy of ``[name, arguments]``.

    Raises `UsageError`, `NotSerializableError` and `TooLargeError`.
    """
    if not isinstance(event, list) or len(event) != 2 or not isinstance(event[1], list):
        raise UsageError(f"an event is a name with arguments, not {event!r:.60}")
    name, arguments = event
    check_event_name(name)
    where = f"the arguments of the event {name!r:.60}"
    checked = [normalize(name, "the name of the event"), normalize(arguments, where)]
    size = len(encoded(checked))
    if size > EVENT_BYTES:
        raise TooLargeError(
            f"the event {name!r:.60} has {size} bytes, over {EVENT_BYTES}: put the value into the "
            "object, and emit where it is"
        )
    return checked


def check_event_name(name: Any) -> None:
    """Raise `UsageError` for what is no name of dotted parts, and for wildcards."""
    parts = check_event_pattern(name)
    if "*" in parts or "**" in parts:
        raise UsageError(
            f"the event name {name!r:.60} has a wildcard: on(), wait() and stream() take them, an "
            "event has a plain name"
        )


def check_event_pattern(name: Any) -> list[str]:
    """The parts of a name with or without wildcards; raises `UsageError`."""
    if not isinstance(name, str):
        raise UsageError(f"the name of an event must be a str, not {name!r:.60}")
    if not 0 < len(name) <= NAME_MAX:
        raise UsageError(
            f"the name of an event has 1 to {NAME_MAX} characters, not {len(name)}: {name!r:.60}"
        )
    parts = name.split(".")
    if "" in parts:
        raise UsageError(f"the event name {name!r:.60} has an empty part: write it as 'a.b'")
    for part in parts:
        if "*" in part and part not in ("*", "**"):
            raise UsageError(
                f"{part!r:.60} in the event name {name!r:.60} is no wildcard: '*' stands for one "
                "whole part, and '**' at the end for the rest"
            )
    if "**" in parts[:-1]:
        raise UsageError(f"'**' in the event name {name!r:.60} must be its last part")
    return parts


def count_event(state: State, entry: Entry) -> None:
    """Count the event of an entry that is being applied."""
    counted: _Counted = state.parts[EventKind.name]
    part = counted.part
    starts = part.starts
    if not starts or starts[-1][0] != entry.epoch:
        starts.append((entry.epoch, part.count))
        del starts[:-_MAX_EPOCHS]
    if counted.versions is None:
        counted.versions = EventVersions(entry.version - 1, part.count)
    part.count += 1
    state.notices += 1
    counted.versions.add(entry.version)


def event_count(state: State) -> int:
    """The number of events up to the state's version."""
    count: int = state.parts["event"].part.count
    return count


def events_up_to(state: State, version: int) -> int | None:
    """The number of events up to an earlier version; None where this copy does not know it."""
    counted: _Counted = state.parts[EventKind.name]
    if version == 0 or counted.part.count == 0:
        return 0
    if counted.versions is None:
        return counted.part.count if version >= state.version else None
    return counted.versions.up_to(version)


def events_in_common(state: State, epoch: int, version: int, count: int) -> int:
    """How many of the first `count` events, which a peer has up to a pair, are in this history."""
    for later, first in state.epochs:
        if later > epoch:
            if version < first:
                return count
            part: EventPart = state.parts[EventKind.name].part
            return min(count, part.before_epoch(later))
    return count
