"""edit() belongs to the block it is entered in: not to a thread, a task or a context."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import pytest

from memsync import ConflictError, MemSync, UsageError


@pytest.fixture
def mem() -> Iterator[MemSync[Any]]:
    with MemSync[Any]("blocks", {"a": 0, "b": 0, "l": []}, engine="memory") as handle:
        yield handle


def test_tasks_that_each_hold_an_edit_do_not_know_each_other(mem: MemSync[Any]) -> None:
    async def change(name: str, entered: asyncio.Barrier) -> None:
        with mem.edit() as draft:
            draft[name] += 1
            await entered.wait()
            draft[name] += 1

    async def spawn_inside() -> None:
        barrier = asyncio.Barrier(2)
        with mem.edit() as draft:
            draft["l"].append("outer")
            await asyncio.gather(change("a", barrier), change("b", barrier))
        await asyncio.to_thread(mem.transact, lambda draft: draft["l"].append("thread"))

    asyncio.run(spawn_inside())
    assert mem.snapshot() == {"a": 2, "b": 2, "l": ["outer", "thread"]}


def test_a_block_may_move_between_threads(mem: MemSync[Any]) -> None:
    """Frameworks enter and leave a block in one thread of a pool each."""
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        for _ in range(3):
            block = mem.edit()
            draft = first.submit(block.__enter__).result()
            draft["a"] += 1
            second.submit(block.__exit__, None, None, None).result()
            for pool in (first, second):
                pool.submit(mem.transact, _count).result()
    assert mem.snapshot() == {"a": 3, "b": 6, "l": []}


def _count(draft: Any) -> None:
    draft["b"] += 1


def test_generators_and_stacks_hold_edits_side_by_side(mem: MemSync[Any]) -> None:
    def requests(name: str) -> Iterator[None]:
        with mem.edit() as draft:
            draft[name] += 1
            yield
            draft[name] += 1

    @contextlib.contextmanager
    def wrapped() -> Iterator[Any]:
        with mem.edit() as draft:
            draft["l"].append("wrapped")
            yield draft

    both = [requests("a"), requests("b")]
    for step in both:
        next(step)
    with contextlib.ExitStack() as stack:
        stack.enter_context(wrapped())
        for step in both[::-1]:
            with contextlib.suppress(StopIteration):
                next(step)
    assert mem.snapshot() == {"a": 2, "b": 2, "l": ["wrapped"]}


def test_two_handles_do_not_know_each_other(mem: MemSync[Any]) -> None:
    with MemSync[Any]("blocks", engine="memory") as other, mem.edit() as mine:
        mine["a"] = 1
        with other.edit() as theirs:
            theirs["b"] = 1
    assert mem.snapshot() == {"a": 1, "b": 1, "l": []}


@pytest.mark.parametrize("depth", [0, 3])
@pytest.mark.parametrize("is_transaction", [False, True])
def test_what_is_nested_in_the_block_is_refused_and_the_outer_one_goes_on(
    mem: MemSync[Any], depth: int, is_transaction: bool
) -> None:
    def nested(level: int) -> None:
        if level:
            nested(level - 1)
        else:
            with pytest.raises(UsageError, match="edit\\(\\) inside edit"), mem.edit():
                pytest.fail("the inner block must not run")
            with pytest.raises(UsageError):
                mem.transact(_count)

    def outer(draft: Any) -> None:
        draft["a"] = 1
        nested(depth)

    if is_transaction:
        mem.transact(outer)
    else:
        with mem.edit() as draft:
            outer(draft)
    mem.transact(_count)
    assert mem.snapshot() == {"a": 1, "b": 1, "l": []}


def test_nested_coroutines_are_refused(mem: MemSync[Any]) -> None:
    async def inner() -> None:
        await asyncio.sleep(0)
        mem.transact(_count)

    async def outer() -> None:
        with mem.edit() as draft:
            draft["a"] = 1
            await inner()

    with pytest.raises(UsageError, match="inside edit"):
        asyncio.run(outer())
    mem.transact(_count)
    assert mem.snapshot() == {"a": 0, "b": 1, "l": []}


def test_an_edit_that_is_entered_again_inside_of_itself_is_refused(mem: MemSync[Any]) -> None:
    block = mem.edit()
    for number in range(2):  # one after the other is right
        with block as draft:
            draft["a"] = number + 1
            with pytest.raises(UsageError):
                block.__enter__()
    assert mem.snapshot("a") == 2


class Injected(BaseException):
    """What a signal handler raises."""


_CODE = re.compile(r"memsync/(handle|runtime/edits|document/live/draft\w*)\.py$")


class Interrupts:
    """Raises `Injected` at the instruction number `at` of the code of edits and drafts."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.count = 0

    def __enter__(self) -> Interrupts:
        self._previous = sys.gettrace()
        sys._getframe().f_trace_opcodes = True  # Python 3.12 looks at it in `settrace` only
        sys.settrace(self._trace)
        return self

    def __exit__(self, *exc: object) -> None:
        sys.settrace(self._previous)

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not _CODE.search(frame.f_code.co_filename):
            return None  # an interrupt of the write itself is no matter of drafts
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.count += 1
            if self.count == self.at:
                raise Injected
        return self._trace


def use(draft: Any, is_changing: bool) -> None:
    if is_changing:
        draft["a"] = 1
    else:
        draft.get("a")


@pytest.mark.parametrize("is_changing", [False, True])
def test_the_same_block_can_edit_after_an_exception_at_any_instruction(is_changing: bool) -> None:
    places = 0
    while True:
        with MemSync[Any]("places", {"a": 0, "b": 0}, engine="memory") as mem:
            interrupts = Interrupts(places + 1)
            try:
                with interrupts, mem.edit() as draft:
                    use(draft, is_changing)
            except Injected:
                places += 1
            with mem.edit() as draft:
                draft["b"] += 1
            assert mem.snapshot("b") == 1
            if interrupts.count < interrupts.at:
                break
    assert places > 80


def test_other_blocks_can_edit_while_the_traceback_of_an_interrupted_one_is_kept() -> None:
    def interrupted(mem: MemSync[Any], at: int) -> bool:
        interrupts = Interrupts(at)
        with interrupts, mem.edit() as draft:
            use(draft, False)
        return interrupts.count >= at

    kept: list[BaseException] = []
    while True:
        with MemSync[Any]("kept", {"a": 0, "b": 0}, engine="memory") as mem:
            try:
                interrupted(mem, len(kept) + 1)
                break
            except Injected as error:
                kept.append(error)
            mem.transact(_count)
            assert mem.snapshot("b") == 1
    assert len(kept) > 80


def test_a_conflict_in_an_edit_does_not_block_the_next(mem: MemSync[Any]) -> None:
    for number in range(3):
        with pytest.raises(ConflictError), mem.edit() as draft:  # noqa: PT012
            draft["a"] += 1
            thread = threading.Thread(target=mem.patch, args=({"$inc": {"a": 10}},))
            thread.start()
            thread.join()
        mem.transact(_count)
        assert mem.snapshot("b") == number + 1
