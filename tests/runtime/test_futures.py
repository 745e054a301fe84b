"""The future of `submit`: a true one of `concurrent.futures`, without a lock."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from random import Random
from typing import Any

import pytest

from memsync import MemSync, UsageError
from memsync.runtime.futures import WriteFuture
from memsync.runtime.own_threads import OwnThread

HOW = ("ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION", "as_completed")


def new_future() -> WriteFuture:
    return WriteFuture(lambda callback, future: callback(future))


def check_wait(waited: list[Future[Any]], how: str) -> None:
    """Wait for futures that others finish, and look at the answer."""
    if how == "as_completed":
        found = list(futures.as_completed(waited, timeout=5))
        assert len(found) == len(waited)
        assert set(found) == set(waited)
        return
    done, missing = futures.wait(waited, 5, how)
    assert done
    assert done | missing == set(waited)
    assert all(each.done() for each in done)
    if missing:
        assert how == "FIRST_COMPLETED" or (
            how == "FIRST_EXCEPTION" and any(each.exception() for each in done)
        )


def test_it_answers_as_the_futures_of_executors_do() -> None:
    future, error = new_future(), ValueError("no")
    waited: list[Future[int]] = [future]
    assert isinstance(future, Future)
    assert (future.done(), future.running(), future.cancelled()) == (False, True, False)
    assert not future.cancel()
    assert "state=running" in repr(future)
    for wait in (future.result, future.exception):
        with pytest.raises(TimeoutError):
            wait(timeout=0.01)
    with pytest.raises(TimeoutError):
        next(futures.as_completed(waited, timeout=0))
    assert futures.wait([future], timeout=0) == (set(), {future})

    future.finish(7, None)
    future.finish(8, error)  # only the first outcome counts
    assert (future.result(0), future.exception(0)) == (7, None)
    assert (future.done(), future.running(), future.cancelled()) == (True, False, False)
    assert not future.cancel()
    assert "state=finished returned int" in repr(future)
    assert list(futures.as_completed(waited, timeout=0)) == [future]
    with pytest.raises(futures.InvalidStateError):
        future.set_result(1)

    failed = new_future()
    failed.finish(7, error)
    assert failed.exception() is error
    with pytest.raises(ValueError, match="no"):
        failed.result()
    assert futures.wait([failed, new_future()], 5, "FIRST_EXCEPTION").done == {failed}


@pytest.mark.parametrize("how", HOW)
def test_waits_of_several_threads_with_futures_of_executors(how: str) -> None:
    """Outcomes come at any moment of the waits, before, in and after them."""
    chance = Random(how)

    def pause() -> None:
        time.sleep(chance.random() * 0.0005)

    def finish(part: list[WriteFuture]) -> None:
        for future in part:
            if chance.random() < 0.3:
                pause()
            future.finish(1, None if chance.random() < 0.8 else ValueError("no"))

    with ThreadPoolExecutor(2) as others, ThreadPoolExecutor(6) as pool:
        for _ in range(150):
            own = [new_future() for _ in range(chance.randint(1, 8))]
            foreign = [others.submit(pause) for _ in range(chance.randint(0, 2))]
            calls: list[Callable[[], None]] = [
                *(lambda part=own[start::2]: finish(part) for start in range(2)),
                *[lambda waited=[*own, *foreign]: check_wait(waited, how)] * 3,
            ]
            chance.shuffle(calls)
            for running in [pool.submit(call) for call in calls]:
                running.result(10)


def test_many_threads_take_one_result() -> None:
    future = new_future()
    with ThreadPoolExecutor(5) as pool:
        results = [pool.submit(future.result, 5) for _ in range(5)]
        time.sleep(0.05)
        future.finish(3, None)
        assert [each.result(5) for each in results] == [3] * 5


def test_callbacks_run_once_and_in_their_order() -> None:
    queued: list[tuple[Any, ...]] = []
    future = WriteFuture(lambda *call: queued.append(call))
    calls: list[object] = []
    future.add_done_callback(lambda _: calls.append(1))
    future.add_done_callback(lambda _: calls.append(2))
    future.finish(1, None)
    queued += queued  # an interrupted step is done again
    future.finish(1, None)
    future.add_done_callback(calls.append)
    for callback, argument in queued:
        callback(argument)

    assert calls == [1, 2, future]


def test_a_thread_that_was_interrupted_in_a_wait_blocks_nobody() -> None:
    """`wait` has taken the locks of the futures when Ctrl-C ends it."""
    future = new_future()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(future._condition.acquire).result()
        in_thread = threading.Thread(target=future.finish, args=(5, None), daemon=True)
        in_thread.start()
        in_thread.join(5)
        assert pool.submit(future.result, 5).result(5) == 5
        assert pool.submit(futures.wait, [future], 5).result(5).done == {future}
    assert futures.wait([future], 5).done == {future}


@pytest.mark.parametrize("how", [*HOW, "result", "exception"])
def test_a_thread_of_memsync_does_not_wait(how: str) -> None:
    """A handler of `logging` would have memsync wait for itself."""
    future, found = new_future(), []

    def call() -> None:
        try:
            if how in HOW:
                check_wait([future], how)
            else:
                getattr(future, how)(3)
        except UsageError as error:
            found.append(error)

    thread = OwnThread(call, "memsync-test")
    thread.start()
    thread.join(20)
    assert "QueueHandler" in str(found[0])


def test_asyncio_awaits_it() -> None:
    async def write(mem: MemSync[Any]) -> list[int]:
        writes = [asyncio.wrap_future(mem.submit({"$inc": {"n": 1}})) for _ in range(5)]
        return await asyncio.gather(*writes)

    with MemSync("obj", {"n": 0}, engine="memory") as mem:
        versions = asyncio.run(write(mem))
        assert versions == sorted(set(versions))
        assert mem.data["n"] == 5
