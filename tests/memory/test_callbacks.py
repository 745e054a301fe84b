"""What all callbacks share: which functions they may be, and what is refused inside of them."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest

from memsync import Event, MemSync, UsageError
from memsync.runtime.detached import own
from memsync.testing import until


async def awaited(*args: Any) -> None:
    """Nobody awaits it."""


class Awaited:
    async def __call__(self, *args: Any) -> None:
        """Nobody awaits it."""


def generates(*args: Any) -> Iterator[Any]:
    yield args


async def generates_later(*args: Any) -> AsyncIterator[Any]:
    yield args


ASYNC = [
    awaited,
    Awaited(),
    Awaited().__call__,
    partial(awaited, 1),
    partial(Awaited(), 1),
    generates_later,
]
GENERATORS = [generates, partial(generates, 1)]

# Each way to register a callback, with the words of its error.
REGISTER: dict[str, tuple[Callable[[MemSync[Any], Any], object], str]] = {
    "observe": (lambda mem, f: mem.observe("n", f), r"the callback of observe\(\)"),
    "observe, function": (lambda mem, f: mem.observe(f, print), r"the function of observe\(\)"),
    "events.on": (lambda mem, f: mem.events.on("e", f), "the handler of 'e'"),
    "events.once": (lambda mem, f: mem.events.once("e.*", f), r"the handler of 'e\.\*'"),
    "presence.on_change": (
        lambda mem, f: mem.presence.on_change(f),
        r"the callback of presence\.on_change\(\)",
    ),
    "on": (lambda mem, f: mem.on("received_patches", f), "the callback of 'received_patches'"),
}
OTHERS: dict[str, tuple[Callable[[MemSync[Any], Any], object], str]] = {
    "wait_for": (lambda mem, f: mem.wait_for(f, 0.1), r"the condition of wait_for\(\)"),
    "transact": (lambda mem, f: mem.transact(f), r"the function of transact\(\)"),
}


@pytest.mark.parametrize("way", [*REGISTER, *OTHERS])
def test_a_function_whose_call_runs_nothing_is_refused(way: str) -> None:
    register, words = (REGISTER | OTHERS)[way]
    with MemSync("obj", {"n": 0}, engine="memory") as mem:
        for function in ASYNC:
            with pytest.raises(UsageError, match=f"{words} must not be async, since nobody awaits"):
                register(mem, function)
        for function in GENERATORS:
            with pytest.raises(UsageError, match=f"{words} must not be a generator function"):
                register(mem, function)
        if way not in ("observe, function", "wait_for"):  # where what is no function has a meaning
            with pytest.raises(UsageError, match=f"{words} must be callable"):
                register(mem, 5)
        for function in (type, partial(type), [].append):
            if way in REGISTER and way != "observe, function":
                register(mem, function)


@pytest.mark.parametrize("way", [each for each in REGISTER if each != "observe, function"])
def test_a_coroutine_that_a_callback_returns_is_logged(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    with MemSync("obj", {"n": 0}, engine="memory") as mem:
        REGISTER[way][0](mem, lambda *args: awaited(*args))
        mem.patch({"$inc": {"n": 1}})
        mem.events.emit("e.x" if "once" in way else "e", 1)
        mem.presence.update(x=1)
        until(lambda: "returned a coroutine, which nobody awaits" in caplog.text)


def test_a_condition_that_returns_a_coroutine_is_not_true() -> None:
    with (
        MemSync("obj", {"n": 0}, engine="memory") as mem,
        pytest.raises(UsageError, match="returned a coroutine, which nobody awaits"),
    ):
        mem.wait_for(lambda data: awaited(data), timeout=5)


WAITS: dict[str, tuple[Callable[[MemSync[Any]], object], str]] = {
    "wait_for": (lambda mem: mem.wait_for({"n": 99}), r"wait_for\(\)"),
    "changes": (lambda mem: next(mem.changes("n")), r"iterating over changes\(\)"),
    "loop over changes": (lambda mem: list(mem.changes("n")), r"iterating over changes\(\)"),
    "events.wait": (lambda mem: mem.events.wait("never"), r"events\.wait\(\)"),
    "stream": (lambda mem: next(mem.events.stream("x")), r"iterating over events\.stream\(\)"),
    "full stream": (
        lambda mem: next(mem.events.stream("e", since=0)),
        r"iterating over events\.stream\(\)",
    ),
}


@pytest.mark.parametrize("way", WAITS)
def test_what_would_block_the_callbacks_is_refused_in_them(engine: str, way: str) -> None:
    wait, words = WAITS[way]
    errors: list[str] = []

    def callback(*args: Any) -> None:
        with pytest.raises(UsageError, match=f"{words} inside a callback .* start a thread"):
            wait(mem)
        errors.append(threading.current_thread().name)

    with MemSync("obj", {"n": 0}, engine=engine) as mem:
        mem.events.on("e", callback)
        mem.presence.on_change(callback)
        mem.on("received_patches", callback)
        mem.observe("n", callback)
        mem.submit({"$inc": {"n": 1}}).add_done_callback(callback)
        mem.events.emit("e")
        mem.presence.update(x=1)
        until(lambda: len(errors) == 5, message=lambda: repr(errors))
        assert set(errors) == {"memsync-dispatch"}


def spoil(value: Any) -> None:
    """Change all containers."""
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            spoil(each)
    if isinstance(value, dict):
        value.clear()
    else:
        value.append("spoilt")


LISTEN: dict[str, Callable[[MemSync[Any], Callable[[Any], object]], object]] = {
    "events.on": lambda mem, f: mem.events.on("e", f),
    "events.once": lambda mem, f: mem.events.once("e", f),
    "a wildcard": lambda mem, f: mem.events.on("**", lambda name, *args: f(*args)),
    "presence": lambda mem, f: mem.presence.on_change(lambda peer, fields: f(fields)),
    "received_patches": lambda mem, f: mem.on("received_patches", f),
    "observe": lambda mem, f: mem.observe("at", f),
    "observe, function": lambda mem, f: mem.observe(lambda data: data["at"], f),
}


@pytest.mark.parametrize("way", LISTEN)
def test_what_one_receiver_changes_no_other_one_sees(engine: str, way: str) -> None:
    """Neither of this handle, nor of another one; the object, the log and the fields stay, too."""
    listen, value = LISTEN[way], {"list": [{"n": 1}]}
    calls: list[str] = []

    def change(argument: Any) -> None:
        calls.append(repr(argument))
        spoil(argument)

    with MemSync("obj", {"at": {}}, engine=engine) as mem, MemSync("obj", engine=engine) as other:
        for handle in (mem, mem, other, mem):
            listen(handle, change)
        streams = [handle.events.stream("e") for handle in (mem, mem, other)]
        start = mem.events.emit("start")
        mem.patch({"$set": {"at": value}})
        mem.events.emit("e", value)
        mem.presence.update(value)
        until(lambda: len(calls) == 4, message=lambda: repr(calls))
        assert len(set(calls)) == 1
        for stream in [*streams, mem.events.stream("e", since=start)]:
            event = next(stream)
            assert isinstance(event, Event)
            assert event.args == (value,)
            spoil(event.args[0])
        assert mem.snapshot("at") == other.snapshot("at") == value
        assert mem.presence.all() == {mem.id: value}


def test_arguments_that_nobody_can_change_are_not_copied() -> None:
    arguments = ("text", 1, None, 1.5, True, b"bytes")
    assert own(arguments) is arguments


def test_the_error_of_a_callback_names_it(caplog: pytest.LogCaptureFixture) -> None:
    def fails(*args: Any) -> None:
        raise RuntimeError("mine")

    with MemSync("obj", {"n": 0}, engine="memory") as mem:
        mem.presence.on_change(fails)
        mem.on("received_patches", fails)
        mem.patch({"$inc": {"n": 1}})
        mem.presence.update(x=1)
    assert caplog.text.count(f"callback failed: {fails!r}") == 2
