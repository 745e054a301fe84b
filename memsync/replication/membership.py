"""The members of the group, and the limit on writers.

The members are part of the replicated state. The engine knows which of them live. A member that
*stands by* waits for a writer's place (``onMaxWriters: wait``): it follows the object, and its
roles, limit and place begin when the host lets it in. Standbys are let in as they have joined.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
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
    """A peer as an element of the state.

    ``waitsFor`` is None, or the roles of a peer that stands by. ``since`` is when it joined or was
    let in, in seconds since 1970.
    """
    return {
        "id": peer,
        "pid": pid,
        "since": 0.0,
        "roles": roles,
        "waitsFor": None,
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


def standing_by(member: dict[str, Any]) -> dict[str, Any]:
    """The member without a place, for which it waits."""
    return {**member, "roles": [], "waitsFor": member["roles"]}


def let_in(member: dict[str, Any], since: float) -> dict[str, Any]:
    """The member with its place, since a time of day in seconds."""
    roles = member["waitsFor"] if stands_by(member) else member["roles"]
    return {**member, "since": since, "roles": roles, "waitsFor": None}


def stands_by(member: dict[str, Any]) -> bool:
    """Whether a member waits for a writer's place."""
    return member.get("waitsFor") is not None


def writers(members: Members) -> list[dict[str, Any]]:
    """The members with the role ``writer``."""
    return [member for member in members.values() if "writer" in member["roles"]]


def writer_limit(members: Members) -> int | None:
    """The smallest limit that any member states that does not stand by, or None."""
    limits = [m["maxWriters"] for m in members.values() if not stands_by(m)]
    return min((limit for limit in limits if limit is not None), default=None)


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
    names = ", ".join(map(_described, present))
    raise MaxWritersError(
        f"network.maxWriters is {limit} and the places are taken by {names}: wait until one of "
        "them stops (onMaxWriters: wait), or join without the role 'writer' (peer.roles: [])",
        limit=limit,
        holders=[{key: each.get(key) for key in ("id", "pid", "since")} for each in present],
    )


def _described(member: dict[str, Any]) -> str:
    since = member.get("since")
    text = f", since {utc_text(since)}" if since else ""
    return f"process {member['pid']} (peer {member['id']}{text})"


def utc_text(seconds: float) -> str:
    """A time of day in words; nothing here knows the time zone of the reader."""
    when = datetime(1970, 1, 1) + timedelta(seconds=int(seconds))
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"
