"""The threads of methods: how many there are, who waits, and when they end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from memsync.clocks import monotonic
from memsync.errors import QueueFullError
from memsync.rpc import pool as pool_module
from memsync.rpc.pool import Pool, Task
from memsync.rpc.timers import Timers
from memsync.runtime.own_threads import OwnThread
from memsync.testing import until


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(2)
    yield pool
    pool.close(5)


@pytest.fixture
def timers() -> Iterator[Timers]:
    timers = Timers()
    yield timers
    timers.close(5)


class Gate:
    """Work that waits until it is opened."""

    def __init__(self) -> None:
        self.began = list[int]()
        self._open = threading.Event()

    def work(self, number: int = 0) -> Callable[[], None]:
        return partial(self._run, number)

    def open(self) -> None:
        self._open.set()

    def _run(self, number: int) -> None:
        self.began.append(number)
        assert self._open.wait(20)


def test_at_most_size_calls_of_a_depth_run(pool: Pool) -> None:
    gate = Gate()
    for number in range(5):
        assert pool.submit(Task(gate.work(number)))
    until(lambda: sorted(gate.began) == [0, 1])
    for number in range(10, 15):
        assert pool.submit(Task(gate.work(number), depth=1))
    until(lambda: sorted(gate.began) == [0, 1, 10, 11])
    assert pool.threads == 4
    gate.open()
    until(lambda: sorted(gate.began) == [*range(5), *range(10, 15)])
    assert pool.threads == 4


def test_each_depth_keeps_its_order_and_urgent_work_is_first(pool: Pool) -> None:
    gate = Gate()
    for _ in range(2):
        pool.submit(Task(gate.work()))
    until(lambda: len(gate.began) == 2)
    done = list[int]()
    alone = Pool(1)
    block = Gate()
    alone.submit(Task(block.work()))
    for number in range(3):
        alone.submit(Task(partial(done.append, number)))
    alone.submit(Task(partial(done.append, 9)), is_urgent=True)
    block.open()
    until(lambda: done == [9, 0, 1, 2])
    gate.open()
    alone.close(5)


def test_threads_are_used_again_and_have_names(pool: Pool) -> None:
    names = list[str]()
    for number in range(20):
        pool.submit(Task(lambda: names.append(threading.current_thread().name)))
        until(lambda n=number: len(names) == n + 1)  # type: ignore[misc]  # a bound value
    assert set(names) <= {"memsync-rpc-1", "memsync-rpc-2"}


def test_idle_threads_end(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0.02)
    done = list[int]()
    pool.submit(Task(partial(done.append, 1)))
    until(lambda: pool.threads == 0)
    pool.submit(Task(partial(done.append, 2)))
    until(lambda: done == [1, 2])


def test_close_does_what_waits_and_takes_nothing_more() -> None:
    pool, gate, done = Pool(1), Gate(), list[int]()
    pool.submit(Task(gate.work()))
    pool.submit(Task(partial(done.append, 1)))
    threading.Timer(0.05, gate.open).start()
    pool.close(5)
    assert done == [1]
    assert not pool.submit(Task(partial(done.append, 2)))
    assert pool.threads == 0


def test_close_does_not_wait_for_ever_and_may_be_called_by_a_method() -> None:
    pool, gate = Pool(1), Gate()
    pool.submit(Task(gate.work()))
    pool.close(0.05)
    assert pool.threads == 1  # the work has not ended
    gate.open()
    until(lambda: pool.threads == 0)
    own, done = Pool(1), list[int]()

    def close() -> None:
        own.close(5)
        done.append(1)

    own.submit(Task(close))
    until(lambda: done == [1])


def test_work_that_raises_is_logged_and_its_thread_goes_on(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise SystemExit("of a method")

    done = list[int]()
    pool.submit(Task(fail))
    until(lambda: "of a method" in caplog.text)
    pool.submit(Task(partial(done.append, 1)))
    until(lambda: done == [1])


def test_where_no_thread_is_left_work_waits(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    done = list[int]()
    with monkeypatch.context() as patch:
        patch.setattr(pool_module._Worker, "start", refuse)
        assert pool.submit(Task(partial(done.append, 1)))
    assert pool.threads == 0
    assert pool.submit(Task(partial(done.append, 2)))
    until(lambda: sorted(done) == [1, 2])


def test_where_no_thread_is_left_a_call_is_refused(
    timers: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(OwnThread, "start", refuse)
        with pytest.raises(QueueFullError, match=r"no thread left .*ulimit -u"):
            timers.start()
    timers.start()


def test_timers_act_in_the_order_of_their_times(timers: Timers) -> None:
    done, now, gate = list[str](), monotonic(), threading.Event()

    def hold() -> None:
        """Nothing is done until all are there."""
        assert gate.wait(20)

    timers.start()
    timers.soon(hold)
    timers.at(now + 0.06, partial(done.append, "third"))
    timers.at(now + 0.02, partial(done.append, "second"))
    timers.at(now + 0.04, partial(done.append, "never")).cancel()
    timers.soon(partial(done.append, "first"))
    gate.set()
    until(lambda: done == ["first", "second", "third"])


def test_a_timer_that_fails_stops_no_other(
    timers: Timers, caplog: pytest.LogCaptureFixture
) -> None:
    done = list[int]()
    timers.start()
    timers.soon(lambda: [][1])
    timers.soon(partial(done.append, 1))
    until(lambda: done == [1])
    assert "IndexError" in caplog.text


def test_thousands_of_cancelled_timers_are_dropped(timers: Timers) -> None:
    far, done = monotonic() + 3600, list[int]()
    for _ in range(5000):
        timers.at(far, partial(done.append, 0)).cancel()
    timers.soon(partial(done.append, 1))
    until(lambda: done == [1])
