"""`PeerExecutor`: a `concurrent.futures.Executor` whose tasks run in the other peers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Protocol, TypeVar

from ..errors import RpcTimeoutError, UsageError
from ..runtime import forks

T = TypeVar("T")

WORKERS_MAX = 1000


class RunTask(Protocol):
    """Runs a function in some peer, and waits for it."""

    def __call__(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any: ...


class PeerExecutor(Executor, forks.Forkable):
    """Runs functions in the peers of a group; see `MemSync.executor`.

    A thread waits for each task that is under way. Tasks have no time limit. In a forked child the
    executor works with threads of the child; tasks from before the fork end at the parent alone.
    """

    def __init__(self, run: RunTask, max_workers: int) -> None:
        self._run = run
        self._max_workers = max_workers
        self._is_shut_down = False
        self._begin()
        forks.track(self)

    def _begin(self) -> None:
        self._threads = ThreadPoolExecutor(self._max_workers, thread_name_prefix="memsync-executor")
        self._pending = set[Future[Any]]()  # changed by single steps in C

    def after_fork(self) -> None:
        """In a forked child: make new threads, and fail the tasks that wait for the old ones."""
        pending = self._pending
        self._begin()
        if self._is_shut_down:
            self._threads.shutdown()
        for future in pending:
            Future.__init__(future)  # a thread of the parent may hold its lock; drops the callbacks
            future.set_exception(
                RpcTimeoutError(
                    "the task was submitted before a fork: only the parent process gets its "
                    "result. Submit it again in this process"
                )
            )

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn(*args, **kwargs)`` in an idle peer; returns a future of its result.

        A task that waits for a peer can be cancelled. The future raises what the function raises,
        `NotSerializableError`, and `PeerLostError` if the peer dies: the function may have run.
        """
        if not callable(fn):
            raise UsageError(f"submit() needs a function, not {fn!r:.60}")
        future: Future[T] = self._threads.submit(
            copy_context().run, self._run, fn, args, kwargs
        )  # so the task belongs to the method that submits it
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[T]:
        """The results of `fn` for the items, in their order; `chunksize` items are one task."""
        if chunksize < 1:
            raise UsageError(f"chunksize must be at least 1, not {chunksize!r}")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout)
        chunks = _chunks(zip(*iterables, strict=False), chunksize)
        results = super().map(_MapChunk(fn), chunks, timeout=timeout)
        return (result for chunk in results for result in chunk)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; with `wait`, wait until those that were submitted are done."""
        self._is_shut_down = True
        self._threads.shutdown(wait, cancel_futures=cancel_futures)


class _MapChunk:
    """Applies a function to the items of one chunk."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, chunk: list[tuple[Any, ...]]) -> list[Any]:
        return [self._function(*item) for item in chunk]


def _chunks(items: Iterable[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    chunk: list[tuple[Any, ...]] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
