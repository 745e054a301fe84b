"""Indexes in RFC 6902 lists: a list is refused where they may name another element by now.

The writer saw a version and, on top of it, its own pending writes. An index that it names is the
same element at the host if

* no entry of another peer after that version has moved it or replaced its array, and
* the own pending writes that moved it (from `Propose.relies_on` on) were all accepted, and no other
  peer has written to the array meanwhile. They might have had another effect otherwise.

This is no conflict between two values but a name that has lost its meaning. So neither timestamps
nor guards nor the option ``conflict`` matter. Operators like ``{"$set": {"l.0": 1}}`` are not
concerned: as in MongoDB, their index is a position in the array that the host has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..document import OTHER, PathWrite, move_one, named_elements
from ..errors import ConflictError
from .conflicts import ConflictIndex
from .entries import Propose
from .pending import PendingWrite
from .state import State


def first_relied_on(view: Any, body: Any, pending: Mapping[int, PendingWrite]) -> int:
    """The lowest number of a pending write that moved what a new RFC 6902 list names; 0: none.

    `view` is what the writer sees, its pending writes included.
    """
    if not pending or not isinstance(body, list):
        return 0
    named = [each for _, elements in named_elements(view, body) for each in elements]
    if not named:
        return 0
    moving = (number for number, write in pending.items() if move_one(write.operations, named))
    return next(moving, 0)


def check_indexes(state: State, index: ConflictIndex, peer: str, proposal: Propose) -> None:
    """Raise `ConflictError` if an RFC 6902 list names an element that may be another one now."""
    base = state.common(proposal.epoch, proposal.version)
    # The writer has seen entries that were lost with their host, or even another object.
    is_lost = base < proposal.version or not proposal.epoch
    relies_on = proposal.relies_on
    if base >= state.version and not relies_on and not is_lost:
        return
    is_accepted = not relies_on or _are_accepted(state, peer, relies_on, proposal.number)
    checked = None
    for pointer, elements in named_elements(state.document, proposal.body):
        if elements == checked:
            continue  # a draft tests and changes several fields of one element
        checked = elements
        reaches = {each.array: each.reach for each in elements}
        has_moved = is_lost or not is_accepted or index.find_moved(base, peer, reaches)
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
