"""Links inside of one process: for calls of a peer to itself, and for the engine ``memory``.

What one end sends, a thread of its own delivers to the other end. So a receiver is never called by
a thread that holds its locks, as it would be over a socket.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from weakref import WeakSet

from ..errors import MemSyncError, RendezvousError
from ..manager.platform.threads import launch_thread
from ..runtime.logs import Logger
from ..runtime.native import Lock
from ..runtime.own_threads import OwnThread
from ..runtime.wakeup import Wakeup
from .link import LinkDown, Receiver
from .messages import Message, decode, encode

log = Logger("memsync.rpc")

IDLE_SECONDS = 1.0  # without work, after which the thread ends


class Courier:
    """The thread of a process that delivers messages, in the order in which they were sent.

    It ends when no link is open, or when there was nothing to deliver for a moment.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._wake = Wakeup(Lock())
        self._steps: deque[Callable[[], None]] = deque()
        self._is_running = False
        self._links: WeakSet[CourierLink] = WeakSet()

    def post(self, step: Callable[[], None]) -> None:
        """Have the thread call `step`; never blocks. Raises `ConnectionError` without a thread."""
        self._steps.append(step)
        if not self._is_running:
            try:
                launch_thread(OwnThread(self._run, "memsync-courier"), _log_error)
            except RendezvousError as error:
                raise ConnectionError(str(error)) from error
        self._wake.set()

    def _run(self) -> None:
        with self._lock:
            if self._is_running:  # two threads have found none
                return
            self._is_running = True
        while True:
            try:
                step = self._steps.popleft()
            except IndexError:
                if (self._is_used() and self._wake.wait(IDLE_SECONDS)) or not self._ends():
                    continue
                return
            step()

    def note(self, link: CourierLink) -> None:
        """Stay while this link is open."""
        with self._lock:
            self._links.add(link)

    def _is_used(self) -> bool:
        with self._lock:
            return any(link.is_open for link in self._links)

    def _ends(self) -> bool:
        with self._lock:
            self._is_running = bool(self._steps)
            return not self._is_running


def _log_error(error: BaseException) -> None:
    log.error("calls inside of this process wait, their thread cannot be started: %s", error)


class CourierLink:
    """One end of a pair; see `Link`."""

    def __init__(self, courier: Courier, peer: str, max_bytes: int) -> None:
        self.peer = peer
        self.pid = os.getpid()
        self.max_bytes = max_bytes
        self.receiver: Receiver  # set before anything is sent
        self.other: CourierLink
        self._courier = courier
        self._reason: str | None = None  # why it is down
        self._hears = True  # what was sent before the end arrives before it

    @property
    def is_open(self) -> bool:
        """Whether the pair has not ended."""
        return self._reason is None

    def send(self, message: Message) -> None:
        """Send an encoded copy of the message, as over a socket."""
        if self._reason is not None or self.pid != os.getpid():
            raise LinkDown(self._reason or "the connection belongs to another process")
        data = encode(message, self.max_bytes)
        self._courier.post(lambda: self.other.deliver(data))

    def deliver(self, data: bytes) -> None:
        """Call the receiver with a message (on the courier's thread)."""
        try:
            if self._hears:
                self.receiver.received(decode(data))
        except Exception as error:  # as over a socket
            if not isinstance(error, MemSyncError):
                log.exception("a message could not be handled")
            self.end(str(error))

    def close(self) -> None:
        """End the pair."""
        self.end("the connection was closed")

    def end(self, reason: str) -> None:
        """End the pair; the receivers at both ends are called with the reason."""
        self._hears = False
        for link in (self, self.other):
            if link._reason is None:
                link._reason = reason
                self._courier.post(link._lose)

    def _lose(self) -> None:
        assert self._reason is not None
        self._hears = False
        self.receiver.lost(self._reason)


if "_courier" not in globals():  # `importlib.reload` keeps it
    _courier = Courier()


def new_pair(caller: str, callee: str, max_bytes: int) -> tuple[CourierLink, CourierLink]:
    """The ends of a new connection: the caller's, and the callee's."""
    mine, theirs = (CourierLink(_courier, peer, max_bytes) for peer in (callee, caller))
    mine.other, theirs.other = theirs, mine
    _courier.note(mine)
    return mine, theirs


def _after_fork() -> None:
    global _courier
    _courier = Courier()  # the thread is the parent's


os.register_at_fork(after_in_child=_after_fork)
