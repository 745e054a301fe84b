"""The seam between what the log means and what carries it.

Below stand the pure core and the runtime: `replication` says what an entry is, `runtime` has the
threads and futures around one peer's copy. An *engine* carries proposals to a host and entries from
it: `manager` between the processes of one machine, `memory` inside one process. The two sides know
only what is in this file: a runtime hands its writes to an `Uplink`, and the handle starts, stops
and asks an `Engine`. In the other direction an engine calls the doors of `runtime.Participant`.

An engine promises the core that every peer is given the same entries in the same order, and that a
proposal is either decided once or still pending in its writer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from .options import Options
from .replication.pending import PendingWrite
from .replication.write_concern import ResumeConcern

Announce = Callable[[str, Any], None]
"""Called by an engine's threads with the name of an event and its argument; never blocks."""


class Uplink(Protocol):
    """Where a peer's writes go: the role that it plays. Every call may come from any thread."""

    def queue_write(self, write: PendingWrite, encoded: bytes) -> None:
        """Append a proposal, in the order of its numbers; no I/O, for the peer's guard is held."""

    def queue_resume(self, message: ResumeConcern) -> None:
        """Ask the host to go on with an accepted write's concern; no I/O, the guard is held."""

    def kick(self, *, coalesced: bool = False) -> None:
        """Send what is queued; a coalesced kick may leave it for a moment, to be sent with more."""

    def wait_for(self, write: PendingWrite, deadline: float) -> None:
        """Help a write to its outcome where the waiting thread can; may return early.

        The deadline is in monotonic seconds.
        """

    def on_interrupt(self) -> None:
        """The calling thread was interrupted somewhere in a call above: take up the writes anew."""


class EngineStatus(NamedTuple):
    """What an engine says of its peer; `host` is as `MemSync.get_status` describes it."""

    status: str  # "host", "client", "starting", "stopped"
    since: float  # seconds since 1970
    reason: str | None  # why the last role ended, or why there is no host
    host: dict[str, Any] | None
    handing_over: bool = False


class Engine(Protocol):
    """Carries one ordered log between peers, for one participant."""

    where: str  # the place at which the peers of its group meet
    pid: int  # the process in which it was started

    @property
    def participant(self) -> Any:
        """The `runtime.Participant` of this peer."""

    @property
    def is_ended(self) -> bool:
        """Whether the peer has stopped, or is about to."""

    def start(self, timeout: float) -> str:
        """Join the group, or found it; returns ``"host"`` or ``"client"``.

        Raises what `MemSync.start` raises; nothing is left behind then. `timeout` is in seconds.
        """

    def stop(self, timeout: float) -> None:
        """Leave the group; a host hands over first. Waits at most `timeout` seconds."""

    def status(self) -> EngineStatus:
        """What the peer is now; never blocks and never raises."""

    def ping(self, timeout: float) -> dict[str, Any]:
        """Round trips as `MemSync.ping` returns them; raises as it does."""

    def close_after_fork(self) -> None:
        """In a forked child: drop what belongs to the parent; must neither block nor do I/O."""


class EngineFactory(Protocol):
    """An engine's class, as the handle uses it."""

    def __call__(
        self, name: str, where: str, data: dict[str, Any], options: Options, announce: Announce
    ) -> Engine:
        """An engine that is not started; `data` is the object's when this peer founds it."""

    def place(self) -> str:
        """Where handles that are made now meet, for example a folder; travels in pickles."""
