"""What `native` and `manager/platform/sockets.py` have in a process of gevent or eventlet.

The primitives are the system's. A wait of a greenlet makes a pipe and lets the hub wait until it is
readable, so any thread can end the wait; the hubs themselves belong to one thread each. A wait of
one of memsync's own threads takes a lock, as in the standard library.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection
from types import SimpleNamespace
from typing import Any

from ..clocks import monotonic

Gate = Any  # what one wait waits for

if "gevent.monkey" in sys.modules and sys.modules["gevent.monkey"].is_module_patched("socket"):
    from gevent import getcurrent
    from gevent import socket as _green_socket
    from gevent.monkey import get_original as _original

    def _wait_readable(fd: int, timeout: float | None) -> None:
        with suppress(TimeoutError):
            _green_socket.wait_read(fd, timeout)

else:
    from eventlet import getcurrent, hubs, patcher
    from eventlet.timeout import Timeout

    def _original(module: str, name: str) -> Any:
        return getattr(patcher.original(module), name)

    def _wait_readable(fd: int, timeout: float | None) -> None:
        with Timeout(timeout, False):
            hubs.trampoline(fd, read=True)


Lock: Any = _original("_thread", "allocate_lock")
RLock: Any = _original("_thread", "RLock")
get_ident: Any = _original("_thread", "get_ident")
poll: Any = _original("select", "poll")
epoll: Any = _original("select", "epoll") if sys.platform == "linux" else None
socket: Any = _original("socket", "socket")
sleep: Any = _original("time", "sleep")

_start_new_thread: Any = _original("_thread", "start_new_thread")
_read: Any = _original("os", "read")
_write: Any = _original("os", "write")
_own_threads: set[int] = set()
_pipes: set[_Pipe] = set()


def is_real_thread() -> bool:
    """Whether the caller is a thread of memsync, which may block."""
    return get_ident() in _own_threads


def accept(listening: Any) -> Any:
    """The next connection of a listening socket."""
    descriptor, _ = listening._accept()
    return socket(fileno=descriptor)


@contextmanager
def listeners() -> Iterator[None]:
    """In its block, the listeners of multiprocessing have real sockets."""
    module: Any = connection
    patched = module.socket
    try:
        module.socket = SimpleNamespace(**{**vars(patched), "socket": socket})
        yield
    finally:
        module.socket = patched


class Connection(connection.Connection):
    """A connection whose descriptor is read and written by the system's calls."""

    def _recv(self, size: int, read: Any = _read) -> Any:
        return super()._recv(size, read)  # type: ignore[misc]

    def _send(self, buf: Any, write: Any = _write) -> Any:
        return super()._send(buf, write)  # type: ignore[misc]


class _Pipe:
    """A gate for a greenlet."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        _pipes.add(self)

    def wait(self, timeout: float | None) -> None:
        _wait_readable(self._reading, timeout)

    def open(self) -> None:
        _write(self._writing, b"\0")

    def renew(self) -> None:
        """In a forked child: the greenlet waits on, but not for what the parent does."""
        reading, writing = os.pipe()
        os.dup2(reading, self._reading, inheritable=False)
        os.dup2(writing, self._writing, inheritable=False)
        os.close(reading)
        os.close(writing)

    def close(self) -> None:
        _pipes.discard(self)
        os.close(self._reading)
        os.close(self._writing)


def _in_child() -> None:
    _own_threads.clear()
    for pipe in list(_pipes):
        pipe.renew()


os.register_at_fork(after_in_child=_in_child)


class _Bolt:
    """A gate for one of memsync's own threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._lock.acquire()

    def wait(self, timeout: float | None) -> None:
        self._lock.acquire(True, -1 if timeout is None else timeout)

    def open(self) -> None:
        self._lock.release()

    def close(self) -> None:
        pass


class Condition:
    """As `threading.Condition`; greenlets and threads may wait for one another."""

    def __init__(self, lock: Any = None) -> None:
        self._lock = lock if lock is not None else RLock()
        self.acquire, self.release = self._lock.acquire, self._lock.release
        self._gates: deque[Gate] = deque()

    def __enter__(self) -> bool:
        return bool(self._lock.__enter__())

    def __exit__(self, *exc: object) -> None:
        self._lock.__exit__(*exc)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for a `notify`, at most `timeout` seconds; returns whether one came."""
        if timeout is not None and timeout <= 0:
            return False
        gate: Gate = _Bolt() if is_real_thread() else _Pipe()
        self._gates.append(gate)
        is_reentrant = hasattr(self._lock, "_release_save")
        saved = self._lock._release_save() if is_reentrant else self._lock.release()
        try:
            gate.wait(timeout)
        finally:
            if is_reentrant:
                self._lock._acquire_restore(saved)
            else:
                self._lock.acquire()
            notified = gate not in self._gates
            if not notified:
                self._gates.remove(gate)
            gate.close()  # nobody opens it from here on: the lock is held
        return notified

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """Wait until the predicate is true, at most `timeout` seconds; returns its value."""
        deadline = None if timeout is None else monotonic() + timeout
        while not (value := predicate()):
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
        return value

    def _is_owned(self) -> bool:
        return bool(self._lock._is_owned())

    def notify(self, n: int = 1) -> None:
        """Wake `n` of those that wait; the lock is held."""
        for _ in range(min(n, len(self._gates))):
            self._gates.popleft().open()

    def notify_all(self) -> None:
        self.notify(len(self._gates))


class Event:
    """As `threading.Event`."""

    def __init__(self) -> None:
        self._changed = Condition(Lock())
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        with self._changed:
            self._is_set = True
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        with self._changed:
            return bool(self._changed.wait_for(self.is_set, timeout))


class Latch:
    """A lock that others than its holder release, and that greenlets may wait for."""

    def __init__(self) -> None:
        self._changed = Condition(Lock())
        self._is_locked = False

    def locked(self) -> bool:
        return self._is_locked

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        with self._changed:
            seconds = (None if timeout < 0 else timeout) if blocking else 0
            is_free = self._changed.wait_for(lambda: not self._is_locked, seconds)
            self._is_locked = True
            return bool(is_free)

    def release(self) -> None:
        with self._changed:
            self._is_locked = False
            self._changed.notify()


class Mutex:
    """A reentrant lock of greenlets and threads; its holder may wait."""

    def __init__(self) -> None:
        self._latch = Latch()
        self._holder: Any = None
        self._depth = 0

    def __enter__(self) -> None:
        me = getcurrent()
        if self._holder is not me:
            self._latch.acquire()
            self._holder = me
        self._depth += 1

    def __exit__(self, *exc: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._holder = None
            self._latch.release()


class Thread:
    """A thread of the system; as `threading.Thread`, as far as memsync needs it."""

    def __init__(
        self,
        target: Callable[..., Any],
        name: str,
        args: tuple[Any, ...] = (),
        *,
        daemon: bool,
    ) -> None:
        self.name, self.daemon = name, daemon
        self._target, self._args = target, args
        self._ended = Event()
        self._is_started = False

    def start(self) -> None:
        """Start it; raises `RuntimeError` when the system has no thread left."""
        _start_new_thread(self._run, ())
        self._is_started = True

    def _run(self) -> None:
        me = get_ident()
        _own_threads.add(me)
        try:
            self.run()
        finally:
            self._ended.set()
            _own_threads.discard(me)

    def run(self) -> None:
        self._target(*self._args)

    def is_alive(self) -> bool:
        return self._is_started and not self._ended.is_set()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, at most `timeout` seconds."""
        self._ended.wait(timeout)
