"""Links over sockets, and the one thread of a peer that reads all of them.

Any thread sends: it hands its frame to the kernel, and what the kernel does not take is sent by the
reading thread when there is room. So a peer that takes nothing delays nobody else. A thread that
sends to it waits for a moment, which slows down a program that makes calls without end.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable

from ..clocks import monotonic
from ..errors import MemSyncError
from ..lasting import lasting
from ..manager.platform.platform import Platform
from ..manager.platform.selector import READ, WRITE
from ..manager.platform.threads import start_thread
from ..manager.transport.channel import Channel, ChannelLost, change_interest
from ..replication.codec import frame_of
from ..runtime.logs import Logger
from ..runtime.native import Lock, get_ident
from ..runtime.own_threads import OwnThread
from ..runtime.wakeup import Wakeup
from .link import LinkDown, Receiver
from .messages import Message, decode, encode

log = Logger("memsync.rpc")

BACKLOG_BYTES = 1 << 22  # queued for one peer, above which a sending thread waits
BACKLOG_SECONDS = 1.0  # that it waits at most
STOP_SECONDS = 2.0  # for the reading thread to end
STOPPED = "this peer has stopped"
WAIT_SECONDS = 60.0  # the longest wait of the reading thread, which events end


@lasting
class SocketLink:
    """One end of a connection; see `Link`."""

    def __init__(
        self, channel: Channel, peer: str, pid: int, max_bytes: int, loop: ReadingLoop
    ) -> None:
        self.peer = peer
        self.pid = pid
        self.max_bytes = max_bytes
        self.receiver: Receiver  # set before the loop gets the link
        self.channel = channel
        self.interest = 0  # of the loop's selector
        channel.max_frame = max_bytes
        self._owner = os.getpid()
        self._loop = loop
        self._lock = Lock()  # of the channel's output
        self._reason: str | None = None  # why it is down
        self._waiting: list[Wakeup] = []  # threads that wait for room

    @property
    def is_open(self) -> bool:
        """Whether no thread has found the link down."""
        return self._reason is None

    def send(self, message: Message) -> None:
        """Send a message; see `Link`."""
        frame = frame_of(encode(message, self.max_bytes))
        if self._owner != os.getpid():
            raise LinkDown("the connection belongs to another process")
        with self._lock:
            if self._reason is not None:
                raise LinkDown(self._reason)
            try:
                self._send(frame)
            except ChannelLost as error:
                self._break_off(str(error))
                raise ConnectionError(str(error)) from error
            except BaseException:  # for example KeyboardInterrupt
                self._after_interrupt()
                raise
        if self.channel.backlog > BACKLOG_BYTES:
            self._wait_for_room()

    def _send(self, frame: bytes) -> None:
        """Hand a frame to the kernel, behind what waits; the lock is held."""
        channel = self.channel
        must_wait = channel.has_output
        channel.queue(frame)
        if not must_wait:
            channel.flush()
            if channel.has_output:
                self._loop.call(self._watch)

    def _after_interrupt(self) -> None:
        """An exception may have come between a step and its note; the lock is held."""
        if self.channel.is_consistent():
            self._loop.call(self._watch)
        else:
            self._break_off("a thread was interrupted while it sent")

    def _break_off(self, reason: str) -> None:
        """End the stream, which the reading thread notices; the lock is held."""
        self._reason = self._reason or reason
        with contextlib.suppress(OSError):  # the other side may have closed already
            self.channel.sock.shutdown(socket.SHUT_RDWR)

    def _wait_for_room(self) -> None:
        if self._loop.is_current():
            return
        wakeup = Wakeup()
        with self._lock:
            self._waiting.append(wakeup)
        deadline = monotonic() + BACKLOG_SECONDS
        while self.channel.backlog > BACKLOG_BYTES and self._reason is None:
            left = deadline - monotonic()
            if left <= 0 or not wakeup.wait(left):
                break
        with self._lock:
            self._waiting.remove(wakeup)

    def close(self) -> None:
        """Close the connection; the receiver is called with ``lost`` on the reading thread."""
        self._loop.call(self._close)

    # -- the reading thread ----------------------------------------------------------------------

    def open(self) -> None:
        """Begin to read."""
        self._watch()

    def _watch(self) -> None:
        if self._is_registered():
            wanted = READ | WRITE if self.channel.has_output else READ
            selector = self._loop.selector
            self.interest = change_interest(selector, self.channel, self.interest, wanted, self)

    def _is_registered(self) -> bool:
        return self in self._loop.links

    def ready(self, mask: int) -> None:
        """Bytes have arrived, or there is room for more."""
        try:
            if mask & WRITE:
                self._flush()
            if mask & READ:
                for body in self.channel.receive():
                    self.receiver.received(decode(body))
        except ChannelLost as error:
            self.lose(str(error))
        except MemSyncError as error:
            log.warning("the connection with peer %s is closed: %s", self.peer, error)
            self.lose(str(error))
        except Exception as error:
            log.exception("the connection with peer %s is closed", self.peer)
            self.lose(f"{type(error).__name__}: {error}")

    def _flush(self) -> None:
        with self._lock:
            self.channel.flush()
            waiting = [*self._waiting]
        self._watch()
        for wakeup in waiting:
            wakeup.set()

    def _close(self) -> None:
        self.lose("the connection was closed")

    def lose(self, reason: str) -> None:
        """Close the connection, and call the receiver."""
        if not self._is_registered():
            return
        self._loop.links.discard(self)
        with self._lock:
            self._reason = reason = self._reason or reason
            waiting = [*self._waiting]
        selector = self._loop.selector
        self.interest = change_interest(selector, self.channel, self.interest, 0)
        self.channel.close()
        for wakeup in waiting:
            wakeup.set()
        self.receiver.lost(reason)


class ReadingLoop:
    """The thread that reads the links of one peer; it starts with the first one."""

    def __init__(self, platform: Platform) -> None:
        self.links: set[SocketLink] = set()  # changed by the thread alone
        self._platform = platform
        self._waker = platform.new_waker()
        self.selector = platform.new_selector(self._waker)
        self._steps: deque[Callable[[], None]] = deque()
        self._is_stopping = False
        self._is_ended = False
        self._thread = OwnThread(self._run, "memsync-calls")
        self._ident = 0
        try:
            start_thread(self._thread)
        except BaseException:  # it may have begun
            self._is_stopping = True
            self._waker.wake()
            raise

    def add(self, link: SocketLink) -> None:
        """Read a link from now on; its receiver is set."""
        self.call(lambda: self._add(link))

    def _add(self, link: SocketLink) -> None:
        self.links.add(link)
        if self._is_ended:
            link.lose(STOPPED)
        else:
            link.open()

    def call(self, step: Callable[[], None]) -> None:
        """Have the thread call `step`; never blocks."""
        self._steps.append(step)
        self._waker.wake()
        if self._is_ended:
            self._do_steps()

    def is_current(self) -> bool:
        """Whether the calling thread is the one."""
        return get_ident() == self._ident

    def stop(self) -> None:
        """Close all links and end the thread; waits for it, except on the thread itself."""
        self._is_stopping = True
        self._waker.wake()
        if not self.is_current():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        self._ident = get_ident()
        try:
            while not self._is_stopping:
                for key, mask in self.selector.select(WAIT_SECONDS):
                    if isinstance(key.data, SocketLink):
                        key.data.ready(mask)
                    else:
                        self._waker.clear()
                self._do_steps()
        finally:
            for link in list(self.links):
                link.lose(STOPPED)
            self._platform.drop_selector(self.selector)
            self._waker.close()
            self._is_ended = True
            self._do_steps()

    def _do_steps(self) -> None:
        with contextlib.suppress(IndexError):  # after the end, several threads may do it
            while True:
                self._steps.popleft()()
