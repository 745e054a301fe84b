"""The leaver: one thread that ends peers whose copies are gone (see `shared_peer`).

The garbage collector takes a copy at any place of any thread, perhaps inside a lock. So the end of
a copy only puts its peer into a queue, and the leaver does the rest. It starts with the first copy
that is used, and ends when no copy is in use and no peer waits for its end.

After its last copy is gone a peer stays for a moment, because the next task of a worker brings the
next copy.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable

from .clocks import monotonic
from .runtime import native
from .runtime.logs import Logger
from .runtime.own_threads import OwnThread
from .runtime.wakeup import Wakeup
from .shared_peer import SharedPeer

STAY = 2.0  # seconds that a peer stays after its last copy is gone

log = Logger("memsync.node")


class _Changed:
    """A queue for one thread of the system; `put` is safe in a finalizer, as it takes no lock."""

    def __init__(self) -> None:
        self._peers: deque[SharedPeer] = deque()
        self._wakeup = Wakeup(native.Lock())

    def __bool__(self) -> bool:
        return bool(self._peers)

    def put(self, peer: SharedPeer) -> None:
        self._peers.append(peer)
        self._wakeup.set()

    def get(self, timeout: float | None) -> SharedPeer | None:
        """The next peer; None after `timeout` seconds, and now and then before."""
        if not self._peers:
            self._wakeup.wait(timeout)
        return self._peers.popleft() if self._peers else None


class Leaver:
    """The thread and its queue; `leave` stops a peer unless it is used again."""

    def __init__(self, leave: Callable[[SharedPeer], None]) -> None:
        self._leave = leave
        self.after_fork()

    def after_fork(self) -> None:
        """In a forked child there is no thread, and what it waited for is the parent's."""
        self._lock = native.RLock()  # reentrant, because a finalizer may start a handle
        self._changed = _Changed()
        self._thread: threading.Thread | None = None

    def reference(self, handle: object, peer: SharedPeer) -> Callable[[], object]:
        """A weak reference to a copy, whose end the thread notices."""
        changed = self._changed
        return weakref.ref(handle, lambda _: changed.put(peer))

    def watch(self, peer: SharedPeer) -> None:
        """Begin or end to wait for the end of copies, after the uses of a peer have changed.

        Where the system has no thread left, the peer stays until the process ends or until the next
        call.
        """
        with self._lock:
            if self._thread is None and not peer.has_copies():
                return
            self._changed.put(peer)
            if self._thread is None:
                thread = OwnThread(self._run, "memsync-leave")
                try:
                    thread.start()
                except RuntimeError as error:
                    log.warning("no thread is left to end peers without handles: %s", error)
                    return
                self._thread = thread

    def _run(self) -> None:
        watched: set[SharedPeer] = set()
        unused: dict[SharedPeer, float] = {}  # and when they leave (monotonic seconds)
        while not self._is_over(watched or unused):
            wait = max(min(unused.values()) - monotonic(), 0) if unused else None
            peer = self._changed.get(wait)
            if peer is not None:
                self._look(peer, watched, unused)
            for peer in [peer for peer, late in unused.items() if late <= monotonic()]:
                del unused[peer]
                try:
                    self._leave(peer)
                except Exception:  # the others still leave
                    log.exception("a peer without handles could not be stopped")

    def _look(
        self, peer: SharedPeer, watched: set[SharedPeer], unused: dict[SharedPeer, float]
    ) -> None:
        """Note what has become of a peer."""
        peer.remove_gone()
        unused.pop(peer, None)
        watched.discard(peer)
        if peer.has_copies():
            watched.add(peer)
        elif peer.is_unused():
            unused[peer] = monotonic() + STAY

    def _is_over(self, waits: object) -> bool:
        with self._lock:
            if waits or self._changed:
                return False
            self._thread = None
            return True
