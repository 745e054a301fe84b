"""A client's side of its one connection to the host.

The bytes that come in are one ordered stream, so at any time one thread reads them: the holder of
the *reader role*. As a rule that is the peer's driver thread. A thread that waits for the answer to
its own write takes the role over for that time and reads the answer itself, which spares a
hand-over between threads. It takes the socket out of the driver's selector first, so the driver is
not woken for bytes that are not for it; the kernel allows that from another thread.

The *sender role* works alike: whoever queued something sends, unless somebody is sending already,
who then sends that as well. What the kernel does not take at once is left to the driver. Writes
that nobody waits for are gathered: while earlier ones are unanswered they stay queued until there
is a packet full of them or an answer comes, which is soon.

A link is *lost* when its connection ends, when the host no longer reigns, or when a reader was
interrupted in the middle of a message; it is then fenced: nothing new can come in any more, what
has arrived is still taken.
"""

from __future__ import annotations

import logging
import selectors
import threading
import time
from typing import TYPE_CHECKING

from ..errors import MemSyncError, ProtocolError, from_wire
from ..replication.messages import (
    HEADER,
    Applied,
    Await,
    Confirm,
    Decision,
    Entry,
    Fetch,
    Grant,
    Leave,
    Ping,
    Pong,
    Reached,
    Refused,
    Resend,
    SnapshotPart,
    Source,
    Welcome,
    frame,
    parse,
)
from .channel import RECEIVE_TIMEOUT, Channel, ChannelLost
from .contents import Reign
from .machine import Life, Ready, Select

if TYPE_CHECKING:
    from .node import Node
    from .pending_write import PendingWrite

log = logging.getLogger("memsync.link")

_PACKET = 1 << 14  # bytes of writes that nobody waits for which are sent at once
_LIFE = 0  # token of the ping that asks a silent host whether it lives
_FENCE_PATIENCE = 5.0  # seconds a reader that was woken has to leave the role


