"""This peer's own writes, from the call to the outcome.

Any thread may write. A write is checked, gets its number and is handed to the role (the link to the
host, or the host itself) in one step under `lock`, so the order of the numbers is the order of the
stream. The lock is held for neither I/O nor callbacks. While there is no role, between two hosts,
writes are kept; whoever the next host is gets those it has not decided.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import Any, Protocol

from ..document import check_filter, check_patch, check_update, normalize
from ..errors import (
    MemSyncError,
    NotStartedError,
    QueueFullError,
    ReadOnlyError,
    TooLargeError,
    UpdateError,
    WriteTimeoutError,
)
from ..options import Options
from ..replication.clock import HybridClock
from ..replication.messages import Propose, frame
from ..replication.state import State
from ..replication.writes import Write, Writes


class PendingWrite(Write):
    """A write that a thread may wait for."""

    def __init__(self, proposal: Propose) -> None:
        super().__init__(proposal)
        self._decided = threading.Lock()
        self._decided.acquire()
        self.future: Future[int] | None = None

    def resolve(self, version: int, error: MemSyncError | None) -> None:
        """Set the outcome and wake who waits; once it is known, nothing changes it."""
        if self.done:
            return
        super().resolve(version, error)
        self._decided.release()
        if self.future is None:
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(version)

    def wait(self, deadline: float) -> None:
        """Wait until the outcome is known, or the time is over (monotonic seconds)."""
        if not self.done and self._decided.acquire(timeout=max(deadline - time.monotonic(), 0)):
            self._decided.release()


class Way(Protocol):
    """Where writes go: the role which the peer plays."""

    def queue_write(self, write: PendingWrite, encoded: bytes) -> None:
        """Append a write to the stream, without I/O."""

    def kick(self) -> None:
        """Send what is queued."""

    def wait_for(self, write: PendingWrite, deadline: float) -> None:
        """Help the write to its outcome, where the waiting thread can; may return early."""

    def break_off(self) -> None:
        """The calling thread was interrupted somewhere in here: take up the writes anew."""


class OwnWrites:
    """The numbered writes of one peer, and the threads that wait for them."""

    def __init__(self, name: str, options: Options, state: State, clock: HybridClock) -> None:
        self.lock = threading.Lock()
        self.max_frame = options.network.max_frame  # bytes; the group's, once it is known
        self._name = name
        self._options = options
        self._state = state
        self._clock = clock
        self._room = threading.Condition(self.lock)
        self._writes: Writes[PendingWrite] = Writes(keep=options.network.window)
        self._way: Way | None = None
        self._ended = False

    @property
    def lowest(self) -> int:
        """The lowest number whose outcome is unknown."""
        return self._writes.lowest

    @property
    def pending(self) -> int:
        """How many writes have no outcome yet."""
        return len(self._writes.pending)

    def patch(self, update: Any, where: Any, array_filters: Any, timeout: float) -> int:
        """Write, and wait for the outcome: the version from which on it counts.

        Raises what the update is refused with, `WriteTimeoutError` after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        write = self.propose(update, where, array_filters, deadline)
        self.wait(write, deadline)
        if not write.done:
            raise WriteTimeoutError(
                f"no answer from the host of {self._name!r} within {timeout:g} s; the write stays "
                "pending and may still be applied"
            )
        if write.error is not None:
            raise write.error
        assert write.version is not None
        return write.version

    def propose(
        self,
        update: Any,
        where: Any,
        array_filters: Any,
        deadline: float,
        *,
        future: Future[int] | None = None,
    ) -> PendingWrite:
        """Check a write, number it and send it on its way.

        Raises `UpdateError`, `NotSerializableError`, `ReadOnlyError`, `QueueFullError` when the
        window stays full until the deadline, `TooLargeError` for a proposal over the frame limit;
        the write is then not applied.
        """
        if "writer" not in self._options.peer.roles:
            raise ReadOnlyError(
                f"this peer's roles are {list(self._options.peer.roles)}: state peer.roles: "
                "['writer'] to write"
            )
        if array_filters is not None:
            array_filters = normalize(array_filters, "array_filters")
        body = _checked(update, array_filters)
        where = check_filter(where) if where is not None else None
        try:
            return self._send(body, where, array_filters, deadline, future)
        except MemSyncError:
            raise
        except BaseException:  # for example KeyboardInterrupt
            self._break_off()
            raise

    def _send(
        self,
        body: Any,
        where: Any,
        array_filters: Any,
        deadline: float,
        future: Future[int] | None,
    ) -> PendingWrite:
        with self.lock:
            if self._ended:
                raise NotStartedError("this peer has stopped: call start() again")
            self._wait_for_room(deadline)
            proposal = Propose(
                self._writes.next_number,
                self._writes.lowest,
                self._clock.tick(time.time_ns() // 1_000_000),
                self._state.epoch,
                self._state.version,
                "patch",
                body,
                where,
                array_filters,
            )
            encoded = frame(proposal)
            self._check_size(len(encoded))
            write = PendingWrite(proposal)
            write.future = future
            self._writes.add(write)
            way = self._way
            if way is not None:
                way.queue_write(write, encoded)
        if way is not None:
            way.kick()
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
        window = self._options.network.window
        while len(self._writes.pending) >= window:
            left = deadline - time.monotonic()
            if self._ended:
                raise NotStartedError("this peer has stopped: call start() again")
            if left <= 0 or not self._room.wait(left):
                raise QueueFullError(
                    f"{window} writes are in flight (network.window) and none was answered in time"
                )

    def _check_size(self, size: int) -> None:
        limit = self.max_frame
        if size > limit:
            raise TooLargeError(
                f"the update has {size} bytes, over network.maxFrame ({limit}): split it, or raise "
                "the limit for the whole group"
            )

    def settle(self, number: int, version: int, error: MemSyncError | None) -> None:
        """The outcome of an own write is known."""
        write = self._writes.pending.get(number)
        if write is None:
            return  # known already
        write.resolve(version, error)
        with self.lock:
            self._writes.settle(number, accepted=error is None)
            self._room.notify()

    def unsent(self, number: int) -> list[PendingWrite]:
        """The own writes from a number on, for a host that asks for them."""
        with self.lock:
            return self._writes.after(number - 1)

    # -- what the driver does --------------------------------------------------------------------

    def enter(self, way: Way, last: int) -> None:
        """From now on writes go this way, beginning with those the host has not decided."""
        with self.lock:
            for write in self._writes.after(last):
                way.queue_write(write, frame(write.proposal))
            self._way = way
        way.kick()

    def leave(self) -> None:
        """There is no host now; writes are kept."""
        with self.lock:
            self._way = None

    def flush(self, deadline: float) -> None:
        """Wait until all writes are decided, or the time is over (monotonic seconds)."""
        for write in list(self._writes.pending.values()):
            self.wait(write, deadline)

    def end(self) -> None:
        """The peer has stopped: what is undecided stays unknown, nothing new is taken."""
        with self.lock:
            self._ended = True
            orphans = list(self._writes.pending.values())
            self._writes.pending.clear()
            self._room.notify_all()
        for write in orphans:
            error = WriteTimeoutError("the peer stopped before the write was answered")
            write.resolve(self._state.version, error)


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
