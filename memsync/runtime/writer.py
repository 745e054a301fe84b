"""The writer: this peer's own writes, from the call to the outcome.

Any thread may write. In one step under the peer's guard a write gets its number, is shown in
``mem.data`` and is queued at the uplink (the role that the peer plays). So numbers, view and stream
have one order. While there is no role, between two hosts, the writes stay pending; the next host
gets those that it has not decided.

An accepted write that asks for more than the usual write concern keeps its place in the window
until the concern is met or its time is over.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from ..clocks import monotonic
from ..engine import Uplink
from ..errors import ConflictError, MemSyncError, WriteTimeoutError
from ..options import Options
from ..replication.clock import HybridClock
from ..replication.codec import frame
from ..replication.entries import Propose
from ..replication.moved_indexes import first_relied_on
from ..replication.outcomes import Outcome, Published
from ..replication.replica import Replica
from ..replication.write_concern import ConcernProgress
from .acknowledgements import AckWaiters
from .awaited_write import AwaitedWrite
from .call import Call
from .check_write import check_size, check_write
from .futures import WriteFuture
from .logs import Logger
from .lost_writes import losses
from .native import LIBRARY
from .nesting import is_called_back, is_called_below, nested_write
from .trace import Trace
from .window import Window

log = Logger("memsync.writes")

Outcomes = list[Outcome[AwaitedWrite]]


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
        self.begin_step: Callable[[int], None] = lambda size: None  # before a write is shown
        self.end_step: Callable[[int], None] = lambda size: None
        self.describe_host: Callable[[], str] = lambda: "this peer has no engine"
        self.is_reading: Callable[[FrameType | None], bool] = lambda frame: (
            False
        )  # see `Participant`
        self._trace = trace
        size, max_bytes = options.network.window, options.network.max_log_bytes
        self._window = Window(guard, size, max_bytes, replica.writes, lambda: self.uplink)
        self._ack_waiters = AckWaiters(guard, self._close)
        self.uplink: Uplink | None = None  # where writes go now; None between two hosts
        self._held: dict[int, Outcome[AwaitedWrite]] = {}  # accepted, not reported yet
        self._unconfirmed: Outcomes = []  # unreported when the epoch ended; the next host decides
        self.has_left = False
        self._holds_back = False  # outcomes may come from a host that was replaced already
        self._inside: set[int] = set()  # threads that may be in `patch` or `submit`

    @property
    def first_open(self) -> int:
        """The lowest number whose outcome is unknown."""
        return self._replica.writes.first_open

    @property
    def pending(self) -> int:
        """The number of writes without an outcome; needs no guard."""
        return self._window.pending

    def patch(self, update: Any, call: Call, timeout: float) -> int:
        """Write, and wait for the outcome; returns the version that has the change.

        Raises what `propose` raises, the error that refuses the update, and after `timeout`
        seconds `WriteTimeoutError` or `WriteConcernError`.
        """
        thread = threading.get_ident()  # not in the `finally`, where an interrupt may come after it
        if thread in self._inside or self._guard._is_owned():
            self._refuse_nested()
        try:
            self._inside.add(thread)
            write = self.propose(update, call, None)
            self.wait(write, call.deadline)
        finally:
            self._inside.discard(thread)
        return self.result(write, timeout)

    def result(self, write: AwaitedWrite, timeout: float) -> int:
        """The version of a write for which a thread has waited `timeout` seconds.

        Raises as `patch`.
        """
        if not write.done:
            self._ack_waiters.give_up(write)
        if not write.done:
            raise WriteTimeoutError(
                f"the write to {self._name!r} was not acknowledged within {timeout:g} s; it stays "
                f"pending and may still be applied; {self.describe_host()}"
            )
        if write.error is not None:
            raise write.error
        assert write.version is not None
        return write.version

    def submit(self, update: Any, call: Call, future: WriteFuture) -> None:
        """Write without waiting; the future gets the outcome. Raises as `propose`."""
        thread = threading.get_ident()  # not in the `finally`, where an interrupt may come after it
        if thread in self._inside or self._guard._is_owned():
            self._refuse_nested()
        try:
            self._inside.add(thread)
            self.propose(update, call, future)
        finally:
            self._inside.discard(thread)

    def is_inside(self) -> bool:
        """Whether the calling thread is writing, so that the caller is a signal handler."""
        return threading.get_ident() in self._inside and _is_writing(self, sys._getframe(1))

    def _refuse_nested(self) -> None:
        frame = sys._getframe(2)  # below `patch` or `submit`
        if _is_writing(self, frame):
            raise nested_write("another patch() or submit()")
        if self._guard._is_owned() and is_called_back(frame):
            raise nested_write("a call that holds the object still, like snapshot(),")

    def propose(self, update: Any, call: Call, future: WriteFuture | None) -> AwaitedWrite:
        """Check a write, number it, show it and send it.

        Raises `UpdateError`, `NotSerializableError`, `UsageError`, `ReadOnlyError`,
        `QueueFullError` when the window stays full until the deadline, and `TooLargeError` for a
        proposal over the frame limit. The write is not applied then.
        """
        body, checked = check_write(update, call, self._options, self._replica.state.options)
        try:
            return self._send(body, checked, future)
        except MemSyncError:
            raise
        except BaseException:  # for example KeyboardInterrupt
            uplink = self.uplink
            if uplink is not None:
                uplink.on_interrupt()
            raise

    def _send(self, body: Any, call: Call, future: WriteFuture | None) -> AwaitedWrite:
        while True:
            with self._guard:
                turn = self._window.turn(call.deadline)
                if turn is None:
                    write, uplink = self._queue(body, call, future)
                    break
            turn.wait(call.deadline - monotonic())
        if self._trace is not None:
            sent = write.proposal
            self._trace("proposed", number=sent.number, epoch=sent.epoch, version=sent.version)
        if uplink is not None:
            uplink.kick(coalesced=future is not None)
        return write

    def _queue(
        self, body: Any, call: Call, future: WriteFuture | None
    ) -> tuple[AwaitedWrite, Uplink | None]:
        """Number a write, show it, and queue it at the uplink; the guard is held."""
        replica, writes = self._replica, self._replica.writes
        if call.watch is not None:
            call.watch.check(replica.view, body)
        (epoch, version), view, is_whole = replica.view_pair, replica.view, not replica.must_rebuild
        proposal = Propose(
            writes.next_number,
            writes.first_open,
            self._clock.tick(self._wall_ms()),
            epoch,
            version,
            call.kind,
            body,
            call.where,
            call.array_filters,
            call.w if call.w != 1 else None,  # the default does not travel
            call.journal,
            first_relied_on(view, body, writes.pending, is_whole, writes.bringing),
            call.event,
            call.lock,
        )
        encoded = frame(proposal)
        write = AwaitedWrite(proposal, call.deadline, future, encoded)
        uplink = self.uplink
        check_size(len(encoded), self.max_frame)
        self.begin_step(write.size)  # the engine's driver, which needs the guard, waits meanwhile
        try:
            replica.show(write)
        finally:
            self.end_step(write.size)
        self._window.add(write)
        if uplink is not None:
            uplink.queue_write(write, encoded)
        return write, uplink

    def wait(self, write: AwaitedWrite, deadline: float) -> None:
        """Wait until a write has its outcome, or until the deadline (monotonic seconds)."""
        while not write.done and monotonic() < deadline:
            uplink = self.uplink
            if uplink is not None and not LIBRARY:  # a greenlet must not block in there
                try:
                    uplink.wait_for(write, deadline)
                except BaseException:  # for example KeyboardInterrupt
                    uplink.on_interrupt()
                    raise
            write.wait(self._guard, deadline)

    # -- outcomes (the thread that plays the role) -----------------------------------------------

    def complete_all(
        self, published: Published[AwaitedWrite], *, holds_accepted: bool = False
    ) -> None:
        """Report the outcomes that the replica has published.

        With `holds_accepted` (a host) the accepted ones are held until another peer has the entry
        as well; see `pop_held`.
        """
        if published.forgotten or published.replaced:
            self.report_lost(published)
        if published.outcomes:
            self._complete_or_hold(published.outcomes, holds_accepted)
        self._replica.advance(published)

    def _complete_or_hold(self, outcomes: Outcomes, holds_accepted: bool) -> None:
        if not (holds_accepted or self._holds_back):
            self.complete(outcomes)
            return
        for outcome in outcomes:
            if outcome.error is None and not outcome.write.has_write_concern:
                self._held[outcome.write.number] = outcome
            else:
                self.complete([outcome])

    def pop_held(self) -> Outcomes:
        """The held outcomes; the caller completes them or gives them to `recheck_later`."""
        if not self._held:
            return []
        held, self._held = self._held, {}
        return list(held.values())

    def report_lost(self, published: Published[AwaitedWrite]) -> None:
        """Log and announce acknowledged writes of this peer that are lost."""
        for error in losses(published, self._replica.writes.keep):
            log.error("%s", error)
            self._rolled_back(error)

    def complete(self, outcomes: Outcomes) -> None:
        """Resolve writes, or have them wait for their write concern."""
        resolved = [outcome.write for outcome in outcomes if self._resolve(outcome)]
        if resolved:
            self._close(resolved)

    def _resolve(self, outcome: Outcome[AwaitedWrite]) -> bool:
        """Report an outcome; False if the write waits for its write concern instead."""
        write, version, error, rolled_back, _ = outcome
        if error is not None and (rolled_back or write.done):
            self._rolled_back(error)  # it was visible, or even acknowledged by a lost host
        if error is None and not write.done and write.has_write_concern:
            self._ack_waiters.add(write, version)
            if write.future is not None:
                self.wake()  # the driver ends the waiting in time
            return False
        write.resolve(version, error)
        return True

    def reached(self, progress: ConcernProgress) -> None:
        """Note the progress of a write concern, as the host reports it."""
        write = self._replica.writes.pending.get(progress.number)
        if write is not None:
            write.progress = progress  # the acceptance itself comes later
        else:
            self._ack_waiters.reached(progress)

    def next_deadline(self) -> float:
        """When the next waiting for a concern ends (monotonic seconds); infinity without any."""
        return self._ack_waiters.next_deadline()

    def give_up_late(self, now: float) -> None:
        """End the waiting for concerns whose time is over (monotonic seconds)."""
        self._ack_waiters.give_up_late(now)

    def _close(self, writes: list[AwaitedWrite]) -> None:
        self._window.close(writes)
        if self._trace is None:
            return
        for write in writes:
            error = type(write.error).__name__ if write.error is not None else None
            self._trace("resolved", number=write.number, version=write.version, error=error)

    def unsent(self, number: int) -> list[AwaitedWrite]:
        """The pending writes from a number on, for a host that asks for them."""
        with self._guard:
            return self._replica.writes.after(number - 1)

    # -- roles (the engine's driver) -------------------------------------------------------------

    def recheck_later(self, outcomes: Outcomes) -> None:
        """An epoch ended before these outcomes were reported: the next host decides."""
        self._unconfirmed += [*outcomes, *self._ack_waiters.pop_all()]

    def _recheck(self) -> Outcomes:
        """Compare unconfirmed outcomes with the copy of the new host.

        A write that the host has is accepted. A write that it lacks is pending again if this peer
        still has it, and lost otherwise.
        """
        known: Outcomes = []
        self.recheck_later([])
        unconfirmed, self._unconfirmed = self._unconfirmed, []
        session = self._replica.state.sessions.get(self._replica.peer)
        for outcome in unconfirmed:
            number = outcome.write.number
            if number in self._replica.writes.pending:
                outcome.write.progress = None  # the new host counts from zero
                continue
            if outcome.made_entry and (session is None or number > session.last):
                lost = "the host that ordered this write was replaced, and the next one lacks it"
                outcome = outcome._replace(error=ConflictError(lost))
            known.append(outcome)
        return known

    def enter(self, uplink: Uplink, last: int, *, holds_accepted: bool) -> None:
        """Send writes to this uplink, first those above `last`, which the host has not decided."""
        self.complete_all(self._replica.publish(), holds_accepted=holds_accepted)
        self._complete_or_hold(self._recheck(), holds_accepted)
        with self._guard:
            self._window.recount()
            for write in self._replica.writes.after(last):
                uplink.queue_write(write, frame(write.proposal))
            for message in self._ack_waiters.resumes():
                uplink.queue_resume(message)
            self.uplink = uplink
        uplink.kick()

    def leave(self, *, for_good: bool, holds_back: bool = False) -> None:
        """Keep writes pending until the next `enter`; with `for_good` the peer leaves its group.

        With `holds_back`, outcomes that the lost host left behind are held until the next host
        confirms them: the others may have gone on without this peer.
        """
        with self._guard:
            self.uplink = None
        self.has_left = for_good
        self._holds_back = holds_back

    def stop_holding_back(self) -> Outcomes:
        """The role has ended; returns the held outcomes."""
        self._holds_back = False
        return self.pop_held()

    def flush(self, deadline: float) -> None:
        """Wait until all writes have an outcome, or until the deadline (monotonic seconds)."""
        for write in self._window.open_writes():
            self.wait(write, deadline)

    def end(self) -> None:
        """The peer has stopped: undecided writes get an error, new ones are refused."""
        self.complete_all(self._replica.published())
        for write in self._window.end():
            if self.has_left:  # else the host was lost, and perhaps the write as well
                self._ack_waiters.give_up(write)
            if write.done:
                continue
            error = WriteTimeoutError("the peer stopped before the write was acknowledged")
            write.resolve(self._replica.state.version, error)
            self._close([write])


def _is_writing(writer: Writer, frame: FrameType | None) -> bool:
    """Whether a frame, or one that has called it, is in `patch` or `submit` of a writer."""
    return is_called_below(frame, writer, (Writer.patch.__code__, Writer.submit.__code__))