class _RoundTrip:
    """A ping that a thread waits for; on a bare lock, for a Condition cannot be interrupted."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._end: float | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def end(self, when: float | None) -> None:
        """The answer has come, or (None) never will."""
        if self._done.locked():
            self._end = when
            self._done.release()

    def wait(self, timeout: float, *, is_over: bool) -> float:
        """The seconds it took; raises `TimeoutError` when there is no answer in time."""
        if is_over or not self._done.acquire(timeout=timeout) or self._end is None:
            raise TimeoutError
        return self._end - self._start


class Link:
    """A client's connection to the host of `reign`."""

    status = "client"

    def __init__(self, node: Node, reign: Reign, channel: Channel) -> None:
        self.reign = reign
        self._node = node
        self._channel = channel
        self._lock = threading.Lock()
        self._role_free = threading.Condition(self._lock)
        self._reader: int | None = None
        self._sender: int | None = None
        self._interrupted = False
        self._want_write = False
        self._queued_number = 0  # of the last own write in the stream
        self._sent_number = 0  # of the last one that was, or is being, sent
        self._must_confirm = False
        self._registered = 0
        self._welcome: Welcome | None = None
        self._reason: str | None = None
        self._refusal: MemSyncError | None = None
        self._pings: dict[int, _RoundTrip] = {}
        self._asked: float | None = None  # when the silent host was asked whether it lives
        self._answers = False
        self._machine = node.machine
        self._looked_at = self._machine.monotonic()  # into the folder
        self._selector = self._machine.new_selector(node.waker)
        self._update_interest()

    @property
    def lost(self) -> bool:
        """Whether the link has ended."""
        return self._reason is not None

    @property
    def interrupted(self) -> bool:
        """Whether a thread was interrupted while it used the link."""
        return self._interrupted

    # -- joining (driver) ------------------------------------------------------------------------

    def join(self, deadline: float) -> Life[None]:
        """Wait until this peer is level with the host and may write.

        Raises `ChannelLost` when the host is gone or was replaced, and what the host refused with.
        """
        while not self._is_level():
            if not self._node.reigns_still(self.reign):
                raise ChannelLost("the host is gone")
            self._node.check_stop()
            if self._machine.monotonic() > deadline:
                raise ChannelLost("the host does not answer in time")
            if self._node.host_hangs(self.reign.epoch):
                raise ChannelLost("the host hangs")
            yield from self._turn(self._rhythm())
            if self._refusal is not None:
                raise self._refusal
            if self.lost:
                raise ChannelLost(self._reason or "")
        assert self._welcome is not None
        self._node.enter(self, self._welcome.last)

    def _is_level(self) -> bool:
        welcome = self._welcome
        if welcome is None:
            return False
        return self._node.replica.pair >= (welcome.epoch, welcome.version)

    # -- the driver's loop -----------------------------------------------------------------------

    def run(self) -> Life[str]:
        """Follow the host until the link is lost or the peer stops; returns why."""
        now = self._looked_at = self._machine.monotonic()
        next_look = now + self._rhythm()
        while not self.lost and not self._node.stopping:
            deadline = min(next_look, self._node.own.next_deadline())
            woken = yield from self._turn(max(deadline - now, 0))
            now = self._machine.monotonic()
            self._node.own.give_up_late(now)
            if self._machine.misbehaves("pending writes are sent again"):
                self._resend(self._node.own.lowest)
            if self._machine.misbehaves("a link breaks"):
                self._lose("it misbehaves")
            if woken or now >= next_look:
                next_look = now + self._rhythm()
                self._looked_at = now
                if not self._node.reigns_still(self.reign):
                    self._lose("the host's lock is free, or a newer one exists")
                elif self._is_silent(now):
                    self._lose("the host hangs")
                else:
                    self._node.try_to_mend(self._node.mend)
        return self._reason or "stopped"

    def _rhythm(self) -> float:
        """Seconds between two looks into the folder."""
        return min(self._node.options.network.poll, self._node.lease.rhythm)

    def _is_silent(self, now: float) -> bool:
        """Whether the lease has run out, and the host does not answer either."""
        if not self._node.host_hangs(self.reign.epoch):
            self._asked = None
            return False
        if self._asked is None or self._answers:
            self._asked, self._answers = now, False
            self._send_all([frame(Ping(_LIFE))])
            return False
        return now - self._asked >= self._node.lease.rhythm

    def _turn(self, timeout: float) -> Life[bool]:
        """One round of the selector; True when the waker was the reason."""
        woken = False
        events: Ready = yield Select(self._selector, timeout)
        for key, mask in events:
            if key.fileobj is self._node.waker:
                self._node.waker.clear()
                woken = True
                continue
            if mask & selectors.EVENT_WRITE:
                with self._lock:
                    self._want_write = False
                    self._update_interest()
                self.kick()
            if mask & selectors.EVENT_READ and self._take_role():
                try:
                    self._receive(wait=False)
                finally:
                    self._leave_role()
        return woken

    def leave(self) -> None:
        """Tell the host that this peer stops."""
        with self._lock:
            self._channel.queue(frame(Leave()))
        self.kick()

    def close(self) -> None:
        """Fence and drain: after this nothing of the host can reach this peer any more."""
        self._lose("closed")
        self._channel.shut_reading()  # wakes a blocked reader
        with self._lock:
            patience = time.monotonic() + _FENCE_PATIENCE
            while (self._reader or self._sender) is not None and time.monotonic() < patience:
                self._role_free.wait(0.1)
            self._reader = self._node.driver_ident
        if not self._interrupted:  # else the stream has a gap, and the copy is replaced anyhow
            self._drain()
        for trip in list(self._pings.values()):
            trip.end(None)
        self._machine.drop_selector(self._selector)
        self._channel.close()
        self._node.replica.drop_parts()

    def _drain(self) -> None:
        try:
            for body in self._channel.drain():
                self._handle_all([body])
        except MemSyncError as ended:
            log.debug("drained: %s", ended)

    # -- writing (any thread) --------------------------------------------------------------------

    def queue_write(self, write: PendingWrite, encoded: bytes) -> None:
        """Append a proposal to the stream, in the order of the numbers; no I/O."""
        with self._lock:
            self._channel.queue(encoded)
            self._queued_number = write.proposal.number

    def queue_await(self, message: Await) -> None:
        """Ask the host to watch over an accepted write; no I/O."""
        with self._lock:
            self._channel.queue(frame(message))

    def kick(self, *, lazy: bool = False) -> None:
        """Send what is queued, unless another thread is about to."""
        with self._lock:
            if self._sender is not None or self.lost or self._want_write:
                return
            if lazy and self._is_answer_due() and self._channel.backlog < _PACKET:
                return
            self._sender = threading.get_ident()
            self._sent_number = self._queued_number
        while self._send_some():
            pass

    def _is_answer_due(self) -> bool:
        """Whether a proposal that was sent is unanswered: what comes back sends the rest."""
        return self._node.own.lowest <= self._sent_number

    def _send_some(self) -> bool:
        """One attempt; True while there is more to send and the role is kept."""
        lost = done = False
        try:
            done = self._channel.flush()
        except ChannelLost as error:
            # What the host sent before it died can still be read, so the reader decides.
            log.debug("sending failed: %s", error)
            lost = True
        with self._lock:
            if done and self._channel.has_output and not self.lost:
                self._sent_number = self._queued_number
                return True
            self._sender = None
            self._role_free.notify_all()
            if not done and not lost:
                self._want_write = True
                self._update_interest()
            return False

    def wait_for(self, write: PendingWrite, deadline: float) -> None:
        """Read until the write is decided, unless somebody else reads, or the link is lost."""
        if not self._take_role():
            return
        while not write.done and not self.lost:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            if left > RECEIVE_TIMEOUT:
                self._receive(wait=True)
            elif self._channel.wait_readable(left):
                self._receive(wait=False)
        self._leave_role()
        if self.lost:
            self._node.waker.wake()

    def break_off(self) -> None:
        """The calling thread was interrupted in here, for example by Ctrl-C, nobody knows where.

        Its roles are free, the copy and the stream are not to be trusted: the driver makes a new
        link. Each line stands for itself, so that an interrupt in here as well does no harm.
        """
        me = threading.get_ident()
        self._interrupted = True
        if self._reader == me:
            self._node.state.torn = True
            self._reader = None
        if self._sender == me:
            self._sender = None
        self._reason = self._reason or "a thread was interrupted while it used the link"
        self._node.waker.wake()

    def ping(self, timeout: float) -> float:
        """Seconds for a round trip to the host; raises `TimeoutError` after `timeout` seconds."""
        try:
            return self._ping(timeout)
        except TimeoutError:
            raise
        except BaseException:  # for example KeyboardInterrupt
            self.break_off()
            raise

    def _ping(self, timeout: float) -> float:
        trip = _RoundTrip()
        token = id(trip)
        try:
            with self._lock:
                self._pings[token] = trip
                self._channel.queue(frame(Ping(token)))
            self.kick()
            return trip.wait(timeout, is_over=self.lost)
        finally:
            self._pings.pop(token, None)

    # -- the reader role -------------------------------------------------------------------------

    def _take_role(self) -> bool:
        with self._lock:
            if self._reader is not None or self.lost:
                return False
            self._reader = threading.get_ident()
            self._update_interest()
            return True

    def _leave_role(self) -> None:
        with self._lock:
            self._reader = None
            self._update_interest()
            self._role_free.notify_all()

    def _update_interest(self) -> None:
        """Tell the driver's selector what to look for; the lock is held."""
        mask = selectors.EVENT_READ if self._reader is None and not self.lost else 0
        if self._reader is not None and threading.get_ident() == self._node.driver_ident:
            mask = selectors.EVENT_READ  # the driver needs no change of its own selector
        if self._want_write:
            mask |= selectors.EVENT_WRITE
        if mask == self._registered:
            return
        try:
            self._registered = self._node.register(
                self._selector, self._channel, self._registered, mask
            )
        except (KeyError, OSError):  # another thread was interrupted in here
            self._reason = self._reason or "the selector is not to be trusted"

    def _lose(self, reason: str) -> None:
        with self._lock:
            self._reason = self._reason or reason

    # -- what comes in (holder of the reader role) -----------------------------------------------

    def _receive(self, *, wait: bool) -> None:
        if self._was_away():
            return
        try:
            bodies = self._channel.receive(wait=wait)
            self._handle_all(bodies)
        except ChannelLost as ended:
            self._lose(str(ended))
        except ProtocolError as error:
            log.error("the link to the host is given up: %s", error)
            self._lose(str(error))

    def _was_away(self) -> bool:
        """Whether this peer may have been frozen, and the group has gone on without it.

        What is left on the link then is told only when the next host shows that it counts.
        """
        now = self._machine.monotonic()
        if now - self._looked_at <= self._node.options.network.recovery / 2:
            return False
        self._looked_at = now
        if self._node.role is not self:
            return False
        if self._node.reigns_still(self.reign, if_missing=False):
            return False
        self._lose("the host's lock is free, or a newer one exists")
        return True

    def _handle_all(self, bodies: list[bytes | memoryview]) -> None:
        entries: list[Entry] = []
        self._must_confirm = False
        try:
            for body in bodies:
                message = parse(body)
                if type(message) is Entry:
                    self._node.take_entry(message, len(body) + HEADER)
                    entries.append(message)
                else:
                    self._handle(message)
        except ProtocolError:
            self._node.settle(entries)  # what came before it counts
            raise
        self._node.settle(entries)
        if self._must_confirm:
            self._send_all([frame(Applied(self._node.state.version))])
        elif self._channel.has_output:
            self.kick()

    def _handle(self, message: object) -> None:
        match message:
            case Decision():
                self._node.replica.decide(message)
            case Welcome():
                if message.epoch < self._node.replica.state.epoch:
                    raise ProtocolError(f"a host of epoch {message.epoch} is of the past")
                self._welcome = message
                self._node.replica.drop_parts()  # those of a level that was broken off
            case SnapshotPart():
                if self._welcome is None:
                    raise ProtocolError("a snapshot came before Welcome")
                lowest = self._node.own.lowest
                self._node.replica.take_part(message, self._welcome.last)
                if self._node.role is self and self._node.own.lowest < lowest:  # it lacks some
                    self._resend(self._welcome.last + 1)
            case Fetch():
                self._send_all(self._node.source(message))
            case Ping():
                self._send_all([frame(Pong(message.token))])
            case Pong():
                self._answers = self._answers or message.token == _LIFE
                trip = self._pings.get(message.token)
                if trip is not None:
                    trip.end(time.monotonic())
            case Resend():
                self._resend(message.number)
            case Confirm():
                self._must_confirm = True
            case Grant():
                self._node.granted = message
                self._lose("the host hands over")
            case Reached():
                self._node.own.reached(message)
            case Refused():
                self._refusal = from_wire(message.error)
                self._lose("refused")
            case Source() | _:
                raise ProtocolError(f"a host does not send {type(message).__name__}")

    def _resend(self, number: int) -> None:
        self._send_all([frame(write.proposal) for write in self._node.own.unsent(number)])

    def _send_all(self, frames: list[bytes]) -> None:
        with self._lock:
            for each in frames:
                self._channel.queue(each)
        self.kick()
