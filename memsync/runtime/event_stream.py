"""`Events.stream` and `Events.wait`: threads that wait for events.

A stream begins with what the log still has of the events after a version, and goes on with those
that arrive. No event is in both, and none is in neither.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from ..clocks import monotonic
from ..errors import NotStartedError, UsageError, WaitTimeoutError
from ..replication.kinds.event import check_event_pattern, events_up_to
from .announcer import Event, Gap, event_of
from .detached import own
from .event_router import EventQueue, EventRouter, matcher
from .own_threads import refuse_waiting
from .participant import Participant
from .wakeup import Wakeup


class EventStream(Iterator[Event | Gap]):
    """The iterator that `Events.stream` returns; not to be shared by several threads."""

    def __init__(self, inbox: EventInbox, handle: object = None) -> None:
        self._inbox = inbox
        self._handle = handle  # a copy by pickle must not be gone before the iterator

    def __next__(self) -> Event | Gap:
        refuse_waiting("iterating over events.stream()")
        self._inbox.router.refuse_blocking("iterating over events.stream()")
        item = self._inbox.next_before(None)
        if item is None:
            self.close()
            raise StopIteration
        return item

    def close(self) -> None:
        """End the iteration and wake a thread that waits in it; may be called twice."""
        self._inbox.close()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class EventInbox:
    """What one stream is to get: from the log, and then what arrives."""

    def __init__(
        self, participant: Participant, router: EventRouter, name: str, since: int | None
    ) -> None:
        self.router = router
        self._matches = matcher(check_event_pattern(name))
        self._since = checked_version(since)
        self._participant = participant
        self._queue = EventQueue()
        self._wakeup = Wakeup()
        self._due = False
        self._ended = False
        self._known = (0, 0)  # up to here events come from the log
        router.add_stream(self)  # first: what arrives while the log is read is not lost
        self._from_log = deque(self._replayed(since)) if since is not None else deque()

    def _replayed(self, since: int) -> list[Event | Gap]:
        """The events after a version that the log holds, behind a gap if it lacks some.

        After a version of another history there is the gap alone.
        """
        participant = self._participant
        self._known = participant.announcer.under_way
        with participant.guard:
            is_foreign = since > participant.state.version
        if is_foreign:
            self._since = 0
            return [Gap(None)]
        missed, events = held_events(participant, since, self._known)
        gap = [] if missed == 0 else [Gap(missed)]
        return [*gap, *(event for event in events if self._matches(event.name))]

    # -- the thread that plays the role ----------------------------------------------------------

    def arrived(self, event: Event) -> None:
        if event.version <= self._since or (event.epoch, event.version) <= self._known:
            return
        if self._matches(event.name):
            self._queue.put(event)
            self._wake()

    def missed(self, count: int) -> None:
        self._queue.put_gap(count)
        self._wake()

    def end(self) -> None:
        self._ended = True
        self._wake()

    def after_fork(self) -> None:
        self._queue = EventQueue()
        self._ended = True

    def _wake(self) -> None:
        self._due = True
        self._wakeup.set()

    # -- the program -----------------------------------------------------------------------------

    def next_before(self, deadline: float | None) -> Event | Gap | None:
        """The next item; None at the deadline (monotonic seconds), and at the end."""
        while True:
            if self._from_log:
                return self._from_log.popleft()
            self._due = False
            waiting = self._queue.take()
            if waiting is not None:
                item = waiting.item  # of all receivers
                return item._replace(args=own(item.args)) if isinstance(item, Event) else item
            if self.is_over:
                return None
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                return None
            if not self._due:
                self._wakeup.wait(left)

    @property
    def is_over(self) -> bool:
        """Whether nothing more arrives, because the peer or the stream has ended."""
        return self._ended or self._participant.view_waiters.ended

    def close(self) -> None:
        """Get nothing more, and wake a thread that waits."""
        self.router.remove_stream(self)
        self.end()


def held_events(
    participant: Participant, since: int, until: tuple[int, int]
) -> tuple[int | None, list[Event]]:
    """The events after a version, up to a pair, that the log holds, and how many it lacks.

    The number is None where this peer does not know it.
    """
    base, held = participant.log.held_above(since)
    # What the log has dropped above the pair is not asked for. At (0, 0) nothing is known yet.
    end = min(base, until[1]) if until[1] else base
    events = [
        event_of(entry)
        for entry in held
        if entry.event is not None
        and entry.version > since
        and (entry.epoch, entry.version) <= until
    ]
    if since >= end:
        return 0, events
    with participant.guard:
        first, last = (events_up_to(participant.state, each) for each in (since, end))
    missed = None if first is None or last is None else max(last - first, 0)
    return missed, events


def next_event(inbox: EventInbox, name: str, deadline: float, seconds: float) -> Event:
    """The next event, which is waited for `seconds`; see `Events.wait`."""
    gaps: list[int | None] = []
    while True:
        item = inbox.next_before(deadline)
        if isinstance(item, Event):
            return item
        if isinstance(item, Gap):
            gaps.append(item.count)
            continue
        if inbox.is_over:
            raise NotStartedError("this peer stopped during events.wait(): call start() again")
        missed = "some" if None in gaps else sum(map(int, filter(None, gaps)))
        lost = f"; this peer has missed {missed} events meanwhile" if gaps else ""
        raise WaitTimeoutError(f"no event {name!r} came within {seconds:g} s{lost}")


def checked_version(since: int | None) -> int:
    """A version, 0 for None; raises `UsageError`."""
    if since is None:
        return 0
    if isinstance(since, bool) or not isinstance(since, int) or since < 0:
        raise UsageError(
            f"since must be a version, like the int that emit() returns, not {since!r:.60}"
        )
    return since
