"""The end of a link that makes calls."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Unpack

from msgspec import structs

from ..clocks import monotonic
from ..errors import ProtocolError, UsageError
from ..runtime.logs import Logger
from .context import CurrentCall, running
from .future import CallFuture, Repeat
from .link import Link, LinkDown
from .messages import (
    Call,
    Cancel,
    Credit,
    End,
    Failure,
    Item,
    Message,
    Progress,
    Result,
    Streaming,
)
from .outcomes import Cancelled, Description, Ending, Expired, Lost
from .pool import DEPTH_MAX
from .request import Times
from .service import Service
from .stream import Buffer, Stream

log = Logger("memsync.rpc")

_FOR_THE_CALLER = (Item, Streaming, End, Result, Failure)


class Options(Times, total=False):
    """Arguments of `Caller.call`; see `Caller.start`."""

    pair: tuple[int, int]


class Caller:
    """Makes the calls of one link, and receives their answers; see `link.Receiver`.

    `call_surely` queues a call of a callback of the program; it must not block.
    """

    def __init__(self, link: Link, service: Service, call_surely: Callable[..., None]) -> None:
        self.link = link
        self.service = service
        self._call_surely = call_surely
        self._numbers = itertools.count(1)
        # A stream has a place of its own, so that whoever forgets its call does not forget it.
        self._calls: dict[int, CallFuture] = {}
        self._streams: dict[int, Buffer] = {}
        self._lost: Lost | None = None
        self.expired_at: float | None = None  # when a call has had no answer in time, at last
        self.last_number = 0  # of its calls
        self.is_retired = False  # the link was closed from here, because nobody used it

    @property
    def calls(self) -> int:
        """The number of calls and streams that have not ended."""
        self._clean_up()
        return len(self._calls) + len(self._streams)

    @property
    def is_lost(self) -> bool:
        """Whether the link is down."""
        return self._lost is not None

    # -- for the program --------------------------------------------------------------------------

    def call(
        self,
        method: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> Any:
        """Call and wait: the value that the method returns, or a `Stream`; see `start`."""
        return awaited(self.start(method, args, kwargs, **options, is_awaited=True))

    def start(
        self,
        method: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        default_timeout: float = 30.0,
        pair: tuple[int, int] = (0, 0),
        is_awaited: bool = False,
        repeat: Repeat | None = None,
    ) -> CallFuture:
        """Call without waiting.

        `timeout` are the seconds of the whole call, a stream included. Without it a call that a
        method makes has what is left of the method's own time; any other call has
        `default_timeout`, and in a stream each item has as much. `pair` is what the caller has seen
        of the object. With `is_awaited` the program waits for the future at once, so it needs no
        timer. `repeat` may have the call go on at another peer.

        Raises `NotSerializableError` and `TooLargeError`; in a method,
        `concurrent.futures.CancelledError` if that was cancelled itself.
        """
        parent: CurrentCall | None = running.get()
        seconds, is_stated, depth = _budget(parent, timeout, default_timeout, method)
        kwargs = dict(kwargs or {})
        payload = self.service.pickles.pack_arguments(args, kwargs, method)
        self.service.timers.start()  # before an abandoned stream needs it
        description = Description(
            self.link,
            self.service.pickles,
            method,
            args,
            kwargs,
            seconds,
            self.service.is_loop_thread,
        )
        future = CallFuture(description, self._call_surely, repeat)
        future.is_stated = is_stated
        budget = max(int(seconds * 1000), 1)
        call = Call(next(self._numbers), method, payload, budget, is_stated, *pair, depth=depth)
        if repeat is not None:
            future.message = call
        self._calls[call.id] = future
        try:
            future.end = partial(self.end, call.id)
            if parent is not None:
                future.parent = parent
                parent.add_nested(future, partial(_cancel, future))
            if not is_awaited:
                future.timer = self.service.timers.at(future.deadline, partial(_expire, future))
            self._send(call)
        except BaseException:
            self.end(call.id, Cancelled("it was perhaps not sent"))
            raise
        return future

    def retire(self) -> bool:
        """Close the link unless a call is under way; returns whether it is closed."""
        self.is_retired = True  # first, so that a call which begins now sees it or is seen
        if self.calls:
            self.is_retired = False
            return False
        self.link.close()
        return True

    def begin(self, future: CallFuture, pair: tuple[int, int]) -> None:
        """Go on with a call that another peer has not answered; raises as `start`."""
        last = future.message
        assert last is not None
        left = max(int((future.deadline - monotonic()) * 1000), 1)
        call = structs.replace(
            last, id=next(self._numbers), budget_ms=left, epoch=pair[0], version=pair[1]
        )
        future.description.link = self.link
        self._calls[call.id] = future
        future.end = partial(self.end, call.id)
        if future.done():  # it was cancelled, or its time is over
            self._calls.pop(call.id, None)
        else:
            self._send(call)

    def _send(self, call: Call) -> None:
        self.last_number = call.id
        try:
            if self.is_retired:
                raise LinkDown("it was idle")
            self.link.send(call)
        except ConnectionError as error:
            self._settle(call.id, Lost(str(error), was_sent=not isinstance(error, LinkDown)))
        if self._lost is not None:
            self._lose(call.id, self._lost)

    def end(self, id: int, ending: Ending) -> None:
        """End a call or stream, if it is under way, here and at the callee. Never blocks.

        The thread of the timers does both, as an interrupt may come between two steps of this one.
        """
        entry = self._entry(id)
        if entry is not None:
            if isinstance(ending, Expired) and isinstance(entry, CallFuture) and not entry.answer:
                self.expired_at = monotonic()
            self.service.timers.soon(partial(self._end_surely, id, ending))
            self._settle(id, ending)

    def _end_surely(self, id: int, ending: Ending) -> None:
        self._settle(id, ending)
        self.send(Cancel(id))

    def send(self, message: Message) -> None:
        """Send what needs no answer; where the link is down nobody misses it."""
        try:
            self.link.send(message)
        except ConnectionError as error:
            log.debug("a message was not sent: %r reason=%s", message, error)

    # -- on the I/O thread ------------------------------------------------------------------------

    def received(self, message: Message) -> None:
        """Pass an answer to its call; what was cancelled meanwhile is ignored."""
        entry = self._entry(message.id)
        if isinstance(message, (Result, Failure)) and isinstance(entry, CallFuture):
            self._answered(entry, message)
        elif isinstance(message, Item) and isinstance(entry, Buffer):
            entry.add(message)
        elif isinstance(message, Streaming) and isinstance(entry, CallFuture):
            self._open(message.id, entry)
        elif isinstance(message, (End, Failure)) and isinstance(entry, Buffer):
            self._settle(message.id, message)
        elif isinstance(message, Progress):
            if entry is not None:
                entry.report(message)
        elif entry is not None or not isinstance(message, _FOR_THE_CALLER):
            raise ProtocolError(
                f"a {type(message).__name__} came to a peer that does not expect it"
            )

    def lost(self, reason: str) -> None:
        """The callee has gone, so all calls end with a `PeerLostError`."""
        self._lost = Lost(reason)
        for id in [*self._streams.copy(), *self._calls.copy()]:
            self._lose(id, self._lost)

    def _lose(self, id: int, lost: Lost) -> None:
        """No answer comes any more; one that is here waits for its version."""
        entry = self._entry(id)
        if not isinstance(entry, CallFuture) or entry.answer is None:
            self._settle(id, lost)

    def _answered(self, future: CallFuture, answer: Result | Failure) -> None:
        """End a call, once this peer has seen what the callee had seen at its answer."""
        pair, versions = (answer.epoch, answer.version), self.service.versions
        if versions.pair() >= pair:
            self._settle(answer.id, answer)
        else:
            future.answer = answer
            versions.call_at(pair, partial(self._settle, answer.id, answer))

    def _open(self, id: int, future: CallFuture) -> None:
        """The call is a stream from now on."""
        buffer = Buffer(future.parent)
        self._streams[id] = buffer
        if future.parent is not None:
            future.parent.add_nested(buffer, partial(self._cancel, id))
        stream = Stream(
            buffer,
            future.description,
            future.deadline if future.is_stated else None,
            self.service.versions,
            acknowledge=lambda count: self.send(Credit(id, count)),
            end=partial(self.end, id),
            abandon=partial(self._cancel, id),
        )
        future.settle(stream)
        self._calls.pop(id, None)

    def _clean_up(self) -> None:
        """Finish what an interrupt broke off: calls that were settled, or that nobody waits for."""
        now = monotonic()
        for id, buffer in self._streams.copy().items():
            if buffer.done():
                self._streams.pop(id, None)
        for id, future in self._calls.copy().items():
            if future.done():
                self._calls.pop(id, None)
            elif future.deadline < now:
                self.end(id, Expired())

    def _entry(self, id: int) -> CallFuture | Buffer | None:
        """The stream of a number, or the call that has not become one."""
        return self._streams.get(id) or self._calls.get(id)

    def _settle(self, id: int, outcome: Result | End | Ending) -> None:
        entry = self._entry(id)
        if entry is None:
            return
        entries: dict[int, Any] = self._streams if isinstance(entry, Buffer) else self._calls
        if isinstance(outcome, (Lost, Failure)):
            # First: the call may go on at another peer.
            if entries.pop(id, None) is not None:
                entry.settle(outcome)
        else:
            entry.settle(outcome)  # before the call is forgotten: an interrupt may come between
            entries.pop(id, None)

    def _cancel(self, id: int, reason: str) -> None:
        """Cancel a stream of a method that was cancelled itself, or that nobody has."""
        self.end(id, Cancelled(reason))


def awaited(future: CallFuture) -> Any:
    """Its result; an exception while it waits (Ctrl-C) cancels the call."""
    try:
        return future.result()
    except BaseException:
        if not future.done():
            future.cancel()
        raise


def _cancel(future: CallFuture, reason: str) -> None:
    """The method that has made the call was cancelled."""
    future.end(Cancelled(reason))


def _expire(future: CallFuture) -> None:
    future.end(Expired())


def _budget(
    parent: CurrentCall | None, timeout: float | None, default: float, method: str
) -> tuple[float, bool, int]:
    """The seconds that a call has, whether a stream has no more, and the depth of the call."""
    if parent is None:
        return (default if timeout is None else timeout), timeout is not None, 0
    parent.check()
    depth = parent.depth + 1
    if depth > DEPTH_MAX:
        raise UsageError(
            f"{method!r} would be the call number {depth + 1} of a chain in which each call waits "
            "for the next: does a method call itself?"
        )
    left = parent.remaining()
    if left is None:
        return (default if timeout is None else timeout), timeout is not None, depth
    return (left if timeout is None else min(timeout, left)), True, depth
