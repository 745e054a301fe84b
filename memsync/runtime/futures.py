"""The future that `MemSync.submit` returns."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ..errors import WriteTimeoutError
from .dispatcher import Dispatcher


class WriteFuture(Future[int]):
    """A future that cannot be cancelled and runs its callbacks on the dispatcher thread."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher
        self._pid = os.getpid()
        self.set_running_or_notify_cancel()

    def add_done_callback(self, fn: Callable[[Future[int]], Any]) -> None:
        """Call `fn` with the future once it is done, on the dispatcher thread."""
        super().add_done_callback(lambda future: self._dispatcher.call_surely(fn, future))

    def result(self, timeout: float | None = None) -> int:
        """The version; waits for it, at most `timeout` seconds."""
        self._check_process()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The error or None; waits for the outcome, at most `timeout` seconds."""
        self._check_process()
        return super().exception(timeout)

    def _check_process(self) -> None:
        if self._pid != os.getpid() and not self.done():
            raise WriteTimeoutError(
                "this future was created before a fork: only the parent process learns the outcome "
                "of its write"
            )
