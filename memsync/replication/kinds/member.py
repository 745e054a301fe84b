"""Entries of kind ``member``: a peer joins the group, or leaves it.

The part of the state is the list of members (see `membership`). Only hosts make such entries; the
engine finds out which members are alive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..entries import Entry
from ..membership import Members
from ..state import Kind, State

_decoder = msgspec.msgpack.Decoder(Members)


def joining(member: dict[str, Any]) -> dict[str, Any]:
    """The body of the entry with which a peer becomes a member."""
    return {"join": member}


def leaving(peer: str, *, keeps_session: bool) -> dict[str, Any]:
    """The body of the entry with which a membership ends.

    With `keeps_session` the peer may still live, so the outcomes of its writes are kept.
    """
    return {"leave": peer, "keepsSession": True} if keeps_session else {"leave": peer}


class MemberKind(Kind):
    """A change of the membership."""

    name = "member"

    def begin(self, data: dict[str, Any], options: Mapping[str, Any]) -> Members:
        """No members."""
        return {}

    def apply(self, state: State, entry: Entry, *, fit: bool) -> None:
        """Add or remove a member."""
        members: Members = state.parts[self.name]
        state.notices += 1
        member = entry.body.get("join")
        if member is not None:
            members[member["id"]] = member
            return
        peer = entry.body["leave"]
        members.pop(peer, None)
        for kind in state.kinds.values():
            kind.left(state, peer, entry)
        if not entry.body.get("keepsSession"):
            state.forget(peer)

    def encode(self, state: State) -> Members:
        """The part as it is."""
        members: Members = state.parts[self.name]
        return members

    def decode(self, data: msgspec.Raw, options: Mapping[str, Any]) -> Members:
        """The part of a snapshot."""
        return _decoder.decode(data)
