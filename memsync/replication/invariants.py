"""What is true of every replica between two steps of its thread; the simulation asserts it."""

from __future__ import annotations

from typing import Any

from ..document import (
    CopyOnWrite,
    ReadOnlyDict,
    ReadOnlyList,
    foreign_places,
    identical,
    to_plain,
)
from .replica import Replica


def check_invariants(replica: Replica[Any]) -> None:
    """Raise `AssertionError` unless log, state and view belong together.

    A torn copy promises nothing. What has arrived since the last `publish` is not in the view yet.
    """
    state = replica.state
    if state.torn:
        return
    assert replica.log.version == state.version, f"log {replica.log.version}, state {state.version}"
    if replica._arrived or replica.must_rebuild or replica._before is not None:
        return
    assert replica.view_pair == state.pair, f"view {replica.view_pair}, state {state.pair}"
    _check_sharing(state.document, replica.view)
    assert not foreign_places(replica.view), "a size of the view is not noted"
    expected = CopyOnWrite(to_plain(state.document))
    for number, write in replica.writes.pending.items():
        if number > replica._last_decided:
            expected.replay(replica._compiled(expected.root, write.proposal))
    assert identical(to_plain(replica.view), to_plain(expected.root)), (
        f"the view at {state.pair} is not the confirmed document with the pending writes on top"
    )


def _check_sharing(confirmed: Any, shown: Any) -> None:
    """Assert that no change of the view alone can reach the confirmed document.

    A live container of the view is held at its own place only, or in the same array.
    """
    if confirmed is shown or type(confirmed) in (ReadOnlyDict, ReadOnlyList):
        return  # the same, or one that has left the view
    if isinstance(confirmed, dict) and isinstance(shown, dict):
        theirs = {id(value) for value in dict.values(shown) if _is_live(value)}
        for name, value in confirmed.items():
            assert id(value) not in theirs or value is dict.get(shown, name), f"{name!r} is shared"
            _check_sharing(value, dict.get(shown, name))


def _is_live(value: Any) -> bool:
    return type(value) in (ReadOnlyDict, ReadOnlyList)
