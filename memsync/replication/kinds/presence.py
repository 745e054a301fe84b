"""Entries of kind ``presence``: fields that a peer states about itself, and that end with it.

The part of the state has the fields of each peer, as its last entry has set them. They are dropped
with the peer's session. A peer that was taken out while it may still live keeps them: it is not
shown (see `present`) until it is a member again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...document import encoded, normalize
from ...errors import ProtocolError, TooLargeError, UsageError
from ..entries import Entry, Propose
from ..state import Kind, Order, State

PRESENCE_BYTES = 1 << 16  # of the encoded fields of one peer

Presence = dict[str, dict[str, Any]]
"""The fields by peer; a peer without fields is not in it."""

_decoder = msgspec.msgpack.Decoder(Presence)


class PresenceKind(Kind):
    """A member changes its own fields."""

    name = "presence"
    needs_writer = False

    def begin(self, data: dict[str, Any], options: Mapping[str, Any]) -> Presence:
        """No fields."""
        return {}

    def check(self, body: Any, array_filters: Any) -> dict[str, Any]:
        """A detached copy of fields; raises `UsageError` and `NotSerializableError`."""
        if not isinstance(body, dict):
            raise UsageError(f"presence has fields with names, not {body!r:.60}: give a dict")
        checked: dict[str, Any] = normalize(body, "presence")
        return checked

    def order(self, state: State, peer: str, proposal: Propose) -> Order | None:
        """Merge the fields into those that the peer has; None removes one.

        Raises as `check`, and `TooLargeError`.
        """
        if peer not in state.members:
            raise ProtocolError(f"peer {peer} is no member, so it has no presence")
        old = state.parts[self.name].get(peer, {})
        merged = {**old, **self.check(proposal.body, None)}
        merged = {name: value for name, value in merged.items() if value is not None}
        data = encoded(merged)
        if data == encoded(old):
            return None
        if len(data) > PRESENCE_BYTES:
            raise TooLargeError(
                f"the presence of a peer has at most {PRESENCE_BYTES} bytes, these fields take "
                f"{len(data)}: put the values into the object, and state where they are"
            )
        return Order(merged)

    def apply(self, state: State, entry: Entry, *, fit: bool) -> None:
        """Replace the peer's fields."""
        # Without operations: the view may show a write that this entry reports as refused.
        state.document = state.replay(state.document, entry, [], fit)
        part: Presence = state.parts[self.name]
        if entry.body:
            part[entry.peer] = entry.body
        else:
            part.pop(entry.peer, None)
        state.notices += 1

    def forget(self, state: State, peer: str) -> None:
        """Drop the fields of a peer that is gone."""
        state.parts[self.name].pop(peer, None)

    def encode(self, state: State) -> Presence:
        """The part as it is."""
        part: Presence = state.parts[self.name]
        return part

    def decode(self, data: msgspec.Raw, options: Mapping[str, Any]) -> Presence:
        """The part of a snapshot."""
        return _decoder.decode(data)


def present(state: State) -> Presence:
    """The fields of the members, which nobody may change."""
    members = state.members
    part: Presence = state.parts[PresenceKind.name]
    return {peer: fields for peer, fields in part.items() if peer in members}
