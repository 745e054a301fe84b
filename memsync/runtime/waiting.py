"""`MemSync.wait_for`: threads that wait for a state of the object.

They use the view of this peer, so an own write is visible to them as soon as it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..clocks import monotonic
from ..document import check_filter, filter_read_set, matches, to_plain
from ..errors import NotStartedError, UsageError, WaitTimeoutError
from .callbacks import check_callback, check_result
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
        check_callback("the condition of wait_for()", condition)
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
        result = condition(participant.replica.view)
        check_result(result)  # it would count as true
        if not result:
            return None
        snapshot = participant.read(to_plain)
        return snapshot if condition(snapshot) else None

    return check
