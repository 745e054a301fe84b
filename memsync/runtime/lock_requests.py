"""The requests of one peer for named locks: asked, waiting, held, lost.

The thread that publishes entries calls `LockRequests.set`, once the view shows them. It compares
the open requests with the state, and wakes a thread whose request is granted. So a waiting thread
costs nothing, and whoever gets a lock reads all that former holders wrote.

A hold that the state no longer shows under its token is *lost*: its lease is over, this peer was
taken out of the group, or the host that granted it was replaced by one that did not know of it. If
the thread that waits has not taken it yet, it asks again instead.

A hold that the state shows and that no request stands for is *forgotten*: its release was
acknowledged, and lost with its host. It is given back once more.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import TYPE_CHECKING, Any

from ..clocks import monotonic
from ..errors import ConflictError, MemSyncError, NotStartedError, WriteTimeoutError
from ..replication.kinds.lock import LockKind, acquiring, releasing, settling
from ..replication.lock_part import Acquire, Hold, lock_part, pair_of
from .call import Call
from .dispatcher import Dispatcher
from .futures import WriteFuture
from .lock_request import LockRequest
from .logs import Logger
from .view_waiters import User

if TYPE_CHECKING:
    from .participant import Participant

log = Logger("memsync.locks")

_PATIENCE = 5.0  # seconds for a place in the window, where a request is given up


def requests_of(participant: Participant) -> LockRequests:
    """The requests of a participant, made at their first use."""
    with participant.guard:
        if participant.lock_requests is None:
            participant.lock_requests = LockRequests(participant)
        requests: LockRequests = participant.lock_requests
    return requests


class LockRequests:
    """The open requests of one participant; see the module."""

    def __init__(self, participant: Participant) -> None:
        self.participant = participant
        self._peer = participant.id
        self._numbers = count(1)
        self._open: dict[int, LockRequest] = {}
        self._ending: dict[int, None] = {}  # requests whose end a thread is about to propose
        self._dispatcher: Dispatcher | None = None  # of the newest request
        self._seen: tuple[Any, int] = (None, 0)  # the part of the state, and its revision
        self._unshown: dict[int, None] = {}  # requests whose grant the view does not show yet
        participant.entry_waiters.waiting.append(self)

    # -- a program's threads ---------------------------------------------------------------------

    def prepare(
        self,
        name: str,
        user: User | None,
        dispatcher: Dispatcher,
        *,
        places: int = 1,
        lease: float | None = None,
        waits: bool = True,
        on_lost: Callable[[], object] | None = None,
    ) -> LockRequest:
        """A request that is not made yet; without `waits` it is for a free place only."""
        self._dispatcher = dispatcher
        wish = Acquire(name, next(self._numbers), places, lease, waits)
        return LockRequest(self.participant, wish, user, dispatcher, on_lost)

    def acquire(self, request: LockRequest, deadline: float) -> bool:
        """Make a request, and wait until it is granted or the deadline (monotonic seconds).

        Asks again if the request, or its grant, has gone meanwhile. Returns False at the deadline;
        without `waits` as soon as the host has said that no place is free; and where the name has a
        result. The request is given up then, and also when an exception (Ctrl-C) ends the wait.
        Raises what refuses the request, and `NotStartedError` when the peer stops meanwhile.
        """
        try:
            while True:
                self._open[request.number] = request
                is_granted = self._ask(request, deadline) and self._wait(request, deadline)
                is_gone = request.is_dropped and request.is_there
                if is_granted or not is_gone or monotonic() >= deadline:
                    break
                self.give_up(request)
                request.renew(next(self._numbers))
            if not is_granted:
                self._open.pop(request.number, None)
                if request.is_there:
                    self.give_up(request)
            return is_granted
        except BaseException as error:
            self._open.pop(request.number, None)
            if not isinstance(error, MemSyncError) or error.outcome != "not_applied":
                self.give_up_soon(request)
            raise

    def _ask(self, request: LockRequest, deadline: float) -> bool:
        """Propose a request; whether it may be granted now or later."""
        seconds = max(deadline - monotonic(), 0.0)
        call = Call(deadline=deadline, kind=LockKind.name)
        try:
            self.participant.writer.patch(acquiring(request.wish), call, seconds)
        except WriteTimeoutError:
            self._check_running(request)
            return True  # it may be granted at this moment
        except ConflictError:  # it was ordered by a host that was replaced meanwhile
            request.is_dropped = True
            return False
        self._look_now(request, is_decided=True)
        return request.is_there

    def _wait(self, request: LockRequest, deadline: float) -> bool:
        """Wait until a request is granted; False at the deadline, or when it was dropped."""
        while not self._take(request):
            self._check_running(request)
            left = deadline - monotonic()
            if request.is_dropped or left <= 0:
                return False
            request.wakeup.wait(left)
        self._check_running(request)
        return True

    def _take(self, request: LockRequest) -> bool:
        """Whether a request is granted; from now on the end of the hold is a loss."""
        with self.participant.guard:
            request.is_taken = request.token is not None
        return request.is_taken

    def _check_running(self, request: LockRequest) -> None:
        stopped = request.user is not None and request.user.has_stopped
        if stopped or request.has_ended or self.participant.entry_waiters.ended:
            self.give_up(request)  # the handle may have stopped before the request was made
            raise NotStartedError(
                f"this peer stopped while it waited for the lock {request.wish.name!r}: call "
                "start() again"
            )

    def release(self, request: LockRequest, seconds: float) -> None:
        """Give a place back, and wait until the host has taken it; raises as `Writer.patch`.

        If that host is replaced by one that lacks it, the place is given back again without
        waiting. Also raises `LockLostError` where the host knows that it is lost.
        """
        try:
            request.has_ended = True
            self._end(request, releasing(request.number), seconds)
        except ConflictError:  # the host that took it was replaced by one that lacks it
            self.give_up(request)
        except MemSyncError:
            raise
        except BaseException:  # perhaps before the release had a number
            self.give_up_soon(request)
            raise
        finally:
            self._ending.pop(request.number, None)

    def _end(self, request: LockRequest, body: dict[str, Any], seconds: float) -> None:
        """Propose the end of a hold, and wait for the outcome; what follows is no loss.

        Until the caller takes it out of `_ending`, it is not forgotten either.
        """
        self._ending[request.number] = None
        self._open.pop(request.number, None)
        call = Call(deadline=monotonic() + seconds, kind=LockKind.name)
        self.participant.writer.patch(body, call, seconds)

    def release_unless_last(self, request: LockRequest, seconds: float) -> bool:
        """Give a place back unless nobody else has one; returns whether it is kept."""
        self._end(request, releasing(request.number, "unless last"), seconds)
        with self.participant.guard:
            part = lock_part(self.participant.state)
            is_kept = part.find(self._peer, request.number) is not None
        request.has_ended = not is_kept
        if not is_kept:  # otherwise the hold ends with the membership
            self._ending.pop(request.number, None)
        return is_kept

    def settle(self, request: LockRequest, result: bytes, seconds: float) -> None:
        """End a lock for good with a result; raises as `Writer.patch`."""
        assert request.token is not None
        try:
            request.has_ended = True
            self._end(request, settling(request.number, request.token, result), seconds)
        except BaseException:  # others go on waiting otherwise
            self.give_up_soon(request)
            raise
        finally:
            self._ending.pop(request.number, None)

    def give_up_soon(self, request: LockRequest) -> None:
        """Take a request back on the dispatcher's thread: this one was interrupted."""
        request.dispatcher.call_surely(self.give_up, request)

    def give_up(self, request: LockRequest) -> None:
        """Take a request back without waiting; it is released if it was granted meanwhile."""
        request.has_ended = True
        self._open.pop(request.number, None)
        self._ending.pop(request.number, None)
        self._give_back(request.number, request.wish.name, request.dispatcher)

    def _give_back(self, number: int, name: str, dispatcher: Dispatcher) -> None:
        """Release what a number stands for, now and whenever a host is replaced by one without it.

        The request itself may have another number by then.
        """

        def again_if_lost(done: Future[int]) -> None:
            if isinstance(done.exception(), ConflictError):
                self._give_back(number, name, dispatcher)

        call = Call(deadline=monotonic() + _PATIENCE, kind=LockKind.name)
        future = WriteFuture(dispatcher.call_surely)
        future.add_done_callback(again_if_lost)
        try:
            self.participant.writer.submit(releasing(number, "held or not"), call, future)
        except NotStartedError:
            return  # the lock is free without it
        except MemSyncError as error:
            if not self.participant.entry_waiters.ended:
                log.warning("lock not given back name=%r: %s", name, error)

    def end_use(self, user: User | None) -> None:
        """A handle stops: its threads stop waiting, and what it holds is released."""
        for request in list(self._open.values()):
            if request.user is user:
                self.give_up(request)
                if request.is_taken:  # a thread that takes it now sees that it has ended
                    request.lost._set()
                request.wakeup.set()

    # -- the thread that publishes ---------------------------------------------------------------

    def set(self) -> None:
        """Entries were applied and are in the view, or the peer has stopped."""
        if self.participant.entry_waiters.ended:
            for request in list(self._open.values()):
                if request.is_taken:
                    self._lose(request)
                else:
                    request.wakeup.set()
            return
        part, (seen_part, revision) = lock_part(self.participant.state), self._seen
        if part is seen_part and part.revision == revision and not self._unshown:
            return
        seen, numbers = self._changed()
        for number in numbers:
            if (changed := self._open.get(number)) is not None:
                self._look_now(changed)
            else:
                self._unshown.pop(number, None)
        if part is not seen_part:
            self._give_back_forgotten()
        self._seen = seen  # last, so that an interrupt leaves nothing unseen

    def _give_back_forgotten(self) -> None:
        """This copy was replaced: end what it shows of this peer and no request stands for.

        A release of what has ended already has no effect, so it does no harm that one may be under
        way.
        """
        with self.participant.guard:
            own = dict(lock_part(self.participant.state).by_peer.get(self._peer, {}))
        for number, name in own.items():
            # In this order: what leaves `_open` with a release to come is in `_ending` by then.
            is_known = number in self._open or number in self._ending
            if not is_known and self._dispatcher is not None:
                self._dispatcher.call_surely(self._give_back, number, name, self._dispatcher)

    def _changed(self) -> tuple[tuple[Any, int], list[int]]:
        """The requests that may have changed, by number, and what is seen when all are compared."""
        with self.participant.guard:
            part, (seen_part, revision) = lock_part(self.participant.state), self._seen
            touched = part.touched_since(revision) if part is seen_part else None
            seen = part, part.revision
        if touched is None:
            return seen, list(self._open)
        numbers = [number for peer, number in touched if peer == self._peer]
        return seen, [*numbers, *list(self._unshown)]

    def _look_now(self, request: LockRequest, is_decided: bool = False) -> None:
        """Compare a request with the state; a grant counts when the view shows it.

        With `is_decided` the host's answer to the request is in the state.
        """
        participant = self.participant
        with participant.guard:
            part = lock_part(participant.state)
            found = part.find(self._peer, request.number)
            token = found.token if isinstance(found, Hold) else None
            request.was_seen = request.was_seen or found is not None
            self._unshown.pop(request.number, None)
            if request.is_taken:
                if token != request.token:
                    self._lose(request)
                return
            request.token = None
            if token is not None and pair_of(token) > participant.replica.view_pair:
                self._unshown[request.number] = None
            elif token is not None:
                request.token = token
                request.wakeup.set()
            elif found is None and (request.was_seen or is_decided):
                # Without `waits` the host may have refused it, and otherwise only for a result.
                had_come = request.was_seen or request.wish.waits
                request.is_there = had_come and request.wish.name not in part.results
                request.is_dropped = True
                request.wakeup.set()

    def _lose(self, request: LockRequest) -> None:
        self._open.pop(request.number, None)
        request.lost._set()
        request.dispatcher.call_surely(self._after_loss, request)

    def _after_loss(self, request: LockRequest) -> None:
        """On the dispatcher: take back what a later host may grant once more, and tell."""
        if self.participant.writer.has_left:
            return  # the peer stops, and gives back what it holds
        log.warning("lock lost name=%r token=%s", request.wish.name, request.token)
        if not self.participant.entry_waiters.ended:
            self.give_up(request)
        if request.on_lost is not None:
            request.on_lost()
