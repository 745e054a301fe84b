"""`observe`: callbacks for values that have changed, with each engine."""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
import random
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import jsonpatch
import pytest

from memsync import Change, MemSync, NotStartedError, UsageError
from memsync.document import identical
from memsync.replication.compile_proposal import node_at, value_at
from memsync.runtime.dispatcher import QUEUE_MAX, Dispatcher
from memsync.testing import until

New = Callable[..., MemSync[Any]]


@pytest.fixture
def new(engine: str) -> Iterator[New]:
    """A function that makes one more started handle of the object "obj"; all are stopped."""
    with ExitStack() as stack:
        yield lambda data=None: stack.enter_context(MemSync("obj", data, engine=engine))


def finish(mem: MemSync[Any]) -> None:
    """Wait until the callbacks of all changes that `mem` shows have ended."""
    done = threading.Event()
    mem._dispatcher.call_surely(done.set)
    assert done.wait(20)


def show(mem: MemSync[Any], version: int) -> None:
    """Wait until `mem` shows a version, and until the callbacks for it have ended."""
    until(lambda: mem.version >= version)
    mem.snapshot("n")  # the guard: the batch has ended
    finish(mem)
    finish(mem)  # what the end of a batch has queued


class Held:
    """A callback that stays in its first call until it is released."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.calls: list[Any] = []

    def __call__(self, value: Any) -> None:
        self.calls.append(value)
        self.begun.set()
        assert self.may_end.wait(20)


def test_a_callback_is_called_for_own_and_foreign_changes(new: New) -> None:
    mem, other = new({"n": 0, "a": {"b": 1}}), new()
    calls: list[Any] = []
    mem.observe("n", calls.append)
    mem.patch({"$inc": {"n": 1}})
    finish(mem)
    show(mem, other.patch({"$inc": {"n": 1}}))
    show(mem, other.patch({"$set": {"a.b": 2}}))
    show(mem, mem.patch({"$unset": {"n": ""}}))
    assert calls == [1, 2, None]


def test_own_writes_are_a_batch_when_they_show_and_not_again(new: New) -> None:
    mem, _ = new({"n": 0}), new()
    calls: list[Any] = []
    mem.observe("n", calls.append)
    futures = []
    for _ in range(5):
        futures.append(mem.submit({"$inc": {"n": 1}}))
        finish(mem)
    assert calls == [1, 2, 3, 4, 5]
    show(mem, max(future.result() for future in futures))
    assert calls == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("path", ["", "a", "a.list", "a.list.1.x"])
def test_the_value_is_detached(new: New, path: str) -> None:
    mem = new({"a": {"list": [0, {"x": [1]}]}})
    calls: list[Any] = []

    def spoil(value: Any) -> None:
        calls.append(value_at({"": value}, "") and pickle.loads(pickle.dumps(value)))
        if isinstance(value, dict):
            value.clear()
        else:
            value.append("spoilt")

    mem.observe(path, spoil)
    for number in (2, 3):
        mem.patch({"$push": {"a.list.1.x": number}})
        finish(mem)
    assert calls[-1] == mem.snapshot(path)
    assert len(calls) == 2


def test_immediate_is_one_call_and_is_not_merged(new: New) -> None:
    mem = new({"n": 0})
    held, calls = Held(), list[Any]()
    mem.observe("", held, immediate=True)
    assert held.begun.wait(20)
    mem.observe("n", calls.append, immediate=True)
    mem.observe("none", calls.append, immediate=True)
    for _ in range(3):
        mem.patch({"$inc": {"n": 1}})
    held.may_end.set()
    finish(mem)
    assert calls == [0, None, 3]


def test_a_slow_observer_gets_the_newest_value(new: New) -> None:
    mem = new({"n": 0})
    held = Held()
    mem.observe("n", held)
    mem.patch({"$inc": {"n": 1}})
    assert held.begun.wait(20)
    for _ in range(50):
        mem.patch({"$inc": {"n": 1}})
    held.may_end.set()
    finish(mem)
    assert held.calls == [1, 51]


def test_there_is_no_call_if_the_value_is_the_last_one_again(new: New) -> None:
    mem = new({"n": 0, "m": 0})
    held, calls = Held(), list[Any]()
    mem.observe("m", held)
    mem.observe("n", calls.append)
    mem.patch({"$inc": {"m": 1}})
    assert held.begun.wait(20)
    mem.patch({"$set": {"n": 1}})
    mem.patch({"$set": {"n": 0}})
    held.may_end.set()
    finish(mem)
    assert calls == []


def test_the_memory_of_a_slow_observer_does_not_grow() -> None:
    with MemSync("obj", {"text": ""}, {"network": {"maxLog": 1}}, engine="memory") as mem:
        held = Held()
        mem.observe("text", held)
        mem.observe(lambda data: data["text"], held, changes=True)
        mem.patch({"$set": {"text": "first"}})
        assert held.begun.wait(20)

        def write(times: int) -> int:
            for number in range(times):
                mem.patch({"$set": {"text": f"{number:010}" * 1000}})
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = write(20)
            after = write(400)
        finally:
            tracemalloc.stop()
            held.may_end.set()
        assert after - before < 100_000  # ten of the 400 values


def test_callbacks_run_in_the_order_of_the_changes(new: New) -> None:
    mem = new({"a": 0, "b": 0})
    held, order = Held(), list[str]()
    mem.observe("", held, immediate=True)
    assert held.begun.wait(20)
    mem.observe("a", lambda value: order.append(f"a{value}"))
    mem.on("received_patches", lambda patches: order.append("event"))
    mem.observe("b", lambda value: order.append(f"b{value}"))
    mem.patch({"$inc": {"b": 1}})
    mem.patch({"$inc": {"a": 1}})
    held.may_end.set()
    finish(mem)
    assert [each for each in order if each != "event"] == ["b1", "a1"]


def test_a_change_has_both_values_and_who_has_made_it(new: New) -> None:
    mem, other = new({"a": {"list": [1]}}), new()
    calls: list[Change[Any]] = []
    mem.observe("a", calls.append, changes=True)
    mem.patch({"$push": {"a.list": 2}})
    finish(mem)
    version = other.patch({"$set": {"a.x": 1}})
    show(mem, version)
    first, second = calls
    assert (first.old, first.new, first.own, first.peer) == (
        {"list": [1]}, {"list": [1, 2]}, True, mem.id
    )  # fmt: skip
    assert first.patch == [{"op": "add", "path": "/list/1", "value": 2}]
    assert second == (first.new, {"list": [1, 2], "x": 1}, second.patch, version, other.id, False)


def test_the_patch_of_a_change_is_right_for_merged_writes_and_absent_values(new: New) -> None:
    mem = new({"n": 0})
    held, calls = Held(), list[Change[Any]]()
    mem.observe("n", held)
    mem.observe("a", calls.append, immediate=True, changes=True)
    for values in ([{"x": 1}, {"x": 1, "y": [1]}], [[1, 2], None], [{"z": 0}]):
        held.begun.clear()
        held.may_end.clear()
        mem.patch({"$inc": {"n": 1}})
        assert held.begun.wait(20)
        for value in values:
            mem.patch({"$unset": {"a": ""}} if value is None else {"$set": {"a": value}})
        held.may_end.set()
        finish(mem)
    assert [change.new for change in calls] == [None, {"x": 1, "y": [1]}, None, {"z": 0}]
    for change in calls:
        assert jsonpatch.apply_patch(change.old, change.patch) == change.new


# -- functions -------------------------------------------------------------------------------------


def test_a_function_runs_again_only_if_what_it_has_read_was_touched(new: New) -> None:
    mem = new({"jobs": [{"state": "new"}, {"state": "new"}], "n": 0})
    runs: list[int] = []
    calls: list[int] = []

    def number(data: Any) -> int:
        runs.append(1)
        return len(data["jobs"])

    mem.observe(number, calls.append, immediate=True)
    finish(mem)
    for update in ({"$inc": {"n": 1}}, {"$set": {"jobs.0.state": "done"}}, {"$set": {"x": 1}}):
        mem.patch(update)
        finish(mem)
    assert (len(runs), calls) == (1, [2])
    mem.patch({"$push": {"jobs": {}}})
    finish(mem)
    assert (len(runs), calls) == (2, [2, 3])
    mem.patch({"$set": {"jobs": [1, 2, 3]}})  # touched, but of the same length
    finish(mem)
    assert (len(runs), calls) == (3, [2, 3])


def test_what_a_function_reads_may_change(new: New) -> None:
    mem = new({"which": "a", "a": 1, "b": 2})
    calls: list[int] = []
    mem.observe(lambda data: data[data["which"]], calls.append)
    for update in ({"which": "b"}, {"a": 5}, {"b": 3}, {"which": "a"}, {"b": 9}, {"a": 6}):
        mem.patch({"$set": update})
        finish(mem)
    assert calls == [2, 3, 5, 6]


def test_a_function_that_fails_is_logged_and_runs_again(
    new: New, caplog: pytest.LogCaptureFixture
) -> None:
    mem = new({"a": {"b": 1}})
    calls: list[int] = []
    with pytest.raises(KeyError):
        mem.observe(lambda data: data["none"], calls.append)
    mem.observe(lambda data: data["a"]["b"], calls.append)
    with caplog.at_level(logging.ERROR):
        mem.patch({"$unset": {"a": ""}})
        finish(mem)
    assert "an observed function failed" in caplog.text
    mem.patch({"$set": {"a": {"b": 2}}})
    finish(mem)
    assert calls == [2]
    assert len(mem._observers._observers) == 1  # type: ignore[union-attr]


def test_a_function_never_sees_half_of_a_change() -> None:
    """It runs without a lock, so its result counts only if nothing has changed meanwhile."""
    with MemSync("obj", {"a": 0, "b": 0}, engine="memory") as mem:
        calls: list[Any] = []

        def both(data: Any) -> tuple[int, int]:
            first = data["a"]
            time.sleep(0.0001)  # others run
            return first, data["b"]

        mem.observe(both, calls.append)
        for _ in range(300):
            mem.patch({"$inc": {"a": 1, "b": 1}})
        finish(mem)
        finish(mem)
    assert calls[-1] == (300, 300)
    assert all(first == second for first, second in calls)
    assert calls == sorted(set(calls))


def test_what_changes_during_the_first_run_is_not_lost(new: New) -> None:
    mem = new({"n": 0})
    runs: list[int] = []
    calls: list[int] = []

    def slow(data: Any) -> int:
        value: int = data["n"]
        runs.append(value)
        if len(runs) == 1:
            thread = threading.Thread(target=lambda: mem.patch({"$inc": {"n": 1}}))
            thread.start()
            thread.join()
        return value

    mem.observe(slow, calls.append, immediate=True)
    finish(mem)
    assert (runs, calls) == ([0, 1], [1])


@pytest.mark.parametrize("rounds", [1, 2, 3, 50])
def test_an_observer_waits_once_in_the_queue_however_often_its_function_runs(
    new: New, rounds: int
) -> None:
    """Each run finds that what it has read has changed meanwhile."""
    mem, other = new({"n": 0, "m": 0}), new()
    until(mem.has_peers)
    waiting: list[int] = []
    calls: list[Any] = []

    def slow(data: Any) -> int:
        value: int = data["n"]
        if value and len(waiting) < rounds:
            version = other.patch({"$inc": {"n": 1}})
            until(lambda: mem.version >= version)
            mem.snapshot("n")
            waiting.append(len(mem._dispatcher._queue))
        return value

    mem.observe(slow, calls.append)
    mem.patch({"$inc": {"n": 1}})
    until(lambda: calls[-1:] == [rounds + 1])
    assert max(waiting) == 1
    finish(mem)
    other.patch({"$inc": {"n": 1}})
    until(lambda: calls[-1:] == [rounds + 2])


def test_a_function_that_is_put_off_and_queued_waits_once(new: New) -> None:
    """The queue after each of its calls in a row of batches that it meets in their middle."""
    mem, other = new({"n": 0}), new()
    until(mem.has_peers)
    participant, held = mem._participating(), list[Any]()
    publish, kept = participant.publish, list[Any]()
    runs: list[int] = []

    def slow(data: Any) -> int:
        value: int = data["n"]
        if value and len(runs) < 60:  # each run is interrupted by a batch, each third is in one
            runs.append(len(mem._dispatcher._queue))
            if len(runs) % 3 == 2:
                participant.publish = kept.extend  # type: ignore[assignment, method-assign]
            elif kept:
                publish([*kept])
                kept.clear()
                participant.publish = publish  # type: ignore[method-assign]
            version = other.patch({"$inc": {"n": 1}})
            until(lambda: mem.data["n"] == other.data["n"] and mem.version >= version - 1)
        return value

    mem.observe(slow, held.append)
    mem.patch({"$inc": {"n": 1}})
    until(lambda: len(runs) == 60)
    participant.publish = publish  # type: ignore[method-assign]
    publish(kept)
    other.patch({"$inc": {"n": 1}})
    until(lambda: held[-1:] == [other.data["n"]])
    assert max(runs) <= 1


def test_results_need_not_be_json(new: New) -> None:
    mem = new({"n": 1})
    calls: list[Any] = []
    mem.observe(lambda data: {data["n"]: {data["n"] * 1j}}, calls.append, changes=True)
    mem.patch({"$set": {"n": 2}})
    finish(mem)
    assert [(change.old, change.new) for change in calls] == [({1: {1j}}, {2: {2j}})]


# -- cancel ----------------------------------------------------------------------------------------


def test_cancel_ends_the_calls_also_those_that_are_queued(new: New) -> None:
    mem = new({"n": 0})
    held, calls = Held(), list[Any]()
    mem.observe("", held, immediate=True)
    assert held.begun.wait(20)
    subscription = mem.observe("n", calls.append, immediate=True)
    mem.patch({"$inc": {"n": 1}})
    subscription.cancel()
    subscription.cancel()
    held.may_end.set()
    mem.patch({"$inc": {"n": 1}})
    finish(mem)
    with mem.observe("n", calls.append):
        pass
    mem.patch({"$inc": {"n": 1}})
    finish(mem)
    assert calls == []


def test_a_callback_may_cancel_itself_and_others_and_observe(new: New) -> None:
    mem = new({"n": 0})
    calls: list[Any] = []

    def once(value: Any) -> None:
        calls.append(value)
        own.cancel()
        other.cancel()
        mem.observe("n", lambda value: calls.append(-value))

    own = mem.observe("n", once)
    other = mem.observe("n", calls.append)
    for _ in range(2):
        mem.patch({"$inc": {"n": 1}})
        finish(mem)
    assert calls == [1, -2]


def test_no_call_begins_after_cancel_has_returned() -> None:
    with MemSync("obj", {"n": 0}, engine="memory") as mem:
        late: list[int] = []
        begun: list[int] = []
        for number in range(300):
            ended = threading.Event()

            def callback(value: Any, ended: threading.Event = ended, number: int = number) -> None:
                begun.append(number)
                if ended.is_set():
                    late.append(number)

            subscription = mem.observe("n", callback)
            mem.patch({"$inc": {"n": 1}})
            if number % 3:
                time.sleep(0.00002 * (number % 7))
            subscription.cancel()
            ended.set()
        finish(mem)
    assert late == []
    assert begun


def test_cancel_does_not_wait_for_a_call_that_waits_for_it(new: New) -> None:
    mem = new({"n": 0})
    lock, begun = threading.Lock(), threading.Event()

    def callback(value: Any) -> None:
        begun.set()
        with lock:
            pass

    with lock:
        subscription = mem.observe("n", callback)
        mem.patch({"$inc": {"n": 1}})
        assert begun.wait(20)
        begin = time.monotonic()
        subscription.cancel()
        assert time.monotonic() - begin < 5


def test_what_was_cancelled_is_forgotten(new: New) -> None:
    mem = new({"n": 0})
    for subscription in [mem.observe(f"k.{n}", print, debounce=3000) for n in range(100)]:
        subscription.cancel()
    observers = mem._observers
    assert observers is not None
    assert not observers._observers
    assert observers._index._root.is_empty()
    assert not observers.participant.view_waiters._listeners
    assert not mem._dispatcher.has_callbacks()


def test_cancel_does_not_wait_for_the_end_of_a_call(new: New) -> None:
    mem = new({"n": 0})
    held = Held()
    subscription = mem.observe("n", lambda value: held(value))
    mem.patch({"$inc": {"n": 1}})
    assert held.begun.wait(20)
    subscription.cancel()  # would wait for ever
    mem.patch({"$inc": {"n": 1}})
    held.may_end.set()
    finish(mem)
    assert held.calls == [1]


def test_many_observers_do_not_push_events_out() -> None:
    number = QUEUE_MAX + 1
    data = {"k": {f"f{n}": 0 for n in range(number)}, "n": 0}
    with MemSync("obj", data, engine="memory") as mem:
        held, calls, events, gaps = Held(), list[Any](), list[Any](), list[int]()
        mem.observe("n", held)
        mem.on("received_patches", events.append)
        mem.on("gap", gaps.append)
        mem.patch({"$inc": {"n": 1}})
        assert held.begun.wait(20)
        for n in range(number):
            mem.observe(f"k.f{n}", calls.append)
        mem.patch({"$set": {"k": {f"f{n}": 1 for n in range(number)}}})
        mem.patch({"$inc": {"n": 1}})
        held.may_end.set()
        finish(mem)
    assert (len(events), len(calls), gaps) == (3, number, [])


# -- errors, time ----------------------------------------------------------------------------------


def test_what_a_callback_raises_is_logged_and_stops_nobody(
    new: New, caplog: pytest.LogCaptureFixture
) -> None:
    mem = new({"n": 0})
    calls: list[Any] = []

    def fail(value: Any) -> None:
        raise RuntimeError(f"no {value}")

    mem.observe("n", fail)
    mem.observe("n", calls.append)
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            mem.patch({"$inc": {"n": 1}})
            finish(mem)
    assert calls == [1, 2]
    assert caplog.text.count("RuntimeError: no ") == 2


RAISED: list[BaseException] = [
    SystemExit(3),
    SystemExit(),
    KeyboardInterrupt("no"),
    asyncio.CancelledError("no"),
    GeneratorExit(),
    pytest.fail.Exception("no"),
]


def by_observer(mem: MemSync[Any], fail: Callable[[Any], object]) -> None:
    mem.observe("n", fail)


def by_function(mem: MemSync[Any], fail: Callable[[Any], object]) -> None:
    mem.observe(lambda data: data["n"] and fail(data["n"]), print)


def by_event(mem: MemSync[Any], fail: Callable[[Any], object]) -> None:
    mem.on("received_patches", fail)


def by_future(mem: MemSync[Any], fail: Callable[[Any], object]) -> None:
    mem.submit({"$inc": {"n": 1}}).add_done_callback(fail)


@pytest.mark.parametrize("error", RAISED, ids=lambda error: repr(error)[:20])
@pytest.mark.parametrize("register", [by_observer, by_function, by_event, by_future])
def test_what_is_no_exception_is_logged_and_stops_nobody_either(
    register: Callable[..., None], error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    with MemSync("obj", {"n": 0}, engine="memory") as mem:
        failures, calls = list[Any](), list[int]()

        def fail(value: Any) -> None:
            failures.append(value)
            raise error

        with caplog.at_level(logging.ERROR):
            register(mem, fail)
            mem.observe("n", calls.append)
            for _ in range(2):
                mem.patch({"$inc": {"n": 1}})
                finish(mem)
        assert calls[-1] == mem.data["n"]
        assert len(calls) >= 2
        assert failures
        lines = [record for record in caplog.records if "failed: " in record.getMessage()]
        assert [line.exc_info and line.exc_info[1] for line in lines] == [error] * len(failures)


@pytest.mark.parametrize("error", RAISED, ids=lambda error: repr(error)[:20])
def test_observe_raises_what_ends_the_first_run_at_once(error: BaseException) -> None:
    with MemSync("obj", {"n": 0}, engine="memory") as mem:
        runs: list[int] = []

        def fail(data: Any) -> None:
            runs.append(data["n"])
            thread = threading.Thread(target=lambda: mem.patch({"$inc": {"n": 1}}))
            thread.start()
            thread.join()
            raise error

        with pytest.raises(type(error)):
            mem.observe(fail, print)
        finish(mem)
        assert len(runs) == 1
        assert not mem._observers._observers  # type: ignore[union-attr]


def test_a_function_that_fails_at_first_never_runs_again(new: New) -> None:
    """What it has read changes in each of its runs, so each is queued again."""
    mem = new({"n": 0})
    runs: list[int] = []

    def fail(data: Any) -> None:
        runs.append(data["n"])
        thread = threading.Thread(target=lambda: mem.patch({"$inc": {"n": 1}}))
        thread.start()
        thread.join()
        raise KeyError(1)

    with pytest.raises(KeyError):
        mem.observe(fail, print)
    number = len(runs)
    mem.patch({"$inc": {"n": 1}})
    finish(mem)
    assert len(runs) == number
    assert not mem._observers._observers  # type: ignore[union-attr]


def test_throttle_keeps_calls_apart_and_brings_the_last_value(new: New) -> None:
    mem = new({"n": 0})
    calls: list[tuple[float, int]] = []
    mem.observe("n", lambda value: calls.append((time.monotonic(), value)), throttle=0.1)
    mem.patch({"$inc": {"n": 1}})
    finish(mem)
    assert [value for _, value in calls] == [1]  # the first one is not put off
    begin = time.monotonic()
    while time.monotonic() - begin < 0.5:
        mem.patch({"$inc": {"n": 1}})
        time.sleep(0.002)
    until(lambda: bool(calls) and calls[-1][1] == mem.data["n"])
    times = [when for when, _ in calls]
    assert all(later - earlier >= 0.1 for earlier, later in pairwise(times))
    assert 2 <= len(calls) <= (times[-1] - times[0]) / 0.1 + 1


def test_debounce_waits_for_quiet(new: New) -> None:
    mem = new({"n": 0})
    calls: list[tuple[float, int]] = []
    mem.observe("n", lambda value: calls.append((time.monotonic(), value)), debounce=0.5)
    begun, ended = [0.0], [0.0]  # the write of each value
    for _ in range(20):
        begun.append(time.monotonic())
        mem.patch({"$inc": {"n": 1}})
        ended.append(time.monotonic())
        time.sleep(0.002)
    until(lambda: bool(calls) and calls[-1][1] == 20)
    assert all(when - begun[value] >= 0.5 for when, value in calls)
    # On a busy machine the next write may have come late; then its quiet is one, too.
    assert all(ended[value + 1] - begun[value] >= 0.5 for _, value in calls[:-1])


def test_stop_makes_the_calls_that_were_put_off(new: New) -> None:
    mem = new({"n": 0})
    calls: list[Any] = []
    mem.observe("n", calls.append, debounce=3000)
    mem.observe("n", calls.append, throttle=3000, immediate=True)
    mem.patch({"$inc": {"n": 1}})
    finish(mem)
    assert calls == [0]
    mem.stop()
    assert calls == [0, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((5, print), "path"),
        (("a..b", print), "path"),
        ((None, print), "path"),
        (("a", None), "callback"),
        (("a", print, False, -1), "throttle"),
        (("a", print, False, None, "1"), "debounce"),
        (("a", print, False, True), "throttle"),
        (("a", print, False, float("nan")), "throttle"),
        (("a", print, False, 3601), "3600"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[Any, ...], words: str) -> None:
    with MemSync("obj", engine="memory") as mem, pytest.raises(UsageError, match=words):
        mem.observe(*arguments)


def test_a_handle_that_never_started_says_what_to_call() -> None:
    with pytest.raises(NotStartedError, match=r"start\(\)"):
        MemSync("obj", engine="memory").observe("n", print)


# -- the life of a handle --------------------------------------------------------------------------


def test_observers_stay_over_stop_and_start(new: New) -> None:
    mem, other = new({"n": 0}), new()
    calls: list[Any] = []
    mem.observe("n", calls.append)
    mem.observe(lambda data: data["n"] * 10, calls.append)
    mem.stop()
    other.patch({"$inc": {"n": 1}})
    assert calls == []
    mem.start()
    finish(mem)
    assert calls == [1, 10]
    show(mem, other.patch({"$inc": {"n": 1}}))
    assert calls == [1, 10, 2, 20]


def test_a_copy_by_pickle_has_callbacks_of_its_own(new: New) -> None:
    mem = new({"n": 0})
    calls: list[Any] = []
    mem.observe("n", lambda value: calls.append(("mem", value)))
    copy = pickle.loads(pickle.dumps(mem))
    subscription = copy.observe("n", lambda value: calls.append(("copy", value)))
    mem.patch({"$inc": {"n": 1}})
    finish(mem)
    finish(copy)
    assert sorted(calls) == [("copy", 1), ("mem", 1)]
    calls.clear()
    copy.stop()
    mem.patch({"$inc": {"n": 1}})
    finish(mem)
    assert calls == [("mem", 2)]
    copy.start()
    finish(copy)
    assert calls == [("mem", 2), ("copy", 2)]
    subscription.cancel()


def put_off(copy: MemSync[Any], calls: list[Any]) -> None:
    copy.observe(lambda data: data["n"], calls.append, debounce=3000)


def cancel_another(copy: MemSync[Any], calls: list[Any]) -> Callable[[], None]:
    other = copy.observe("n", print, debounce=3000)
    copy.observe("n", calls.append)
    copy.observe(lambda data: data["n"], calls.append)
    return other.cancel


def write_in_the_function(copy: MemSync[Any], calls: list[Any]) -> None:
    """What it reads changes in each run, so each run queues it again."""

    def function(data: Any) -> int:
        value: int = data["n"]
        if 0 < value < 1000 and calls:
            writer.patch({"$inc": {"n": 1}})
        return value

    writer = pickle.loads(pickle.dumps(copy)).start()
    copy.observe("n", calls.append)
    copy.observe(function, calls.append, debounce=3000)


@pytest.mark.parametrize("register", [put_off, cancel_another, write_in_the_function])
def test_a_handle_that_has_stopped_makes_no_more_calls(
    new: New, register: Callable[..., Any]
) -> None:
    mem = new({"n": 0})
    copy, calls = pickle.loads(pickle.dumps(mem)), list[Any]()
    later = register(copy, calls)
    mem.patch({"$inc": {"n": 1}})
    finish(copy)
    copy.stop()
    before = [*calls]
    assert 1 <= len(before) <= 3
    for step in (None, later, None):
        if step is not None:
            step()
        mem.patch({"$inc": {"n": 1}})
        time.sleep(0.02)
    assert calls == before
    assert copy._observers.changed not in mem._participating().view_waiters._listeners
    copy.start()
    copy.stop()
    assert calls[-1] == mem.data["n"]
    assert len(calls) > len(before)


def test_a_copy_that_is_dropped_goes_on_while_it_observes(new: New) -> None:
    mem = new({"n": 0})
    calls: list[Any] = []
    subscription = pickle.loads(pickle.dumps(mem)).observe("n", calls.append)
    gc.collect()
    mem.patch({"$inc": {"n": 1}})
    until(lambda: calls == [1])
    subscription.cancel()
    mem.patch({"$inc": {"n": 1}})
    assert calls == [1]


# -- against a model -------------------------------------------------------------------------------

PATHS = ["", "a", "a.b", "a.0", "a.1", "a.1.b", "b.0.a", "b", "c.a"]
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "names": lambda data: sorted(data),
    "length": lambda data: len(data.get("a", ())) if isinstance(data.get("a"), list) else -1,
    "last": lambda data: data["b"][-1] if isinstance(data.get("b"), list) and data["b"] else None,
}


def random_update(chance: random.Random) -> dict[str, Any]:
    path = chance.choice(["a", "b", "c", "a.b", "a.0", "b.0", "c.a", "b.1", "a.1.b", "d"])
    value = chance.choice([0, 1, 2, "x", None, [], [1, 2], {"a": 1}, {"b": 0}, [{"b": 3}]])
    name = chance.choice(["$set", "$set", "$set", "$unset", "$push", "$pop", "$inc"])
    operands = {"$unset": "", "$pop": chance.choice([1, -1]), "$inc": chance.choice([0, 1])}
    operand = operands.get(name, value)
    if name == "$push" and chance.random() < 0.5:
        operand = {"$each": [value], "$position": chance.choice([0, 1])}
    return {name: {path: operand}}


class Model:
    """A handle whose observers' calls are compared with those that follow from its snapshots."""

    def __init__(self, mem: MemSync[Any]) -> None:
        self.mem = mem
        self._calls: list[tuple[str, Any]] = []
        for path in PATHS:
            self._observe(path, path)
        for name, function in FUNCTIONS.items():
            self._observe(name, function)
        self._last = self._look()

    def _observe(self, name: str, path: Any) -> None:
        self.mem.observe(path, lambda value: self._calls.append((name, value)))

    def _look(self) -> dict[str, Any]:
        data = self.mem.snapshot()
        values = {path: node_at(data, path) for path in PATHS}
        return values | {name: function(data) for name, function in FUNCTIONS.items()}

    def check(self) -> int:
        """Compare the calls for the batch that has ended; returns how many there are."""
        before, self._last = self._last, self._look()
        expected = {
            name: value for name, value in self._last.items() if not identical(value, before[name])
        }
        calls, self._calls = self._calls, []
        assert len(calls) == len(expected)
        assert identical(dict(calls), {name: expected[name] for name, _ in calls})
        return len(calls)


