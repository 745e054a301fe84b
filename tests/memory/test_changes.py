"""`changes`: each batch once, from a version on, with a first value, and with an end."""

from __future__ import annotations

import gc
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from memsync import MemSync, UsageError
from memsync.runtime.changes import MAX_CAPTURED
from memsync.testing import until

New = Callable[..., MemSync[Any]]


@pytest.fixture
def new(engine: str) -> Iterator[New]:
    """A function that makes one more started handle of the object "obj"; all are stopped."""
    with ExitStack() as stack:
        yield lambda data=None: stack.enter_context(MemSync("obj", data, engine=engine))


def test_each_batch_comes_once_also_to_a_late_reader(new: New) -> None:
    mem = new({"n": 0})
    changes = mem.changes("n", timeout=0)
    for _ in range(100):
        mem.patch({"$inc": {"n": 1}})
        mem.patch({"$inc": {"other": 1}})
    assert [value for value, _ in changes] == list(range(1, 101))
    assert changes.missed == 0


def test_what_is_too_much_is_merged_and_counted(new: New) -> None:
    mem = new({"n": 0})
    changes = mem.changes("n", timeout=0)
    for _ in range(MAX_CAPTURED + 50):
        mem.submit({"$inc": {"n": 1}})
    mem.patch({"$inc": {"n": 1}})
    found = [(value, changes.missed) for value, _ in changes]
    assert found[:-1] == [(number, 0) for number in range(1, MAX_CAPTURED + 1)]
    assert found[-1] == (MAX_CAPTURED + 51, 50)


def test_large_values_are_merged_and_counted(new: New) -> None:
    mem = new({"text": ""})
    changes = mem.changes(timeout=0)
    for letter in "abc":
        mem.patch({"$set": {"text": letter * 5000}})
    assert [value["text"][0] for value, _ in changes] == ["c"]
    assert changes.missed == 2
    mem.patch({"$set": {"text": "d"}})
    assert list(changes) == []  # it has ended


def test_the_values_of_now_can_come_first(new: New) -> None:
    mem = new({"done": True})
    for value, version in mem.changes("done", initial=True):
        assert (value, version) == (True, mem.version)
        break
    mem.patch({"$set": {"done": None}})
    assert [value for value, _ in mem.changes("done", initial=True, timeout=0)] == [None]
    assert [value for value, _ in mem.changes("done", timeout=0)] == []


def test_the_iteration_ends_after_a_time_without_a_change(new: New) -> None:
    mem = new({"n": 0})
    changes = mem.changes("n", timeout=0.3)
    begun, ended = [0.0], [time.monotonic()]  # the write of each value

    def write() -> None:
        for _ in range(5):
            begun.append(time.monotonic())
            mem.patch({"$inc": {"n": 1}})
            ended.append(time.monotonic())
            time.sleep(0.1)

    thread = threading.Thread(target=write)
    thread.start()
    found = [value for value, _ in changes]
    thread.join()
    assert found == list(range(1, len(found) + 1))
    # On a busy machine the next write may have come too late; then it is none of the iteration.
    assert len(found) == 5 or ended[len(found) + 1] - begun[len(found)] >= 0.3
    assert next(changes, None) is None


def test_since_a_version_the_log_is_followed(new: New) -> None:
    mem, other = new({"n": 0, "a": {"b": 1}}), new()
    begin = mem.version
    for _ in range(3):
        other.patch({"$inc": {"n": 1}})
        other.patch({"$inc": {"a.b": 1}})
    until(lambda: mem.data["a"]["b"] == 4)
    versions = [version for _, version in mem.changes("n", since=begin, timeout=0)]
    assert versions == sorted(set(versions))
    values = [value for value, _ in mem.changes("n", since=begin, timeout=0)]
    assert values == [1, 2, 3]
    for version, left in zip([begin, *versions], ([1, 2, 3], [2, 3], [3], []), strict=True):
        assert [value for value, _ in mem.changes("n", since=version, timeout=0)] == left
    assert [v for v, _ in mem.changes("n", since=versions[-1], initial=True, timeout=0)] == [3]


