"""Futures whose outcome memsync sets, as the one that `MemSync.submit` returns.

An exception out of a signal handler (Ctrl-C) may end a call of a future at any instruction. It must
not keep a lock for which another thread waits, least of all the thread that sets the outcome. So a
future has no lock. Each step that threads share is one call of a C function: an append to a list,
or an assignment. Whoever waits first says so and then looks for the outcome; `finish` first sets
the outcome and then looks for those that wait. A step that comes twice does no harm.

`concurrent.futures.wait` and `as_completed` use attributes of a future directly. `_Inspection`,
`_Waiters` and `_Event` are what they find there.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import get_ident  # that of the greenlet, in a patched process
from typing import Any, TypeVar

from ..clocks import monotonic
from ..errors import WriteTimeoutError
from .own_threads import refuse_waiting
from .wakeup import Wakeup

T = TypeVar("T")

_RUNNING, _FINISHED = "RUNNING", "FINISHED"  # as `concurrent.futures` names the states


class OutcomeFuture(Future[T]):
    """A future without a lock; a subclass keeps the outcome, and sets `_is_done` when it is there.

    `call_surely` queues a call of a callback, with the future, and does not wait for it.
    """

    def __init__(self, call_surely: Callable[..., None]) -> None:
        # Without `super().__init__`, which makes a lock.
        self._is_done = False
        self._call_surely = call_surely
        self._pid = os.getpid()
        self._callbacks: list[_Callback] = []  # not queued yet
        self._listeners: list[Callable[[OutcomeFuture[Any]], None]] = []
        self._seen: dict[int, str] = {}  # the state that a thread inspects, by its id

    def done(self) -> bool:
        """Whether the outcome is known."""
        return self._is_done

    def cancelled(self) -> bool:
        """Whether the outcome is that it was cancelled."""
        return False

    def add_done_callback(self, fn: Callable[[Future[T]], Any]) -> None:
        """Call `fn` with the future once it is done, on the dispatcher thread."""
        self._callbacks.append(_Callback(fn))
        if self._is_done:
            self._queue_callbacks()

    def _wait(self, timeout: float | None) -> None:
        if self._is_done:
            return
        self.check_wait()
        wakeup = Wakeup()

        def listener(_: OutcomeFuture[Any]) -> None:
            wakeup.set()

        try:
            self.listen(listener)
            wakeup.wait(timeout)
        finally:
            self.unlisten(listener)
        if not self._is_done:
            raise TimeoutError

    def check_wait(self) -> None:
        """Raise if waiting would not end: in a forked child, or on a thread of memsync."""
        raise NotImplementedError

    def listen(self, listener: Callable[[OutcomeFuture[Any]], None]) -> None:
        """Call `listener` at least once when the outcome is there; it must not block."""
        self._listeners.append(listener)
        if self._is_done:
            listener(self)

    def unlisten(self, listener: Callable[[OutcomeFuture[Any]], None]) -> None:
        """End `listen`."""
        with suppress(ValueError):
            self._listeners.remove(listener)

    # -- setting the outcome ---------------------------------------------------------------------

    def _notify(self) -> None:
        """Wake those that wait, and queue the callbacks; the outcome is set."""
        if self._listeners:
            for listener in list(self._listeners):
                listener(self)
        if self._callbacks:
            self._queue_callbacks()

    def _queue_callbacks(self) -> None:
        for callback in list(self._callbacks):
            self._call_surely(callback, self)
            with suppress(ValueError):  # another thread has queued it as well
                self._callbacks.remove(callback)

    # -- what `concurrent.futures` uses ----------------------------------------------------------

    @property
    def _state(self) -> str:  # type: ignore[override]
        return self._seen.get(get_ident()) or (_FINISHED if self._is_done else _RUNNING)

    @property
    def _condition(self) -> _Inspection:  # type: ignore[override]
        return _Inspection(self)

    @property
    def _waiters(self) -> _Waiters:  # type: ignore[override]
        return _Waiters(self)


class WriteFuture(OutcomeFuture[int]):
    """The version of a write; it cannot be cancelled."""

    def __init__(self, call_surely: Callable[..., None]) -> None:
        super().__init__(call_surely)
        self._result: int | None = None
        self._exception: BaseException | None = None

    def result(self, timeout: float | None = None) -> int:
        """The version; waits for it, at most `timeout` seconds."""
        self._wait(timeout)
        if self._exception is not None:
            try:
                raise self._exception
            finally:
                del self  # which the traceback would keep
        assert self._result is not None
        return self._result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The error or None; waits for the outcome, at most `timeout` seconds."""
        self._wait(timeout)
        return self._exception

    def check_wait(self) -> None:
        """Raise if waiting would not end: in a forked child, or on a thread of memsync."""
        if self._pid != os.getpid():
            raise WriteTimeoutError(
                "this future was created before a fork: only the parent process learns the outcome "
                "of its write"
            )
        refuse_waiting("waiting for a write's outcome")

    def finish(self, version: int, error: BaseException | None) -> None:
        """Set the outcome; only the first one counts.

        A call that an exception ended early is completed by the next one.
        """
        if not self._is_done:
            self._result, self._exception = version, error
            self._is_done = True
        self._notify()


