"""The life of a handle: start, stop, fork, pickle and the end of the process.

Each start of a peer creates an engine with a new participant, because a peer's id is never used
again. A forked or unpickled handle joins at its first use. `shared_peer` says which handles of a
process use one peer. When the process ends, every engine leaves its group within two seconds.

This module and `handle` import at first use what a program may never use: the engine, the document
language and what waits. That takes tens of milliseconds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from .at_exit import engines, leave_at_exit
from .clocks import monotonic, wall
from .errors import NotStartedError, OptionsError, UsageError
from .leaver import Leaver
from .left_engine import LeftEngine
from .options import check_name, check_timeout, load_options, stated, unavailable
from .runtime import forks, native
from .runtime.dispatcher import Dispatcher, Subscription
from .runtime.logs import log_in_hub
from .runtime.own_threads import refuse_waiting
from .shared_peer import NewEngine, SharedPeer, Use, find, name_in_pickles

if TYPE_CHECKING:
    from .engine import Engine, EngineFactory
    from .rpc.functions import Method
    from .runtime.observers import Observers
    from .runtime.participant import Participant

_STOP_PATIENCE = 5.0  # seconds that stop() waits for pending writes and for the engine


def engine_factory(name: str) -> EngineFactory:
    """The engine that the option ``engine`` names, imported at first use."""
    if name == "memory":
        from .memory.engine import MemoryEngine

        return MemoryEngine
    from .manager.driver import Driver

    return Driver


class Lifecycle(forks.Forkable):
    """The part of a handle that starts and stops; `MemSync` adds reading and writing."""

    # A slot is read without a call, although the class has `__getattr__`, which is for the empty
    # one. With all attributes in slots the handle's dict stays empty, which makes calls fast.
    __slots__ = {
        "_dispatcher": None,
        "_editor": None,
        "_engine": None,
        "_factory": None,
        "_founding": None,
        "_is_copy": None,
        "_joins_at_use": None,
        "_methods": None,
        "_observers": None,
        "_options": None,
        "_peer": None,
        "_use": None,
        "_where": None,
        "data": "The live object, read-only. Raises `NotStartedError` before the first `start`.",
        "name": "The name of the object.",
    }

    def _setup(
        self,
        name: str,
        data: Mapping[str, Any] | None,
        options: Mapping[str, Any] | None,
        *,
        rpc: Mapping[str, Any] | None = None,
        yaml_options: Mapping[str, Any] | None = None,
        source: str | None = None,
        engine: str | None = None,
    ) -> None:
        native.check_patches()
        from .document import normalize

        self.name = check_name(name)
        if data is not None and not isinstance(data, dict):
            raise UsageError(f"data must be a dict, not {type(data).__name__}")
        self._methods: Mapping[str, Method] = {}
        if rpc is not None:
            from .rpc.functions import flatten

            self._methods = flatten(rpc)
        self._founding: dict[str, Any] = normalize(data or {})
        if engine is not None and (options is None or isinstance(options, Mapping)):
            options = {**(options or {}), "engine": engine}
        self._options = load_options(options, yaml_options=yaml_options, source=source)
        self._factory = engine_factory(self._options.engine)
        self._where = self._factory.place()
        self._joins_at_use = False
        self._is_copy = False  # whether it was unpickled
        self._peer = SharedPeer()
        self._reset()
        forks.track(self)

    def _reset(self) -> None:
        from .runtime.edits import Editor

        self._engine: Engine | None = None
        self._use: Use | None = None
        self._dispatcher = Dispatcher()
        self._observers: Observers | None = None  # made by the first call of `observe`
        self._editor = Editor()
        self._forget_data()

    def _forget_data(self) -> None:
        with suppress(AttributeError):  # it is empty already
            object.__delattr__(self, "data")

    def start(self, timeout: float | None = None) -> str:
        """Join the group, or found it; returns ``"host"`` or ``"client"``. Idempotent.

        Raises `RendezvousError`, `AuthenticationFailedError`, `ProtocolError`, `OptionsError`, and
        `HostUnresponsiveError` after `timeout` seconds; a host needs some time to answer. A failed
        start leaves nothing behind and may be repeated.

        Where all writers' places are taken, it raises `MaxWritersError`. With ``onMaxWriters:
        wait`` it stands by first, and raises the error after `timeout` seconds; ``math.inf`` waits
        for ever. `stop` in another thread or in a signal handler ends the wait; `start` then raises
        `NotStartedError`.
        """
        refuse_waiting("start()")
        patience = self._patience(timeout)
        native.check_patches()
        log_in_hub()
        peer = self._peer
        if peer.is_starting_below(sys._getframe(1)):
            raise UsageError("a signal handler cannot call start() while it interrupts start()")
        patience = peer.turns.wait(lambda: peer.joining, self._dispatcher, patience)
        with peer.lock:
            engine = self._engine
            if engine is not None and not engine.is_ended:
                return engine.status().status
            missing = unavailable(self._options)
            if missing:
                raise OptionsError(
                    f"not available in this version of memsync: {', '.join(missing)}"
                )
            self._dispatcher.open()
            use, is_inherited = self._use, self._use in peer.uses  # in a forked child
            if use is None or not is_inherited:
                use = Use(self._dispatcher)
            use.methods = self._methods
            use.copy = _leaver.reference(self, peer) if self._is_copy else None
            # Not through `__setattr__`: an interrupt in there would leave a half-started handle.
            put = partial(object.__setattr__, self)
            try:
                engine, role = peer.add(use, self._new_engine(), self._options.timeout, patience)
                put("_engine", engine)
                put("_use", use)
                put("data", engine.participant.replica.view)
                leave_at_exit(engine)
            except BaseException:
                if not is_inherited:
                    peer.remove(use)
                _leave(peer)
                raise
        if self._is_copy:
            self._dispatcher.on_last_cancel = partial(_leaver.watch, peer)
            _leaver.watch(peer)
        return role

    def _patience(self, timeout: float | None) -> float:
        """The seconds of a start: those of a standby may be infinite."""
        if timeout == inf and self._options.on_max_writers == "wait":
            return inf
        return self._seconds(timeout)

    def _new_engine(self) -> NewEngine:
        return partial(self._factory, self.name, self._where, self._founding, self._options)

    def stop(self) -> None:
        """Leave the group, after pending writes are acknowledged (at most 5 s). Idempotent.

        Methods that run for other peers have up to 2 s to finish, and new calls go to other peers.
        The last peer of a group that has a file saves (at most the option ``timeout``).
        The last state stays readable. A later `start` joins as a new peer. While other handles of
        the process use the peer (copies by pickle), only this handle stops: its callbacks and
        waits end, and what it shows goes on.
        """
        refuse_waiting("stop()")
        has_ended = self._peer.end_standby(self._dispatcher)
        if self._use is not None:
            self._use.leave()
        if has_ended and (self._engine is None or self._engine.is_ended):
            return  # this handle is stopped already
        with self._peer.lock:
            if self._engine is None and self._peer.engine_of(self._use) is not None:
                self.start()  # an inherited container was read, which has started the peer
            engine = self._engine
            if engine is None:
                return
            if self._peer.is_shared(self._use) and engine is self._peer.engine:
                self._stop_use(engine)
            else:
                self._peer.close_calls()
                self._end_lock_requests(engine)
                engine.stop(_STOP_PATIENCE, self._options.timeout)
                engines.discard(engine)
            if self._use is not None:
                self._use.has_stopped = True
                engine.participant.view_waiters.wake_all()
            self._peer.remove(self._use)
            if self._observers is not None:
                self._observers.detach()
            self._dispatcher.stop(timeout=1)
        if self._is_copy:
            _leaver.watch(self._peer)

    def _stop_use(self, engine: Engine) -> None:
        """Stop this handle, while other handles use the engine."""
        self._end_lock_requests(engine)
        writer = engine.participant.writer
        if not writer.is_inside():  # a signal handler must not wait for what it interrupts
            writer.flush(monotonic() + _STOP_PATIENCE)
        self._engine = LeftEngine(engine, wall())
        self._dispatcher.announce("disconnected", "stopped")
        self._dispatcher.announce("ended", None)

    def _end_lock_requests(self, engine: Engine) -> None:
        """Give back what this handle has locked, and end its waits for locks."""
        requests = engine.participant.lock_requests
        if requests is not None:
            requests.end_use(self._use)

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle name, data, options, folder and the token of the peer, never the key."""
        options, token = stated(self._options), name_in_pickles(self._peer)
        return _rejoin, (type(self), self.name, self._founding, options, self._where, token)

    def after_fork(self) -> None:
        """In a forked child, the handle joins at its first use, as a peer of the child."""
        self._peer.after_fork()
        self._dispatcher.after_fork()
        if self._observers is not None:
            self._observers.after_fork()
        if self._engine is None or self._engine is not self._peer.of_parent:
            return
        self._joins_at_use = True
        self._engine = None
        self._forget_data()

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "data":
            raise TypeError(
                "mem.data cannot be replaced: change the object with mem.patch({'$set': {...}}) or "
                "inside 'with mem.edit() as draft:'"
            )
        super().__setattr__(name, value)

    if not TYPE_CHECKING:  # a type checker that sees __getattr__ accepts every name

        def __getattr__(self, name: str) -> Any:
            """``data`` while its slot is empty: joins the group, or raises `NotStartedError`."""
            if name == "data":
                return self._participating().replica.view
            return object.__getattribute__(self, name)  # raises what led here

    def _seconds(self, timeout: float | None) -> float:
        """A stated timeout, or the option."""
        return check_timeout(timeout, self._options.timeout)

    def _running(self) -> Engine:
        """The engine, in its group."""
        engine = self._started()
        if engine.is_ended:
            reason = engine.status().reason
            because = "" if reason in (None, "stopped") else f" ({reason})"
            raise NotStartedError(
                f"MemSync({self.name!r}) has stopped{because}: call start() again"
            )
        return engine

    def _participating(self) -> Participant:
        """The participant of the running engine."""
        participant: Participant = self._running().participant
        return participant

    def _started(self) -> Engine:
        """The engine, in its group or stopped."""
        engine = self._engine
        if engine is not None:
            return engine
        if not self._joins_at_use:
            raise NotStartedError(
                f"MemSync({self.name!r}) is not started: call start() first, or use it as "
                "'with MemSync(...) as mem:'"
            )
        self.start()
        assert self._engine is not None
        return self._engine

    def _registered(self, subscription: Subscription) -> Subscription:
        """Join, now that a callback is registered, if this handle joins at its first use.

        It is registered first, so it gets all that comes from the join on.
        """
        is_first_use = self._joins_at_use and self._engine is None
        if is_first_use and not self._peer.is_starting_below(sys._getframe(1)):
            try:
                self.start()
            except BaseException:
                subscription.cancel()
                raise
        return subscription


