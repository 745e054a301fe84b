"""The members of the group, and the limit on writers.

The members are part of the replicated state. The engine knows which of them live.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import MaxWritersError, ProtocolError

_PEER_ID = re.compile(r"[0-9a-f]{16}")
Members = dict[str, dict[str, Any]]


def check_peer_id(peer: str) -> None:
    """Raise `ProtocolError` for an id of the wrong form: ids become part of file names."""
    if not _PEER_ID.fullmatch(peer):
        raise ProtocolError(f"{peer[:40]!r} is not a peer id: it must be 16 hexadecimal digits")


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
    """A peer as an element of the state."""
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
    """A peer as its file in the folder describes it; the file may hold anything."""
    roles, limit = facts.get("roles"), facts.get("maxWriters")
    return {
        "id": peer,
        "pid": facts.get("pid"),
        "roles": roles if isinstance(roles, list) else ["writer"],
        "maxWriters": limit if isinstance(limit, int) else None,
    }


def writers(members: Members) -> list[dict[str, Any]]:
    """The members with the role ``writer``."""
    return [member for member in members.values() if "writer" in member["roles"]]


def writer_limit(members: Members) -> int | None:
    """The smallest limit that any member states, or None."""
    limits = [m["maxWriters"] for m in members.values() if m["maxWriters"] is not None]
    return min(limits, default=None)


def check_room(members: Members, newcomer: dict[str, Any]) -> None:
    """Raise `MaxWritersError` when the group would have more writers than its limit.

    The smallest stated limit applies, the newcomer's included, whatever its role.
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
