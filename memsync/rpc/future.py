"""A call at the caller: the future that `mem.rpc.submit` returns, and that `mem.call` waits for.

The thread that reads the link only keeps the answer. Who asks for the result decodes it, because
that runs code of the program.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any

from ..clocks import monotonic
from ..errors import RpcError, UsageError
from ..lasting import lasting
from ..runtime.futures import OutcomeFuture
from .context import CurrentCall
from .messages import Call, End, Failure, Progress, Result
from .outcomes import Behind, Cancelled, Description, Ending, Expired, Forked, Lost, Raised
from .stream import Stream
from .timers import Timer

Repeat = Callable[["CallFuture", Ending], bool]
"""Has a call go on at another peer, if it may; returns whether its ending does not count."""


def _ignore(ending: Ending) -> None:
    """The end of a call that has ended."""


@lasting
class CallFuture(OutcomeFuture[Any]):
    """The answer to one call; `cancel` cancels it at the callee.

    The result is the value that the method returns, or a `Stream` if it is a generator.
    """

    def __init__(
        self,
        description: Description,
        call_surely: Callable[..., None],
        repeat: Repeat | None = None,
    ) -> None:
        super().__init__(call_surely)
        self.description = description
        self.deadline = monotonic() + description.seconds
        self.timer: Timer | None = None  # where perhaps no thread waits for the answer
        self.parent: CurrentCall | None = None  # the call whose method has made this one
        self.is_stated = True  # its time bounds a stream, too
        self.answer: Result | Failure | None = None  # that waits for the version it has seen
        self.end: Callable[[Ending], None] = self.settle  # at the callee as well, once it has it
        self.message: Call | None = None  # to be sent again
        self.repeat = repeat  # while the callee may turn out not to run it
        self._outcomes: list[Result | End | Stream | Ending] = []  # the first one counts
        self._decoded: list[tuple[Any, BaseException | None]] = []  # the first one counts
        self._progress: Progress | None = None
        self._progress_callbacks: list[Callable[[float, float | None, str], Any]] = []

    def __repr__(self) -> str:
        state = "under way"
        if self._is_done:
            ending = self._outcomes[0]
            state = "cancelled" if isinstance(ending, Cancelled) else "done"
        return f"<CallFuture of {self.description.method!r}, {state}>"

    # -- for the program --------------------------------------------------------------------------

    def result(self, timeout: float | None = None) -> Any:
        """What the method returns; waits for it, at most `timeout` seconds.

        Raises what the method raises; `RpcError` where that cannot be rebuilt here;
        `RpcTimeoutError`, `PeerLostError`, `NoSuchMethodError`; `concurrent.futures.CancelledError`
        if the call was cancelled; `TimeoutError` after `timeout`, and the call goes on.
        """
        self._wait(timeout)
        value, error = self._outcome()
        if error is not None:
            try:
                raise error
            finally:
                del self, error  # which the traceback would keep
        return value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What `result` raises, or None; waits for it, at most `timeout` seconds."""
        self._wait(timeout)
        _, error = self._outcome()
        if isinstance(error, CancelledError) and self.cancelled():
            raise error
        return error

    def done(self) -> bool:
        """Whether the call has ended; in a forked child, the parent's calls have."""
        self._look_for_fork()
        return self._is_done

    def add_done_callback(self, fn: Callable[[Future[Any]], Any]) -> None:
        """Call `fn` with the future once it is done, on the dispatcher thread."""
        self._look_for_fork()
        super().add_done_callback(fn)

    def cancel(self) -> bool:
        """Cancel the call at the callee; returns False if it had ended before.

        The method sees it at its next `await`, ``yield`` or ``rpc.current().check()``.
        """
        self._look_for_fork()
        self.end(Cancelled("by cancel()"))
        return self.cancelled()

    def cancelled(self) -> bool:
        """Whether the call was cancelled."""
        return self._is_done and isinstance(self._outcomes[0], Cancelled)

    @property
    def progress(self) -> tuple[float, float | None, str] | None:
        """The last ``(done, total, note)`` that the method has reported, or None."""
        last = self._progress
        return None if last is None else (last.done, last.total, last.note)

    def on_progress(self, callback: Callable[[float, float | None, str], Any]) -> None:
        """Call ``callback(done, total, note)`` for each later report, on the dispatcher thread."""
        if not callable(callback):
            raise UsageError(f"on_progress() needs a function, not {callback!r:.60}")
        self._progress_callbacks.append(callback)

    # -- waiting ----------------------------------------------------------------------------------

    def check_wait(self) -> None:
        """Raise if waiting would not end."""
        self.description.check_wait()

    def _look_for_fork(self) -> None:
        """In a forked child no answer comes; the callbacks from before the fork are the parent's.

        Not at the fork itself, where it would cost the child something for each call.
        """
        if not self._is_done and self._pid != os.getpid():
            self._pid = os.getpid()
            self._callbacks, self._listeners = [], []
            self.settle(Forked())

    def _wait(self, timeout: float | None) -> None:
        self._look_for_fork()
        if self._is_done:
            return
        self.check_wait()
        left = max(self.deadline - monotonic(), 0)
        try:
            super()._wait(left if timeout is None else min(timeout, left))
        except TimeoutError:
            if monotonic() < self.deadline:
                raise
            self.end(Expired())

    def _outcome(self) -> tuple[Any, BaseException | None]:
        if not self._decoded:
            self._decoded.append(self._decode(self._outcomes[0]))
        return self._decoded[0]

    def _decode(self, outcome: Result | End | Stream | Ending) -> tuple[Any, BaseException | None]:
        if isinstance(outcome, Stream):
            return outcome, None
        if isinstance(outcome, End):
            return None, None
        if not isinstance(outcome, Result):
            return None, self.description.error(outcome)
        try:
            return self.description.value(outcome.payload, "its result"), None
        except RpcError as error:
            return None, error

    # -- on the I/O thread, and wherever a call ends -----------------------------------------------

    def settle(self, outcome: Result | End | Stream | Ending) -> None:
        """The call has ended; only the first outcome counts. Never blocks."""
        if self.answer is not None and isinstance(outcome, Expired):
            outcome = self.answer if isinstance(self.answer, Failure) else Behind()
        if self.repeat is not None:
            repeat, self.repeat = self.repeat, None
            if isinstance(outcome, (Lost, Failure)) and not self._is_done:
                self.end = self.settle
                if repeat(self, outcome):
                    return
            self.message = None
        self._outcomes.append(outcome)
        self._is_done = True
        if self.timer is not None:
            self.timer.cancel()
        if self.parent is not None:
            self.parent.remove_nested(self)
        self._notify()

    def give_up(self, error: BaseException) -> None:
        """No other peer can run the call."""
        self.settle(Raised(error))
        self.end = _ignore  # opens a circle

    def report(self, progress: Progress) -> None:
        """The method has reported how far it is. Never blocks."""
        self._progress = progress
        for callback in list(self._progress_callbacks):
            self._call_surely(callback, progress.done, progress.total, progress.note)
