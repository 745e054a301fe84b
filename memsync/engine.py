"""The seam between the meaning of the log and its transport.

`replication` defines the log, and `runtime` has the threads and futures around one peer's copy. An
*engine* carries proposals to a host and entries from it: `manager` between the processes of one
machine, `memory` inside one process. The two sides share only this file: the writer sends its
writes to an `Uplink`, and the handle controls an `Engine`. In the other direction, an engine calls
the methods of `runtime.Participant`.

An engine guarantees that every peer gets the same entries in the same order, and that a proposal is
either decided once or still pending at its writer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from .options import Options
from .replication.pending import PendingWrite
from .replication.write_concern import ResumeConcern

Announce = Callable[[str, Any], None]
"""Called by an engine's threads with an event and its argument; never blocks.

In place of the argument there may be a function that returns it with the bytes on the wire of what
it holds. It is called at once if a program listens. Where it makes an empty argument, there is no
event.
"""


class Uplink(Protocol):
    """The destination of a peer's writes: its role. Any thread may call any method."""

    def queue_write(self, write: PendingWrite, encoded: bytes) -> None:
        """Append a proposal, in the order of the numbers. No I/O: the guard is held."""

    def queue_resume(self, message: ResumeConcern) -> None:
        """Ask the host to track an accepted write's concern. No I/O: the guard is held."""

    def kick(self, *, coalesced: bool = False) -> None:
        """Send the queue; a coalesced kick may delay it for a moment to send more at once."""

    def wait_for(self, write: PendingWrite, deadline: float) -> None:
        """Let the waiting thread do I/O for a write, until the deadline (monotonic seconds).

        May return early.
        """

    def on_interrupt(self) -> None:
        """The calling thread was interrupted in a call above: recover, and resend the writes."""


class EngineStatus(NamedTuple):
    """An engine's part of `MemSync.get_status`."""

    status: str  # "host", "client", "starting", "stopped"
    since: float  # seconds since 1970
    reason: str | None  # why the last role ended, or why there is no host
    host: dict[str, Any] | None
    handing_over: bool = False
    storage: dict[str, Any] | None = None  # on the host of a group that saves


class Engine(Protocol):
    """Carries one ordered log between peers, for one participant."""

    where: str  # the meeting place of its group, for example a folder
    pid: int  # the process in which it was started

    @property
    def participant(self) -> Any:
        """The `runtime.Participant` of this peer."""

    @property
    def is_ended(self) -> bool:
        """Whether the peer has stopped or is stopping."""

    def start(self, timeout: float) -> str:
        """Join the group, or found it; returns ``"host"`` or ``"client"``.

        Raises what `MemSync.start` raises, and then leaves nothing behind. `timeout` is in seconds.
        A peer that stands by (see `runtime.standby`) joins first and waits then.
        """

    def stop(self, timeout: float, last_save: float = 0.0) -> None:
        """Leave the group; a host hands over first. Waits at most `timeout` seconds.

        The last peer of a group that saves then waits for the last save, at most `last_save`
        seconds.
        """

    def status(self) -> EngineStatus:
        """The status of the peer; never blocks and never raises."""

    def ping(self, timeout: float) -> dict[str, Any]:
        """Round trips as `MemSync.ping` returns them; raises as it does."""

    def flush(self, timeout: float) -> None:
        """See `MemSync.flush`."""

    def close_after_fork(self) -> None:
        """In a forked child: drop the parent's resources; must neither block nor do I/O."""


class EngineFactory(Protocol):
    """An engine's class, as the handle uses it."""

    def __call__(
        self,
        name: str,
        where: str,
        data: dict[str, Any],
        options: Options,
        announce: Announce,
        *,
        inherited: Any = None,
    ) -> Engine:
        """An engine that is not started; `data` is the object if this peer founds it.

        `inherited` is in a forked child the participant of the parent whose view is taken over.
        """

    def place(self) -> str:
        """The meeting place of handles that are created now; part of their pickles."""
