"""Work that the event loop must not wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ..runtime.own_threads import OwnThread
from .served import wake

T = TypeVar("T")


async def in_thread(function: Callable[[], T], name: str) -> T:
    """What a function returns or raises, which runs on a thread of its own."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # it is there without an error

    def run() -> None:
        try:
            result = function()
        except Exception as error:
            wake(loop, partial(settle, None, error))
        else:
            wake(loop, partial(settle, result, None))

    OwnThread(run, name).start()
    return await done
