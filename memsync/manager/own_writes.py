"""This peer's own writes, from the call to the outcome.

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

from ..document import check_filter, check_patch, check_update, normalize
from ..errors import (
    ConflictError,
    MemSyncError,
    NotStartedError,
    QueueFullError,
    ReadOnlyError,
    TooLargeError,
    UpdateError,
    UsageError,
    WriteTimeoutError,
)
from ..options import Options
from ..replication.clock import HybridClock
from ..replication.codec import frame
from ..replication.concern import Concern, Reached, check_concern
from ..replication.entries import Propose
from ..replication.replica import Outcome, Replica
from .concerned import Concerned
from .pending_write import Call, PendingWrite, Way
from .trace import Trace

log = logging.getLogger("memsync.writes")


class OwnWrites:
    """The numbered writes of one peer, and the threads that wait for them."""

    def __init__(
        self,
        name: str,
        options: Options,
        replica: Replica[PendingWrite],
        guard: Any,  # the replica's, as a lock for threads
        clock: HybridClock,
        rolled_back: Callable[[MemSyncError], None],
        wake: Callable[[], None],
        wall_ms: Callable[[], int],
        whereabouts: Callable[[], str],
        trace: Trace | None = None,
    ) -> None:
        self.max_frame = options.network.max_frame  # bytes; the group's, once it is known
        self._name = name
        self._options = options
        self._guard = guard
        self._replica = replica
        self._clock = clock
        self._rolled_back = rolled_back
        self._wake = wake
        self._wall_ms = wall_ms
        self._whereabouts = whereabouts
        self._trace = trace
        self._room = threading.Condition(self._guard)
        self._open: dict[int, PendingWrite] = {}  # those whose outcome nobody was told
        self._concerned = Concerned(guard, self._close)
        self._way: Way | None = None
        self._taken_back: list[Outcome[PendingWrite]] = []  # of a reign that ended before it told
        self._has_left = False
        self._holds_back = False  # what comes now is of a host that may be replaced already
        self._ended = False
        self._inside: set[int] = set()  # the threads that are in `patch` or `submit`

    @property
    def lowest(self) -> int:
        """The lowest number whose outcome is unknown."""
        return self._replica.writes.lowest

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
            write = self._propose(update, call, None)
            self.wait(write, call.deadline)
        finally:
            self._inside.discard(threading.get_ident())
        if not write.done:
            if write.accepted:
                self._concerned.give_up(write)
            else:
                raise WriteTimeoutError(
                    f"the write to {self._name!r} was not acknowledged within {timeout:g} s; it "
                    f"stays pending and may still be applied; {self._whereabouts()}"
                )
        if write.error is not None:
            raise write.error
        assert write.version is not None
        return write.version

    def submit(self, update: Any, call: Call, future: Future[int]) -> None:
        """Write without waiting; the future gets the outcome. Raises as `_propose`."""
        self._refuse_nested()
        try:
            self._inside.add(threading.get_ident())
            self._propose(update, call, future)
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

    def _propose(self, update: Any, call: Call, future: Future[int] | None) -> PendingWrite:
        """Check a write, number it, show it and send it on its way.

        Raises `UpdateError`, `NotSerializableError`, `UsageError`, `ReadOnlyError`,
        `QueueFullError` when the window stays full until the deadline, `TooLargeError` for a
        proposal over the frame limit; the write is then not applied.
        """
        if "writer" not in self._options.peer.roles:
            raise ReadOnlyError(
                f"this peer's roles are {list(self._options.peer.roles)}: state peer.roles: "
                "['writer'] to write"
            )
        w = self._checked_concern(call)
        array_filters = call.array_filters
        if array_filters is not None:
            array_filters = normalize(array_filters, "array_filters")
        body = _checked(update, array_filters)
        where = check_filter(call.where) if call.where is not None else None
        checked = call._replace(where=where, array_filters=array_filters, w=w)
        try:
            return self._send(body, checked, future)
        except MemSyncError:
            raise
        except BaseException:  # for example KeyboardInterrupt
            self._break_off()
            raise

    def _checked_concern(self, call: Call) -> Concern | None:
        if not isinstance(call.journal, bool):
            raise UsageError(f"journal must be True or False, not {call.journal!r:.60}")
        if call.journal and not self._options.file.journal:
            raise UsageError(
                "journal=True needs a journal: state the option file.journal: true together with "
                "file.path"
            )
        return check_concern(call.w)

    def _send(self, body: Any, call: Call, future: Future[int] | None) -> PendingWrite:
        replica = self._replica
        with self._guard:
            self._wait_for_room(call.deadline)
            epoch, version = replica.shown
            proposal = Propose(
                replica.writes.next_number,
                replica.writes.lowest,
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
            write = PendingWrite(proposal, call.deadline, future, len(encoded))
            way = self._way
            self._check_size(len(encoded))
            self._open[proposal.number] = write
            replica.show(write)
            if way is not None:
                way.queue_write(write, encoded)
        if self._trace is not None:
            self._trace("proposed", number=proposal.number, epoch=epoch, version=version)
        if way is not None:
            way.kick(lazy=future is not None)
        return write

    def wait(self, write: PendingWrite, deadline: float) -> None:
        """Wait until a write is decided or the time is over."""
        while not write.done and time.monotonic() < deadline:
            way = self._way
            if way is not None:
                try:
                    way.wait_for(write, deadline)
                except BaseException:  # for example KeyboardInterrupt
                    way.break_off()
                    raise
            write.wait(deadline)

    def _break_off(self) -> None:
        way = self._way
        if way is not None:
            way.break_off()

    def _wait_for_room(self, deadline: float) -> None:
        """Wait until the window has room and the peer lives; the guard is held."""
        window = self._options.network.window
        while True:
            if self._ended:
                raise NotStartedError("this peer has stopped: call start() again")
            if self.pending < window:
                return
            way = self._way
            if way is not None:
                way.kick()
            left = deadline - time.monotonic()
            if left <= 0 or not self._room.wait(left):
                raise QueueFullError(
                    f"{window} writes are under way or wait for their write concern "
                    "(network.window), and none was acknowledged in time"
                )

    def _check_size(self, size: int) -> None:
        limit = self.max_frame
        if size > limit:
            raise TooLargeError(
                f"the update has {size} bytes, over network.maxFrame ({limit}): split it, or raise "
                "the limit for the whole group"
            )

    # -- outcomes (the thread that plays the role) -----------------------------------------------

    def tell(self, *, keeps_accepted: bool = False) -> None:
        """Make known what the replica has found out about own writes.

        A host keeps those that are accepted until they are with another peer as well.
        """
        lost, self._replica.lost = self._replica.lost, 0
        if lost:
            self._tell_lost(
                lost,
                "it was frozen while its host died and others went on without it, and it remembers "
                f"no more than network.maxLog ({self._replica.writes.keep}) of its own writes to "
                "bring back",
            )
        given_up, self._replica.given_up = self._replica.given_up, 0
        if given_up:
            self._tell_lost(
                given_up,
                "after the files of the object were deleted it was founded a second time, and the "
                "one that was founded earlier counts",
            )
        outcomes = self._replica.outcomes
        kept = []
        keeps_accepted = keeps_accepted or self._holds_back
        while outcomes:
            outcome = outcomes[0]
            if keeps_accepted and outcome.error is None and not outcome.write.is_concerned:
                kept.append(outcome)
            else:
                self.settle(outcome)
            outcomes.popleft()
        outcomes.extend(kept)

    def _tell_lost(self, count: int, why: str) -> None:
        error = ConflictError(f"{count} or more acknowledged writes of this peer are lost: {why}")
        log.error("%s", error)
        self._rolled_back(error)

    def settle(self, outcome: Outcome[PendingWrite]) -> None:
        """The outcome of an own write is known; its concern may have to be waited for."""
        write, version, error, rolled_back, _ = outcome
        if error is not None and (rolled_back or write.done):
            self._rolled_back(error)  # it was visible, or even acknowledged by a lost host
        if error is None and not write.done and write.is_concerned:
            self._concerned.add(write, version)
            if write.future is not None:
                self._wake()  # the driver is to end the waiting in time
            return
        write.resolve(version, error)
        self._close(write)

    def reached(self, progress: Reached) -> None:
        """The host tells how far the concern of an own write has come."""
        write = self._replica.writes.pending.get(progress.number)
        if write is not None:
            write.progress = progress  # it is not known yet that it was accepted
        else:
            self._concerned.reached(progress)

    def next_deadline(self) -> float:
        """When the next waiting for a concern ends (monotonic seconds), unless nobody waits."""
        return self._concerned.next_deadline()

    def give_up_late(self, now: float) -> None:
        """End the waiting for concerns whose time is over (monotonic seconds)."""
        self._concerned.give_up_late(now)

    def _close(self, write: PendingWrite) -> None:
        """The outcome of a write has been told."""
        with self._guard:
            self._open.pop(write.proposal.number, None)
            self._room.notify()
        if self._trace is not None:
            error = type(write.error).__name__ if write.error is not None else None
            self._trace("told", number=write.proposal.number, version=write.version, error=error)

    def unsent(self, number: int) -> list[PendingWrite]:
        """The own writes from a number on, for a host that asks for them."""
        with self._guard:
            return self._replica.writes.after(number - 1)

    # -- what the driver does --------------------------------------------------------------------

    def take_back(self, outcomes: list[Outcome[PendingWrite]]) -> None:
        """A reign of this peer has ended before these outcomes could be told."""
        self._taken_back += outcomes
        self._take_concerned_back()

    def _take_concerned_back(self) -> None:
        for write in self._concerned.take_back():
            self._taken_back.append(Outcome(write, write.accepted, None, False))
            write.accepted = 0

    def _look_what_became_of_them(self) -> None:
        """What the next host has counts, what it lacks is pending again, if it is remembered."""
        self._take_concerned_back()
        taken_back, self._taken_back = self._taken_back, []
        row = self._replica.state.table.get(self._replica.peer)
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
            self._replica.outcomes.append(outcome)

    def enter(self, way: Way, last: int, *, keeps_accepted: bool) -> None:
        """From now on writes go this way, beginning with those the host has not decided."""
        self._replica.settle()
        self._look_what_became_of_them()
        self.tell(keeps_accepted=keeps_accepted)
        with self._guard:
            for write in self._replica.writes.after(last):
                way.queue_write(write, frame(write.proposal))
            for message in self._concerned.awaits():
                way.queue_await(message)
            self._way = way
        way.kick()

    def leave(self, *, for_good: bool, holds_back: bool = False) -> None:
        """There is no host now; writes are kept, unless the peer leaves the group.

        With `holds_back`, what the lost host has left behind is not told before the next one shows
        that it counts: others may have gone on without this peer.
        """
        with self._guard:
            self._way = None
        self._has_left = for_good
        self._holds_back = holds_back

    def untold(self) -> list[Outcome[PendingWrite]]:
        """Take out what was accepted and held back."""
        self._holds_back = False
        outcomes = self._replica.outcomes
        accepted = [outcome for outcome in outcomes if outcome.error is None]
        refused = [outcome for outcome in outcomes if outcome.error is not None]
        outcomes.clear()
        outcomes.extend(refused)
        return accepted

    def flush(self, deadline: float) -> None:
        """Wait until all writes are decided, or the time is over (monotonic seconds)."""
        with self._guard:
            waiting = list(self._open.values())
        for write in waiting:
            self.wait(write, deadline)

    def end(self) -> None:
        """The peer has stopped: what is undecided stays unknown, nothing new is taken."""
        self.tell()
        with self._guard:
            self._ended = True
            orphans = list(self._open.values())
            self._room.notify_all()
        for write in orphans:
            if write.accepted and self._has_left:  # else its host was lost, and perhaps it as well
                self._concerned.give_up(write)
                continue
            error = WriteTimeoutError("the peer stopped before the write was acknowledged")
            write.resolve(self._replica.state.version, error)
            self._close(write)


def _checked(update: Any, array_filters: Any) -> Any:
    """A detached copy of an update or of RFC 6902 operations, if it is one."""
    if array_filters is not None and not isinstance(array_filters, list):
        raise UpdateError(
            f"array_filters must be a list of filters, not {array_filters!r:.60}",
            kind="array_filters",
        )
    if isinstance(update, dict):
        return check_update(update, array_filters or [])
    if array_filters is not None:
        raise UpdateError(
            "array_filters belong to update operators: RFC 6902 operations have none",
            kind="array_filters",
        )
    if isinstance(update, list) or hasattr(update, "patch"):
        return check_patch(update)
    raise UpdateError(
        f"{update!r:.60} is no update: give operators like {{'$set': {{...}}}}, a list of RFC 6902 "
        "operations, or a jsonpatch.JsonPatch",
        kind="bad_operand",
    )
