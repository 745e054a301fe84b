"""What a method can learn of the call that it runs for.

The call is in a context variable, so it is known wherever the method's own code runs: in functions
that it calls, in tasks that it starts, and in a generator between two items.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from contextvars import ContextVar
from typing import Any

from ..clocks import monotonic
from ..errors import UsageError

PROGRESS_SECONDS = 0.02
"""Between two messages about progress; what comes sooner is dropped, except for the last step."""

NOTE_MAX = 1000  # characters


class CurrentCall:
    """The call that the current method runs for; see `current`."""

    def __init__(
        self,
        peer: str,
        method: str,
        deadline: float | None = None,
        depth: int = 0,
        send_progress: Callable[[float, float | None, str], None] | None = None,
    ) -> None:
        self.peer = peer
        """The id of the peer that has made the call."""
        self.method = method
        self.deadline = deadline
        """When the caller gives up, on the clock `time.monotonic`; None: not before it says so."""
        self.depth = depth  # the number of calls that it descends from
        self.send_progress = send_progress
        self._reported = 0.0
        self._reason: str | None = None
        self._nested: dict[object, Callable[[str], None]] = {}  # to cancel each of its own calls

    def __repr__(self) -> str:
        return f"<call of {self.method!r} by {self.peer}>"

    def remaining(self) -> float | None:
        """The seconds that are left, at least 0; None if there is no deadline.

        >>> CurrentCall("7f3a", "add").remaining()
        """
        return None if self.deadline is None else max(self.deadline - monotonic(), 0.0)

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the result any more."""
        return self.reason is not None

    @property
    def reason(self) -> str | None:
        """Why nobody waits any more, or None."""
        if self._reason is None and self.remaining() == 0:
            return "its time is over"
        return self._reason

    def check(self) -> None:
        """Raise `concurrent.futures.CancelledError` if nobody waits for the result any more."""
        reason = self.reason
        if reason is not None:
            raise CancelledError(
                f"the call of {self.method!r} by {self.peer} is not needed: {reason}"
            )

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Tell the caller how far the work is; see `CallFuture.progress`.

        What comes within 20 ms of the last report is dropped, unless the work is complete with it.
        """
        for name, value in (("done", done), ("total", total)):
            if not isinstance(value, (int, float)) and (value is not None or name == "done"):
                raise UsageError(f"progress() needs a number as {name!r}, not {value!r:.60}")
        if not isinstance(note, str):
            raise UsageError(f"progress() needs a string as 'note', not {note!r:.60}")
        now = monotonic()
        if self.send_progress is None or (
            now - self._reported < PROGRESS_SECONDS and done != total
        ):
            return
        self._reported = now
        self.send_progress(done, total, note[:1000])

    # -- for the callee, and for the calls that the method makes ---------------------------------

    def cancel(self, reason: str) -> None:
        """Say that nobody waits any more, and cancel the calls that the method waits for."""
        if self._reason is None:
            self._reason = reason
        for cancel in list(self._nested.values()):
            cancel(reason)

    def add_nested(self, call: object, cancel: Callable[[str], None]) -> None:
        """Cancel a call of the method together with this one; `cancel` must not block."""
        self._nested[call] = cancel
        if self._reason is not None:
            cancel(self._reason)

    def remove_nested(self, call: object) -> None:
        """Undo `add_nested`."""
        self._nested.pop(call, None)


if "running" not in globals():  # a reload keeps it, as it is set in the contexts of methods
    running: ContextVar[Any] = ContextVar("memsync.rpc.running", default=None)
    """The `CurrentCall` of a method, or None."""


def current() -> CurrentCall:
    """The call that the calling method runs for; raises `UsageError` outside of a method."""
    call: CurrentCall | None = running.get()
    if call is None:
        raise UsageError(
            "rpc.current() was called outside of a remote call: only the code of a method that "
            "another peer has called may use it. A thread that the method starts does not inherit "
            "it, unless it runs in contextvars.copy_context()"
        )
    return call
