"""`MemSync.wait_for` and `changes`: threads that wait until the object is as they want it.

Both look at what the peer shows, so an own write counts as soon as it was made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .document import check_filter, filtered_by, identical, matches, pointer_of, to_plain
from .errors import NotStartedError, UsageError, WaitTimeoutError
from .manager.node import Node
from .options import check_path
from .replication.compiling import value_at


def wait_for(
    node: Node, condition: Mapping[str, Any] | Callable[[Any], Any], seconds: float
) -> Any:
    """The first snapshot that satisfies a filter or a function; see `MemSync.wait_for`."""
    deadline = time.monotonic() + seconds
    if callable(condition):
        look, places = _asking(node, condition), [""]
    elif isinstance(condition, dict):
        filter = check_filter(condition)
        look, places = _matching(node, filter), [*filtered_by(filter)] or [""]
    else:
        raise UsageError(
            f"wait_for() needs a filter like {{'status': 'done'}} or a function, not "
            f"{condition!r:.60}"
        )
    watch = node.watching.add(places)
    try:
        while True:
            found = look()
            if found is not None:
                return found
            with node.guard:
                if node.watching.wait(watch, deadline):
                    continue
            if node.watching.ended:
                raise NotStartedError("this peer has stopped while it waited: call start() again")
            raise WaitTimeoutError(
                f"within {seconds:g} s {node.name!r} did not come to satisfy {condition!r:.200}"
            )
    finally:
        node.watching.close(watch)


def _matching(node: Node, filter: dict[str, Any]) -> Callable[[], Any]:
    def look() -> Any:
        with node.guard:
            live = node.replica.live
            return to_plain(live) if matches(live, filter) else None

    return look


def _asking(node: Node, condition: Callable[[Any], Any]) -> Callable[[], Any]:
    def look() -> Any:
        # No lock is held while the user's function runs, so what it likes is looked at again.
        if not condition(node.replica.live):
            return None
        with node.guard:
            snapshot = to_plain(node.replica.live)
        return snapshot if condition(snapshot) else None

    return look


class Changes(Iterator[tuple[Any, int]]):
    """What `MemSync.changes` returns; several threads must not share one."""

    def __init__(self, node: Node, path: str) -> None:
        parts = check_path(path) if path != "" else ()
        self._node = node
        self._path = path
        self._watch = node.watching.add([pointer_of(parts)])
        with node.guard:
            self._last = value_at(node.replica.live, path)

    def __next__(self) -> tuple[Any, int]:
        node = self._node
        with node.guard:
            while node.watching.wait(self._watch, None):
                value = value_at(node.replica.live, self._path)
                if not identical(value, self._last):
                    self._last = value
                    return to_plain(value), node.replica.shown[1]
        self.close()
        raise StopIteration

    def close(self) -> None:
        """End the iteration; a thread that waits in it returns. May be called twice."""
        self._node.watching.close(self._watch)

    def __enter__(self) -> Changes:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