def test_since_what_is_not_in_the_log_is_counted(new: New) -> None:
    mem = new({"a": {"b": 1}})
    begin = mem.version
    for _ in range(3):
        mem.patch({"$inc": {"a.b": 1}})
    changes = mem.changes("a", since=begin, timeout=0)
    assert [value for value, _ in changes] == [{"b": 4}]  # nothing set it as a whole
    assert changes.missed == 2
    mem.patch({"$set": {"a": {}}})
    mem.patch({"$set": {"a.x": 1}})
    changes = mem.changes("a", since=begin, timeout=0)
    assert [(value, changes.missed) for value, _ in changes] == [({}, 3), ({"x": 1}, 0)]


@pytest.mark.parametrize(
    ("path", "updates"),
    [
        ("a.0", [{"$push": {"a": 4}}, {"$pop": {"a": 1}}]),
        ("a.0", [{"$push": {"a": {"$each": [7], "$position": 1}}}, {"$set": {"a.9": 1}}]),
        ("a.0", [[{"op": "add", "path": "/a/-", "value": 1}]]),
        ("jobs.17", [{"$set": {"jobs.18": {}}}, {"$unset": {"jobs.18": ""}}]),
        ("jobs.17.s", [{"$set": {"jobs.16": {}}}, {"$unset": {"jobs.16": ""}}]),
    ],
)
def test_since_does_not_repeat_what_was_not_touched(new: New, path: str, updates: Any) -> None:
    mem, other = new({"a": [1, 2], "jobs": {"17": {"s": "new"}}}), new()
    begin = mem.version
    for update in updates:
        version = other.patch(update)
        until(lambda: mem.version >= version)  # noqa: B023 - it is called at once
        assert list(mem.changes(path, since=begin, timeout=0)) == []


def test_since_counts_unknown_values_although_the_last_one_is_back(new: New) -> None:
    mem = new({"l": [0, 2, 1]})
    begin = mem.version
    mem.patch({"$set": {"l.0": 1}})
    for _ in range(2):  # the log does not have the values of what moves up
        mem.patch({"$pop": {"l": -1}})
    changes = mem.changes("l.0", since=begin, timeout=0)
    assert [(value, changes.missed) for value, _ in changes] == [(1, 0), (1, 1)]


def test_since_before_the_log_is_one_gap() -> None:
    with MemSync("obj", {"n": 0}, {"network": {"maxLog": 4}}, engine="memory") as mem:
        begin = mem.version
        for _ in range(10):
            mem.patch({"$inc": {"n": 1}})
        changes = mem.changes("n", since=begin, timeout=0)
        found = [(value, changes.missed) for value, _ in changes]
        assert found == [(7, 6), (8, 0), (9, 0), (10, 0)]
        nothing = mem.changes("other", since=mem.version - 2, timeout=0)
        assert list(nothing) == []


@pytest.mark.parametrize("initial", [False, True])
def test_since_a_version_that_is_still_to_come_is_a_gap(new: New, initial: bool) -> None:
    """It may be from a former life of the object, so what is there now is yielded."""
    mem, other = new({"n": 0}), new()
    until(mem.has_peers)
    other.patch({"$inc": {"n": 1}})
    until(lambda: mem.data["n"] == 1)
    changes = mem.changes("n", since=mem.version + 2, initial=initial)
    for _ in range(2):
        other.patch({"$inc": {"n": 1}})
        until(lambda: mem.data["n"] == other.data["n"])
    found = [(next(changes), changes.missed) for _ in range(3)]
    assert [value for (value, _), _ in found] == [1, 2, 3]
    assert [missed for _, missed in found] == [found[0][0][1], 0, 0]
    assert found[0][1] > 0


