"""What a program calls, how long it may take, and which peers have failed to run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from ..clocks import monotonic
from ..errors import PeerLostError
from .context import running


class Times(TypedDict, total=False):
    """Arguments of `Caller.start`, in seconds."""

    timeout: float | None
    default_timeout: float


class Request:
    """One call of a program, which may need several attempts.

    `timeout` is in seconds, as the program has stated it; `default` is in its place where it has
    not. A call that a method makes has at most what is left of the method's own time.
    """

    def __init__(
        self,
        method: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        timeout: float | None,
        default: float,
    ) -> None:
        self.method = method
        self.args = args
        self.kwargs = kwargs
        self.failed: dict[str, PeerLostError] = {}
        self._timeout = timeout
        self._default = default
        self._since = monotonic()
        seconds = default if timeout is None else timeout
        parent = running.get()
        left = parent.remaining() if parent is not None else None
        self.deadline = self._since + (seconds if left is None else min(seconds, left))
        """Monotonic seconds; a stream may last longer."""

    def allow(self, seconds: float) -> None:
        """Have another default, perhaps a longer one than a program can state."""
        self._default = seconds
        if self._timeout is None and running.get() is None:
            self.deadline = self._since + seconds

    def may_have_run(self) -> PeerLostError | None:
        """The last error of an attempt that may have run the method."""
        errors = reversed(self.failed.values())
        return next((error for error in errors if error.outcome != "not_applied"), None)

    def left(self) -> float:
        """The seconds until the deadline, at least 0."""
        return max(self.deadline - monotonic(), 0.0)

    def times(self) -> Times:
        """The times for the next attempt."""
        spent = monotonic() - self._since
        left = None if self._timeout is None else max(self._timeout - spent, 0.0)
        return {"timeout": left, "default_timeout": max(self._default - spent, 0.0)}
