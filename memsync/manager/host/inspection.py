"""What a host answers to a process that is no member: the ``memsync`` command.

A question is a dict. ``about`` names what is asked for, and the answer is a dict as well:

========== ===================== ===================================================================
about      further keys          answer
========== ===================== ===================================================================
status     ``recent``, a bool   ``epoch``, ``version``, ``founded`` (seconds since 1970), ``host``
                                 (the id), ``members``, ``published`` (methods), ``locks``, and, if
                                 wanted, ``recent``: the last writes, the newest first
value      ``path``              ``version``, ``found``, and ``value``, unless it is ``large``
fields     ``path``              ``fields``: the names in a dict, the indexes of a list
changes    ``path``, ``since``   ``values``: ``[value, version, missed]`` each (see `values_since`),
                                 and ``missed``: their number, if they are too large
events     ``name``, ``since``,  ``events``: ``[name, arguments, version, peer]`` each, for a name
           ``until``, a pair     with or without wildcards, ``missed``: the number of those before
                                 them that the log lacks (None: not known), and ``version``: the
                                 events are complete up to here, so ask again since then
========== ===================== ===================================================================

An answer is bounded: who wants more joins the group, which sends a snapshot in chunks.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from ...document import Operation, element_index, encoded, estimated_size, to_plain
from ...errors import UsageError
from ...options import check_path
from ...replication.kinds.event import check_event_pattern
from ...replication.kinds.method import callable_peers, directory
from ...replication.kinds.patch import PatchKind
from ...replication.lock_part import lock_facts
from ...runtime.changes import values_since
from ...runtime.event_router import matcher
from ...runtime.event_stream import checked_version, held_events
from ...runtime.participant import Participant
from ..timing import TIMING


def inspect(participant: Participant, question: Any) -> bytes:
    """The encoded answer to a question; raises `UsageError` for one that this version lacks."""
    if not isinstance(question, dict):
        raise UsageError(f"a question is a dict, not {question!r:.60}")
    about, path = question.get("about"), question.get("path", "")
    if path != "":
        check_path(path)
    if about == "status":
        answer = _status(participant)
        if question.get("recent"):
            answer["recent"] = _last_writes(participant)
    elif about == "value":
        answer = participant.read(lambda view: _value(view, path))
        answer["version"] = participant.replica.view_pair[1]
    elif about == "fields":
        answer = participant.read(lambda view: {"fields": _fields(view, path)})
    elif about == "changes":
        answer = _changes(participant, path, question.get("since"))
    elif about == "events":
        answer = _events(participant, question)
    else:
        raise UsageError(f"a host knows nothing about {about!r:.60}")
    return bytes(encoded(answer))


def _status(participant: Participant) -> dict[str, Any]:
    state = participant.state
    with participant.guard:
        epoch, version = participant.replica.view_pair
        records = callable_peers(state)
        members = [
            {
                "id": member["id"],
                "pid": member["pid"],
                "roles": list(member["roles"]),
                "methods": sorted(records[member["id"]].methods),
            }
            for member in state.members.values()
        ]
        return {
            "epoch": epoch,
            "version": version,
            "founded": int(state.cluster_id[:12], 16) / 1000,
            "host": state.host,
            "members": members,
            "published": sorted(directory(state).published),
            "locks": lock_facts(state),
        }


def _changes(participant: Participant, path: str, since: Any) -> dict[str, Any]:
    values = values_since(participant, path, since)
    if estimated_size([values], TIMING.inspection_bytes) <= TIMING.inspection_bytes:
        return {"values": values, "missed": 0}
    return {"values": [], "missed": sum(missed + 1 for *_, missed in values)}


def _events(participant: Participant, question: dict[str, Any]) -> dict[str, Any]:
    matches = matcher(check_event_pattern(question.get("name")))
    since, until = checked_version(question.get("since")), _until(question.get("until"))
    missed, held = held_events(participant, since, until)
    answer: dict[str, Any] = {"events": [], "missed": missed, "version": until[1]}
    size = 0
    for event in held:
        if not matches(event.name):
            continue
        size += len(encoded(event.args))
        if size > TIMING.inspection_bytes and answer["events"]:
            return answer | {"version": answer["events"][-1][2]}
        answer["events"].append([event.name, list(event.args), event.version, event.peer])
    return answer


def _until(pair: Any) -> tuple[int, int]:
    """The epoch and the version of the last event that is wanted; raises `UsageError`."""
    match pair:
        case [int(epoch), int(version)]:
            return epoch, version
    raise UsageError(f"until must be a list of an epoch and a version, not {pair!r:.60}")


def _last_writes(participant: Participant) -> list[dict[str, Any]]:
    """The newest entries that show in the object, the newest first."""
    since = participant.log.version - TIMING.inspection_entries
    try:
        entries = participant.log.newest(
            max(since, 0), TIMING.inspection_entries, TIMING.inspection_bytes
        )
    except RuntimeError:  # the thread that plays the role has appended one
        return []
    kind = participant.state.kinds[PatchKind.name]
    writes = (each for each in reversed(entries) if each.kind == PatchKind.name)
    return [
        {"version": each.version, "peer": each.peer, "text": _text(kind.changes(each))}
        for each in islice(writes, TIMING.inspection_writes)
    ]


def _text(operations: list[Operation]) -> str:
    """A write in one line."""
    shown = [
        f"{each['op']} {each['path'] or '(all)'}{_short(each)}"
        for each in operations[: TIMING.inspection_operations]
    ]
    more = [f"and {len(operations) - TIMING.inspection_operations} more"] * (
        len(operations) > TIMING.inspection_operations
    )
    return ", ".join([*shown, *more])


def _short(operation: Operation) -> str:
    value = operation.get("value")
    if isinstance(value, dict | list):
        return f" {len(value)} {'fields' if isinstance(value, dict) else 'elements'}"
    return f" {value!r:.40}" if "value" in operation else ""


def _node(document: Any, path: str) -> tuple[bool, Any]:
    """Whether there is a value at a dotted path, and the value."""
    value = document
    for part in path.split(".") if path else ():
        if isinstance(value, dict) and part in value:
            value = dict.__getitem__(value, part)
        elif isinstance(value, list) and (index := element_index(part, value)) is not None:
            value = list.__getitem__(value, index)
        else:
            return False, None
    return True, value


def _value(document: Any, path: str) -> dict[str, Any]:
    is_there, value = _node(document, path)
    if estimated_size([value], TIMING.inspection_bytes) > TIMING.inspection_bytes:
        return {"found": True, "large": True}
    return {"found": is_there, "value": to_plain(value)}


def _fields(document: Any, path: str) -> list[str]:
    _, value = _node(document, path)
    if isinstance(value, dict):
        return list(islice(dict.keys(value), TIMING.inspection_fields))
    count = min(len(value), TIMING.inspection_fields) if isinstance(value, list) else 0
    return [str(index) for index in range(count)]
