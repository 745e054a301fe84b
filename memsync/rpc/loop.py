"""The event loop on which asynchronous methods run: one thread per peer, started at first need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from ..runtime.logs import Logger
from ..runtime.native import LIBRARY, Lock, Thread, get_ident
from ..runtime.wakeup import Wakeup

log = Logger("memsync.rpc")

END_SECONDS = 1.0  # for tasks that are cancelled at the end
PAUSE_SECONDS = 0.05  # after an exception, which may come again at once


class LoopThread:
    """An event loop on a thread of its own; it ends with `close`."""

    def __init__(self) -> None:
        self._lock = Lock()  # protects the start and the end
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._ident: int | None = None
        self._is_closed = False
        self._pause = Wakeup(Lock())  # never set
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps them weakly

    def call(self, action: Callable[..., Any], *args: Any) -> bool:
        """Call `action` on the loop's thread; returns False when the loop is closed."""
        loop = self._running()
        if loop is None:
            return False
        try:
            loop.call_soon_threadsafe(action, *args)
        except RuntimeError:  # closed meanwhile
            return False
        return True

    def create_task(
        self, coroutine: Coroutine[Any, Any, None], context: Context
    ) -> asyncio.Task[None]:
        """Start a task; called on the loop's thread."""
        task = asyncio.get_running_loop().create_task(coroutine, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is the loop's, so that waiting would stop all its tasks."""
        return self._ident == get_ident()

    def close(self, seconds: float) -> None:
        """Cancel the tasks, end the loop, and wait for the thread."""
        with self._lock:
            self._is_closed = True
            loop, thread = self._loop, self._thread
            self._loop = None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
        if thread is not None and not self.is_current:
            thread.join(seconds)

    def _running(self) -> asyncio.AbstractEventLoop | None:
        loop = self._loop
        if loop is not None:
            return loop
        with self._lock:
            if self._loop is None and not self._is_closed:
                loop, is_up = _new_loop(), Wakeup(Lock())
                thread = Thread(
                    target=self._run, args=(loop, is_up), name="memsync-rpc-loop", daemon=True
                )
                try:
                    thread.start()
                except BaseException:
                    loop.close()
                    raise
                is_up.wait(None)
                self._loop, self._thread = loop, thread
            return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop, is_up: Wakeup) -> None:
        self._ident = get_ident()
        is_up.set()
        while not self._is_closed:
            try:
                loop.run_forever()
            except BaseException:  # a task of the program has raised SystemExit, for example
                log.exception("the event loop of remote calls goes on after an exception")
                self._pause.wait(PAUSE_SECONDS)
        try:
            loop.run_until_complete(self._end())
        except BaseException:  # the thread ends in any case
            log.exception("the event loop of remote calls could not end its tasks")
        finally:
            loop.close()

    async def _end(self) -> None:
        tasks = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=END_SECONDS)
        await asyncio.get_running_loop().shutdown_asyncgens()


def _new_loop() -> asyncio.AbstractEventLoop:
    if LIBRARY != "gevent":
        return asyncio.new_event_loop()
    from gevent.monkey import get_original

    # The one of gevent waits in a hub, which this thread does not run.
    return asyncio.SelectorEventLoop(get_original("selectors", "DefaultSelector")())
