"""Wait for a condition with a deadline, instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from ..clocks import monotonic

TValue = TypeVar("TValue")

PATIENCE = 20.0  # seconds until a wait fails the test
_POLL = 0.003  # seconds between two calls of a condition


def until(
    condition: Callable[[], TValue],
    timeout: float = PATIENCE,
    message: Callable[[], str] | str = "the condition stayed false",
) -> TValue:
    """Call a condition every few milliseconds; returns its first true value.

    Raises `AssertionError` with `message` after `timeout` seconds, and what the condition raises.
    The last call begins after them, so a process that was suspended meanwhile looks once more.

    >>> answers = iter([0, 0, 7])
    >>> until(lambda: next(answers), timeout=5)
    7
    """
    deadline = monotonic() + timeout
    while True:
        is_late = monotonic() > deadline
        value = condition()
        if value:
            return value
        if is_late:
            text = message() if callable(message) else message
            raise AssertionError(f"after {timeout:g} s: {text}")
        time.sleep(_POLL)
