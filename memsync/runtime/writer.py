"""The writer: this peer's own writes, from the call to the outcome.

Any thread may write. A write is checked, gets its number, is shown in ``mem.data`` and is handed to
the role (the link to the host, or the host itself) in one step under the peer's guard, so the order
of the numbers is the order of the stream and of what is shown. The guard is held for neither I/O
nor callbacks. While there is no role, between two hosts, writes are kept; whoever the next host is
gets those it has not decided.

An accepted write that asked for more than the usual write concern waits on for what the host says
about it, and keeps its place in the window until then.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ..engine import Uplink
from ..errors import (
    ConflictError,
    MemSyncError,
    NotStartedError,
    QueueFullError,
    UsageError,
    WriteTimeoutError,
)
from ..options import Options
from ..replication.clock import HybridClock
from ..replication.codec import frame
from ..replication.entries import Propose
from ..replication.replica import Outcome, Published, Replica
from ..replication.write_concern import ConcernProgress
from .acknowledgements import AckWaiters
from .awaited_write import AwaitedWrite, Call
from .check_write import check_size, check_write
from .trace import Trace

log = logging.getLogger("memsync.writes")


class Writer:
    """The numbered writes of one peer, and the threads that wait for them."""

    def __init__(
        self,
        name: str,
        options: Options,
        replica: Replica[AwaitedWrite],
        guard: Any,  # the replica's, as a lock for threads
        clock: HybridClock,
        rolled_back: Callable[[MemSyncError], None],
        wall_ms: Callable[[], int],
        trace: Trace | None = None,
    ) -> None:
        self.max_frame = options.network.max_frame  # bytes; the group's, once it is known
        self._name = name
        self._options = options
        self._guard = guard
        self._replica = replica
        self._clock = clock
        self._rolled_back = rolled_back
        self._wall_ms = wall_ms
        self.wake: Callable[[], None] = lambda: None  # the engine's driver
        self.describe_host: Callable[[], str] = lambda: "this peer has no engine"
        self._trace = trace
        self._room = threading.Condition(self._guard)
        self._open: dict[int, AwaitedWrite] = {}  # those whose outcome nobody was told
        self._ack_waiters = AckWaiters(guard, self._close)
        self.uplink: Uplink | None = None  # where writes go now; None between two hosts
        self._held: dict[int, Outcome[AwaitedWrite]] = {}  # accepted, not to be told yet
        self._taken_back: list[Outcome[AwaitedWrite]] = []  # of a reign that ended before it told
        self._has_left = False
        self._holds_back = False  # what comes now is of a host that may be replaced already
        self._ended = False
        self._inside: set[int] = set()  # the threads that are in `patch` or `submit`

    @property
    def first_open(self) -> int:
        """The first_open number whose outcome is unknown."""
        return self._replica.writes.first_open

    @property
    def pending(self) -> int:
        """How many writes have no outcome yet; each copy is one step, so it takes no guard."""
        return len({*self._open, *self._replica.writes.pending})

    def patch(self, update: Any, call: Call, timeout: float) -> int:
        """Write, and wait for the outcome: the version from which on it counts.

        Raises what the update is refused with, `WriteTimeoutError` or `WriteConcernError` after
        `timeout` seconds.
        """
        self._refuse_nested()
        try:
            self._inside.add(threading.get_ident())
            write = self.propose(update, call, None)
            self.wait(write, call.deadline)
        finally:
            self._inside.discard(threading.get_ident())
        return self.result(write, timeout)

    def result(self, write: AwaitedWrite, timeout: float) -> int:
        """The version of a write for which a thread has waited `timeout` seconds.

        Raises as `patch`.
        """
        if not write.done:
            if write.accepted:
                self._ack_waiters.give_up(write)
            else:
                raise WriteTimeoutError(
                    f"the write to {self._name!r} was not acknowledged within {timeout:g} s; it "
                    f"stays pending and may still be applied; {self.describe_host()}"
                )
        if write.error is not None:
            raise write.error
        assert write.version is not None
        return write.version

    def submit(self, update: Any, call: Call, future: Future[int]) -> None:
        """Write without waiting; the future gets the outcome. Raises as `propose`."""
        self._refuse_nested()
        try:
            self._inside.add(threading.get_ident())
            self.propose(update, call, future)
        finally:
            self._inside.discard(threading.get_ident())

    def is_inside(self) -> bool:
        """Whether the calling thread is writing, so that it must be a signal handler that asks."""
        return threading.get_ident() in self._inside

    def _refuse_nested(self) -> None:
        if self.is_inside():
            raise UsageError(
                "a signal handler cannot write while it interrupts a write of the same thread: "
                "have the handler set a flag, or start a thread that writes"
            )

    def propose(self, update: Any, call: Call, future: Future[int] | None) -> AwaitedWrite:
        """Check a write, number it, show it and send it on its uplink.

        Raises `UpdateError`, `NotSerializableError`, `UsageError`, `ReadOnlyError`,
        `QueueFullError` when the window stays full until the deadline, `TooLargeError` for a
        proposal over the frame limit; the write is then not applied.
        """
        body, checked = check_write(update, call, self._options)
        try:
            return self._send(body, checked, future)
        except MemSyncError:
            raise
        except BaseException:  # for example KeyboardInterrupt
            uplink = self.uplink
            if uplink is not None:
                uplink.on_interrupt()
            raise

    def _send(self, body: Any, call: Call, future: Future[int] | None) -> AwaitedWrite:
        replica = self._replica
        with self._guard:
            self._wait_for_room(call.deadline)
            epoch, version = replica.view_pair
            proposal = Propose(
                replica.writes.next_number,
                replica.writes.first_open,
                self._clock.tick(self._wall_ms()),
                epoch,
                version,
                "patch",
                body,
                call.where,
                call.array_filters,
                call.w,
                call.journal,
            )
            encoded = frame(proposal)
            write = AwaitedWrite(proposal, call.deadline, future, len(encoded))
            uplink = self.uplink
            check_size(len(encoded), self.max_frame)
            replica.show(write)
            self._open[proposal.number] = write
            if uplink is not None:
                uplink.queue_write(write, encoded)
        if self._trace is not None:
            self._trace("proposed", number=proposal.number, epoch=epoch, version=version)
        if uplink is not None:
            uplink.kick(coalesced=future is not None)
        return write

    def wait(self, write: AwaitedWrite, deadline: float) -> None:
        """Wait until a write is decided or the time is over."""
        while not write.done and time.monotonic() < deadline:
            uplink = self.uplink
            if uplink is not None:
                try:
                    uplink.wait_for(write, deadline)
                except BaseException:  # for example KeyboardInterrupt
                    uplink.on_interrupt()
                    raise
            write.wait(deadline)

    def _wait_for_room(self, deadline: float) -> None:
        """Wait until the window has room and the peer lives; the guard is held."""
        window = self._options.network.window
        while True:
            if self._ended:
                raise NotStartedError("this peer has stopped: call start() again")
            if self.pending < window:
                return
            uplink = self.uplink
            if uplink is not None:
                uplink.kick()
            left = deadline - time.monotonic()
            if left <= 0 or not self._room.wait(left):
                raise QueueFullError(
                    f"{window} writes are under way or wait for their write concern "
                    "(network.window), and none was acknowledged in time"
                )

    # -- outcomes (the thread that plays the role) -----------------------------------------------

    def take(self, published: Published[AwaitedWrite], *, holds_accepted: bool = False) -> None:
        """Make known what the replica has found out about own writes.

        With `holds_accepted` (a host) those that are accepted are held until they are with another
        peer as well; see `take_held`.
        """
        self.report_lost(published)
        holds = holds_accepted or self._holds_back
        for outcome in published.outcomes:
            if holds and outcome.error is None and not outcome.write.has_write_concern:
                self._held[outcome.write.proposal.number] = outcome
            else:
                self.complete(outcome)
        self._replica.advance(published)

    def take_held(self) -> list[Outcome[AwaitedWrite]]:
        """The outcomes that are held, which the caller completes or takes back."""
        held, self._held = self._held, {}
        return list(held.values())

    def report_lost(self, published: Published[AwaitedWrite]) -> None:
        """Say so when acknowledged writes of this peer are lost."""
        if published.forgotten:
            self._report_lost(
                published.forgotten,
                "it was frozen while its host died and others went on without it, and it remembers "
                f"no more than network.maxLog ({self._replica.writes.keep}) of its own writes to "
                "bring back",
            )
        if published.replaced:
            self._report_lost(
                published.replaced,
                "after the files of the object were deleted it was founded a second time, and the "
                "one that was founded earlier wins",
            )

    def _report_lost(self, count: int, why: str) -> None:
        error = ConflictError(f"{count} or more acknowledged writes of this peer are lost: {why}")
        log.error("%s", error)
        self._rolled_back(error)

    def complete(self, outcome: Outcome[AwaitedWrite]) -> None:
        """The outcome of an own write is known; its concern may have to be waited for."""
        write, version, error, rolled_back, _ = outcome
        if error is not None and (rolled_back or write.done):
            self._rolled_back(error)  # it was visible, or even acknowledged by a lost host
        if error is None and not write.done and write.has_write_concern:
            self._ack_waiters.add(write, version)
            if write.future is not None:
                self.wake()  # the driver is to end the waiting in time
            return
        write.resolve(version, error)
        self._close(write)

    def reached(self, progress: ConcernProgress) -> None:
        """The host tells how far the concern of an own write has come."""
        write = self._replica.writes.pending.get(progress.number)
        if write is not None:
            write.progress = progress  # it is not known yet that it was accepted
        else:
            self._ack_waiters.reached(progress)

    def next_deadline(self) -> float:
        """When the next waiting for a concern ends (monotonic seconds), unless nobody waits."""
        return self._ack_waiters.next_deadline()

    def give_up_late(self, now: float) -> None:
        """End the waiting for concerns whose time is over (monotonic seconds)."""
        self._ack_waiters.give_up_late(now)

    def _close(self, write: AwaitedWrite) -> None:
        """The outcome of a write has been told."""
        with self._guard:
            self._open.pop(write.proposal.number, None)
            self._room.notify()
        if self._trace is not None:
            error = type(write.error).__name__ if write.error is not None else None
            self._trace("told", number=write.proposal.number, version=write.version, error=error)

    def unsent(self, number: int) -> list[AwaitedWrite]:
        """The own writes from a number on, for a host that asks for them."""
        with self._guard:
            return self._replica.writes.after(number - 1)

    # -- what the driver does --------------------------------------------------------------------

    def take_back(self, outcomes: list[Outcome[AwaitedWrite]]) -> None:
        """A reign of this peer has ended before these outcomes could be told."""
        self._taken_back += outcomes
        self._take_ack_waiters_back()

    def _take_ack_waiters_back(self) -> None:
        for write in self._ack_waiters.take_back():
            self._taken_back.append(Outcome(write, write.accepted, None, False))
            write.accepted = 0

    def _look_what_became_of_them(self) -> list[Outcome[AwaitedWrite]]:
        """What the next host has counts, what it lacks is pending again, if it is remembered."""
        known: list[Outcome[AwaitedWrite]] = []
        self._take_ack_waiters_back()
        taken_back, self._taken_back = self._taken_back, []
        row = self._replica.state.sessions.get(self._replica.peer)
        for outcome in taken_back:
            number = outcome.write.proposal.number
            if number in self._replica.writes.pending:
                outcome.write.progress = None  # it is decided anew
                continue
            if outcome.made_entry and (row is None or number > row.last):
                lost = (
                    "the host that had ordered this write was replaced, and the next one lacks it"
                )
                outcome = outcome._replace(error=ConflictError(lost))
            known.append(outcome)
        return known

    def enter(self, uplink: Uplink, last: int, *, holds_accepted: bool) -> None:
        """From now on writes go to this uplink, beginning with those the host has not decided."""
        published = self._replica.publish()
        self.take(published, holds_accepted=holds_accepted)
        known = Published(self._look_what_became_of_them(), 0, 0)
        self.take(known, holds_accepted=holds_accepted)
        with self._guard:
            for write in self._replica.writes.after(last):
                uplink.queue_write(write, frame(write.proposal))
            for message in self._ack_waiters.resumes():
                uplink.queue_resume(message)
            self.uplink = uplink
        uplink.kick()

    def leave(self, *, for_good: bool, holds_back: bool = False) -> None:
        """There is no host now; writes are kept, unless the peer leaves the group.

        With `holds_back`, what the lost host has left behind is not told before the next one shows
        that it counts: others may have gone on without this peer.
        """
        with self._guard:
            self.uplink = None
        self._has_left = for_good
        self._holds_back = holds_back

    def withdraw_held(self) -> list[Outcome[AwaitedWrite]]:
        """What was accepted and held back, when the role ends."""
        self._holds_back = False
        return self.take_held()

    def flush(self, deadline: float) -> None:
        """Wait until all writes are decided, or the time is over (monotonic seconds)."""
        with self._guard:
            waiting = list(self._open.values())
        for write in waiting:
            self.wait(write, deadline)

    def end(self) -> None:
        """The peer has stopped: what is undecided stays unknown, nothing new is taken."""
        self.take(self._replica.published())
        with self._guard:
            self._ended = True
            orphans = list(self._open.values())
            self._room.notify_all()
        for write in orphans:
            if write.accepted and self._has_left:  # else its host was lost, and perhaps it as well
                self._ack_waiters.give_up(write)
                continue
            error = WriteTimeoutError("the peer stopped before the write was acknowledged")
            write.resolve(self._replica.state.version, error)
            self._close(write)
