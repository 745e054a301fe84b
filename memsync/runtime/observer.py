"""One observer of `MemSync.observe`: what it has delivered, and what it delivers next.

A change of the view only marks an observer as *due* and queues `deliver`. The dispatcher's thread
reads the value then, so a slow observer gets the newest value, and its memory does not grow. What
it reads is the state at the end of a batch: if a batch is being applied, the end of that batch
captures the value.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from threading import get_ident
from types import FunctionType
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from ..clocks import monotonic
from ..document import WHOLE, ResultCopy, difference, identical, place_of, to_plain
from ..replication.compile_proposal import node_at
from .callbacks import check_result
from .dispatcher import Dispatcher
from .feedback import Feedback
from .function_run import FunctionRun
from .logs import Logger
from .participant import Participant
from .wakeup import Wakeup

T = TypeVar("T")

CANCEL_PATIENCE = 0.2  # seconds that cancel() waits for a callback written in C
_TRIES = 3  # runs of a function on a document that changes meanwhile; then it gets a copy

log = Logger("memsync.dispatcher")


class Change(NamedTuple, Generic[T]):
    """What an observer with ``changes=True`` gets.

    Several writes may lie between `old` and `new`, because a slow observer is called once for all
    of them.
    """

    old: T
    """The value of the last call; before the first call, the value when `observe` was called."""
    new: T
    """The value now; None where there is none."""
    patch: list[dict[str, Any]]
    """RFC 6902 operations that turn `old` into `new`.

    Their paths begin at the observed value, which itself is ``""``. They are computed from the two
    values, so they are right for merged changes, too, and need not be those of a write. An absent
    value counts as null."""
    version: int
    """The confirmed version at which `new` was read; a pending write of this peer may be on top."""
    peer: str | None
    """The id of the peer that has made the last of the writes; None after a snapshot.

    In a batch with writes of others it is the last of them."""
    own: bool
    """Whether that is this peer, with a new write or one that is taken back."""


Found = tuple[Any, int, str | None]
"""The old value, the version, and the peer that has changed it."""


class Registry(Protocol):
    """What an observer needs of `Observers`, which has the docstrings."""

    dispatcher: Dispatcher
    participant: Participant
    calling: Feedback | None

    @property
    def version(self) -> int: ...
    def include(self, observer: Observer, places: list[tuple[str, str]]) -> None: ...
    def remove(self, observer: Observer) -> None: ...
    def queue(self, observers: list[Observer]) -> None: ...
    def is_in_batch(self, observer: Observer | None) -> bool: ...
    def postpone(self, observer: Observer) -> None: ...
    def add_run(self, run: FunctionRun) -> FunctionRun: ...
    def remove_run(self, run: FunctionRun) -> None: ...


class Observer:
    """The base; what decides when and what to call is changed under the guard of the view."""

    observed: object
    """The path or the function."""

    def __init__(
        self,
        observers: Registry,
        callback: Callable[[Any], object],
        throttle: float | None,
        debounce: float | None,
        wants_changes: bool,
    ) -> None:
        self.observers = observers
        self.throttle, self.debounce = throttle, debounce
        self.wants_changes = wants_changes
        self.places: list[tuple[str, str]] = []
        self.last: Any = None
        self.due = False  # `deliver` is queued or put off
        self.is_postponed = False  # the end of the batch that is being applied queues it
        self.captured: Any = None  # what `deliver` needs, if it was captured
        self.is_stale = False  # what was captured: the place has changed since
        self.peer: str | None = None
        self.changed_at = 0.0  # monotonic seconds
        self.feedback = Feedback()
        self._callback: Callable[[Any], object] | None = callback
        self._is_python = isinstance(getattr(callback, "__func__", callback), FunctionType)
        self._thread = 0  # that calls
        self._called_at: float | None = None  # when the last call has ended
        self._running: Wakeup | None = None  # set when the call is over

    @property
    def is_cancelled(self) -> bool:
        """Whether no call may begin any more."""
        return self._callback is None

    # -- what differs ----------------------------------------------------------------------------

    def begin(self, immediate: bool) -> None:
        """Observe from now on; `last` becomes the value of now."""
        raise NotImplementedError

    def _set_first(self, value: Any, immediate: bool) -> None:
        """Note the first value, and queue its call; the guard is held, so changes come later."""
        self.last = value
        if immediate:
            first, version = self._copy(self.last), self.observers.version
            self.observers.dispatcher.call_surely(self._deliver_first, first, version)

    def capture(self, view: Any) -> None:
        """Keep what `deliver` needs of this moment; the guard is held."""
        raise NotImplementedError

    def _take(self) -> Found | None:
        """Read the value, and return what was found if it is a new one, now in `last`.

        The observer is due no more, once, before it is read: what changes later queues it again.
        """
        raise NotImplementedError

    def _advance(self, value: Any) -> Found:
        """Put a new value into `last`; the guard is held."""
        old, self.last = self.last, value
        return old, self.observers.version, self.peer

    def _copy(self, value: Any) -> Any:
        """A copy of `last`, or of a patch, for the callback, which may change it."""
        return to_plain(value)

    # -- calls (the dispatcher's thread) ---------------------------------------------------------

    def deliver(self) -> None:
        """Call back if the value differs from the last one, now or when it is time."""
        if self.is_cancelled:
            return
        when = self._time()
        if when > monotonic() and not self.observers.dispatcher.is_stopping:
            self.observers.dispatcher.call_at(when, self.deliver)
            return
        self.feedback.begin(self.observed, self._callback)
        self.observers.calling = self.feedback
        try:
            found = self._take()
            if found is not None:
                self._call(self._argument(*found))
        finally:
            self.observers.calling = None

    def _argument(self, old: Any, version: int, peer: str | None) -> Any:
        value = self._copy(self.last)
        if not self.wants_changes:
            return value
        patch = self._copy(_patch(old, self.last))
        return Change(old, value, patch, version, peer, peer == self.observers.participant.id)

    def _deliver_first(self, value: Any, version: int) -> None:
        """The call of ``immediate=True``."""
        if self.wants_changes:
            value = Change(None, value, self._copy(_patch(None, value)), version, None, False)
        self._call(value)

    def _time(self) -> float:
        """When the next call may be made (monotonic seconds)."""
        when = self.feedback.until
        if self.debounce is not None:
            when = max(when, self.changed_at + self.debounce)
        if self.throttle is not None and self._called_at is not None:
            when = max(when, self._called_at + self.throttle)
        return when

    def _call(self, argument: Any) -> None:
        # Either this thread finds that it is cancelled, or `cancel` finds that it runs.
        self._thread = get_ident()
        running = self._running = Wakeup()
        callback = self._callback
        try:
            if callback is not None:
                check_result(callback(argument))
        except BaseException:  # also SystemExit: the other callbacks still run
            log.exception("callback failed: %r", callback)
        finally:
            self._called_at = monotonic()
            self._running = None
            running.set()

    def after_fork(self) -> None:
        """In a forked child: no call is under way."""
        self.due, self.is_postponed, self.captured, self._running = False, False, None, None

    def cancel(self) -> None:
        """End the calls; may be called more than once, and in the callback.

        A callback that runs on the dispatcher's thread may go on. One that is about to begin there
        is waited for until it has begun. Of a function written in C that cannot be seen, so it is
        waited for until it has ended, but not for long.
        """
        self._callback = None
        running = self._running
        self.observers.remove(self)
        self.last = None  # a call that was put off may keep this object
        if running is None or self.observers.dispatcher.is_current():
            return
        end = monotonic() + CANCEL_PATIENCE
        while self._is_at_call() and (self._is_python or monotonic() < end):
            if running.wait(0.001):
                running.set()  # for others that cancel
                return

    def _is_at_call(self) -> bool:
        """Whether the dispatcher's thread is in `_call`, and in no Python function called there."""
        frame = sys._current_frames().get(self._thread)
        return frame is not None and frame.f_code is Observer._call.__code__


