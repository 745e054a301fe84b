"""Indexes in RFC 6902 lists: a list is refused where they may name another element by now.

The writer saw a version and, on top of it, its own pending writes. An index that it names is the
same element at the host if

* no entry of another peer after that version has moved it or replaced its array, and
* the own pending writes that moved it (from `Propose.relies_on` on) were all accepted, and no other
  peer has written to the array meanwhile. They might have had another effect otherwise. If none had
  moved it, none has moved it at the host either.

Behind a pending write that has moved an element, nobody knows at which index it was before. So all
writes before it count that moved any element of its array.

A view that was to be rebuilt when the list was made is no version (`UNSURE`): pending writes were
not shown there, or in part. Nor is one in which a pending write has filled the array from elsewhere
in the object.

This is no conflict between two values but a name that has lost its meaning. So neither timestamps
nor guards nor the option ``conflict`` matter. Operators like ``{"$set": {"l.0": 1}}`` are not
concerned: as in MongoDB, their index is a position in the array that the host has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from ..document import (
    OTHER,
    Operation,
    PathWrite,
    move_one,
    move_some,
    named_elements,
    places_filled,
    update_pointer,
    without_indexes,
)
from ..errors import ConflictError
from .conflicts import ConflictIndex
from .entries import Propose
from .pending import PendingWrite, W
from .state import State

UNSURE = -1
"""In the place of a number: nobody can say which elements the writer has seen."""


def first_relied_on(
    view: Any,
    body: Any,
    pending: dict[int, W],
    is_whole: bool,
    bringing: Iterable[int] = (),
) -> int:
    """The lowest number of a pending write that moved what a new RFC 6902 list names; 0: none.

    `view` is what the writer sees. It has the effects of its pending writes, unless it is not whole
    because an interrupt or a snapshot has left it to be rebuilt. `bringing` has the numbers of the
    pending writes that bring values from one place to another (see `places_filled`).
    """
    if not isinstance(body, list):
        return 0
    if not is_whole:
        return UNSURE
    if not pending:
        return 0
    named = [each for _, elements in named_elements(view, body) for each in elements]
    if not named:
        return 0
    # After the newest one that moved them, the elements have their indexes of now.
    for write in reversed(pending.values()):
        if write.operations and move_one(write.operations, named, write.proposal.body):
            break
    else:
        return 0
    arrays = {without_indexes(each.array) for each in named}
    for number in bringing:
        # Another peer may have moved the elements before, where they came from.
        if number in pending and move_some(_fillings(pending[number]), arrays):
            return UNSURE
    return next(number for number, write in pending.items() if _moves_some(write, arrays))


def _fillings(write: PendingWrite) -> list[Operation]:
    return [{"op": "add", "path": path} for path in places_filled(write.proposal.body)]


def _moves_some(write: PendingWrite, arrays: Collection[str]) -> bool:
    """Whether a write moves some element here, or changes nothing here and may do so there."""
    proposal, operations = write.proposal, write.operations
    if not operations and proposal.kind == "patch":
        if isinstance(proposal.body, list):
            operations = proposal.body
        else:
            paths = [path for operand in proposal.body.values() for path in operand]
            operations = [{"op": "add", "path": f"{update_pointer(path)}/0"} for path in paths]
    return move_some(operations, arrays, proposal.body)


def check_indexes(state: State, index: ConflictIndex, peer: str, proposal: Propose) -> None:
    """Raise `ConflictError` if an RFC 6902 list names an element that may be another one now."""
    base = state.common(proposal.epoch, proposal.version)
    # The writer has seen entries that were lost with their host, or even another object.
    is_lost = base < proposal.version or not proposal.epoch
    relies_on = proposal.relies_on
    if base >= state.version and not relies_on and not is_lost:
        return
    is_accepted = not relies_on or _are_accepted(state, peer, relies_on, proposal.number)
    # A writer that relies on no own write has not seen its own later ones move anything either.
    seen_of = peer if relies_on else ""
    checked = None
    for pointer, elements in named_elements(state.document, proposal.body):
        if elements == checked:
            continue  # a draft tests and changes several fields of one element
        checked = elements
        reaches = {each.array: each.reach for each in elements}
        has_moved = is_lost or not is_accepted or index.find_moved(base, seen_of, reaches)
        for each in elements:
            if not has_moved and (relies_on or not each.certain):
                has_moved = _is_written(index, base, peer, each.array)
        if has_moved:
            raise ConflictError(
                f"the array at {elements[-1].array!r} has changed after version {base}, on which "
                f"this patch was made, so {pointer!r} may name another element now: read the "
                "array again and repeat the patch; an update with '$[name]' and array_filters "
                "names elements by their content",
                path=pointer,
                version=state.version,
            )


def _are_accepted(state: State, peer: str, first: int, number: int) -> bool:
    """Whether the peer's writes from `first` to before `number` have all made entries."""
    session = state.sessions.get(peer)
    if session is None:
        return False
    return all(session.outcomes.get(own, (0, None, False))[2] for own in range(first, number))


def _is_written(index: ConflictIndex, base: int, peer: str, array: str) -> bool:
    """Whether another peer has written to an array, above it or in it."""
    write = PathWrite(array, OTHER)
    return index.find(base, 0, peer, [write], strict=True, exists=lambda _: True) is not None
