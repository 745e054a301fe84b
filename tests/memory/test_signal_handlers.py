"""A signal handler registers and cancels callbacks in the middle of a call of its thread.

A profile function runs the handler at each place where Python may handle a signal: when a function
begins, and after a call of a C function. A call that waits for a lock of its own thread would never
return.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import Any

import pytest

from memsync import MemSync, Subscription, UsageError
from memsync.testing import until

Call = Callable[[MemSync[Any]], object]


class _Signal:
    """A profile function that calls a handler at the place with the given number."""

    def __init__(self, number: int, handle: Callable[[], None]) -> None:
        self.left, self.handle = number, handle
        self.has_come = False

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        if event not in ("call", "c_return") or arg is sys.setprofile:
            return
        self.left -= 1
        if self.left == 0:
            self.has_come = True
            sys.setprofile(None)
            self.handle()


def signalled(call: Callable[[], object], number: int, handle: Callable[[], None]) -> bool:
    """Run a call with a signal at a place, on a thread of its own; whether it came."""
    signal, errors = _Signal(number, handle), []

    def run() -> None:
        sys.setprofile(signal)
        try:
            call()
        except BaseException as error:
            errors.append(error)
        finally:
            sys.setprofile(None)

    thread = threading.Thread(target=run, daemon=True)
    gc.disable()
    thread.start()
    thread.join(20)
    gc.enable()
    assert not thread.is_alive(), f"the call does not return after a signal at place {number}"
    assert errors == []
    return signal.has_come


def on_and_cancel(mem: MemSync[Any]) -> None:
    mem.on("received_patches", type).cancel()


def events_on_and_off(mem: MemSync[Any]) -> None:
    mem.events.on("e", print)
    mem.events.off("e", print)


CALLS: dict[str, Call] = {
    "observe": lambda mem: mem.observe("n", type).cancel(),
    "on": on_and_cancel,
    "events": events_on_and_off,
    "stream": lambda mem: mem.events.stream("e").close(),
    "submit": lambda mem: mem.submit({"$inc": {"n": 1}}, emit="e").add_done_callback(type),
}


@pytest.mark.parametrize("name", CALLS)
def test_callbacks_are_cancelled_and_registered_at_each_place_of_a_call(name: str) -> None:
    with MemSync("obj", {"n": 0, "m": 0}, engine="memory") as mem:
        number = next(number for number in count(1) if not exchange(mem, CALLS[name], number))
    assert number > 5


def exchange(mem: MemSync[Any], call: Call, number: int) -> bool:
    """Exchange all callbacks at a place of a call; whether it has that place."""
    old: list[Any] = []
    new: list[Any] = []
    subscriptions: list[Subscription] = [
        mem.observe("m", old.append),
        mem.on("received_patches", lambda patches: old.append(patches[0]["patch"][0]["path"])),
        mem.events.on("last", old.append),
    ]

    def handle() -> None:
        for each in subscriptions:
            each.cancel()
        subscriptions[:] = [
            mem.on("received_patches", lambda patches: new.append(patches[0]["patch"][0]["path"])),
            mem.events.on("last", new.append),
        ]

    has_come = signalled(lambda: call(mem), number, handle)
    if not has_come:
        handle()
    mem.patch({"$inc": {"m": 1}}, emit=("last", number))
    until(lambda: new[-1:] == [number], message=lambda: repr(new))
    assert set(new) <= {"/n", "/m", number}
    assert set(old) <= {"/n"}
    assert "/m" in new
    for each in subscriptions:
        each.cancel()
    until(lambda: not mem._dispatcher.has_callbacks())
    return has_come


@pytest.mark.parametrize("name", CALLS)
def test_observe_at_each_place_of_a_call_works_or_is_refused(name: str) -> None:
    refused: list[int] = []
    with MemSync("obj", {"n": 0, "m": 0}, engine="memory") as mem:
        mem.observe("m", type)
        places = count(1)
        number = next(each for each in places if not observe_at(mem, CALLS[name], each, refused))
    assert len(refused) < number / 2


def observe_at(mem: MemSync[Any], call: Call, number: int, refused: list[int]) -> bool:
    """Observe at a place of a call; whether it has that place."""
    calls: list[int] = []
    errors: list[str] = []

    def handle() -> None:
        try:
            mem.observe("m", calls.append)
        except UsageError as error:
            errors.append(str(error))
            refused.append(number)

    has_come = signalled(lambda: call(mem), number, handle)
    mem.patch({"$inc": {"m": 1}})
    until(lambda: bool(calls or errors) or not has_come)
    assert all("was made in the middle of another call" in each for each in errors)
    return has_come


def test_whoever_holds_the_guard_waits_for_no_lock_of_the_dispatcher() -> None:
    """Else a handler that has interrupted the owner of that lock could not get the guard."""
    with MemSync("obj", {"n": 0}, engine="memory") as mem:
        mem.observe("n", type)
        dispatcher, guard = mem._dispatcher, mem._running().participant.guard
        done = threading.Event()

        def queue() -> None:
            with guard:
                dispatcher.call_surely(type, 1)
                dispatcher.on("gap", type).cancel()
                mem._observers.changed([{"op": "replace", "path": "/n", "value": 1}], False)  # type: ignore[union-attr]
            done.set()

        thread = threading.Thread(target=queue, daemon=True)
        with dispatcher._lock:
            thread.start()
            assert done.wait(10)
        thread.join()


READS: dict[str, Call] = {
    "snapshot": lambda mem: mem.snapshot(),
    "changes": lambda mem: list(mem.changes("o", initial=True, timeout=0)),
    "wait_for": lambda mem: mem.wait_for({"o.a": {"x": 0}}),
    "presence": lambda mem: mem.presence.all(),
    "stream": lambda mem: mem.events.stream("e", since=mem.version - 1),
}

WRITES: dict[str, Call] = {
    "patch": lambda mem: mem.patch({"$set": {f"o.{mem.version % 99}": {"y": 1}}}, emit="e"),
    "submit": lambda mem: mem.submit({"$set": {f"o.{mem.version % 99}": {"y": 1}}}),
    "emit": lambda mem: mem.events.emit("e"),
    "presence": lambda mem: mem.presence.update(version=mem.version),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("read", READS)
def test_a_write_at_each_place_of_a_read_works_or_is_refused_at_once(
    engine: str, read: str, write: str
) -> None:
    """The writer would wait for what the reader holds, or change what it copies."""
    data = {"o": {letter: {"x": 0} for letter in "abcdef"}}
    with MemSync("obj", data, {"timeout": 5}, engine=engine) as mem:
        for use in (READS[read], WRITES[write], READS[read]):
            use(mem)  # so that all modules are imported
        refused: list[str] = []

        def handle() -> None:
            try:
                WRITES[write](mem)
            except UsageError as error:
                refused.append(str(error))

        places = count(1)
        next(each for each in places if not signalled(lambda: READS[read](mem), each, handle))
        # A submit waits for nothing, and a stream calls nothing while it holds the guard.
        assert refused or write == "submit" or read == "stream"
        assert all("was made in the middle of a call that holds" in each for each in refused)
        mem.patch({"$set": {"o.a": 1}})
