"""Check the arguments of a write before it gets a number, so that a refusal changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..document import check_filter, normalize
from ..errors import ReadOnlyError, TooLargeError, UsageError
from ..options import Options
from ..replication.group_options import group_value
from ..replication.kinds import KINDS
from ..replication.kinds.event import checked_event
from ..replication.write_concern import WriteConcern, check_write_concern
from .call import Call


def check_write(
    update: Any, call: Call, options: Options, founder: Mapping[str, Any]
) -> tuple[Any, Call]:
    """Detached copies of an update and of the other arguments.

    `options` are this peer's, `founder` those that the founder has stated.

    Raises `ReadOnlyError`, `UsageError`, `UpdateError` and `NotSerializableError`.
    """
    kind = KINDS[call.kind]
    if "writer" not in options.peer.roles and kind.needs_writer:
        alone = ", or emit the event alone, with events.emit(), which needs no role"
        raise ReadOnlyError(
            f"this peer has the roles {list(options.peer.roles)}: add 'writer' to the option "
            f"peer.roles{'' if call.event is None else alone}"
        )
    w = _checked_concern(call, founder)
    array_filters = call.array_filters
    if array_filters is not None:
        array_filters = normalize(array_filters, "array_filters")
    body = kind.check(update, array_filters)
    if w is None and call.where is None and array_filters is None and call.event is None:
        return body, call
    where = check_filter(call.where) if call.where is not None else None
    event = _event(call.event) if call.event is not None else None
    return body, call._replace(where=where, array_filters=array_filters, w=w, event=event)


def _event(event: Any) -> list[Any]:
    """An event as entries carry it, from a tuple of its name and its arguments."""
    if isinstance(event, str):
        event = (event,)
    if not isinstance(event, tuple | list) or not event:
        raise UsageError(
            f"emit must be a name, or a tuple of a name and arguments like ('done', 7), not "
            f"{event!r:.60}"
        )
    name, *arguments = event
    return checked_event([name, arguments])


def check_size(size: int, limit: int) -> None:
    """Raise `TooLargeError` for a proposal of more than `limit` bytes."""
    if size > limit:
        raise TooLargeError(
            f"the update has {size} bytes, over network.maxFrame ({limit}): split it, or raise "
            "the limit for the whole group"
        )


def _checked_concern(call: Call, founder: Mapping[str, Any]) -> WriteConcern | None:
    if call.journal is not False:
        if not isinstance(call.journal, bool):
            raise UsageError(f"journal must be True or False, not {call.journal!r:.60}")
        if call.journal and not group_value(founder, "file.journal"):
            raise UsageError(
                "journal=True needs a journal: the process that founds the object states "
                "file.journal: true"
            )
    return check_write_concern(call.w)
