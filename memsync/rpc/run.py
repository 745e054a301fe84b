"""One call at the callee, as its steps and its link see it; `begin` has the first step."""

from __future__ import annotations

from concurrent.futures import CancelledError
from contextvars import Context
from typing import Any, Protocol

import msgspec

from ..clocks import monotonic
from ..errors import (
    MemSyncError,
    NotSerializableError,
    RpcError,
    RpcTimeoutError,
    TooLargeError,
    to_wire,
)
from ..runtime.logs import Logger
from .context import CurrentCall, running
from .messages import Answer, Call, End, Failure, Item, Payload, Progress, Result
from .service import Service
from .twin import describe, shortest

log = Logger("memsync.rpc")

_NO_NEWS = (CancelledError, RpcTimeoutError)


class Work(Protocol):
    """What a call has started that goes on by itself: a generator or a task."""

    def cancel(self) -> None:
        """End it, perhaps a second time; any thread may call it. Must not block."""

    def credit(self, consumed: int) -> None:
        """The caller has consumed this many items in all. Must not block."""


class Calls(Protocol):
    """The calls of one link; see `Callee`."""

    def send(self, answer: Answer) -> None:
        """Send an answer; raises `TooLargeError`."""

    def started(self, size: int) -> None:
        """The arguments of a call, of `size` bytes, wait no longer."""

    def ended(self, id: int) -> bool:
        """A call is over; returns whether it was under way. `answered` follows."""

    def answered(self, id: int) -> None:
        """The answer of a call that is over was sent, or nobody waits for it."""


class Run:
    """One call. Each of its steps runs on a thread of the pool or of the event loop."""

    def __init__(self, calls: Calls, service: Service, peer: str, call: Call) -> None:
        self.id = call.id
        self.name = call.method
        self.depth = call.depth
        self.size = len(call.payload.data)
        self.is_stated = call.is_stated
        self.is_stream = False
        self.service = service
        deadline = monotonic() + call.budget_ms / 1000
        self.current = CurrentCall(peer, call.method, deadline, call.depth, self._send_progress)
        self.context = Context()
        self.context.run(running.set, self.current)
        self._calls = calls
        self._work: Work | None = None

    def go_on_with(self, work: Work) -> None:
        """The call goes on with a generator or a task."""
        self._work = work
        if self.current.cancelled:  # perhaps before there was work to cancel
            work.cancel()

    # -- from the caller, on any thread; never blocks ----------------------------------------------

    def cancel(self, reason: str) -> None:
        """Nobody waits any more."""
        self._calls.ended(self.id)
        self.current.cancel(reason)
        work = self._work
        if work is not None:
            work.cancel()

    def credit(self, consumed: int) -> None:
        """The caller has consumed this many items in all."""
        work = self._work
        if work is not None:
            work.credit(consumed)

    # -- to the caller ----------------------------------------------------------------------------

    def started(self) -> None:
        """The arguments wait no longer."""
        self._calls.started(self.size)

    def send(self, answer: Answer) -> None:
        """Send, unless nobody waits; raises `TooLargeError`."""
        if not self.current.cancelled:
            self._calls.send(answer)

    def answer(self, value: Any) -> None:
        """The call has returned a value."""
        try:
            payload = self._packed(value, "the result of")
            self._finish(Result(self.id, payload, *self.service.versions.pair_of_process()))
        except NotSerializableError as error:
            self._finish(self._unsendable(error))

    def item(self, value: Any) -> int | None:
        """The stream has another item; returns its bytes, or None if the stream has ended."""
        try:
            payload = self._packed(value, "an item of")
            self.send(Item(self.id, payload, *self.service.versions.pair_of_process()))
        except (NotSerializableError, TooLargeError) as error:
            self._finish(self._unsendable(error))
            return None
        return None if self.current.cancelled else len(payload.data)

    def end(self) -> None:
        """The stream is complete."""
        self._finish(End(self.id, *self.service.versions.pair_of_process()))

    def drop(self) -> None:
        """The call needs no answer."""
        self._calls.ended(self.id)
        self._calls.answered(self.id)
        self._release()

    def refuse(self, error: MemSyncError) -> None:
        """The call was not run."""
        self._finish(Failure(self.id, None, to_wire(error)))

    def fail(self, error: BaseException) -> None:
        """The method has raised."""
        if self.current.cancelled:
            self.drop()
            self.log_unheard(error)
        else:
            epoch, version = self.service.versions.pair_of_process()
            twin = describe(error, self.service.pickles)
            self._finish(Failure(self.id, twin, epoch=epoch, version=version))

    def log_unheard(self, error: BaseException) -> None:
        """Log what a method raises when nobody waits; that it was cancelled is no news.

        Nor is that a call which it has made had no more time than it has itself.
        """
        if not issubclass(type(error), _NO_NEWS):  # `isinstance` would ask the exception
            log.warning(
                "a method raised after its call was cancelled: method=%s caller=%s reason=%s",
                self.name,
                self.current.peer,
                self.current.reason,
                exc_info=error,
            )

    def _packed(self, value: Any, what: str) -> Payload:
        return self.service.pickles.pack(value, f"{what} {self.name!r}")

    def _unsendable(self, error: MemSyncError) -> Failure:
        return Failure(self.id, None, to_wire(RpcError(f"{self.name!r} was run, but {error}")))

    def _finish(self, answer: Answer) -> None:
        """Send the last answer, and forget the call."""
        self._release()
        try:
            if self._calls.ended(self.id):
                self._send_last(answer)
        finally:
            self._calls.answered(self.id)

    def _send_last(self, answer: Answer) -> None:
        """Send it; one that is too large is replaced by one that says so."""
        try:
            self.send(answer)
        except TooLargeError as error:
            if isinstance(answer, Failure) and answer.twin is not None:
                self.send(msgspec.structs.replace(answer, twin=shortest(answer.twin)))
            else:
                self.send(self._unsendable(error))
        except BaseException as error:  # no memory, for example: the caller must not wait for long
            log.exception("an answer could not be sent: method=%s", self.name)
            self.send(Failure(self.id, shortest(describe(error, self.service.pickles))))

    def _release(self) -> None:
        """Open the circles in which this call would wait for the garbage collector."""
        self.current.send_progress = self._work = None

    def _send_progress(self, done: float, total: float | None, note: str) -> None:
        self.send(Progress(self.id, done, total, note))
