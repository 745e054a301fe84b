"""Asynchronous methods: a task on the event loop for each call.

Everything here runs on the loop's thread, apart from `cancel` and `credit`, which pass on to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from .run import Run
from .stream_window import StreamWindow


class _CallTask:
    """The task of one call."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._loop = run.service.loop
        self._is_cancelled = False
        self._timer: asyncio.TimerHandle | None = None
        left = run.current.remaining()
        if left is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(left, run.cancel, "its time is over")
        self._task = self._loop.create_task(self._main(), run.context)
        self._task.add_done_callback(self._ended)

    async def _main(self) -> None:
        raise NotImplementedError

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        error = None if task.cancelled() else task.exception()
        if error is not None:  # a bug of memsync, or no memory
            self._run.fail(error)
        self._run.drop()

    def cancel(self) -> None:
        """See `run.Work`."""
        self._loop.call(self._cancel)

    def _cancel(self) -> None:
        if not self._is_cancelled:  # a second time would interrupt its cleaning up
            self._is_cancelled = True
            self._task.cancel()

    def _fail(self, error: BaseException) -> None:
        # Not `isinstance`, which asks the exception.
        is_cancel = issubclass(type(error), asyncio.CancelledError)
        if is_cancel and self._run.current.cancelled:
            self._run.drop()
        else:
            self._run.fail(error)


class ValueTask(_CallTask):
    """An ``async def`` method."""

    def __init__(self, run: Run, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        super().__init__(run)

    async def _main(self) -> None:
        try:
            value = await self._coroutine
        except BaseException as error:  # it belongs to the caller
            self._fail(error)
        else:
            self._run.answer(value)

    def _ended(self, task: asyncio.Task[None]) -> None:
        super()._ended(task)
        self._coroutine.close()  # a task that was cancelled before it began has not awaited it

    def credit(self, consumed: int) -> None:
        """A value has no items."""


class StreamTask(_CallTask):
    """An asynchronous generator method."""

    def __init__(self, run: Run, generator: AsyncGenerator[Any, Any]) -> None:
        self._generator = generator
        self._window = StreamWindow()
        self._room: asyncio.Future[None] | None = None  # what a full window waits for
        super().__init__(run)

    async def _main(self) -> None:
        try:
            while True:
                await self._wait_for_room()
                size = self._run.item(await anext(self._generator))
                if size is None:
                    break
                self._window.sent(size)
        except StopAsyncIteration:
            self._run.end()
        except BaseException as error:  # it belongs to the caller
            self._fail(error)
        self._is_cancelled = True  # what comes now would interrupt its cleaning up
        try:
            await self._generator.aclose()
        except BaseException as error:  # nobody waits for it
            self._run.log_unheard(error)

    async def _wait_for_room(self) -> None:
        while self._window.is_full:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def credit(self, consumed: int) -> None:
        """See `run.Work`."""
        self._loop.call(self._note, consumed)

    def _note(self, consumed: int) -> None:
        self._window.consumed(consumed)
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