class _Callback:
    """A callback that runs once, although an interrupted step may queue it twice."""

    def __init__(self, function: Callable[[Future[Any]], Any]) -> None:
        self._function = function
        self._has_run = False

    def __call__(self, future: OutcomeFuture[Any]) -> None:
        if not self._has_run:  # one thread runs all callbacks
            self._has_run = True
            self._function(future)

    def __repr__(self) -> str:
        return repr(self._function)


class _Inspection:
    """In the place of a future's lock: a thread sees one state from `acquire` to `release`.

    A thread that never comes to `release` does no harm: its next `acquire` replaces the state.
    """

    def __init__(self, future: OutcomeFuture[Any]) -> None:
        self._future = future

    def acquire(self) -> bool:
        self._future._seen[get_ident()] = _FINISHED if self._future.done() else _RUNNING
        return True

    __enter__ = acquire

    def release(self) -> None:
        self._future._seen.pop(get_ident(), None)

    def __exit__(self, *exc: object) -> None:
        self.release()


class _Waiters:
    """In the place of the list of those that wait in `wait` and `as_completed`."""

    def __init__(self, future: OutcomeFuture[Any]) -> None:
        self._future = future

    def append(self, waiter: Any) -> None:
        if self._future._state == _FINISHED:
            return  # the calling thread has counted it among the finished ones
        if not isinstance(waiter.event, _Event):
            waiter.event = _Event(waiter)
        waiter.event.add(self._future)

    def remove(self, waiter: Any) -> None:
        if isinstance(waiter.event, _Event):
            waiter.event.remove(self._future)


class _Event:
    """In the place of the `threading.Event` of a waiter, whose lock an interrupt may keep.

    The thread that sets an outcome only wakes the waiting thread. That one itself calls the waiter,
    which is written in Python as well. Futures of other executors call it on their own threads.
    """

    def __init__(self, waiter: Any) -> None:
        self._waiter = waiter
        self._is_set = False
        self._wakeup = Wakeup()
        self._pending: set[OutcomeFuture[Any]] = set()
        self._finished: deque[OutcomeFuture[Any]] = deque()  # of these, some perhaps twice

    def add(self, future: OutcomeFuture[Any]) -> None:
        self._pending.add(future)
        future.listen(self._note)

    def remove(self, future: OutcomeFuture[Any]) -> None:
        self._pending.discard(future)
        future.unlisten(self._note)

    def _note(self, future: OutcomeFuture[Any]) -> None:
        self._finished.append(future)
        self._wakeup.set()

    def set(self) -> None:
        self._is_set = True
        self._wakeup.set()

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            self._call_waiter()
            left = None if deadline is None else deadline - monotonic()
            if self._is_set or (left is not None and left <= 0):
                return self._is_set
            for future in self._pending:
                future.check_wait()
                break
            self._wakeup.wait(left)

    def _call_waiter(self) -> None:
        while self._finished:
            future = self._finished.popleft()
            if future in self._pending:
                self._pending.discard(future)
                self._add_to_waiter(future)

    def _add_to_waiter(self, future: OutcomeFuture[Any]) -> None:
        if future.cancelled():
            self._waiter.add_cancelled(future)
        elif future.exception() is not None:
            self._waiter.add_exception(future)
        else:
            self._waiter.add_result(future)
