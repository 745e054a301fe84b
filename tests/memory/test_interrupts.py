"""The memory engine survives an interrupt (Ctrl-C) at any place of a step.

Python delivers a signal when a function begins, or after a call of a C function. The tests raise
`KeyboardInterrupt` at the first of these places, in a new group at the second, and so on, until the
call comes to its end; the long ones skip some of the places.
"""

from __future__ import annotations

import gc
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from types import FrameType
from typing import Any

import pytest

from memsync import ConditionError, MemSync, NotStartedError
from memsync.memory.engine import _groups

Handles = list[MemSync[Any]]


class _Interrupt:
    """A profile function that raises at the place with the given number; sees its own thread."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.has_come = False

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        if event not in ("call", "c_return") or arg is sys.setprofile:
            return
        if frame.f_code.co_flags & inspect.CO_GENERATOR:
            return  # Python ignores what is raised while a generator is closed
        self.left -= 1
        if self.left == 0:
            self.has_come = True
            raise KeyboardInterrupt  # which also ends the profiling


def interrupted(call: Callable[[], Any], number: int) -> tuple[bool, bool]:
    """Whether the interrupt came, and whether the call raised it."""
    interrupt = _Interrupt(number)
    gc.disable()  # Python ignores what is raised in a callback of the garbage collector
    sys.setprofile(interrupt)
    try:
        call()
    except KeyboardInterrupt:
        return True, True
    finally:
        sys.setprofile(None)
        gc.enable()
    return interrupt.has_come, False


@contextmanager
def group(size: int) -> Iterator[Handles]:
    """Started handles of one object; the first one hosts."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(MemSync("obj", {"n": 0, "list": []}, engine="memory"))
            for _ in range(size)
        ]
    assert _groups == {}


def add_one(mem: MemSync[Any], timeout: float = 5) -> None:
    mem.patch({"$inc": {"n": 1}, "$push": {"list": mem.id}}, timeout=timeout)


def check(handles: Handles, *, least: int, most: int) -> None:
    """Every handle goes on, also on other threads; all copies are equal and no write is lost."""
    for mem in handles:
        thread = threading.Thread(target=add_one, args=(mem,))
        thread.start()
        thread.join()
    for mem in handles:
        add_one(mem)
        mem.patch({"$inc": {"n": 0}}, w="all", timeout=5)
    written = 2 * len(handles)
    participants = [mem._running().participant for mem in handles]
    first = participants[0].state
    for mem, participant in zip(handles, participants, strict=True):
        value = mem.snapshot()
        assert least + written <= value["n"] <= most + written
        assert len(value["list"]) == value["n"]
        assert mem.data == value == first.document == participant.state.document
        assert participant.state.pair == first.pair == (mem.epoch, mem.version)
        assert participant.log.version == mem.version
        assert not participant.state.torn
        status = mem.get_status()
        assert (status["pending"], status["peers"]) == (0, len(handles) - 1)
        assert sorted(participant.state.members) == sorted(each.id for each in handles)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("writer", [0, -1])
def test_an_interrupted_write(size: int, writer: int) -> None:
    for number in count(1, 1 if size == 2 else 5):
        with group(size) as handles:
            mem = handles[writer]
            add_one(handles[1])
            has_come, was_raised = interrupted(lambda mem=mem: add_one(mem), number)  # type: ignore[misc]
            assert was_raised == has_come, number
            check(handles, least=1 if was_raised else 2, most=2)
        if not has_come:
            break


def test_an_interrupted_write_that_is_refused() -> None:
    for number in count(1):
        with group(2) as handles:

            def refused(mem: MemSync[Any] = handles[1]) -> None:
                with pytest.raises(ConditionError):
                    mem.patch({"$inc": {"n": 1}}, where={"n": 7}, timeout=5)

            has_come, _ = interrupted(refused, number)
            check(handles, least=0, most=0)
        if not has_come:
            break


def test_an_interrupted_thread_that_runs_the_writes_of_others() -> None:
    for number in count(1, 11):
        with group(3) as handles:
            host, first, second = handles
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("memsync.memory.group.Group.drain", lambda group: None)
                for mem in (first, second, first):
                    mem.submit({"$inc": {"n": 1}, "$push": {"list": mem.id}})
            has_come, was_raised = interrupted(lambda host=host: add_one(host), number)  # type: ignore[misc]
            assert was_raised == has_come, number
            if host.snapshot("n"):  # the queue is empty once its run has begun
                assert host.snapshot("n") >= 3
            check(handles, least=3 if was_raised else 4, most=4)
        if not has_come:
            break


@pytest.mark.parametrize("first", [1, 2, 3])  # together they take all places
@pytest.mark.parametrize("stopped", [0, 1])
def test_an_interrupted_stop(stopped: int, first: int) -> None:
    for number in count(first, 3):
        with group(3) as handles:
            add_one(handles[1])
            mem = handles.pop(stopped)
            engine = mem._running()
            has_come, _ = interrupted(mem.stop, number)
            if engine.status().status == "stopped":  # the others end what has begun
                add_one(handles[0])
                assert len(handles[0].peers) == 1
                written = 2
            else:
                written = 1
            mem.stop()
            with pytest.raises(NotStartedError):
                add_one(mem)
            check(handles, least=written, most=written)
        if not has_come:
            break


@pytest.mark.parametrize("size", [0, 2])
def test_an_interrupted_start(size: int) -> None:
    for number in count(1, 3 if size else 1):
        with group(size) as handles:
            if handles:
                add_one(handles[1])
            mem: MemSync[Any] = MemSync("obj", {"n": 0, "list": []}, engine="memory")
            has_come, was_raised = interrupted(mem.start, number)
            mem.stop()  # it is started if the interrupt came late
            if was_raised and handles:
                check(handles, least=1, most=1)
            with mem:
                before = mem.snapshot("n")
                assert before == (0 if not handles else 5 if was_raised else 1)
                check([*handles, mem], least=before, most=before)
        if not has_come:
            break
