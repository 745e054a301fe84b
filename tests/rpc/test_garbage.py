"""What a call has held is free when it has ended, without a run of the garbage collector.

A process with a large object runs full collections rarely (`memsync/runtime/large_object.py`). An
exception waits for it: its frames, made by tblib, know the frames that made them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from memsync.rpc.caller import Caller
from memsync.rpc.context import current
from memsync.testing import until

from .links import calling

ALIVE: weakref.WeakSet[Held] = weakref.WeakSet()


class Held:
    """Counts its instances, copies by pickle included."""

    def __init__(self) -> None:
        ALIVE.add(self)

    def __setstate__(self, state: Any) -> None:
        ALIVE.add(self)

    def __getstate__(self) -> Any:
        return {"a": 1}


def plain(held: Held) -> Held:
    current().progress(1, 1)
    return held


def failing(held: Held) -> None:
    raise ValueError(held)


async def later(held: Held) -> Held:
    await asyncio.sleep(0)
    return held


async def failing_later(held: Held) -> None:
    raise ValueError(held)


def items(held: Held) -> Iterator[Held]:
    for _ in range(40):
        yield held


async def later_items(held: Held) -> AsyncIterator[Held]:
    for _ in range(40):
        yield held


def call(caller: Caller, name: str) -> None:
    caller.call(name, (Held(),))


def submit(caller: Caller, name: str) -> None:
    caller.start(name, (Held(),)).result(5)


def read(caller: Caller, name: str) -> None:
    assert len(list(caller.call(name, (Held(),)))) == 40


def leave(caller: Caller, name: str) -> None:
    next(caller.call(name, (Held(),)))


def leave_suspended(caller: Caller, name: str) -> None:
    stream = caller.call(name, (Held(),))
    until(lambda: len(stream._buffer.items) == 16)


VALUES = [plain, later]
FAILING = [failing, failing_later]
STREAMS = [items, later_items]
USES = [
    *[(use, method) for use in (call, submit) for method in VALUES + FAILING],
    *[(use, method) for use in (read, leave, leave_suspended) for method in STREAMS],
]


@pytest.mark.parametrize(("use", "method"), USES, ids=lambda each: each.__name__)
def test_nothing_is_kept(use: Callable[[Caller, str], None], method: Callable[..., Any]) -> None:
    with calling({"method": method}) as caller:
        with contextlib.suppress(ValueError):
            use(caller, "method")  # starts what is started once
        gc.collect()
        gc.disable()
        try:
            with contextlib.suppress(ValueError):
                use(caller, "method")
            if method in FAILING:
                until(lambda: gc.collect() >= 0 and not ALIVE)  # its thread may not have ended
            until(lambda: not ALIVE)
        finally:
            gc.enable()
            ALIVE.clear()