BEGIN: dict[str, Any] = {"a": [0, {"b": 1}], "b": [{"a": 1}], "c": {}}


@pytest.mark.parametrize("seed", range(4))
def test_calls_are_those_of_a_model(new: New, seed: int) -> None:
    chance = random.Random(seed)
    mem, other = new(BEGIN), new()
    until(lambda: mem.has_peers())
    model = Model(mem)
    for _ in range(150):
        writer = chance.choice([mem, other])
        try:
            version = writer.patch(random_update(chance), where={})
        except ValueError:
            continue
        show(mem, version)
        model.check()


def call_here(dispatcher: Dispatcher) -> None:
    """Make the queued calls on the calling thread."""
    while dispatcher._queue:
        callback, args, _ = dispatcher._queue.popleft()
        callback(*args)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_calls_are_those_of_a_model_over_100_000_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """All on one thread, and most of them without another peer: that saves time."""
    with ExitStack() as stack:
        mem = stack.enter_context(MemSync("obj", BEGIN, engine="memory"))
        monkeypatch.setattr(mem._dispatcher, "_start", lambda: None)
        chance, model, writers, updates, calls = random.Random(0), Model(mem), [mem], 0, 0
        while updates < 100_000:
            try:
                chance.choice(writers).patch(random_update(chance))
            except ValueError:
                continue
            call_here(mem._dispatcher)
            calls += model.check()
            updates += 1
            if updates == 80_000:
                writers.append(stack.enter_context(MemSync("obj", engine="memory")))
        monkeypatch.undo()
    assert calls > 150_000
