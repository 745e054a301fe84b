"""The end of a link that runs methods."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial

from ..errors import MemSyncError, PeerLostError, ProtocolError, QueueFullError, to_wire
from ..runtime.logs import Logger
from ..runtime.native import Lock
from .begin import begin, begin_in_loop
from .context import CurrentCall
from .link import Link
from .messages import Answer, Call, Cancel, Credit, Failure, Message
from .pool import DEPTH_MAX, Task
from .run import Run
from .service import Service

log = Logger("memsync.rpc")

CALLS_MAX = 10_000  # of one link that have no answer yet
WAITING_BYTES = 1 << 26  # of the arguments of calls that wait for a thread


class Callee:
    """Receives the calls of one link; see `link.Receiver`."""

    def __init__(self, link: Link, service: Service) -> None:
        self.link = link
        self.service = service
        self._lock = Lock()  # protects `_waiting_bytes`
        self._runs: dict[int, Run] = {}
        self._answering: set[int] = set()  # calls that are over, and whose answers are not sent
        self._waiting_bytes = 0
        service.callees.append(self)

    @property
    def calls(self) -> int:
        """The number of calls without an answer."""
        return len(self._runs)

    def is_busy(self, own: CurrentCall | None) -> bool:
        """Whether a call other than `own` runs that will have a value, or an answer is not sent."""
        runs = list(self._runs.values())
        is_running = any(not run.is_stream and run.current is not own for run in runs)
        return is_running or bool(self._answering)

    # -- on the I/O thread ------------------------------------------------------------------------

    def received(self, message: Message) -> None:
        """Start a call, or pass a message to the call that it belongs to."""
        if type(message) is Call:
            self._begin(message)
        elif type(message) is Credit:
            run = self._runs.get(message.id)
            if run is not None:
                run.credit(message.count)
        elif type(message) is Cancel:
            run = self._runs.get(message.id)
            if run is not None:
                run.cancel("the caller has cancelled it")
        else:
            raise ProtocolError(f"a {type(message).__name__} came to a peer that made no call")

    def lost(self, reason: str) -> None:
        """The caller has gone, so all its calls are cancelled."""
        with suppress(ValueError):
            self.service.callees.remove(self)
        for run in list(self._runs.values()):
            run.cancel(f"the caller has gone ({reason})")

    def _begin(self, call: Call) -> None:
        if call.id in self._runs:
            raise ProtocolError(f"the number {call.id} of a call came twice")
        if not 0 <= call.depth <= DEPTH_MAX or call.budget_ms < 0:
            raise ProtocolError(f"a call with the depth {call.depth} or {call.budget_ms} ms")
        if self.service.is_stopping and not call.depth:
            self._refuse_later(call, self._stops(call))
            return
        run = Run(self, self.service, self.link.peer, call)
        with self._lock:
            is_full = len(self._runs) >= CALLS_MAX or (
                self._waiting_bytes > 0 and self._waiting_bytes + run.size > WAITING_BYTES
            )
            if not is_full:
                self._waiting_bytes += run.size
        if is_full:
            error = QueueFullError(
                f"{call.method!r} was not run: peer {self.link.peer} has {len(self._runs)} calls "
                f"under way here, with {self._waiting_bytes} bytes of arguments that wait: wait "
                "for some"
            )
            self._refuse_later(call, error)
            return
        self._runs[call.id] = run
        loop = self.service.existing_loop
        if loop is not None and self._may_begin_in_loop(call):
            is_taken = loop.call(begin_in_loop, run, call)
        else:
            is_taken = self.service.pool.submit(Task(partial(begin, run, call), call.depth))
        if not is_taken:
            run.cancel("the peer stops")

    def _may_begin_in_loop(self, call: Call) -> bool:
        """Whether an asynchronous method need not wait for a thread of the pool."""
        method = self.service.methods.get(call.method)
        return (
            method is not None
            and method.is_async
            and self.service.versions.wait((call.epoch, call.version), 0)
        )

    def _stops(self, call: Call) -> PeerLostError:
        return PeerLostError(
            f"{call.method!r} was not run, because its peer stops: call it again, and "
            "another peer that has it runs it",
            pid=os.getpid(),
            method=call.method,
            outcome="not_applied",
        )

    def _refuse_later(self, call: Call, error: MemSyncError) -> None:
        """A send may block, so another thread does it."""
        self.service.timers.start()
        self.service.timers.soon(lambda: self.send(Failure(call.id, None, to_wire(error))))

    # -- for the calls, on any thread -------------------------------------------------------------

    def send(self, answer: Answer) -> None:
        """Send an answer; raises `TooLargeError`. Where the link is down nobody waits for it."""
        try:
            self.link.send(answer)
        except ConnectionError as error:
            log.debug("an answer was not sent: call=%s reason=%s", answer.id, error)

    def started(self, size: int) -> None:
        """The arguments of a call, of `size` bytes, wait no longer."""
        with self._lock:
            self._waiting_bytes -= size

    def ended(self, id: int) -> bool:
        """A call is over; returns whether it was under way. `answered` follows."""
        self._answering.add(id)  # first: at no moment is the call forgotten
        return self._runs.pop(id, None) is not None

    def answered(self, id: int) -> None:
        """The answer of a call that is over was sent, or nobody waits for it."""
        self._answering.discard(id)
