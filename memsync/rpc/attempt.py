"""Work that a thread of memsync does for others, which wait for its end.

An exception out of a signal handler (Ctrl-C) ends the wait of a thread of the program, but not the
work: in the middle of it, it could leave a socket open.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..clocks import monotonic
from ..errors import MemSyncError
from ..manager.platform.threads import launch_thread
from ..runtime.logs import Logger
from ..runtime.own_threads import OwnThread
from ..runtime.wakeup import Wakeup

log = Logger("memsync.rpc")


class Attempt:
    """One piece of work, with a deadline (monotonic seconds); any thread may wait for it."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.error: Exception | None = None
        self.is_over = False
        self._is_begun = False
        self._on_end: Callable[[Attempt], None] = lambda attempt: None
        self._waiting: list[Wakeup] = []  # changed by single steps in C

    def start(
        self, name: str, work: Callable[[Attempt], None], on_end: Callable[[Attempt], None]
    ) -> None:
        """Do `work` on a new thread; its exception becomes `error`. Then call `on_end`, always.

        Raises `RendezvousError` where the system has no thread left.
        """
        self._on_end = on_end
        try:
            launch_thread(OwnThread(self._run, name, (work,)), partial(self._not_begun, name))
        except BaseException:
            if not self._is_begun:
                self._end()
            raise

    def wait(self, deadline: float) -> bool:
        """Wait for its end; returns False at the deadline (monotonic seconds)."""
        wakeup = Wakeup()
        self._waiting.append(wakeup)
        while not self.is_over:
            if not wakeup.wait(deadline - monotonic()) and monotonic() >= deadline:
                return False
        return True

    def error_to_raise(self) -> Exception | None:
        """A copy of the error, because several threads may raise it."""
        error = self.error
        if isinstance(error, MemSyncError):
            return type(error)(str(error), **error.fields)
        return error

    def _run(self, work: Callable[[Attempt], None]) -> None:
        self._is_begun = True
        try:
            work(self)
        except Exception as error:
            self.error = error
        finally:
            self._end()

    def _not_begun(self, name: str, error: BaseException) -> None:
        log.error("the thread %s cannot be started: %s", name, error)
        self._end()

    def _end(self) -> None:
        self._on_end(self)
        self.is_over = True
        for wakeup in list(self._waiting):
            wakeup.set()
