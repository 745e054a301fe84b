"""Who is in the group, and whether one more writer fits.

The members are part of the replicated state. Whether a member lives is for the folder to say; these
functions only judge what they are given.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import MaxWritersError, ProtocolError

_PEER_ID = re.compile(r"[0-9a-f]{16}")
Members = dict[str, dict[str, Any]]


def check_peer_id(peer: str) -> None:
    """Raise `ProtocolError` unless the id has the form of one; it becomes part of file names."""
    if not _PEER_ID.fullmatch(peer):
        raise ProtocolError(f"{peer[:40]!r} is no id of a peer: it must be 16 hexadecimal digits")


def new_member(
    peer: str,
    pid: int,
    roles: list[str],
    *,
    methods: list[str] | None = None,
    max_writers: int | None = None,
    client_only: bool = False,
    server_only: bool = False,
) -> dict[str, Any]:
    """A peer as the group remembers it."""
    return {
        "id": peer,
        "pid": pid,
        "roles": roles,
        "methods": methods or [],
        "maxWriters": max_writers,
        "clientOnly": client_only,
        "serverOnly": server_only,
    }


def member_in_file(peer: str, facts: dict[str, Any]) -> dict[str, Any]:
    """A peer as its file in the folder describes it, whatever is in there."""
    roles, limit = facts.get("roles"), facts.get("maxWriters")
    return {
        "id": peer,
        "pid": facts.get("pid"),
        "roles": roles if isinstance(roles, list) else ["writer"],
        "maxWriters": limit if isinstance(limit, int) else None,
    }


def writers(members: Members) -> list[dict[str, Any]]:
    """The members that hold a writer's place."""
    return [member for member in members.values() if "writer" in member["roles"]]


def writer_limit(members: Members) -> int | None:
    """The smallest limit that any member states, or None."""
    limits = [m["maxWriters"] for m in members.values() if m["maxWriters"] is not None]
    return min(limits, default=None)


def check_room(members: Members, newcomer: dict[str, Any]) -> None:
    """Raise `MaxWritersError` when the newcomer would take the group over a limit.

    A newcomer whose own stated limit is below the writers present is refused as well, whatever its
    role: it could never be satisfied while they live.
    """
    others = {peer: member for peer, member in members.items() if peer != newcomer["id"]}
    limit = writer_limit({**others, newcomer["id"]: newcomer})
    if limit is None:
        return
    present = writers(others)
    count = len(present) + ("writer" in newcomer["roles"])
    if count <= limit:
        return
    holders = ", ".join(f"process {member['pid']} (peer {member['id']})" for member in present)
    raise MaxWritersError(
        f"network.maxWriters is {limit} and the places are taken by {holders}: wait until one of "
        "them stops, or join without the role 'writer' (peer.roles: [])"
    )