def test_a_loop_that_resumes_after_a_new_start_of_the_object_sees_the_gap() -> None:
    mem = MemSync("obj", {"percent": 0}, engine="memory")
    with mem:
        for percent in range(10):
            mem.patch({"$set": {"percent": percent}})
        version = mem.version
    with mem, MemSync("obj", engine="memory") as other:
        assert mem.version < version
        changes = mem.changes("percent", since=version, timeout=0)
        for percent in (25, 50, 75, 100):
            shown = other.patch({"$set": {"percent": percent}})
            until(lambda: mem.version >= shown)  # noqa: B023 - it is called at once
        found = [(value, changes.missed > 0) for value, _ in changes]
        assert found == [(0, True), (25, False), (50, False), (75, False), (100, False)]


def test_since_does_not_hide_pending_writes(new: New) -> None:
    mem = new({"n": 0})
    changes = mem.changes("n", since=mem.version)
    future = mem.submit({"$inc": {"n": 1}})
    assert next(changes)[0] == 1
    future.result(20)


def test_a_pending_write_that_is_there_already_comes_after_since(new: New) -> None:
    mem = new({"n": 0, "other": 0})
    version = mem.version
    future = mem.submit({"$inc": {"n": 1}})
    with mem._participating().guard:
        is_pending = bool(mem._participating().replica.writes.pending)
        changes = mem.changes("n", since=version, timeout=0.1)
        others = mem.changes("other", since=version, timeout=0)
    future.result(20)
    assert [value for value, _ in changes] == [1]
    assert [*others] == []
    if is_pending:  # with a version of its own it came otherwise
        assert version < mem.version


def test_a_callback_must_not_wait_for_changes(new: New) -> None:
    mem = new({"n": 0})
    found: list[Any] = []

    def callback(value: Any) -> None:
        found.append([each for each, _ in mem.changes("n", timeout=0, initial=True)])
        try:
            next(mem.changes("n", initial=True))
        except UsageError as error:
            found.append(str(error))

    mem.observe("n", callback)
    mem.patch({"$inc": {"n": 1}})
    until(lambda: len(found) == 2)
    assert found[0] == [1]
    assert "inside a callback" in found[1]


@pytest.mark.parametrize("since", [-1, 1.5, "3", True])
def test_since_is_a_version(since: Any) -> None:
    with MemSync("obj", engine="memory") as mem, pytest.raises(UsageError, match="since"):
        mem.changes("n", since=since)


@pytest.mark.parametrize("timeout", [-1, "1", True, 5000])
def test_the_timeout_is_in_seconds(timeout: Any) -> None:
    with MemSync("obj", engine="memory") as mem, pytest.raises(UsageError, match="timeout"):
        mem.changes("n", timeout=timeout)


def test_a_dropped_iterator_costs_nothing_more() -> None:
    with MemSync("obj", {"n": 0}, engine="memory") as mem:
        mem.changes("n")
        gc.disable()  # it is in no cycle
        try:
            mem.changes("n")
            waiters = mem._participating().view_waiters
            assert [each() for each in waiters._waiters] == [None]
        finally:
            gc.enable()


@pytest.mark.parametrize("seed", range(5))
def test_resuming_from_a_version_gives_what_a_reader_saw(new: New, seed: int) -> None:
    """Readers that stop anywhere and go on from there see what one reader sees that never stops."""
    chance = random.Random(seed)
    mem, other = new({"n": 0}), new()
    until(mem.has_peers)
    all_of_it = mem.changes("n", timeout=0)
    version, seen = mem.version, list[Any]()
    for _ in range(60):
        for _ in range(chance.choice([0, 1, 1, 2])):
            shown = other.patch({"$inc": {"n": chance.choice([0, 1])}, "$set": {"x": 1}})
            until(lambda: mem.version >= shown)  # noqa: B023 - it is called at once
            mem.snapshot("n")
        for value, at in mem.changes("n", since=version, timeout=0):
            seen.append(value)
            version = at
            if chance.random() < 0.3:
                break
    seen += [value for value, _ in mem.changes("n", since=version, timeout=0)]
    assert seen == [value for value, _ in all_of_it] == list(range(1, len(seen) + 1))
