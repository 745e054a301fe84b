"""The calls of one started peer: those that it runs, and those that it makes.

Every replica has the *directory* of calls (``replication/kinds/method.py``), so a call goes
straight to a peer that has the method, and neither the host nor a change of host concerns it. A
call may be repeated on another peer where nothing was run, and where the method may run twice
(`memsync.idempotent`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextvars import copy_context
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from ..clocks import monotonic
from ..document import encoded
from ..errors import PeerLostError, RpcError, RpcTimeoutError
from ..replication.kinds.method import MethodKind, directory, publishing, unpublishing
from ..runtime.call import Call as Write
from ..runtime.native import Thread
from .callee import Callee
from .caller import Caller, awaited
from .choice import Choice
from .connections import Connections
from .functions import Method, as_method, check_name, make_method
from .future import CallFuture, Repeat
from .link import Link
from .messages import PublishedFunction, published_of
from .own_record import OwnRecord
from .pickles import UnpackError
from .repeats import Repeats
from .request import Request
from .road import MemoryRoad, new_road
from .service import Service
from .versions import SeenVersions

if TYPE_CHECKING:
    from ..engine import Engine
    from ..runtime.participant import Participant

CONNECT_SECONDS = 1.0  # for a connection to a peer, where another one could run the call, too


class PeerCalls:
    """Everything about the calls of one peer, between its start and its stop.

    `call_surely` queues a call of a callback of the program; it must not block. `engines` are those
    of the process.
    """

    def __init__(
        self,
        engine: Engine,
        call_surely: Callable[..., None],
        engines: Collection[Engine] = (),
    ) -> None:
        self.engine = engine
        self._call_surely = call_surely
        self._participant: Participant = engine.participant
        options = self._participant.options
        self.service = Service(
            {},
            threads=options.rpc.threads,
            pickles=options.rpc.pickles,
            find=self._published,
            versions=SeenVersions(engine, engines),
        )
        self._loaded: dict[str, tuple[bytes, Method]] = {}  # published functions
        self._road = new_road(engine, self._new_callee)
        self._to_itself = MemoryRoad(self._participant, self._new_callee)
        self.record = OwnRecord(self._participant, self._road)
        self._connections = Connections(
            self._participant,
            self._road,
            self._to_itself,
            self._new_caller,
            self.service.timers,
        )
        self._choice = Choice(self._participant, self._connections)
        self._repeats = Repeats(self._choice, self._repeat)

    # -- what this peer runs ---------------------------------------------------------------------

    def offer(self, methods: Mapping[str, Method], seconds: float) -> None:
        """Offer these methods instead of the last ones; raises `RendezvousError`."""
        self.service.methods = methods
        self.record.change(methods, seconds)

    def drain(self, seconds: float) -> None:
        """The peer is about to stop: refuse new calls, and give those under way time to end."""
        self.service.drain(seconds)

    def close(self, seconds: float) -> None:
        """The peer stops: end all calls; their methods have `seconds` to end. Called once."""
        self.record.close()
        self._road.close()
        self._to_itself.close()
        self._repeats.close(0)
        self.service.close(seconds)

    def _new_callee(self, link: Link) -> Callee:
        return Callee(link, self.service)

    def _published(self, name: str) -> Method | None:
        data = directory(self._participant.state).published.get(name)
        if data is None:
            return None
        loaded = self._loaded.get(name)
        if loaded is None or loaded[0] is not data:
            try:
                function = self.service.pickles.unpack(published_of(data).payload)
            except (UnpackError, msgspec.MsgspecError) as error:
                raise RpcError(
                    f"the published function {name!r} cannot be loaded here: {error}",
                    outcome="not_applied",
                ) from error
            loaded = self._loaded[name] = data, as_method(name, function)
        return loaded[1]

    # -- what this peer calls --------------------------------------------------------------------

    def call(self, request: Request, peer: str | None = None) -> Any:
        """The value that a method returns, or a `Stream`.

        Raises what the method raises, `NoSuchMethodError`, `RpcTimeoutError`, `PeerLostError`,
        `RpcError`, `NotSerializableError` and `TooLargeError`.
        """
        return awaited(self.submit(request, peer, is_awaited=True))

    def submit(
        self, request: Request, peer: str | None = None, *, is_awaited: bool = False
    ) -> CallFuture:
        """Call without waiting; connecting may wait. Raises as `call` what needs no answer."""
        repeat = partial(self._repeats.take, request, peer)
        return self._start(request, self._connected(request, peer), is_awaited, repeat)

    def call_all(self, request: Request) -> dict[str, Any]:
        """Call each peer that has a method, at once; the value or the exception of each."""
        targets = self._choice.having(request)
        results: dict[str, Any] = {}
        futures: dict[str, CallFuture] = {}

        def begin(target: str) -> None:
            try:
                caller = self._reached(request, target, request.deadline)
                repeat = partial(self._repeats.take, request, target)
                futures[target] = self._start(request, caller, repeat=repeat)
            except Exception as error:
                results[target] = error

        def begin_in_thread(target: str) -> None:
            try:
                begin(target)
            except BaseException as error:  # a pickle of an argument may exit
                results[target] = error

        strangers = [target for target in targets if not self._connections.has_caller(target)]
        # In its context, a thread knows the method whose call this is.
        threads = [
            Thread(
                target=copy_context().run,
                name="memsync-connect",
                args=(begin_in_thread, each),
                daemon=True,
            )
            for each in strangers
        ]
        try:
            for thread in threads:
                thread.start()
            for target in targets:
                if target not in strangers:
                    begin(target)
            for thread in threads:
                thread.join()
            for target, future in futures.items():
                error = future.exception()  # also a SystemExit of the method
                results[target] = future.result() if error is None else error
        except BaseException:  # Ctrl-C here, or the method that calls was cancelled
            for future in list(futures.values()):
                future.cancel()
            raise
        return {target: results[target] for target in targets}

    def publish(self, name: str, function: Callable[..., Any], seconds: float) -> int:
        """Publish a function; returns the version from which on others can call it."""
        method = make_method(name, function)  # checks both
        payload = self.service.pickles.pack(function, f"the function {name!r}")
        published = PublishedFunction(payload, method.flags)
        return self._write(publishing(name, bytes(encoded(published))), seconds)

    def unpublish(self, name: str, seconds: float) -> int:
        """End a publication; returns the version."""
        check_name(name)
        return self._write(unpublishing(name), seconds)

    def _write(self, change: Any, seconds: float) -> int:
        write = Write(deadline=monotonic() + seconds, kind=MethodKind.name)
        return self._participant.writer.patch(change, write, seconds)

    def _reached(self, request: Request, target: str, deadline: float) -> Caller:
        try:
            return self._connections.caller(target, deadline)
        except (PeerLostError, RpcTimeoutError) as error:
            own = copy(error)  # several calls may wait for one connection
            own.method = request.method
            raise own from error.__cause__

    def _connected(self, request: Request, peer: str | None) -> Caller:
        """The caller of a peer for a request; raises where no peer can be reached."""
        while True:
            target = self._choice.target(request, peer)
            deadline, has_another = request.deadline, False
            if peer is None and self._choice.has_another(request, target):
                deadline, has_another = min(deadline, monotonic() + CONNECT_SECONDS), True
            try:
                return self._reached(request, target, deadline)
            except RpcTimeoutError:
                self._connections.note_failure(target)
                if not has_another or not request.left():
                    if (lost := request.may_have_run()) is not None:
                        raise lost from None
                    raise
                request.failed[target] = PeerLostError(
                    f"peer {target} was not reached in time, so nothing was run",
                    peer=target,
                    method=request.method,
                    outcome="not_applied",
                )
            except PeerLostError as error:  # nothing was run
                if peer is not None and peer == target:
                    raise
                request.failed[target] = error

    def _start(
        self,
        request: Request,
        caller: Caller,
        is_awaited: bool = False,
        repeat: Repeat | None = None,
    ) -> CallFuture:
        return caller.start(
            request.method,
            request.args,
            request.kwargs,
            **request.times(),
            pair=self._participant.replica.view_pair,
            is_awaited=is_awaited,
            repeat=repeat,
        )

    def _repeat(self, request: Request, peer: str | None, future: CallFuture) -> None:
        """Have a call go on at a peer; raises where there is none."""
        caller = self._connected(request, peer)
        future.repeat = partial(self._repeats.take, request, peer)  # once more, if need be
        caller.begin(future, self._participant.replica.view_pair)

    def _new_caller(self, link: Link) -> Caller:
        return Caller(link, self.service, self._call_surely)
