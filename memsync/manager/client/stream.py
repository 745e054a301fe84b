"""One connection that several threads use: the reader role and the sender role.

The bytes that come in are one ordered stream, so at any time one thread reads them: the holder of
the *reader role*. As a rule that is the peer's driver thread. A thread that waits for the answer to
its own write takes the role over for that time and reads the answer itself, which spares a
hand-over between threads. It takes the socket out of the driver's selector first, so the driver is
not woken for bytes that are not for it; the kernel allows that from another thread.

The *sender role* works alike: a thread that queued something sends, unless another thread is
sending already, which then sends that as well. What the kernel does not take at once is left to the
driver. Writes that nobody waits for are gathered: while earlier ones are unanswered they stay
queued until there is a packet full of them or an answer comes, which is soon.

Roles are held by tasks: on a real platform a task is known by its thread.
"""

from __future__ import annotations

import logging
import selectors
import threading
from collections.abc import Callable

from ..context import PeerContext
from ..platform.task import Pause, Task
from ..transport.channel import Channel, ChannelLost, change_interest

log = logging.getLogger("memsync.link")


class SharedStream:
    """The channel to the host, and who reads and sends on it.

    `is_answer_due` says whether a proposal up to the given number is unanswered.
    """

    def __init__(
        self, ctx: PeerContext, channel: Channel, is_answer_due: Callable[[int], bool]
    ) -> None:
        self.channel = channel
        self.reason: str | None = None  # why it has ended
        self.interrupted = False  # a thread was interrupted while it used the stream
        self.selector = ctx.platform.new_selector(ctx.waker)
        self._platform = ctx.platform
        self._timing = ctx.timing
        self._waker = ctx.waker
        self._is_answer_due = is_answer_due
        self._lock = threading.Lock()
        self._driver = ctx.platform.task_id()
        self._reader: int | None = None
        self._sender: int | None = None
        self._want_write = False
        self._queued_number = 0  # of the last own write in the stream
        self._sent_number = 0  # of the last one that was, or is being, sent
        self._registered = 0
        self._update_interest()

    @property
    def lost(self) -> bool:
        """Whether the stream has ended."""
        return self.reason is not None

    def lose(self, reason: str) -> None:
        """End the stream; the first reason stays."""
        with self._lock:
            self.reason = self.reason or reason

    # -- sending (any thread) --------------------------------------------------------------------

    def queue(self, frames: list[bytes], number: int | None = None) -> None:
        """Append frames to the stream, without I/O; the last one is the proposal `number`."""
        with self._lock:
            for each in frames:
                self.channel.queue(each)
            if number is not None:
                self._queued_number = number

    def kick(self, *, coalesced: bool = False) -> None:
        """Send what is queued, unless another thread is about to."""
        with self._lock:
            if self._sender is not None or self.lost or self._want_write:
                return
            is_soon = coalesced and self._is_answer_due(
                self._sent_number
            )  # what comes back sends it
            if is_soon and self.channel.backlog < self._timing.packet:
                return
            self._sender = self._platform.task_id()
            self._sent_number = self._queued_number
        while self._send_some():
            pass

    def send(self, frames: list[bytes]) -> None:
        """Queue frames and send them."""
        self.queue(frames)
        self.kick()

    def _send_some(self) -> bool:
        """One attempt; True while there is more to send and the role is kept."""
        lost = done = False
        try:
            done = self.channel.flush()
        except ChannelLost as error:
            # What the host sent before it died can still be read, so the reader decides.
            log.debug("sending failed: %s", error)
            lost = True
        with self._lock:
            if done and self.channel.has_output and not self.lost:
                self._sent_number = self._queued_number
                return True
            self._sender = None
            if self.lost:
                self._waker.wake()  # the driver may wait for the role
            if not done and not lost:
                self._want_write = True
                self._update_interest()
            return False

    def may_write(self) -> None:
        """The kernel takes bytes again (driver)."""
        with self._lock:
            self._want_write = False
            self._update_interest()
        self.kick()

    # -- the reader role -------------------------------------------------------------------------

    def take_role(self) -> bool:
        """Become the reader, unless another task is, or the stream has ended."""
        with self._lock:
            if self._reader is not None or self.lost:
                return False
            self._reader = self._platform.task_id()
            self._update_interest()
            return True

    def leave_role(self) -> None:
        """Give the role back."""
        with self._lock:
            self._reader = None
            self._update_interest()
            if self.lost:
                self._waker.wake()  # the driver may wait for the role

    def on_interrupt(self) -> bool:
        """The calling thread was interrupted in here, for example by Ctrl-C, nobody knows where.

        Its roles are free, and the stream has ended. Returns whether the thread was the reader, so
        that the copy is not to be trusted. Each line stands for itself, so that an interrupt in
        here as well does no harm.
        """
        me = self._platform.task_id()
        self.interrupted = True
        was_reader = self._reader == me
        if was_reader:
            self._reader = None
        if self._sender == me:
            self._sender = None
        self.reason = self.reason or "a thread was interrupted while it used the link"
        return was_reader

    def fence(self) -> Task[None]:
        """Nothing new can come in any more; the driver is the reader for what has arrived."""
        self.channel.shut_reading()  # wakes a blocked reader
        patience = self._platform.monotonic() + self._timing.fence
        while not self._take_over() and self._platform.monotonic() < patience:
            yield Pause(self._waker, self._timing.fence_check)

    def _take_over(self) -> bool:
        with self._lock:
            if self._reader is not None or self._sender is not None:
                return False
            self._reader = self._driver
            return True

    def close(self) -> None:
        """Close the channel and the selector."""
        self._platform.drop_selector(self.selector)
        self.channel.close()

    def _update_interest(self) -> None:
        """Tell the driver's selector what to look for; the lock is held."""
        mask = selectors.EVENT_READ if self._reader is None and not self.lost else 0
        if self._reader is not None and self._platform.task_id() == self._driver:
            mask = selectors.EVENT_READ  # the driver needs no change of its own selector
        if self._want_write:
            mask |= selectors.EVENT_WRITE
        if mask == self._registered:
            return
        try:
            self._registered = change_interest(self.selector, self.channel, self._registered, mask)
        except (KeyError, OSError):  # another thread was interrupted in here
            self.reason = self.reason or "the selector is not to be trusted"
