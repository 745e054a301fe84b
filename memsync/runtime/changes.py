"""`MemSync.changes`: an iterator over the values at a path, batch by batch.

Each batch that concerns the path is captured at its end, under the guard, so an iterator that comes
late still gets every value. What would cost the writers much is not captured: large values, and
those of an iterator that is far behind. Such batches are merged and counted, and the iterator reads
the newest value in their place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol

from ..clocks import monotonic
from ..document import (
    UNKNOWN,
    Operation,
    PlaceHistory,
    estimated_size,
    identical,
    object_depths,
    place_of,
    read_write_set,
    to_plain,
)
from ..errors import UsageError
from ..options import check_path
from ..replication.compile_proposal import node_at
from ..replication.entries import Entry
from .own_threads import refuse_waiting
from .participant import Participant
from .view_waiters import User, ViewWaiter

MAX_CAPTURED = 1000  # batches
MAX_BYTES = 4096  # of a value that is captured, about, as JSON; on average if it is from the log

_NOTHING: Any = object()


class Batch(NamedTuple):
    """The value after a batch."""

    value: Any
    version: int
    missed: int = 0  # batches before it that are merged into it, at most
    own: bool = False  # with a write of this peer that has no version yet
    objects: frozenset[int] = frozenset()  # around the place, if it is the value of now


class BatchQueue(ViewWaiter):
    """Captures the batches that concern a place; used under the guard."""

    __slots__ = ("_batches", "_look", "_merged", "_version")

    def __init__(
        self, pointer: str, look: Callable[[], tuple[Any, int]], user: User | None
    ) -> None:
        super().__init__([pointer], user)
        self._look = look
        self._version = look()[1]
        self._batches: deque[Batch] = deque()
        self._merged = 0  # batches after those

    def noted(self, operations: list[Operation] | None, own: bool) -> None:
        value, version = self._look()
        skipped = max(version - self._version - 1, 0) if operations is None else 0
        self._version = version
        is_late = self._merged or len(self._batches) >= MAX_CAPTURED
        if is_late or estimated_size([value], MAX_BYTES) > MAX_BYTES:
            self._merged += skipped + 1
        else:
            self._batches.append(Batch(to_plain(value), version, skipped, own))

    def is_pending(self, participant: Participant) -> bool:
        """Whether a pending write concerns the place."""
        pending = participant.replica.writes.pending.values()
        return any(self.places.overlaps(read_write_set(write.operations)) for write in pending)

    def first(self, view: Any) -> Batch | None:
        """The next batch, which `drop` removes; None if there is none."""
        if self._batches:
            return self._batches[0]
        if self._merged:
            value, version = self._look()
            return Batch(to_plain(value), version, self._merged - 1)
        return None

    def left(self, now: Batch) -> list[Batch]:
        """What was not read, and the value of now behind it, from another copy."""
        missed = self._merged + max(now.version - self._version - 1, 0)
        return [*self._batches, now._replace(missed=missed)]

    def drop(self, batch: Batch, view: Any) -> None:
        """Remove what `first` has returned."""
        if self._batches and self._batches[0] is batch:
            self._batches.popleft()
        else:
            self._merged -= batch.missed + 1


class Joined(Protocol):
    """A handle."""

    _use: Any  # the `User` that it is
    _dispatcher: Any

    def _participating(self) -> Participant:
        """The participant of its running engine."""


class Changes(Iterator[tuple[Any, int]]):
    """The iterator that `MemSync.changes` returns; not to be shared by several threads."""

    def __init__(
        self,
        participant: Participant,
        path: str,
        since: int | None = None,
        initial: bool = False,
        timeout: float | None = None,
        handle: Joined | None = None,
    ) -> None:
        self._pointer = place_of(check_path(path)) if path != "" else ""
        self._path = path
        _check_version(since)
        self.missed = 0
        """How many batches, at most, were left out between the last two values."""
        self._handle = handle  # a copy by pickle must not be gone before the iterator
        self._timeout = timeout
        self._has_ended = False
        now = self._follow(participant)
        self._left_out = 0  # batches since the last value
        self._past: deque[Batch] = deque()
        if since is not None and since <= now.version:
            self._past = _newest(_batches_since(participant, self._pointer, since, now))
        elif since is not None:  # of a former life of the object: everything is news
            self._past.append(now._replace(missed=max(now.version, 1)))
        self._last = _NOTHING if self._past or initial else now.value
        if initial and not self._past:
            self._past.append(now)

    def _follow(self, participant: Participant) -> Batch:
        """Wait for the changes of this participant; returns the value of now."""
        self._participant = participant
        look = partial(_look, participant.replica, self._path)
        user = self._handle._use if self._handle else None

        def begin(view: Any) -> Batch:
            self._queue = BatchQueue(self._pointer, look, user)
            participant.view_waiters.include(self._queue)
            value, version = look()
            is_own = self._queue.is_pending(participant)
            objects = frozenset() if is_own else object_depths(view, self._pointer)
            return Batch(to_plain(value), version, own=is_own, objects=objects)

        return participant.read(begin)

    def __next__(self) -> tuple[Any, int]:
        refuse_waiting("iterating over changes()")
        if self._timeout != 0 and self._handle:
            self._handle._dispatcher.refuse_blocking(
                "iterating over changes()", "iterate with timeout=0"
            )
        if self._participant.is_of_parent and self._handle and not self._queue.closed:
            # In a forked child, which joins.
            queue = self._queue
            self._past += queue.left(self._follow(self._handle._participating()))
        participant, queue = self._participant, self._queue
        deadline = None if self._timeout is None else monotonic() + self._timeout
        while not self._has_ended:
            batch = self._past[0] if self._past else participant.read(queue.first)
            if batch is None:
                if participant.view_waiters.wait(queue, deadline):
                    continue
                break
            is_new = self._last is _NOTHING or not identical(batch.value, self._last)
            self._last = batch.value
            self._left_out += batch.missed
            if self._past and self._left_out:
                is_new = True  # what the log lacks may have had other values
            if self._past:
                self._past.popleft()
            else:
                participant.read(partial(queue.drop, batch))
            if is_new:
                self.missed, self._left_out = self._left_out, 0
                return to_plain(batch.value), batch.version
        self._has_ended = True
        self.close()
        raise StopIteration

    def close(self) -> None:
        """End the iteration after what it has kept; may be called twice.

        A thread that waits in it is woken.
        """
        self._participant.view_waiters.close(self._queue)

    def __enter__(self) -> Changes:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _look(replica: Any, path: str) -> tuple[Any, int]:
    return node_at(replica.view, path), replica.view_pair[1]


def _check_version(since: Any) -> None:
    if since is None:
        return
    if isinstance(since, bool) or not isinstance(since, int) or since < 0:
        raise UsageError(
            f"since must be a version that changes(), patch() or mem.version has returned, not "
            f"{since!r:.60}"
        )


def values_since(participant: Participant, path: str, since: Any) -> list[list[Any]]:
    """``[value, version, missed]`` after each version above `since`, as `Changes` yields them.

    For a process that has no log of its own. Raises `UsageError`.
    """
    changes = Changes(participant, path, since)
    changes.close()
    values: list[list[Any]] = []
    left_out = 0
    for batch in changes._past:
        left_out += batch.missed
        if left_out or not values or not identical(batch.value, values[-1][0]):
            values.append([batch.value, batch.version, left_out])
            left_out = 0
    return values


def _batches_since(
    participant: Participant, pointer: str, since: int, now: Batch
) -> Iterator[Batch]:
    """The values since a version that follow from the log, and the value of now behind them.

    Yields nothing if the place was not touched, by a pending write either. Each entry counts as a
    batch.
    """
    entries, lost = _entries_since(participant, since)
    patches = [
        (entry.version, participant.state.kinds[entry.kind].changes(entry))
        for entry in entries
        if entry.version <= now.version
    ]
    history = PlaceHistory(pointer, now.objects, [changes for _, changes in patches])
    missed, is_touched = lost, lost > 0 or now.own
    for version, changes in patches:
        if not history.follow(changes):
            continue
        is_touched = True
        if history.value is UNKNOWN:
            missed += 1
        else:
            yield Batch(to_plain(history.value), version, missed)
            missed = 0
    if is_touched:
        # It is the value after the last entry, if that one is unknown.
        yield now._replace(missed=max(missed - 1, 0))


def _newest(batches: Iterator[Batch]) -> deque[Batch]:
    """The newest batches, as many as memory is meant for; the rest counts as missed."""
    kept: deque[tuple[Batch, int]] = deque()
    most, total = MAX_CAPTURED * MAX_BYTES, 0
    for batch in batches:
        size = estimated_size([batch.value], most)
        kept.append((batch, size))
        total += size
        while total > most and len(kept) > 1:
            gone, size = kept.popleft()
            total -= size
            first, size = kept[0]
            kept[0] = first._replace(missed=first.missed + gone.missed + 1), size
    return deque(batch for batch, _ in kept)


def _entries_since(participant: Participant, since: int) -> tuple[list[Entry], int]:
    """The entries above a version that the log has, and how many it has no more."""
    log = participant.log
    while True:
        try:
            entries = log.newest(since, log.max_entries, log.max_bytes)
        except RuntimeError:  # the thread that plays the role has appended one
            continue
        first = entries[0].version if entries else log.version + 1
        return entries, max(first - since - 1, 0)
