"""`MemSync.wait_for` and `changes`: threads that wait for a state of the object.

Both use the view of this peer, so an own write is visible to them as soon as it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

from ..clocks import monotonic
from ..document import check_filter, filter_read_set, identical, matches, pointer_of, to_plain
from ..errors import NotStartedError, UsageError, WaitTimeoutError
from ..options import check_path
from ..replication.compile_proposal import value_at
from .own_threads import refuse_waiting
from .participant import Participant
from .view_waiters import User


def wait_for(
    participant: Participant,
    condition: Mapping[str, Any] | Callable[[Any], Any],
    seconds: float,
    user: User | None = None,
) -> Any:
    """The first snapshot that satisfies a filter or a function; see `MemSync.wait_for`."""
    deadline = monotonic() + seconds
    if callable(condition):
        check, places = _function_check(participant, condition), [""]
    elif isinstance(condition, dict):
        filter = check_filter(condition)
        check, places = _filter_check(participant, filter), [*filter_read_set(filter)] or [""]
    else:
        raise UsageError(
            f"wait_for() needs a filter like {{'status': 'done'}} or a function, not "
            f"{condition!r:.60}"
        )
    waiters = participant.view_waiters
    waiter = waiters.add(places, user)
    try:
        while True:
            snapshot = check()
            if snapshot is not None:
                return snapshot
            if waiters.wait(waiter, deadline):
                continue
            if waiters.has_ended(waiter):
                raise NotStartedError("this peer stopped during wait_for(): call start() again")
            raise WaitTimeoutError(
                f"{participant.name!r} did not satisfy {condition!r:.200} within {seconds:g} s"
            )
    finally:
        waiters.close(waiter)


def _filter_check(participant: Participant, filter: dict[str, Any]) -> Callable[[], Any]:
    def check(view: Any) -> Any:
        return to_plain(view) if matches(view, filter) else None

    return partial(participant.read, check)


def _function_check(participant: Participant, condition: Callable[[Any], Any]) -> Callable[[], Any]:
    def check() -> Any:
        # The user's function runs without a lock, so the snapshot is tested again.
        if not condition(participant.replica.view):
            return None
        snapshot = participant.read(to_plain)
        return snapshot if condition(snapshot) else None

    return check


class Joined(Protocol):
    """A handle."""

    _use: Any  # the `User` that it is

    def _participating(self) -> Participant:
        """The participant of its running engine."""


class Changes(Iterator[tuple[Any, int]]):
    """The iterator that `MemSync.changes` returns; not to be shared by several threads."""

    def __init__(self, participant: Participant, path: str, handle: Joined) -> None:
        self._handle = handle  # a copy by pickle must not be gone before the iterator
        self._path = path
        self._pointer = pointer_of(check_path(path) if path != "" else ())
        self._follow(participant)
        self._must_read = False  # an exception came before the last change was read
        self._last = participant.value(path)

    def _follow(self, participant: Participant) -> None:
        self._participant = participant
        self._waiter = participant.view_waiters.add([self._pointer], self._handle._use)

    def __next__(self) -> tuple[Any, int]:
        refuse_waiting("iterating over changes()")
        if self._participant.is_of_parent and not self._waiter.closed:
            self._follow(self._handle._participating())  # in a forked child, which joins
            self._must_read = True
        waiters = self._participant.view_waiters
        while self._must_read or waiters.wait(self._waiter, None):
            self._must_read = True
            value, version = self._participant.read(self._look)
            is_new = not identical(value, self._last)
            self._last, self._must_read = value, False
            if is_new:
                return to_plain(value), version
        self.close()
        raise StopIteration

    def _look(self, view: Any) -> tuple[Any, int]:
        return value_at(view, self._path), self._participant.replica.view_pair[1]

    def close(self) -> None:
        """End the iteration and wake a thread that waits in it; may be called twice."""
        self._participant.view_waiters.close(self._waiter)

    def __enter__(self) -> Changes:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
