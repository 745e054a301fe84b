"""A stream at the callee: a generator method, of which the caller wants the items one by one.

Few items are under way (`stream_window`). When as many wait at the caller, the generator is
suspended at its ``yield`` and uses no thread. The next item that the caller consumes has it go on,
perhaps on another thread of the pool.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ..runtime.native import Lock
from .pool import Task
from .run import Run
from .stream_window import StreamWindow
from .timers import Timer


class GeneratorWork:
    """Runs a generator; see `run.Work`."""

    def __init__(self, run: Run, generator: Generator[Any, Any, Any]) -> None:
        self._run = run
        self._generator = generator
        self._lock = Lock()  # protects what follows; held for a few steps
        self._window = StreamWindow()
        self._is_suspended = False  # at a `yield`, without a thread
        self._timer: Timer | None = None
        if run.current.deadline is not None:
            self._timer = run.service.timers.at(run.current.deadline, self._expire)

    def advance(self) -> None:
        """Send items until the window is full or the stream ends; on a thread of the pool."""
        size: int | None = None  # of the item that was sent last
        while not self._run.current.cancelled:
            with self._lock:
                if size is not None:
                    self._window.sent(size)
                if self._window.is_full:
                    self._is_suspended = not self._run.current.cancelled
                    if self._is_suspended:
                        return
                    break
            try:
                value = self._run.context.run(next, self._generator)
            except StopIteration:
                self._run.end()
                break
            except BaseException as error:  # it belongs to the caller
                self._run.fail(error)
                break
            size = self._run.item(value)
            if size is None:
                break
        self._close()

    def credit(self, consumed: int) -> None:
        """See `run.Work`."""
        with self._lock:
            self._window.consumed(consumed)
            is_due = self._is_suspended and not self._window.is_full
            if is_due:
                self._is_suspended = False
        if is_due:
            self._run.service.pool.submit(Task(self.advance, self._run.depth))

    def cancel(self) -> None:
        """See `run.Work`; a generator that runs notices it at its next ``yield``."""
        with self._lock:
            is_due, self._is_suspended = self._is_suspended, False
        if is_due:
            self._run.service.pool.submit(Task(self._close, self._run.depth), is_urgent=True)

    def _expire(self) -> None:
        self._run.cancel("its time is over")

    def _close(self) -> None:
        """Raise `GeneratorExit` at the ``yield``; without effect when the generator has ended."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            self._run.context.run(self._generator.close)
        except BaseException as error:  # nobody waits for it
            self._run.log_unheard(error)
        self._run.drop()
