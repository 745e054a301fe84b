"""Waiting for a condition with a deadline: what a test does instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

TValue = TypeVar("TValue")

PATIENCE = 20.0  # seconds a test waits for anything before it fails
_POLL = 0.003  # seconds between two looks at a condition


def until(
    condition: Callable[[], TValue],
    timeout: float = PATIENCE,
    message: Callable[[], str] | str = "the condition did not come true",
) -> TValue:
    """The first true value of a condition; it is looked at every few milliseconds.

    Raises `AssertionError` with `message` when there is none within `timeout` seconds. What the
    condition raises goes through.

    >>> answers = iter([0, 0, 7])
    >>> until(lambda: next(answers), timeout=5)
    7
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            text = message() if callable(message) else message
            raise AssertionError(f"after {timeout:g} s: {text}")
        time.sleep(_POLL)
