"""The future that `MemSync.submit` returns."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ..errors import MemSyncError, WriteTimeoutError
from .dispatcher import Dispatcher
from .native import LIBRARY, Condition
from .own_threads import refuse_waiting


class WriteFuture(Future[int]):
    """A future that cannot be cancelled and runs its callbacks on the dispatcher thread."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        if LIBRARY:
            self._condition = Condition()  # a thread sets the result, greenlets wait for it
        self._dispatcher = dispatcher
        self._pid = os.getpid()
        self.set_running_or_notify_cancel()

    def add_done_callback(self, fn: Callable[[Future[int]], Any]) -> None:
        """Call `fn` with the future once it is done, on the dispatcher thread."""
        super().add_done_callback(lambda future: self._dispatcher.call_surely(fn, future))

    def result(self, timeout: float | None = None) -> int:
        """The version; waits for it, at most `timeout` seconds."""
        self._check_process()
        self._check_thread()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The error or None; waits for the outcome, at most `timeout` seconds."""
        self._check_process()
        self._check_thread()
        return super().exception(timeout)

    def _check_process(self) -> None:
        if self._pid != os.getpid() and not self.done():
            raise WriteTimeoutError(
                "this future was created before a fork: only the parent process learns the outcome "
                "of its write"
            )

    def _check_thread(self) -> None:
        if not self.done():
            refuse_waiting("waiting for a write's outcome")


def finish(future: Future[int], version: int, error: MemSyncError | None) -> None:
    """Set the outcome. A call that an exception ended early is completed by the next one."""
    try:
        if future.done():
            _tell_again(future)
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(version)
    except BaseException:  # for example KeyboardInterrupt, where a `with` begins
        condition: Any = future._condition
        while condition._is_owned():
            condition.release()
        raise


def _tell_again(future: Any) -> None:
    """Wake those that wait, and make the calls, once more: some may not know the outcome."""
    with future._condition:
        for waiter in future._waiters:
            if future not in waiter.finished_futures:
                waiter.add_result(future)
        future._condition.notify_all()
    future._invoke_callbacks()