def _rejoin(
    cls: type[Any],
    name: str,
    data: dict[str, Any],
    options: dict[str, Any],
    where: str,
    token: str,
) -> Any:
    """Unpickle a handle, which joins at its first use; see `shared_peer`."""
    handle = cls(name, data, options)
    handle._where = where
    handle._joins_at_use = handle._is_copy = True
    handle._peer = find(token, (name, where, repr(sorted(handle._options._stated.items()))))
    return handle


def _leave(peer: SharedPeer) -> None:
    """Stop a peer that no handle uses; for `Leaver`."""
    with peer.lock:
        engine = peer.engine
        if engine is None or not peer.is_unused():
            return
        peer.engine = None
        peer.close_calls()
        engine.stop(_STOP_PATIENCE)
        engines.discard(engine)


_leaver = Leaver(_leave)
os.register_at_fork(after_in_child=_leaver.after_fork)


def stop_all_in(where: str) -> None:
    """Stop every engine of this process in a rendezvous folder; for tests."""
    for handle in forks.tracked():
        if isinstance(handle, Lifecycle) and handle._where == where:
            handle.stop()
    for engine in list(engines):  # those whose handles are gone
        if engine.where == where and engine.pid == os.getpid():
            engine.stop(_STOP_PATIENCE)
            engines.discard(engine)
