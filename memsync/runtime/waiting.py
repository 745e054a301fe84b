"""`MemSync.wait_for` and `changes`: threads that wait until the object is as they want it.

Both look at what the peer shows, so an own write counts as soon as it was made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..document import check_filter, filter_read_set, identical, matches, pointer_of, to_plain
from ..errors import NotStartedError, UsageError, WaitTimeoutError
from ..options import check_path
from ..replication.compile_proposal import value_at
from .participant import Participant


def wait_for(
    participant: Participant, condition: Mapping[str, Any] | Callable[[Any], Any], seconds: float
) -> Any:
    """The first snapshot that satisfies a filter or a function; see `MemSync.wait_for`."""
    deadline = time.monotonic() + seconds
    if callable(condition):
        look, places = _asking(participant, condition), [""]
    elif isinstance(condition, dict):
        filter = check_filter(condition)
        look, places = _matching(participant, filter), [*filter_read_set(filter)] or [""]
    else:
        raise UsageError(
            f"wait_for() needs a filter like {{'status': 'done'}} or a function, not "
            f"{condition!r:.60}"
        )
    watch = participant.watches.add(places)
    try:
        while True:
            found = look()
            if found is not None:
                return found
            with participant.guard:
                if participant.watches.wait(watch, deadline):
                    continue
            if participant.watches.ended:
                raise NotStartedError("this peer has stopped while it waited: call start() again")
            raise WaitTimeoutError(
                f"within {seconds:g} s {participant.name!r} did not come to satisfy "
                f"{condition!r:.200}"
            )
    finally:
        participant.watches.close(watch)


def _matching(participant: Participant, filter: dict[str, Any]) -> Callable[[], Any]:
    def look() -> Any:
        with participant.guard:
            live = participant.replica.view
            return to_plain(live) if matches(live, filter) else None

    return look


def _asking(participant: Participant, condition: Callable[[Any], Any]) -> Callable[[], Any]:
    def look() -> Any:
        # No lock is held while the user's function runs, so what it likes is looked at again.
        if not condition(participant.replica.view):
            return None
        with participant.guard:
            snapshot = to_plain(participant.replica.view)
        return snapshot if condition(snapshot) else None

    return look


class Changes(Iterator[tuple[Any, int]]):
    """What `MemSync.changes` returns; several threads must not share one."""

    def __init__(self, participant: Participant, path: str) -> None:
        parts = check_path(path) if path != "" else ()
        self._participant = participant
        self._path = path
        self._watch = participant.watches.add([pointer_of(parts)])
        with participant.guard:
            self._last = value_at(participant.replica.view, path)

    def __next__(self) -> tuple[Any, int]:
        participant = self._participant
        with participant.guard:
            while participant.watches.wait(self._watch, None):
                value = value_at(participant.replica.view, self._path)
                if not identical(value, self._last):
                    self._last = value
                    return to_plain(value), participant.replica.view_pair[1]
        self.close()
        raise StopIteration

    def close(self) -> None:
        """End the iteration; a thread that waits in it returns. May be called twice."""
        self._participant.watches.close(self._watch)

    def __enter__(self) -> Changes:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
