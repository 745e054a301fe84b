"""The dicts of `MemSync.get_status` and `MemSync.peers`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import Engine
    from .http.ports import Serving
    from .runtime.participant import Participant

_NEVER_STARTED = {
    "status": "stopped",
    "id": None,
    "epoch": 0,
    "version": 0,
    "pending": 0,
    "peers": 0,
    "host": None,
    "since": None,
    "reason": None,
    "handing_over": False,
    "storage": None,
    "server": None,
}


def status_of(engine: Engine | None, serving: Serving | None = None) -> dict[str, Any]:
    """See `MemSync.get_status`."""
    if engine is None:
        return dict(_NEVER_STARTED)
    status = engine.status()
    participant: Participant = engine.participant
    epoch, version = participant.replica.view_pair
    members = participant.state.members
    return {
        "status": status.status,
        "id": participant.id,
        "epoch": epoch,
        "version": version,
        "pending": participant.writer.pending,
        "peers": len(members) - (participant.id in members),
        "host": None if status.status == "stopped" else status.host,
        "since": status.since,
        "reason": status.reason,
        "handing_over": status.handing_over,
        "storage": status.storage or _storage_of_client(participant),
        "server": None if serving is None or engine.is_ended else serving.status(),
    }


def _storage_of_client(participant: Participant) -> dict[str, Any] | None:
    """What a peer that is not the host knows: where the object is saved."""
    from .replication.group_options import group_value

    url = group_value(participant.state.options, "file.path")
    if url is None:
        return None
    return {"url": url, "saved_version": None, "saved_at": None, "error": None, "fencing": None}


def other_members(participant: Participant) -> list[dict[str, Any]]:
    """See `MemSync.peers`."""
    from .replication.kinds.method import callable_peers  # the engine has imported it

    with participant.guard:
        members, host = dict(participant.state.members), participant.state.host
        records = callable_peers(participant.state)
    return [
        {
            "id": member["id"],
            "pid": member["pid"],
            "roles": list(member["roles"]),
            "methods": list(records[member["id"]].methods),
            "host": member["id"] == host,
        }
        for member in members.values()
        if member["id"] != participant.id
    ]
