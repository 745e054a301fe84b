"""Raises an exception at one place of memsync's code on the calling thread, as a signal would.

A *place* is a moment at which an exception may come from outside: before an instruction that can
raise, or after a call of a C function, where Python runs signal handlers. It is named by the
positions of all frames of memsync, so one line that is reached by two ways is two places.

Not among them is the call with which Python leaves a ``with`` block: nothing is delivered between
the block and the release of a lock, and no program could catch it there.
"""

from __future__ import annotations

import contextlib
import dis
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import _base
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import memsync
from memsync import UpdateError

OURS = str(Path(memsync.__file__).parent)
HERE = str(Path(__file__).parent)
# What memsync calls there is written in Python as well, and can be interrupted.
BESIDE = frozenset(str(module.__file__) for module in (threading, contextlib, _base))

# They move values, and can neither fail nor run a signal handler.
SILENT = frozenset(
    {
        *("CACHE", "CALL_INTRINSIC_1", "COPY", "COPY_FREE_VARS", "EXTENDED_ARG", "GET_AWAITABLE"),
        "JUMP_FORWARD",
        *("KW_NAMES", "LOAD_CLOSURE", "LOAD_CONST", "LOAD_FAST", "LOAD_FAST_AND_CLEAR"),
        *("LOAD_FAST_BORROW", "LOAD_FAST_BORROW_LOAD_FAST_BORROW", "LOAD_FAST_CHECK"),
        *("LOAD_FAST_LOAD_FAST", "LOAD_SMALL_INT", "MAKE_CELL", "NOP", "NOT_TAKEN", "POP_EXCEPT"),
        *("POP_ITER", "POP_JUMP_BACKWARD_IF_NONE", "POP_JUMP_BACKWARD_IF_NOT_NONE"),
        *("POP_JUMP_FORWARD_IF_NONE", "POP_JUMP_FORWARD_IF_NOT_NONE", "POP_JUMP_IF_NONE"),
        *("POP_JUMP_IF_NOT_NONE", "POP_TOP", "PRECALL", "PUSH_EXC_INFO", "PUSH_NULL", "RERAISE"),
        *("RETURN_CONST", "RETURN_GENERATOR", "RETURN_VALUE", "STORE_FAST"),
        *("STORE_FAST_LOAD_FAST", "STORE_FAST_STORE_FAST", "SWAP", "WITH_EXCEPT_START"),
        "YIELD_VALUE",
    }
)


class Foreign(Exception):
    """What a signal handler of the program raises."""


class Place(NamedTuple):
    """A moment in a call: the positions of the frames, the innermost first."""

    frames: tuple[tuple[CodeType, int], ...]
    is_after_call: bool  # of a C function

    def is_in(self, function: Callable[..., Any]) -> bool:
        return any(code is function.__code__ for code, _ in self.frames)

    def __str__(self) -> str:
        parts = []
        for code, offset in self.frames:
            line = next((n for a, b, n in code.co_lines() if a <= offset < b), 0)
            parts.append(f"{code.co_qualname}:{line}+{offset}")
        when = "after" if self.is_after_call else "before"
        return f"{when} {_names(self.frames[0][0])[self.frames[0][1]]} " + " < ".join(parts)


class _Observer:
    """Trace and profile functions that call `meet` at each place."""

    def __init__(self, meet: Callable[[FrameType, bool], None]) -> None:
        self._meet = meet

    def trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not _is_ours(frame):
            return None
        if event == "call":
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        elif event == "opcode" and frame.f_lasti in _loud(frame.f_code):
            self._meet(frame, False)
        return self.trace

    def profile(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_return" and _is_ours(frame):
            self._meet(frame, True)


def _is_ours(frame: FrameType | None) -> bool:
    file = ""
    while frame is not None and frame.f_code.co_filename in BESIDE:
        file, frame = frame.f_code.co_filename, frame.f_back
    if frame is None:
        return False
    caller = frame.f_code.co_filename
    # A program hands memsync's futures to `concurrent.futures.wait`.
    return caller.startswith(OURS) or (file == _base.__file__ and caller.startswith(HERE))


@cache
def _names(code: CodeType) -> dict[int, str]:
    return {each.offset: each.opname for each in dis.get_instructions(code)}


@cache
def _loud(code: CodeType) -> frozenset[int]:
    """The offsets of the instructions before which an exception may come."""
    found = set()
    last: list[Any] = []
    for each in dis.get_instructions(code):
        if each.opname in ("CACHE", "PRECALL", "EXTENDED_ARG"):
            continue
        ends_block = each.opname == "CALL" and [n.argval for n in last[-3:]] == [None] * 3
        if each.opname not in SILENT and not ends_block:
            found.add(each.offset)
        last.append(each)
    return frozenset(found)


def _place(frame: FrameType | None, is_after_call: bool) -> Place:
    frames = []
    while frame is not None:
        if _is_ours(frame):
            frames.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return Place(tuple(frames), is_after_call)


@contextlib.contextmanager
def _observed(meet: Callable[[FrameType, bool], None]) -> Iterator[None]:
    observer = _Observer(meet)
    gc.disable()  # Python ignores what is raised in a callback of the garbage collector
    sys.setprofile(observer.profile)
    sys._getframe().f_trace_opcodes = True  # Python 3.12 looks at it in `settrace` only
    sys.settrace(observer.trace)
    try:
        yield
    finally:
        sys.settrace(None)
        sys.setprofile(None)
        gc.enable()


def places_of(call: Callable[[], Any]) -> dict[Place, None]:
    """The places that a call reaches, in their order."""
    found: dict[Place, None] = {}
    with _observed(lambda frame, after: found.setdefault(_place(frame, after))):
        call()
    return found


def comes_from(error: BaseException | None, cause: BaseException) -> bool:
    """Whether an error is another one, or a refusal that names it.

    The compiler of updates turns whatever an update makes it raise into a refusal.
    """
    return error is cause or (isinstance(error, UpdateError) and repr(cause) in str(error))


class Injection:
    """One call during which `error` is raised at a place."""

    def __init__(self, place: Place, error: BaseException) -> None:
        self.has_come = False
        self.was_raised = False
        self.result: Any = None
        self._place = place
        self._error = error
        self._innermost = place.frames[0]

    def run(self, call: Callable[[], Any]) -> None:
        """Call; other exceptions than the injected one go on."""
        try:
            with _observed(self._meet):
                self.result = call()
        except BaseException as error:
            if not comes_from(error, self._error):
                raise
            self.was_raised = True
        finally:
            self._error.__traceback__ = None  # which keeps frames and their values

    def _meet(self, frame: FrameType, is_after_call: bool) -> None:
        if self.has_come or is_after_call != self._place.is_after_call:
            return
        if (frame.f_code, frame.f_lasti) != self._innermost:
            return
        if _place(frame, is_after_call) == self._place:
            self.has_come = True
            raise self._error
