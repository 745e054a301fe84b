"""One peer of this process, and the handles that use it.

A handle that a program creates has a peer of its own. The handle's copies by pickle share that peer
in its process and in forked children. In another process, all handles that came by pickle with one
name, folder and options share one peer.

The use of a handle lasts from its `start` to its `stop`. The use of a copy also ends when the
garbage collector takes the copy, unless callbacks are registered at it. The peer leaves its group
with its last use (see `leaver`).

A forked child inherits the uses and the view of the parent's peer. Its own peer joins at the first
use of a handle or of a container of the view, and shows the object in the same containers.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Hashable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary

from .at_exit import engines, leave_at_exit
from .clocks import monotonic
from .errors import NotStartedError
from .runtime import forks, native
from .runtime.logs import Logger, log_in_hub
from .runtime.nesting import is_called_below
from .runtime.own_threads import OwnThread
from .runtime.wakeup import Wakeup
from .status import status_of
from .turns import Turns, stands_by

if TYPE_CHECKING:  # they import what a program may never use
    from .engine import Announce, Engine
    from .http.ports import Serving
    from .rpc.functions import Method
    from .rpc.peer_calls import PeerCalls
    from .runtime.dispatcher import Dispatcher
    from .runtime.inherited import InheritedView

_START_ENDS = 5.0  # seconds for a start that was ended to return
_PAUSE = 0.005  # seconds between two checks of that

log = Logger("memsync.rpc")

CALLS_GRACE = 2.0  # seconds that calls under way have to finish when their peer stops
SERVING_GRACE = 2.0  # seconds that open answers over HTTP have to end
CALLS_PATIENCE = 0.5  # seconds that the methods of cancelled calls have to end after that


class Use:
    """That one handle uses its peer; its callbacks get the events of the peer."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.copy: Callable[[], object] | None = None
        """A weak reference to the handle if it is a copy; others are stopped by the program."""
        self.has_stopped = False  # so the waits of the handle end
        self.methods: Mapping[str, Method] = {}
        """What other peers may call while this use lasts."""
        self.last_outs: list[Callable[[], None]] = []
        """What runs when the handle stops, if its peer is the last one; see `MemSync.last_out`."""

    def leave(self) -> None:
        """The handle is about to stop, or its process to end."""
        while self.last_outs:
            self.last_outs.pop()()

    def is_over(self) -> bool:
        """Whether the handle is gone, and nobody waits for its callbacks."""
        is_gone = self.copy is not None and self.copy() is None
        return is_gone and not self.dispatcher.has_callbacks()


class NewEngine(Protocol):
    """Creates the engine of a peer; see `engine.EngineFactory`."""

    def __call__(self, *, announce: Announce, inherited: Any) -> Engine: ...


