"""The document as of an older version, from the log.

The log has the newest entries, and beside them what each of them has replaced. A copy of the
document, as it is now, goes back entry by entry. Where that would lose the order of fields, it goes
back further, and forward again by the entries (see `document.live.old_values`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..document import Operation, Past, replay, to_plain, within
from ..errors import UsageError
from .codec import decode_entry
from .log import Log
from .state import Kinds, State


class Moment(NamedTuple):
    """A copy at one version, with the entries that led to it and what they have replaced.

    `field` is the field of the document that was copied; None: all are.
    """

    version: int
    document: dict[str, Any]
    field: str | None
    bodies: list[bytes]
    taken: list[Any]

    def goes_back_to(self, version: int, kinds: Kinds) -> dict[str, Any]:
        """The document at a version, a plain one; call it once.

        Raises `UsageError` for a version that cannot be had.
        """
        oldest, field = self.version - len(self.bodies), self.field
        if not oldest <= version <= self.version:
            raise not_held(version, oldest, self.version)
        undone: list[list[Operation]] = []
        past = Past(self.document, field)
        at = ordered = self.version
        for body, taken in zip(reversed(self.bodies), reversed(self.taken), strict=True):
            if at <= version and not past.unordered:
                break
            entry = decode_entry(body)
            operations = kinds[entry.kind].changes(entry)
            past.undo(operations, taken)
            undone.append(operations)
            at -= 1
            if not past.unordered:
                ordered = at
        if past.unordered:
            raise not_held(version, ordered, self.version)
        for operations in reversed(undone[self.version - version :]):
            part = operations if field is None else within(operations, field)
            replay(past.document, part, fit=True)
        return past.document


def moment_of(state: State, log: Log, version: int, field: str | None) -> Moment | None:
    """This moment, from which to go back to a version; None for a torn copy. The guard is held.

    The document is not copied if the log does not reach that version.
    """
    if state.torn or log.version != state.version:
        return None
    bodies, taken = log.past()
    moment = Moment(state.version, {}, field, bodies, taken)
    if state.version - len(bodies) <= version <= state.version:
        document = state.document
        if field is None:
            moment.document.update(to_plain(document))
        elif dict.__contains__(document, field):
            moment.document[field] = to_plain(dict.__getitem__(document, field))
    return moment


def not_held(version: int, oldest: int, newest: int) -> UsageError:
    """The error of a version that is neither in the log nor to be found by it."""
    return UsageError(
        f"version {version} cannot be had: this peer has the versions {oldest} to {newest} in "
        "memory; a higher network.maxLog keeps more",
        oldest=oldest,
        newest=newest,
    )
