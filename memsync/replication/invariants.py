"""What is true of every replica between two steps of its thread; the simulation asserts it."""

from __future__ import annotations

from typing import Any

from ..document import CopyOnWrite, identical, to_plain
from .replica import Replica


def check_invariants(replica: Replica[Any]) -> None:
    """Raise `AssertionError` unless log, state and view belong together.

    A torn copy promises nothing. What has arrived since the last `publish` is not in the view yet.
    """
    state = replica.state
    if state.torn:
        return
    assert replica.log.version == state.version, f"log {replica.log.version}, state {state.version}"
    if replica._arrived or replica._must_rebuild:
        return
    assert replica.view_pair == state.pair, f"view {replica.view_pair}, state {state.pair}"
    expected = CopyOnWrite(state.document)
    for number, write in replica.writes.pending.items():
        if number > replica._last_decided:
            expected.replay(replica._compiled(expected.root, write.proposal))
    assert identical(to_plain(replica.view), to_plain(expected.root)), (
        f"the view at {state.pair} is not the confirmed document with the pending writes on top"
    )