class SharedPeer(forks.Forkable):
    """One peer and its uses. `lock` is held while it starts and stops, and while uses change."""

    def __init__(self, token: str | None = None) -> None:
        self.token = token or os.urandom(8).hex()
        """Names the peer in the pickles of its handles; survives a fork."""
        self.of_parent: Engine | None = None
        """In a forked child: the engine that ran in the parent."""
        self.inherited: InheritedView | None = None
        """In a forked child until its own peer has joined: the view of the parent's peer."""
        self._new_engine: NewEngine | None = None
        self._timeout = 0.0  # seconds
        self._begin()
        forks.track(self)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self.lock = native.Mutex()  # reentrant: a signal handler may stop what start() starts
        self.engine: Engine | None = None
        self.joining: Engine | None = None  # while it starts
        self.turns = Turns()  # of other threads, while it stands by
        self.uses: tuple[Use, ...] = ()  # replaced, never changed
        self.calls: PeerCalls | None = None  # of the engine, once there are any
        self.serving: Serving | None = None  # of the engine, if its object is served over HTTP

    def after_fork(self) -> None:
        """In a forked child: the engine and a start under way are the parent's, uses wait.

        Also called by each handle. Like `Engine.close_after_fork`, it neither blocks nor does I/O.
        """
        if self._pid == os.getpid():
            return
        if self.engine is None and self.inherited is None:
            self._begin()
            return
        from .runtime.inherited import InheritedView  # the parent has imported it

        was_waiting, engine, uses = self.is_waiting(), self.engine, self.uses
        self.of_parent = None
        self._begin()
        if engine is not None and not engine.is_ended:
            engine.close_after_fork()
            self.of_parent = engine
            self.inherited = InheritedView(engine.participant, self)
        elif not was_waiting:
            self.inherited = None
        if self.inherited is not None:
            self.inherited.after_fork()
            self.uses = uses
            for use in uses:
                use.dispatcher.after_fork()

    def announce(self, name: str, argument: Any) -> None:
        """Queue the callbacks of all handles for an event; never blocks."""
        if name in ("methods", "ended"):
            self._announce_to_calls(name)
        size = 0
        for use in self.uses:
            if not use.dispatcher.listens_to(name):
                continue
            if callable(argument):
                argument, size = argument()
                if not argument:
                    return
            use.dispatcher.announce(name, argument, size=size)

    def _announce_to_calls(self, name: str) -> None:
        """The directory of calls has changed, or the peer has ended; never blocks."""
        from .replication.kinds.method import is_wanted  # the engine has imported it

        calls, engine = self.calls, self.engine
        if name == "ended":
            self.close_calls(0)
        elif calls is not None:
            calls.record.check()
        elif engine is not None and is_wanted(engine.participant.state, engine.participant.id):
            try:
                OwnThread(self._answer_wish, "memsync-methods").start()
            except RuntimeError as error:  # the next wish tries again
                log.warning("no thread is left to open a listener: %s", error)

    def _answer_wish(self) -> None:
        """Somebody wants to call this peer."""
        with self.lock:
            if self.engine is not None and not self.engine.is_ended:
                self.calls_of(self.engine).record.check()

    def calls_of(self, engine: Engine) -> PeerCalls:
        """The calls of an engine that runs."""
        calls = self.calls
        if calls is not None and calls.engine is engine:
            return calls
        with forks.importing:
            from .rpc.peer_calls import PeerCalls

        with self.lock:
            if engine.is_ended:
                raise NotStartedError("this handle has stopped meanwhile: call start() again")
            if self.calls is None or self.calls.engine is not engine:
                self.calls = PeerCalls(engine, self._call_surely, engines)
            return self.calls

    def _call_surely(self, callback: Callable[..., Any], *args: Any) -> None:
        """Queue a callback at some handle that uses the peer."""
        for use in self.uses[:1]:
            use.dispatcher.call_surely(callback, *args)

    def offer_methods(self) -> None:
        """Offer the methods of all uses; raises `RendezvousError`."""
        engine = self.engine
        if engine is None or engine.is_ended:
            return
        methods = {name: each for use in self.uses for name, each in use.methods.items()}
        if methods or self.calls is not None or not engine.participant.options.rpc.pickles:
            self.calls_of(engine).offer(methods, self._timeout)

    def _check_serving(self, engine: Engine) -> None:
        """Raise `OptionsError` for a mistake in the options by which the object is to be served."""
        participant = engine.participant
        if participant.options.server.port is not None:
            with forks.importing:
                from .http.ports import check
            check(participant.name, participant.options.server)

    def _serve(self, engine: Engine) -> None:
        """Serve the object over HTTP, if the options say so; raises `OptionsError`."""
        if engine.participant.options.server.port is not None:
            with forks.importing:
                from .http.ports import serve
            self.serving = serve(engine, lambda: status_of(engine, self.serving))

    def close_calls(self, seconds: float = CALLS_PATIENCE) -> None:
        """End all calls, before the engine stops; methods have some seconds to end.

        Where the peer stops as planned, they first have time to finish. HTTP ends as well.
        """
        serving, self.serving = self.serving, None
        if serving is not None:
            serving.close(SERVING_GRACE if seconds else 0)
        calls = self.calls
        if calls is not None and seconds:
            calls.drain(CALLS_GRACE)
        self.calls = None
        if calls is not None:
            calls.close(seconds)

    def add(
        self, use: Use, new_engine: NewEngine, timeout: float, patience: float
    ) -> tuple[Engine, str]:
        """Begin a use; starts the engine unless it runs. Returns the engine and the role.

        `patience` is for this start, `timeout` for later ones in forked children (seconds).
        """
        engine = self.engine
        if engine is None or engine.is_ended:
            self._new_engine, self._timeout = new_engine, timeout
            return self._start((use,), patience)
        role = engine.status().status
        if use not in self.uses:
            self.uses += (use,)
            use.dispatcher.announce("connected", role)
            use.dispatcher.on_join(engine.participant)
            if use.methods:
                self.offer_methods()
        return engine, role

    def join(self) -> None:
        """In a forked child, before a read of an inherited container: join, if that is to be done.

        Returns at once where it interrupts the join, or is called by it.
        """
        native.check_patches()
        log_in_hub()
        with self.lock:
            if not self.is_waiting() or self.is_starting_below(sys._getframe(1)):
                return
            for use in self.uses:
                use.dispatcher.open()
            engine, _ = self._start((), self._timeout)
            leave_at_exit(engine)

    def is_starting_below(self, frame: FrameType | None) -> bool:
        """Whether a frame, or one that has called it, is in the start of this peer's engine."""
        return is_called_below(frame, self, (SharedPeer._start.__code__,))

    def is_waiting(self) -> bool:
        """Whether this peer of a forked child has not joined yet."""
        return self.inherited is not None and self.engine is None

    def end_standby(self, dispatcher: Dispatcher) -> bool:
        """End the starts that wait for the handle with this dispatcher, which have the lock.

        Returns whether that is all: the start of another handle goes on standing by, with the lock,
        or the next start may have the lock, as the one of this handle has ended.
        """
        self.turns.end(dispatcher)
        joining = self.joining
        if joining is None or not stands_by(joining):
            return False
        if not any(use.dispatcher is dispatcher for use in self.uses):
            return True
        joining.stop(0)
        if self.is_starting_below(sys._getframe(1)):
            return False  # a signal handler has interrupted it
        deadline, pause = monotonic() + _START_ENDS, Wakeup()
        while self.joining is joining:
            if monotonic() > deadline:
                return False
            pause.wait(_PAUSE)
        return True

    def _start(self, added: tuple[Use, ...], patience: float) -> tuple[Engine, str]:
        from .runtime.inherited import has_started

        assert self._new_engine is not None
        inherited, waiting = (self.inherited, self.uses) if self.is_waiting() else (None, ())
        engine = None
        try:
            participant = None
            if inherited is not None:
                inherited.begin()
                participant = inherited.participant
            engine = self._new_engine(announce=self.announce, inherited=participant)
            if inherited is not None:
                inherited.participant = engine.participant
            self._check_serving(engine)  # before it founds an object, or takes one over
            # The uses of other handles ended with the last engine; only a fork does not end them.
            others = tuple(use for use in waiting if use not in added and not use.is_over())
            self.joining, self.uses = engine, others + added
            leave_at_exit(engine)  # a program may end while another thread of it stands by
            role = engine.start(patience)
            self.engine = engine  # from here on it has joined
            self.offer_methods()
            self._serve(engine)
        except BaseException:
            self.uses = waiting
            if inherited is not None:
                self.engine = None
            if engine is not None and not engine.is_ended:
                engine.stop(0)
            engines.discard(engine)
            raise
        finally:
            self.joining = None
            self.turns.go_on()
            if inherited is not None:
                inherited.end()
        self.inherited = None
        has_started()
        for use in self.uses:
            use.dispatcher.on_join(engine.participant)
        return engine, role

    def engine_of(self, use: Use | None) -> Engine | None:
        """The engine, if it runs for this use."""
        return self.engine if use in self.uses else None

    def is_shared(self, use: Use | None) -> bool:
        """Whether other handles use the peer."""
        return any(other is not use and not other.is_over() for other in self.uses)

    def remove(self, use: Use | None) -> None:
        """End a use."""
        self.uses = tuple(other for other in self.uses if other is not use)
        if use is not None and use.methods and self.uses:
            self.offer_methods()

    def remove_gone(self) -> None:
        """End the uses of the copies that are gone."""
        with self.lock:
            for use in self.uses:
                if use.is_over():
                    self.remove(use)
                    use.dispatcher.stop(timeout=0)

    def has_copies(self) -> bool:
        """Whether copies use the peer."""
        return any(use.copy is not None for use in self.uses)

    def is_unused(self) -> bool:
        """Whether the peer runs without any use."""
        return self.engine is not None and not self.uses


_lock = native.RLock()  # reentrant, because a finalizer may unpickle a handle
_peers: WeakValueDictionary[Hashable, SharedPeer] = WeakValueDictionary()


def name_in_pickles(peer: SharedPeer) -> str:
    """The token of a peer, by which `find` finds it."""
    with _lock:
        _peers[peer.token] = peer
    return peer.token


def find(token: str, place: Hashable) -> SharedPeer:
    """The peer of a handle that was unpickled.

    It is the peer with this token; else the one of other unpickled handles with the same `place`:
    name, folder and options; else a new one.
    """
    with _lock:
        peer = _peers.get(token) or _peers.get(place) or SharedPeer(token)
        _peers.setdefault(token, peer)
        _peers.setdefault(place, peer)
    return peer
