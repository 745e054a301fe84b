"""Links in one process: two queues and two threads, and every message as bytes."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from memsync.rpc.callee import Callee
from memsync.rpc.caller import Caller
from memsync.rpc.functions import flatten
from memsync.rpc.link import LinkDown, Receiver
from memsync.rpc.messages import Message, decode, encode
from memsync.rpc.service import Service

MAX_BYTES = 1 << 26


class MemoryLink:
    """One end; `connect` makes two."""

    def __init__(self, peer: str, max_bytes: int) -> None:
        self.peer = peer
        self.pid = 4711
        self.max_bytes = max_bytes
        self.other: MemoryLink
        self.receiver: Receiver
        self.sent: deque[str] = deque(maxlen=100)  # the types of the last messages
        self.error: BaseException | None = None  # of the receiver
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._is_down = threading.Event()
        self._thread = threading.Thread(target=self._read, name=f"io-{peer}", daemon=True)

    @property
    def is_open(self) -> bool:
        return not self._is_down.is_set()

    def send(self, message: Message) -> None:
        data = encode(message, self.max_bytes)
        if self._is_down.is_set():
            raise LinkDown("the link is down")
        self.sent.append(type(message).__name__)
        self.other._queue.put(data)

    def close(self) -> None:
        for end in (self, self.other):
            end._is_down.set()
            end._queue.put(None)

    def start(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self._thread.start()

    def join(self) -> None:
        self._thread.join(5)

    def _read(self) -> None:
        try:
            while (data := self._queue.get()) is not None:
                self.receiver.received(decode(data))
        except BaseException as error:
            self.error = error
        self._is_down.set()
        self.other._is_down.set()
        self.receiver.lost("the link was closed")


def connect(caller: str, callee: str, max_bytes: int = MAX_BYTES) -> tuple[MemoryLink, MemoryLink]:
    """The caller's end and the callee's."""
    ends = MemoryLink(callee, max_bytes), MemoryLink(caller, max_bytes)
    ends[0].other, ends[1].other = ends[1], ends[0]
    return ends


class Peer:
    """A peer with methods; `connect_to` gives a caller."""

    def __init__(
        self,
        name: str,
        rpc: Mapping[str, Any] | None = None,
        threads: int = 4,
        pickles: bool = True,
        **options: Any,
    ) -> None:
        self.name = name
        self.service = Service(flatten(rpc or {}), threads=threads, pickles=pickles, **options)
        self.links: list[MemoryLink] = []
        self.callees: list[Callee] = []
        self.callbacks: queue.SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]] | None]
        self.callbacks = queue.SimpleQueue()
        self._dispatcher = threading.Thread(target=self._dispatch, daemon=True)
        self._dispatcher.start()

    def connect_to(self, other: Peer, max_bytes: int = MAX_BYTES) -> Caller:
        near, far = connect(self.name, other.name, max_bytes)
        caller = Caller(near, self.service, lambda call, *args: self.callbacks.put((call, args)))
        callee = Callee(far, other.service)
        near.start(caller)
        far.start(callee)
        self.links.append(near)
        other.links.append(far)
        other.callees.append(callee)
        return caller

    def serve(self, **rpc: Any) -> None:
        """Replace the methods."""
        self.service.methods = flatten(rpc)

    def stop(self) -> None:
        for link in self.links:
            link.close()
        for link in self.links:
            link.join()
        self.service.close(5)
        self.callbacks.put(None)
        self._dispatcher.join(5)

    def _dispatch(self) -> None:
        while (item := self.callbacks.get()) is not None:
            call, args = item
            call(*args)


def give_time(attempt: Callable[[float], object]) -> None:
    """Call `attempt` with more and more seconds until it was true: a callee may begin late."""
    for seconds in (0.1, 1.0, 10.0):
        if attempt(seconds):
            return
    raise AssertionError("no call has begun in its time")


@contextmanager
def peers(*each: Peer) -> Iterator[tuple[Peer, ...]]:
    """Stops them at the end."""
    try:
        yield each
    finally:
        for peer in each:
            peer.stop()


@contextmanager
def calling(
    rpc: Mapping[str, Any],
    *,
    max_bytes: int = MAX_BYTES,
    caller_pickles: bool = True,
    **options: Any,
) -> Iterator[Caller]:
    """A caller of a peer with these methods."""
    with peers(Peer("here", pickles=caller_pickles), Peer("there", rpc, **options)) as (a, b):
        yield a.connect_to(b, max_bytes)
