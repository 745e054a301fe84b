"""How a call ends at the caller, and what its errors say of it."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any, NamedTuple

from ..clocks import monotonic
from ..errors import MemSyncError, PeerLostError, RpcError, RpcTimeoutError, UsageError, from_wire
from ..lasting import lasting
from ..runtime.own_threads import refuse_waiting
from .link import Link
from .messages import Failure, Payload
from .pickles import Pickles, UnpackError
from .rebuild import rebuild

ARGUMENTS_MAX = 200  # characters of the arguments in an error


@lasting
class Lost(NamedTuple):
    """The link is down."""

    reason: str
    was_sent: bool = True  # False: the callee knows nothing of the call


@lasting
class Expired(NamedTuple):
    """The time is over."""


@lasting
class Behind(NamedTuple):
    """The time is over; the answer is here, but not the version that it has seen."""


@lasting
class Cancelled(NamedTuple):
    """The caller has cancelled the call."""

    reason: str


@lasting
class Forked(NamedTuple):
    """The call was made before a fork, and this is the child."""


@lasting
class Raised(NamedTuple):
    """No other peer can run the call."""

    error: BaseException


Ending = Failure | Lost | Expired | Behind | Cancelled | Forked | Raised
"""How a call ends without a value."""


class Description:
    """What errors say of a call."""

    def __init__(
        self,
        link: Link,
        pickles: Pickles,
        method: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        seconds: float,
        is_loop_thread: Callable[[], bool],
    ) -> None:
        self.method = method
        self.seconds = seconds  # that the call, or an item of the stream, may take
        self.link = link  # of the peer that runs it
        self._pickles = pickles
        self._args = args
        self._kwargs = kwargs
        self._since = monotonic()
        self._pid = os.getpid()
        self._is_loop_thread = is_loop_thread

    def check_process(self) -> None:
        """Raise `RpcTimeoutError` in a forked child, which has no link."""
        if self._pid != os.getpid():
            raise self.error(Forked())

    def check_wait(self) -> None:
        """Raise if waiting would not end: in a forked child, or on a thread that must go on."""
        self.check_process()
        refuse_waiting("waiting for a remote call")
        if self._is_loop_thread():
            raise UsageError(
                "waiting for a remote call would stop all asynchronous methods of this process: in "
                "an async method use `await asyncio.wrap_future(mem.rpc.submit(...))`"
            )

    def error(self, ending: Ending) -> BaseException:
        """The exception for an ending; runs code of the program."""
        link = self.link
        if isinstance(ending, Forked):
            return RpcTimeoutError(
                f"{self.method!r} was called before a fork: only the parent process receives the "
                "answer. Call it again in this process",
                peer=link.peer,
                method=self.method,
            )
        if isinstance(ending, Failure):
            return self._failure(ending, link.peer)
        if isinstance(ending, Cancelled):
            return CancelledError(f"the call of {self.method!r} was cancelled: {ending.reason}")
        if isinstance(ending, Expired):
            return RpcTimeoutError(
                f"{self.method!r} on peer {link.peer} (pid {link.pid}) did not answer within "
                f"{self.seconds:.3g} s and was cancelled there; it may have run: allow it more "
                "time (timeout=), or have the method check rpc.current().cancelled",
                peer=link.peer,
                method=self.method,
                seconds=self.seconds,
            )
        if isinstance(ending, Raised):
            return ending.error
        if isinstance(ending, Behind):
            return RpcTimeoutError(
                f"{self.method!r} on peer {link.peer} has run and has answered, but what it had "
                f"seen of the object has not come to this peer within {self.seconds:.3g} s: see "
                "whether the host is suspended, or allow more time (timeout=)",
                peer=link.peer,
                method=self.method,
                seconds=self.seconds,
                outcome="applied",
            )
        seconds = monotonic() - self._since
        arguments = self._arguments()
        if ending.was_sent:
            fate, outcome = f"which may have run ({ending.reason})", "unknown"
            advice = "call it again if it may run twice, or mark it with @memsync.idempotent"
        else:
            fate, outcome = f"which was not run ({ending.reason})", "not_applied"
            advice = "call it again"
        return PeerLostError(
            f"peer {link.peer} (pid {link.pid}) was lost {seconds:.3g} s after the call of "
            f"{self.method}({arguments}), {fate}: {advice}",
            outcome=outcome,
            peer=link.peer,
            pid=link.pid,
            method=self.method,
            arguments=arguments,
            seconds=seconds,
        )

    def value(self, payload: Payload, what: str) -> Any:
        """What the callee has sent; raises `RpcError`, which calls it `what`."""
        try:
            return self._pickles.unpack(payload)
        except UnpackError as error:
            raise RpcError(
                f"{self.method!r} was run, but {what} cannot be read here: {error}"
            ) from error

    def _failure(self, failure: Failure, peer: str) -> BaseException:
        if failure.twin is not None:
            raiser = f"{self.method!r} on peer {peer}"
            error = rebuild(failure.twin, self._pickles, raiser)
            _say_that_it_has_run(error, raiser)
            return error
        if failure.error is None:
            return RpcError(f"{self.method!r} failed on peer {peer} without a reason")
        refusal = from_wire(failure.error)
        if isinstance(refusal, PeerLostError):  # it stops, and does not say who it is
            refusal.peer = peer
        return refusal

    def _arguments(self) -> str:
        short = reprlib.Repr()
        short.maxstring = short.maxother = 60
        texts = [_shown(short, value) for value in self._args[:10]]
        texts += [f"{name}={_shown(short, self._kwargs[name])}" for name in list(self._kwargs)[:10]]
        text = ", ".join(texts)
        return text if len(text) <= ARGUMENTS_MAX else f"{text[:ARGUMENTS_MAX]}..."


def _say_that_it_has_run(error: BaseException, raiser: str) -> None:
    """The outcome of an error is that of the caller's call, not of what the method did."""
    if not issubclass(type(error), MemSyncError):  # `isinstance` would ask the exception
        return
    outcome = getattr(error, "outcome", None)
    if outcome != "applied":
        note = f"memsync: {raiser} has run; what it did there failed with the outcome {outcome!r}"
        BaseException.add_note(error, note)
        object.__setattr__(error, "outcome", "applied")


def _shown(short: reprlib.Repr, value: Any) -> str:
    try:
        return short.repr(value)
    except Exception as error:
        return f"<a {type(value).__name__} whose repr raised {type(error).__name__}>"
