"""The threads on which methods run.

The *depth* of a call is the number of calls that wait for it: 0 for one that a program makes, 1 for
one that its method makes, and so on. At most `size` calls of each depth run at once; the others
wait in the queue of their depth. A call waits only for deeper ones, and the deepest ones wait for
none. So calls of peers into each other never starve, in a circle or not, even with one thread per
peer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ..clocks import monotonic
from ..runtime.logs import Logger
from ..runtime.native import Lock, Thread, get_ident
from ..runtime.wakeup import Wakeup

log = Logger("memsync.rpc")

DEPTH_MAX = 64
IDLE_SECONDS = 10.0  # without work, after which a thread ends


class Task(NamedTuple):
    """Work for one thread."""

    work: Callable[[], None]
    depth: int = 0


class _Depth:
    """The calls of one depth."""

    __slots__ = ("queue", "running")

    def __init__(self) -> None:
        self.queue: deque[Task] = deque()
        self.running = 0


class Pool:
    """Threads that start when they are needed, and end when they are idle or with `close`."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = Lock()  # held for a few steps, never while work is done
        self._depths: dict[int, _Depth] = {}
        self._idle: list[_Worker] = []
        self._workers: set[_Worker] = set()
        self._names = 0
        self._is_closed = False

    def submit(self, task: Task, is_urgent: bool = False) -> bool:
        """Have a thread do the work; returns False when the pool is closed. Never blocks."""
        with self._lock:
            if self._is_closed:
                return False
            depth = self._depths.setdefault(task.depth, _Depth())
            if depth.running < self._size and self._employ(task):
                depth.running += 1
            elif is_urgent:
                depth.queue.appendleft(task)
            else:
                depth.queue.append(task)
            return True

    @property
    def threads(self) -> int:
        """The number of threads there are."""
        return len(self._workers)

    def close(self, seconds: float) -> None:
        """Take nothing more, and give the threads `seconds` to do what waits and to end.

        What then still waits is dropped.
        """
        with self._lock:
            self._is_closed = True
            workers = [*self._workers]
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.wake.set()
        deadline = monotonic() + seconds
        for worker in workers:
            worker.join(max(deadline - monotonic(), 0))
        with self._lock:
            self._depths.clear()

    def _employ(self, task: Task) -> bool:
        """Give the task to a thread; returns False where the system has no thread left."""
        if self._idle:
            worker = self._idle.pop()
            worker.task = task
            worker.wake.set()
            return True
        self._names += 1
        worker = _Worker(self, task, f"memsync-rpc-{self._names}")
        try:
            worker.start()
        except RuntimeError as error:
            log.error("a remote call waits, its thread cannot be started (%s)", error)
            return False
        self._workers.add(worker)
        return True

    # -- for the workers --------------------------------------------------------------------------

    def next(self, worker: _Worker, done: Task) -> bool:
        """A worker has done its task and gets another one, or is idle; False: it must end."""
        with self._lock:
            worker.task = None
            depth = self._depths.get(done.depth)
            if depth is not None and depth.queue:
                worker.task = depth.queue.popleft()
                return True
            if depth is not None:
                depth.running -= 1
            if self._is_closed:
                self._workers.discard(worker)
                return False
            self._idle.append(worker)
            return True

    def retire(self, worker: _Worker) -> bool:
        """A worker was idle for long; returns whether it must end, or has a task by now."""
        with self._lock:
            if worker.task is not None:
                return False
            if worker in self._idle:
                self._idle.remove(worker)
            self._workers.discard(worker)
            return True


class _Worker:
    """One thread; its pool gives it a task before it is woken."""

    def __init__(self, pool: Pool, task: Task, name: str) -> None:
        self._pool = pool
        self.task: Task | None = task
        self.wake = Wakeup(Lock())
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._ident: int | None = None

    def start(self) -> None:
        """Start the thread; raises `RuntimeError` when the system has none left."""
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread, unless it is the calling one."""
        if self._ident != get_ident():
            self._thread.join(seconds)

    def _run(self) -> None:
        self._ident = get_ident()
        while True:
            task = self.task
            if task is None:
                self.wake.wait(IDLE_SECONDS)
                if self.task is None and self._pool.retire(self):
                    return
                continue
            try:
                task.work()
            except BaseException:  # what methods raise is answered, so this is a bug of memsync
                log.exception("a thread of remote calls failed: %r", task.work)
            if not self._pool.next(self, task):
                return
            del task  # it would keep the arguments of the last call
