"""What holds of `mem.executor()` where loky's tests are left out (`loky_cases.py` says why)."""

from __future__ import annotations

import gc
import threading
import time
import traceback
import weakref
from collections.abc import Iterator
from pickle import PicklingError
from typing import Any

import pytest

from memsync import MemSync, NotSerializableError, TooLargeError
from memsync.testing import until


@pytest.fixture
def mem(engine: str) -> Iterator[MemSync[Any]]:
    with (
        MemSync("obj", options={"network": {"max_frame": 1 << 20}}, engine=engine),
        MemSync("obj", engine=engine) as handle,
    ):
        yield handle


def _threads() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name.startswith("memsync-executor")}


class NotNow:
    """Cannot be pickled."""

    def __reduce__(self) -> Any:
        raise PicklingError("not now")


class Leaves:
    """Ends the program that pickles it."""

    def __reduce__(self) -> Any:
        raise SystemExit(3)


class Empty(Exception):
    """False, as a container without items."""

    def __bool__(self) -> bool:
        return False


def fail(error: BaseException) -> None:
    raise error


def test_one_that_is_forgotten_does_its_tasks_and_ends_its_threads(mem: MemSync[Any]) -> None:
    before = _threads()
    executor = mem.executor(2)
    futures = [executor.submit(_slow_square, n) for n in range(6)]
    noted = weakref.ref(executor)
    del executor
    gc.collect()
    assert noted() is None
    assert [future.result(10) for future in futures] == [n * n for n in range(6)]
    until(lambda: _threads() == before)


def _slow_square(n: int) -> int:
    time.sleep(0.02)
    return n * n


_gate = threading.Event()


def _held_square(n: int) -> int:
    """A task; pickled by its name, so it shares the gate of this process."""
    assert _gate.wait(20)
    return n * n


def test_shutdown_without_waiting_leaves_the_tasks_to_run(mem: MemSync[Any]) -> None:
    _gate.clear()
    executor = mem.executor(2)
    futures = [executor.submit(_held_square, n) for n in range(6)]
    bad = executor.submit(len, NotNow())  # pickled later, perhaps after the next line
    executor.shutdown(wait=False)
    with pytest.raises(RuntimeError):
        executor.submit(len, [])
    assert not any(future.done() for future in futures)
    _gate.set()
    assert [future.result(10) for future in futures] == [n * n for n in range(6)]
    with pytest.raises(NotSerializableError, match="not now"):
        bad.result(10)
    until(lambda: not _threads())


def test_what_a_task_or_its_pickling_ends_with_is_in_the_future(mem: MemSync[Any]) -> None:
    with mem.executor(1) as executor:
        assert isinstance(executor.submit(len, Leaves()).exception(10), SystemExit)
        assert isinstance(executor.submit(Leaves).exception(10), SystemExit)
        assert executor.submit(abs, -1).result(10) == 1


@pytest.mark.parametrize("how", ["executor", "submit", "run", "call_all"])
def test_an_exception_may_be_false(mem: MemSync[Any], how: str) -> None:
    if how == "executor":
        with mem.executor(1) as executor:
            assert isinstance(executor.submit(fail, Empty()).exception(10), Empty)
        return
    mem.rpc.publish("fail", fail)
    if how == "submit":
        assert isinstance(mem.rpc.submit("fail", Empty()).exception(10), Empty)
    elif how == "call_all":
        assert {type(each) for each in mem.call_all("fail", Empty()).values()} == {Empty}
    else:
        with pytest.raises(Empty):
            mem.run(fail, Empty())


def test_the_traceback_has_the_line_of_the_task(mem: MemSync[Any]) -> None:
    with mem.executor(1) as executor:
        error = executor.submit(fail, ValueError("x")).exception(10)
    assert error is not None
    assert "raise error" in "".join(traceback.format_exception(error))


def test_max_workers_must_be_positive_and_the_error_names_it(mem: MemSync[Any]) -> None:
    for number in (0, -1):
        with pytest.raises(ValueError, match=f"must be greater than 0 .*not {number}"):
            mem.executor(number)


def test_what_is_larger_than_a_frame_is_refused(mem: MemSync[Any]) -> None:
    with mem.executor(1) as executor:
        with pytest.raises(TooLargeError):
            executor.submit(len, b"\0" * (65 << 20)).result(30)
        assert executor.submit(abs, -1).result(10) == 1


def test_executors_in_tasks_of_executors_end_at_no_depth(mem: MemSync[Any]) -> None:
    with mem.executor(1) as executor:
        assert executor.submit(_dig, mem, 12).result(30) == 0


def _dig(mem: MemSync[Any], depth: int) -> int:
    if not depth:
        return 0
    with mem.executor(1) as executor:
        return executor.submit(_dig, mem, depth - 1).result(30)
