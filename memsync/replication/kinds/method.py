"""Entries of kind ``method``: which peer can be called, and what anybody may run.

The part of the state is the directory of calls. Each peer states a *record*: the address of its
listener, its methods, and whether it takes pickled functions. A peer without a record can be called
as well: a caller *wants* its listener first, and the peer answers with a record. A record ends with
the session of its peer. A peer that was taken out while it may still live keeps it, but is not
shown (see `callable_peers`) until it is a member again.

*Published* functions are pickled ones that belong to the group: they stay when their publisher has
gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...document import encoded
from ...errors import ProtocolError, ReadOnlyError, TooLargeError, UsageError
from ...lasting import lasting
from ..entries import Entry, Propose
from ..state import Kind, Order, State

NAME_MAX = 300  # characters
RECORD_BYTES = 1 << 16  # of the encoded record of one peer
FUNCTION_BYTES = 1 << 20  # of one published function
PUBLISHED_BYTES = 1 << 24  # of all published functions

Address = str | tuple[str, int]
"""Of a listener: a path, or a host with a port."""


@lasting
class PeerRecord(msgspec.Struct, omit_defaults=True):
    """What a peer states of itself; `wanted` is what others state of it."""

    address: Address | None = None  # of its listener; None: it has opened none
    methods: dict[str, str] = {}  # the flags of each method; "i": it may run twice
    pickles: bool = True  # whether it runs pickled functions
    wanted: bool = False  # somebody wants to call it, and it has no address


@lasting
class MethodPart(msgspec.Struct):
    """The directory; `revision` grows with each change of this copy, and is no part of a snapshot.

    The value of a key is replaced, never changed, so any thread may read.
    """

    peers: dict[str, PeerRecord] = {}
    published: dict[str, bytes] = {}
    revision: int = 0


class _Snapshot(msgspec.Struct):
    peers: dict[str, PeerRecord]
    published: dict[str, bytes]


class _Change(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """The body of a proposal and of its entry; one field is set."""

    record: PeerRecord | None = None  # of the peer that proposes it
    # A peer that is to open its listener, and the address at which there is none, if it states one.
    want: tuple[str, Address | None] | None = None
    publish: tuple[str, bytes] | None = None
    unpublish: str | None = None


_decoder = msgspec.msgpack.Decoder(_Snapshot)


def stating(record: PeerRecord) -> dict[str, Any]:
    """The update with which a peer replaces its record."""
    return {"record": msgspec.to_builtins(record, builtin_types=(bytes,))}


def wanting(peer: str, gone: Address | None = None) -> dict[str, Any]:
    """The update with which a caller asks a peer to open its listener.

    `gone` is the address that the peer states, where there is no listener any more.
    """
    return {"want": [peer, gone]}


def publishing(name: str, function: bytes) -> dict[str, Any]:
    """The update that publishes a pickled function."""
    return {"publish": [name, function]}


def unpublishing(name: str) -> dict[str, Any]:
    """The update that ends a publication."""
    return {"unpublish": name}


class MethodKind(Kind):
    """A change of the directory."""

    name = "method"
    needs_writer = False

    def begin(self, data: dict[str, Any], options: Mapping[str, Any]) -> MethodPart:
        """An empty directory."""
        return MethodPart()

    def check(self, body: Any, array_filters: Any) -> dict[str, Any]:
        """A detached copy of a change; raises `UsageError` and `TooLargeError`."""
        try:
            change = _change_of(body)
        except msgspec.ValidationError as error:
            raise UsageError(f"{body!r:.60} is no change of the methods: {error}") from error
        if sum(each is not None for each in _fields(change)) != 1:
            raise UsageError(f"{body!r:.60} must be one change of the methods")
        if change.record is not None:
            change.record.wanted = False  # only others say so
            _check_record(change.record)
        for name in [change.unpublish, *(change.publish or ())[:1]]:
            if name is not None:
                check_method_name(name)
        if change.publish is not None and len(change.publish[1]) > FUNCTION_BYTES:
            raise TooLargeError(
                f"the function {change.publish[0]!r:.60} has {len(change.publish[1])} bytes when "
                f"pickled, over {FUNCTION_BYTES}: have it import its code and data instead"
            )
        return _plain(change)

    def order(self, state: State, peer: str, proposal: Propose) -> Order | None:
        """Accept a change by a member; only a writer publishes.

        Raises as `check`, `ReadOnlyError` and `ProtocolError`.
        """
        member = state.members.get(peer)
        if member is None:
            raise ProtocolError(f"peer {peer} is no member, so it has no methods")
        body = self.check(proposal.body, None)
        change = _change_of(body)
        part: MethodPart = state.parts[self.name]
        is_publication = change.publish is not None or change.unpublish is not None
        if is_publication and "writer" not in member.get("roles", ()):
            raise ReadOnlyError(
                f"peer {peer} does not have the role 'writer', so it publishes no function"
            )
        if change.publish is not None:
            _check_room(part, *change.publish)
        return Order(body) if _is_news(state, part, peer, change) else None

    def apply(self, state: State, entry: Entry, *, fit: bool) -> None:
        """Change the directory."""
        # Without operations: the view may show a write that this entry reports as refused.
        state.document = state.replay(state.document, entry, [], fit)
        part: MethodPart = state.parts[self.name]
        change = _change_of(entry.body)
        if change.record is not None:
            old, new = part.peers.get(entry.peer), change.record
            new.wanted = old is not None and old.wanted and new.address is None
            part.peers[entry.peer] = new
            if new == PeerRecord():
                del part.peers[entry.peer]
        elif change.want is not None:
            wanted = change.want[0]
            old = part.peers.get(wanted, PeerRecord())
            part.peers[wanted] = msgspec.structs.replace(old, wanted=True, address=None)
        elif change.publish is not None:
            name, function = change.publish
            part.published[name] = function
        elif change.unpublish is not None:
            part.published.pop(change.unpublish, None)
        part.revision += 1

    def forget(self, state: State, peer: str) -> None:
        """Drop the record of a peer that is gone."""
        part: MethodPart = state.parts[self.name]
        if part.peers.pop(peer, None) is not None:
            part.revision += 1

    def encode(self, state: State) -> _Snapshot:
        """The part, without what belongs to this copy."""
        part: MethodPart = state.parts[self.name]
        return _Snapshot(part.peers, part.published)

    def decode(self, data: msgspec.Raw, options: Mapping[str, Any]) -> MethodPart:
        """The part of a snapshot."""
        snapshot = _decoder.decode(data)
        return MethodPart(snapshot.peers, snapshot.published)


def check_method_name(name: Any) -> str:
    """The name itself; raises `UsageError` for what is no name of dotted parts."""
    if not isinstance(name, str):
        raise UsageError(f"the name of a method must be a str, not {name!r:.60}")
    if not 0 < len(name) <= NAME_MAX:
        raise UsageError(
            f"the name of a method has 1 to {NAME_MAX} characters, not {len(name)}: {name!r:.60}"
        )
    if "" in name.split("."):
        raise UsageError(f"the method name {name!r:.60} has an empty part: write it as 'math.add'")
    return name


def directory(state: State) -> MethodPart:
    """The directory of calls, which nobody may change."""
    part: MethodPart = state.parts[MethodKind.name]
    return part


def callable_peers(state: State) -> dict[str, PeerRecord]:
    """The record of each member; an empty one for a member that has stated none."""
    records = directory(state).peers
    return {peer: records.get(peer) or PeerRecord() for peer in state.members.copy()}


def is_wanted(state: State, peer: str) -> bool:
    """Whether somebody wants to call a peer that has no listener."""
    record = directory(state).peers.get(peer)
    return record is not None and record.wanted


def _check_record(record: PeerRecord) -> None:
    for name in record.methods:
        check_method_name(name)
    size = len(encoded(record))
    if size > RECORD_BYTES:
        raise TooLargeError(
            f"a peer states at most {RECORD_BYTES} bytes of methods, these take {size}: give it "
            "fewer methods, or shorter names"
        )


def _check_room(part: MethodPart, name: str, function: bytes) -> None:
    others = sum(len(each) for key, each in part.published.items() if key != name)
    if others + len(function) > PUBLISHED_BYTES:
        raise TooLargeError(
            f"the published functions would have more than {PUBLISHED_BYTES} bytes: end some with "
            "mem.rpc.unpublish()"
        )


def _is_news(state: State, part: MethodPart, peer: str, change: _Change) -> bool:
    """Whether a change makes a difference."""
    old = part.peers.get(peer, PeerRecord())
    if change.record is not None:
        return change.record != msgspec.structs.replace(old, wanted=False)
    if change.want is not None:
        wanted, gone = change.want
        there = part.peers.get(wanted, PeerRecord())
        return wanted in state.members and there.address == gone and not there.wanted
    if change.publish is not None:
        name, function = change.publish
        return part.published.get(name) != function
    return change.unpublish in part.published


def _change_of(body: Any) -> _Change:
    return msgspec.convert(body, _Change, builtin_types=(bytes,))  # so no text becomes bytes


def _fields(change: _Change) -> tuple[Any, ...]:
    return change.record, change.want, change.publish, change.unpublish


def _plain(change: _Change) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(change, builtin_types=(bytes,))
    return plain