class PathObserver(Observer):
    """Observes the value at a dotted path."""

    def __init__(self, path: str, *args: Any) -> None:
        super().__init__(*args)
        self.path = self.observed = path
        self.places = [(place_of(path.split(".")) if path else "", WHOLE)]

    def begin(self, immediate: bool) -> None:
        def look(view: Any) -> None:
            self.observers.include(self, self.places)
            self._set_first(to_plain(node_at(view, self.path)), immediate)

        self.observers.participant.read(look)

    def capture(self, view: Any) -> None:
        self.captured, self.is_stale = (to_plain(node_at(view, self.path)),), False

    def _take(self) -> Found | None:
        return self.observers.participant.read(self._look)

    def _look(self, view: Any) -> Found | None:
        self.due = False
        value, is_in_batch = node_at(view, self.path), self.observers.is_in_batch(self)
        if is_in_batch and self.captured is None:
            self.observers.postpone(self)
            return None
        if is_in_batch:
            (value,) = self.captured
            if self.is_stale:
                self.observers.queue([self])
        self.captured = None
        return None if identical(value, self.last) else self._advance(to_plain(value))


class FunctionObserver(Observer):
    """Observes the result of a function of the object.

    The function runs without a lock on the live object. If what it has read has changed meanwhile,
    it runs again; at the last try it gets a copy of the whole object.
    """

    def __init__(self, function: Callable[[Any], Any], *args: Any) -> None:
        super().__init__(*args)
        self.function = self.observed = function

    def begin(self, immediate: bool) -> None:
        self._evaluate(lambda copy: self._set_first(copy.value, immediate), may_wait=False)

    def capture(self, view: Any) -> None:
        self.captured = self.observers.add_run(FunctionRun(to_plain(view), is_copy=True))

    def _copy(self, value: Any) -> Any:
        return ResultCopy(value).value

    def _take(self) -> Found | None:
        found: list[Found] = []

        def compare(copy: ResultCopy) -> None:
            if not (copy.is_detached and _is_same(copy.value, self.last)):
                found.append(self._advance(copy.value))

        try:
            self._evaluate(compare, may_wait=True)
        except BaseException:  # also SystemExit: the other callbacks still run
            log.exception("an observed function failed: %r", self.function)
        return found[0] if found else None

    def _evaluate(self, use: Callable[[ResultCopy], None], may_wait: bool) -> None:
        """Run the function and call `use` with its result, under the guard; raises what it raises.

        If it `may_wait`, it waits for the end of a batch, which queues the observer again.
        """
        observers = self.observers
        for number in range(_TRIES):
            run = observers.participant.read(partial(self._begin_run, number, may_wait))
            if run is None:
                return
            result: Any = None
            error: BaseException | None = None
            try:
                result = self.function(run.reads.root)
            except BaseException as raised:  # perhaps because it has seen half of a change
                error = raised
            with observers.participant.guard:
                replica = observers.participant.replica
                run.note(observers.participant.view_waiters.batch)
                observers.remove_run(run)
                copy = run.reads.plain(result)
                places = run.reads.places()
                is_touched = run.is_touched(replica.view, places)
                is_final = run.is_copy or _is_final(error, may_wait)
                if is_touched and not is_final:
                    continue
                self.captured = None
                if error is None or may_wait:  # else `observe` raises it, and nothing may follow
                    observers.include(self, places)
                    if is_touched:
                        observers.queue([self])
                if error is None:
                    use(copy)
            if error is not None:
                raise error
            return

    def _begin_run(self, number: int, may_wait: bool, view: Any) -> FunctionRun | None:
        """Begin a run, unless the observer waits for the end of a batch; the guard is held."""
        if number == 0:  # later, what has changed since may have queued the observer already
            self.due = False
        is_last = number == _TRIES - 1
        run: FunctionRun | None = self.captured if is_last else None
        if run is None:
            if is_last and may_wait and self.observers.is_in_batch(None):
                self.observers.postpone(self)
                return None
            run = FunctionRun(to_plain(view) if is_last else view, is_copy=is_last)
            self.observers.add_run(run)
        return run


def _is_final(error: BaseException | None, on_dispatcher: bool) -> bool:
    """Whether this ends the call, whatever the function has read: Ctrl-C in `observe`, say."""
    return not on_dispatcher and error is not None and not isinstance(error, Exception)


def _is_same(value: Any, other: Any) -> bool:
    """Whether two results are equal; those of JSON as stored values are."""
    if type(value) is type(other) and isinstance(value, tuple):
        return len(value) == len(other) and all(map(_is_same, value, other))
    try:
        return identical(value, other)
    except Exception:  # no JSON in there
        return _is_equal(value, other)


def _is_equal(value: Any, other: Any) -> bool:
    """Whether ``value == other``, which for two arrays of numpy, say, is an array."""
    if getattr(value, "shape", None) != getattr(other, "shape", None):
        return False
    try:
        equal = value == other
        return bool(equal.all() if hasattr(equal, "all") else equal)
    except Exception:  # these objects do not tell
        return False


def _patch(old: Any, new: Any) -> list[dict[str, Any]]:
    try:
        return difference(old, new)
    except Exception:  # a result that is no JSON
        return [{"op": "replace", "path": "", "value": new}]
