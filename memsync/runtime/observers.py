"""The observers of one handle; they stay registered while the handle stops and starts again."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from ..clocks import monotonic
from ..document import Operation, PlaceIndex
from .dispatcher import Dispatcher, Subscription
from .feedback import Feedback
from .function_run import FunctionRun
from .logs import Logger
from .nesting import is_called_below
from .observer import FunctionObserver, Observer, PathObserver
from .participant import Participant

_MAX_ENTRIES = 1000  # of a batch that are searched for the peer that has made a change
_MAX_BYTES = 1 << 20

log = Logger("memsync.dispatcher")


class Observers:
    """The observers of a handle, an index of their places, and the dispatcher that calls them.

    Without observers the participant does not know this object, so its writes cost nothing more.
    """

    participant: Participant

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self._runs: list[weakref.ref[FunctionRun]] = []  # of functions, at this moment
        self._index: PlaceIndex[Observer] = PlaceIndex()
        self._observers: dict[Observer, None] = {}
        self._postponed: list[Observer] = []  # until the end of the batch that is being applied
        self._keeper: Subscription | None = None  # a handle with observers stays in use
        self._is_attached = False  # between the start and the stop of the handle
        self.calling: Feedback | None = None  # of the observer that runs on the dispatcher's thread
        dispatcher.on_join = self.attach

    @property
    def version(self) -> int:
        """The confirmed version that the view has."""
        return self.participant.replica.view_pair[1]

    # -- the handle ------------------------------------------------------------------------------

    def attach(self, participant: Participant) -> None:
        """The peer has started: observe this copy, whose values may differ from the last ones."""
        old = getattr(self, "participant", participant)
        with old.guard:  # so that nobody changes the index under the old one
            self.participant = participant
            self._is_attached = True
        if not self._observers:
            return
        with participant.guard:
            self._listen_if_needed()
            self.changed(None, False)

    def after_fork(self) -> None:
        """In a forked child: what was under way is the parent's; `attach` compares all values."""
        self._runs, self._postponed, self._is_attached = [], [], False
        self.calling = None
        for observer in self._observers:
            observer.after_fork()

    def detach(self) -> None:
        """The handle has stopped."""
        participant = getattr(self, "participant", None)
        if participant is not None:
            with participant.guard:
                if self._postponed:
                    self._end_postponing(participant.replica.view)
                self._is_attached = False
                self._listen_if_needed()

    def add(
        self,
        path: str | Callable[[Any], Any],
        callback: Callable[[Any], object],
        *,
        immediate: bool,
        throttle: float | None,
        debounce: float | None,
        changes: bool,
    ) -> Subscription:
        """Register a callback; raises what a function raises that is observed."""
        arguments = (self, callback, throttle, debounce, changes)
        observer = (
            PathObserver(path, *arguments)
            if isinstance(path, str)
            else FunctionObserver(path, *arguments)
        )
        try:
            observer.begin(immediate)
        except BaseException:
            observer.cancel()  # what the function has read may have queued it
            raise
        return Subscription(observer.cancel)

    def remove(self, observer: Observer) -> None:
        """End an observer; may be called twice.

        A signal handler, or a finalizer, may have interrupted whoever walks over the observers, so
        with the guard held this is put off. The observer makes no call any more.
        """
        guard = self.participant.guard
        if guard._is_owned():  # type: ignore[attr-defined]  # as `Participant.read` does
            self.dispatcher.call_surely(self.remove, observer)
            return
        with guard:
            if observer in self._observers:
                for pointer, what in observer.places:
                    self._index.remove(pointer, observer, what)
                del self._observers[observer]
            self._listen_if_needed()
            if self._observers:
                return
            keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()  # not under the guard: it may end the peer

    # -- an observer -----------------------------------------------------------------------------

    def is_interrupted(self) -> bool:
        """Whether the caller is a signal handler, or a finalizer, in a call that changes this."""
        return is_called_below(sys._getframe(1), self, _CHANGING)

    def include(self, observer: Observer, places: list[tuple[str, str]]) -> None:
        """Observe these places, instead of others; the guard is held."""
        if observer.is_cancelled:
            return
        if observer in self._observers:
            for pointer, what in observer.places:
                self._index.remove(pointer, observer, what)
        observer.places = places
        for pointer, what in places:
            self._index.add(pointer, observer, what)
        if not self._observers:
            self._keeper = self.dispatcher.on("observe", _nothing)
        self._observers[observer] = None
        self._listen_if_needed()

    def _listen_if_needed(self) -> None:
        """Follow the view while there are observers, or a function runs; the guard is held.

        The calls that a handle makes when it stops run functions, too.
        """
        waiters = self.participant.view_waiters
        if self._runs or (self._observers and self._is_attached):
            waiters.listen(self.changed)
        else:
            waiters.unlisten(self.changed)

    def queue(self, observers: Iterable[Observer]) -> None:
        """Have observers look for a new value; the guard is held.

        Each waits in the queue at most once, however often its value changes. A handle that has
        stopped makes the calls that wait, and no others: its next start compares all values.
        """
        if not self._is_attached:
            return
        waiting = [each for each in observers if not each.due and not each.is_postponed]
        if waiting:
            # In this order: an interrupt in between costs a call of `deliver` in vain.
            self.dispatcher.call_surely(_deliver, waiting)
            for observer in waiting:
                observer.due = True

    def is_in_batch(self, observer: Observer | None) -> bool:
        """Whether a batch is being applied that concerns an observer, or any; the guard is held."""
        participant, waiters = self.participant, self.participant.view_waiters
        if not waiters.batch or waiters.ended or not self._is_attached:
            return False
        if observer is None:
            return True
        return observer in self._index.touched(participant.replica.view, waiters.batch)

    def postpone(self, observer: Observer) -> None:
        """Have the end of the batch capture what an observer needs; the guard is held."""
        if not observer.is_postponed:
            self._postponed.append(observer)
            observer.is_postponed = True

    def add_run(self, run: FunctionRun) -> FunctionRun:
        """Begin to note for a run of a function what changes; the guard is held."""
        self._runs = [*(each for each in self._runs if each() is not None), weakref.ref(run)]
        self._listen_if_needed()
        return run

    def remove_run(self, run: FunctionRun) -> None:
        """End that; the guard is held."""
        self._runs = [each for each in self._runs if each() not in (None, run)]
        self._listen_if_needed()

    # -- changes of the view ---------------------------------------------------------------------

    def changed(self, operations: list[Operation] | None, own: bool) -> None:
        """A batch has ended: the operations may have changed the view, or anything for None.

        The guard is held. `own` says that the batch is a write of this peer.
        """
        view = self.participant.replica.view
        if self._runs:
            self._note_in_runs(operations)
        if not self._is_attached:
            return
        touched = self._observers
        if operations is not None:
            touched = self._index.touched(view, operations)
        if touched:
            self._attribute(touched, operations, own)
            is_caused = own and self.calling is not None and self.dispatcher.is_current()
            cause = self.calling if is_caused else None
            for observer in touched:
                observer.is_stale = True
                observer.feedback.touched(cause)
                if observer.debounce is not None:
                    observer.changed_at = monotonic()
            self.queue(touched)
        if self._postponed:
            self._end_postponing(view)

    def _note_in_runs(self, operations: list[Operation] | None) -> None:
        for each in self._runs:
            run = each()
            if run is not None:
                run.note(operations)

    def _end_postponing(self, view: Any) -> None:
        for observer in self._postponed:
            observer.capture(view)
            observer.is_postponed = False
        self.queue(self._postponed)
        self._postponed = []

    def _attribute(
        self, touched: dict[Observer, None], operations: list[Operation] | None, own: bool
    ) -> None:
        """Note for observers that want it which peer has changed their value."""
        wanting = [observer for observer in touched if observer.wants_changes]
        if not wanting:
            return
        participant = self.participant
        for observer in wanting:
            observer.peer = None if operations is None else participant.id
        if own or operations is None:
            return
        replica, state = participant.replica, participant.state
        version = replica.published_pair[1]
        for entry in participant.log.newest(version, _MAX_ENTRIES, _MAX_BYTES):
            if entry.peer == participant.id:
                continue  # it was shown before
            part = state.kinds[entry.kind].changes(entry)
            for observer in self._index.touched(replica.view, part, len(operations)):
                observer.peer = entry.peer


def _deliver(observers: list[Observer]) -> None:
    """Let observers call back, one after the other (the dispatcher's thread)."""
    for observer in observers:
        try:
            observer.deliver()
        except BaseException:  # also SystemExit: the others are still called
            log.exception("an observer failed: %r", observer)


def _nothing() -> None:
    """Called never."""


_CHANGING = tuple(
    method.__code__
    for method in (Observers.attach, Observers.include, Observers.remove, Observers.changed)
)
