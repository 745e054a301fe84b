"""Links inside of one process: for calls of a peer to itself, and for the engine ``memory``.

What one end sends, a thread of its own delivers to the other end. So a receiver is never called by
a thread that holds its locks, as it would be over a socket.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from ..errors import MemSyncError
from ..runtime.logs import Logger
from ..runtime.native import Lock
from ..runtime.own_threads import OwnThread
from ..runtime.wakeup import Wakeup
from .link import Receiver
from .messages import Message, decode, encode

log = Logger("memsync.rpc")


class Courier:
    """The thread of a process that delivers messages, in the order in which they were sent.

    It runs while there is an open link.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._wake = Wakeup(Lock())
        self._steps: deque[Callable[[], None]] = deque()
        self._is_running = False
        self._open = 0  # ends of links whose receivers were not called with `lost`

    def post(self, step: Callable[[], None]) -> None:
        """Have the thread call `step`; never blocks. Raises `ConnectionError` without a thread."""
        with self._lock:
            self._steps.append(step)
            if not self._is_running:
                self._start()
        self._wake.set()

    def opened(self) -> None:
        """There is one more link."""
        with self._lock:
            self._open += 2

    def closed(self) -> None:
        """One end of a link is lost (on the thread)."""
        with self._lock:
            self._open -= 1

    def _start(self) -> None:
        try:
            OwnThread(self._run, "memsync-courier").start()
        except RuntimeError as error:
            self._steps.pop()
            raise ConnectionError(f"no thread is left for remote calls ({error})") from error
        self._is_running = True

    def _run(self) -> None:
        while True:
            try:
                step = self._steps.popleft()
            except IndexError:
                if self._ends():
                    return
                self._wake.wait(None)
                continue
            step()

    def _ends(self) -> bool:
        with self._lock:
            self._is_running = bool(self._steps or self._open)
            return not self._is_running


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

    @property
    def is_open(self) -> bool:
        """Whether the pair has not ended."""
        return self._reason is None

    def send(self, message: Message) -> None:
        """Send an encoded copy of the message, as over a socket."""
        if self._reason is not None or self.pid != os.getpid():
            raise ConnectionError(self._reason or "the connection belongs to another process")
        data = encode(message, self.max_bytes)
        self._courier.post(lambda: self.other.deliver(data))

    def deliver(self, data: bytes) -> None:
        """Call the receiver with a message (on the courier's thread)."""
        try:
            if self._reason is None:
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
        for link in (self, self.other):
            if link._reason is None:
                link._reason = reason
                self._courier.post(link._lose)

    def _lose(self) -> None:
        assert self._reason is not None
        self._courier.closed()
        self.receiver.lost(self._reason)


if "_courier" not in globals():  # `importlib.reload` keeps it
    _courier = Courier()


def new_pair(caller: str, callee: str, max_bytes: int) -> tuple[CourierLink, CourierLink]:
    """The ends of a new connection: the caller's, and the callee's."""
    mine, theirs = (CourierLink(_courier, peer, max_bytes) for peer in (callee, caller))
    mine.other, theirs.other = theirs, mine
    _courier.opened()
    return mine, theirs


def _after_fork() -> None:
    global _courier
    _courier = Courier()  # the thread is the parent's


os.register_at_fork(after_in_child=_after_fork)
