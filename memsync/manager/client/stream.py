"""One connection that several threads use: the reader role and the sender role.

Incoming bytes are one ordered stream, so one thread at a time reads them: the holder of the *reader
role*, usually the peer's driver. A thread that waits for the answer to its own write takes the role
for that time and reads the answer itself, which saves a thread switch. It first removes the socket
from the driver's selector, so that the driver does not wake; the kernel allows that from another
thread.

The *sender role* is similar. A thread that has queued frames sends them, unless another thread is
sending, which then sends them too. The driver sends what the kernel did not take at once. Coalesced
writes, for which no thread waits, stay queued while an earlier write is unanswered, until they fill
a packet or the answer comes.

Tasks hold the roles; on a real platform the id of a task is that of its thread.
"""

from __future__ import annotations

from collections.abc import Callable

from ...runtime.logs import Logger
from ...runtime.native import Lock
from ..context import PeerContext
from ..platform.selector import READ, WRITE
from ..platform.spin import Spin
from ..platform.task import Pause, Task
from ..transport.channel import Channel, ChannelLost

log = Logger("memsync.link")


class SharedStream:
    """The channel to the host, with its reader and its sender.

    `is_answer_due` says whether a proposal up to the given number is unanswered.
    """

    def __init__(
        self, ctx: PeerContext, channel: Channel, is_answer_due: Callable[[int], bool]
    ) -> None:
        self.channel = channel
        self.reason: str | None = None  # why the stream has ended
        self.interrupted = False  # a thread that used the stream was interrupted, or left behind
        self.is_handling = False  # its reader handles what it has read
        self.selector = ctx.platform.new_selector(ctx.waker)
        self.selector.register(channel, READ)
        self.interest = READ  # what the driver's selector looks for
        self.spin = Spin(ctx.spin)  # of the reader that waits for an answer
        self._platform = ctx.platform
        self._timing = ctx.timing
        self._waker = ctx.waker
        self._is_answer_due = is_answer_due
        self._lock = Lock()
        self._driver = ctx.platform.task_id()
        self._reader: int | None = None
        self._sender: int | None = None
        self._want_write = False
        self._queued_number = 0  # the last own write in the stream
        self._sent_number = 0  # the last own write that was sent or is being sent

    @property
    def lost(self) -> bool:
        return self.reason is not None

    def lose(self, reason: str) -> None:
        """End the stream; only the first reason is kept."""
        with self._lock:
            self.reason = self.reason or reason

    def break_off(self, reason: str) -> None:
        """End the stream in the middle: what has arrived must not be handled any more."""
        self.interrupted = True
        self.lose(reason)

    # -- sending (any thread) --------------------------------------------------------------------

    def queue(self, frames: list[bytes], number: int | None = None) -> None:
        """Append frames to the stream, without I/O; the last frame is the proposal `number`."""
        with self._lock:
            for each in frames:
                self.channel.queue(each)
            if number is not None:
                self._queued_number = number

    def kick(self, *, coalesced: bool = False) -> None:
        """Send what is queued, unless another thread is about to."""
        with self._lock:
            if self._sender is not None or self._want_write or self.reason is not None:
                return
            # If an answer is due, its reader sends what is queued.
            can_wait = coalesced and self._is_answer_due(self._sent_number)
            if can_wait and self.channel.backlog < self._timing.packet:
                return
            self._sender = self._platform.task_id()
            self._sent_number = self._queued_number
        while self._send_some():
            pass

    def send(self, frames: list[bytes]) -> None:
        self.queue(frames)
        self.kick()

    def _send_some(self) -> bool:
        """One attempt; True while there is more to send and the role is kept."""
        lost = done = False
        try:
            done = self.channel.flush()
        except ChannelLost as error:
            # Bytes from before the host died are still readable, so the reader ends the stream.
            log.debug("sending failed: %s", error)
            lost = True
        with self._lock:
            if done and self.channel.has_output and self.reason is None:
                self._sent_number = self._queued_number
                return True
            self._sender = None
            self._wake_fence()
            if not done and not lost:
                self._want_write = True
                self._update_interest()
            return False

    def may_write(self) -> None:
        """Send: the kernel takes bytes again (driver)."""
        with self._lock:
            self._want_write = False
            self._update_interest()
        self.kick()

    # -- the reader role -------------------------------------------------------------------------

    def take_role(self) -> bool:
        """Become the reader, unless another task is, or the stream has ended."""
        with self._lock:
            if self._reader is not None or self.reason is not None:
                return False
            self._reader = self._platform.task_id()
            self._update_interest()
            return True

    def begin_handling(self) -> bool:
        """The reader handles what it has read; False if a fence has gone on without it."""
        with self._lock:
            if self._reader != self._platform.task_id():
                return False
            self.is_handling = True
            return True

    def leave_role(self) -> None:
        """Free the role, unless a fence has taken it."""
        with self._lock:
            if self._reader == self._platform.task_id():
                self._reader = None
            self._update_interest()
            self._wake_fence()

    def on_interrupt(self) -> bool:
        """The calling thread was interrupted in here, at an unknown place, for example by Ctrl-C.

        Frees its roles and ends the stream. Returns whether the thread was the reader, which may
        have left the copy torn. Each line is independent, so that a second interrupt does no harm.
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
        """Let nothing new arrive, and make the driver the reader of what has arrived.

        A reader that is handling what it has read is waited for: two would tear the copy. Another
        one loses its role after a while, and what it has read.
        """
        self.channel.shut_reading()  # wakes a blocked reader
        patience = self._platform.monotonic() + self._timing.fence
        while not self._take_over():
            if self._platform.monotonic() >= patience and self._go_on():
                return
            yield Pause(self._waker, self._timing.fence_check)

    def _wake_fence(self) -> None:
        """The calling thread has left its role, for which the driver may wait in `fence`.

        The driver does not wake itself: it would not pause before it joins the next time.
        """
        if self.reason is not None and self._platform.task_id() != self._driver:
            self._waker.wake()

    def _take_over(self) -> bool:
        with self._lock:
            if self._reader is not None or self._sender is not None:
                return False
            self._reader = self._driver
            return True

    def _go_on(self) -> bool:
        """Take the role from a reader that does not handle anything."""
        with self._lock:
            if self.is_handling:
                return False
            if self._reader is not None:
                self.interrupted = True  # it may have read something, so the stream has a gap
            self._reader = self._driver
            return True

    def close(self) -> None:
        self._platform.drop_selector(self.selector)
        self.channel.close()

    def _update_interest(self) -> None:
        """Update the driver's selector; the lock is held."""
        # The driver does not wait while it reads.
        reader = self._reader
        is_awaited = (reader is None or reader == self._driver) and self.reason is None
        mask = (READ if is_awaited else 0) | (WRITE if self._want_write else 0)
        if mask == self.interest:
            return
        self.interest = mask
        try:
            self.selector.change(self.channel, mask)
        except (KeyError, OSError, ValueError):  # another thread was interrupted in this call
            self.reason = self.reason or "the selector is damaged"
