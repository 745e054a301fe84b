"""Which functions of the program memsync calls: those whose body runs when they are called."""

from __future__ import annotations

from functools import partial
from types import CoroutineType
from typing import Any

from ..errors import UsageError

_INSTEAD = (
    "write a plain function; it may call loop.call_soon_threadsafe() or "
    "asyncio.run_coroutine_threadsafe()"
)


def check_callback(what: str, function: Any) -> None:
    """Raise `UsageError` for what cannot be called, and for async and generator functions.

    A call of those makes an object and runs nothing.
    """
    from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction

    if not callable(function):
        raise UsageError(f"{what} must be callable, not {function!r:.60}")
    while isinstance(function, partial):
        function = function.func
    for code in (function, type(function).__call__):
        if iscoroutinefunction(code) or isasyncgenfunction(code):
            raise UsageError(
                f"{what} must not be async, since nobody awaits it, but is {function!r:.60}: "
                f"{_INSTEAD}"
            )
        if isgeneratorfunction(code):
            raise UsageError(
                f"{what} must not be a generator function, since nobody iterates over what it "
                f"returns, but is {function!r:.60}: have it contain no yield"
            )


def check_result(result: object) -> None:
    """Raise `UsageError` for a coroutine, which a function has returned instead of doing it."""
    if type(result) is CoroutineType:
        result.close()
        raise UsageError(
            f"the function returned a coroutine, which nobody awaits ({result!r:.60}): {_INSTEAD}"
        )
