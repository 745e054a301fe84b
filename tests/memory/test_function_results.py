"""What a function returns that is observed: any kind of object, compared and copied by value."""

from __future__ import annotations

import threading
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from memsync import MemSync


def finish(mem: MemSync[Any]) -> None:
    """Wait until the callbacks of all changes that `mem` shows have ended."""
    done = threading.Event()
    mem._dispatcher.call_surely(done.set)
    assert done.wait(20)


DATA = {"jobs": [{"id": 1, "state": "new"}, {"id": 2, "state": "new"}], "by": {"a": {"n": [1]}}}


@dataclass
class Report:
    jobs: Any


@dataclass(frozen=True)
class Frozen:
    jobs: Any


class Pair(NamedTuple):
    first: Any
    second: Any


class ListOf(list[Any]):
    pass


class DictOf(dict[str, Any]):
    pass


class Slotted:
    __slots__ = ("jobs",)

    def __init__(self, jobs: Any) -> None:
        self.jobs = jobs

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slotted) and bool(self.jobs == other.jobs)

    __hash__ = None  # type: ignore[assignment]


@dataclass
class Locked:
    """It cannot be copied."""

    jobs: Any
    lock: Any


LOCK = threading.Lock()


def by_state(data: Any) -> dict[str, list[Any]]:
    found = defaultdict(list)
    for job in data["jobs"]:
        found[job["state"]].append(job)
    return found


def if_new(data: Any) -> Any:
    job = data["jobs"][0]
    return job if job["state"] == "new" else None


def if_any(data: Any) -> Any:
    jobs = data["jobs"]
    return Report(jobs) if len(jobs) > 1 and jobs[1]["state"] else None


RESULTS: dict[str, Callable[[Any], Any]] = {
    "defaultdict": by_state,
    "a part of which a field was read": if_new,
    "a part of which the number was read": if_any,
    "OrderedDict": lambda data: OrderedDict((str(n), job) for n, job in enumerate(data["jobs"])),
    "deque": lambda data: deque(data["jobs"]),
    "deque of an element": lambda data: deque([data["jobs"][0]]),
    "dataclass": lambda data: Report([*data["jobs"]]),
    "dataclass of an element": lambda data: Report(data["jobs"][0]),
    "frozen dataclasses": lambda data: [Frozen(job) for job in data["jobs"]],
    "list of dataclasses": lambda data: [Report(job) for job in data["jobs"]],
    "subclass of list": lambda data: ListOf(data["jobs"]),
    "subclass of dict": lambda data: DictOf(jobs=data["jobs"]),
    "slots": lambda data: Slotted(data["jobs"]),
    "named tuple": lambda data: Pair(deque(data["jobs"]), data["jobs"][0]),
    "ChainMap": lambda data: ChainMap({"jobs": data["jobs"][0]}, {}),
    "items": lambda data: data["jobs"][0].items(),
    "items of containers": lambda data: {"all": data["jobs"][0].items()},
    "slice": lambda data: data["jobs"][:1],
    "set": lambda data: {job["id"] for job in data["jobs"]},
    "frozenset": lambda data: frozenset(job["id"] for job in data["jobs"]),
    "Counter": lambda data: Counter(job["id"] for job in data["jobs"]),
}
UNCOPIED: dict[str, Callable[[Any], Any]] = {
    "dataclass with a lock": lambda data: Locked(data["jobs"], LOCK),
    "inner": lambda data: {"report": Locked(data["jobs"][0], LOCK)},
    "proxy": lambda data: MappingProxyType({"jobs": data["jobs"]}),
    "generator": lambda data: (job for job in data["jobs"]),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_change_inside_a_result_is_seen(name: str) -> None:
    function = RESULTS[name]
    with MemSync("obj", DATA, engine="memory") as mem:
        calls: list[Any] = []
        mem.observe(function, calls.append, immediate=True)
        expected = [function(mem.snapshot())]
        for update in ({"jobs.0.id": 5}, {"jobs.0.id": 6}, {"jobs.0.state": "done"}):
            mem.patch({"$set": update})
            finish(mem)
            value = function(mem.snapshot())
            if value != expected[-1]:
                expected.append(value)
        assert calls == expected  # also those of before: they are not live


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_that_stays_is_no_call(name: str) -> None:
    with MemSync("obj", DATA, engine="memory") as mem:
        calls: list[Any] = []
        mem.observe(RESULTS[name], calls.append)
        mem.patch([{"op": "replace", "path": "/jobs", "value": DATA["jobs"]}])
        finish(mem)
        assert calls == []


@pytest.mark.parametrize("name", UNCOPIED)
def test_what_cannot_be_copied_counts_as_changed(name: str) -> None:
    with MemSync("obj", DATA, engine="memory") as mem:
        calls: list[Any] = []
        mem.observe(UNCOPIED[name], calls.append, immediate=True)
        for number in range(3):
            mem.patch({"$set": {"jobs.0.id": number + 5, "by": number}})
            finish(mem)
        assert len(calls) == 4


def test_values_are_a_list() -> None:
    with MemSync("obj", DATA, engine="memory") as mem:
        calls: list[Any] = []
        mem.observe(lambda data: data["by"].values(), calls.append)
        mem.observe(lambda data: data["by"].keys(), calls.append)
        mem.patch({"$set": {"by.a.n.0": 2}})
        finish(mem)
        assert calls == [[{"n": [2]}]]
        mem.patch({"$set": {"by.b": 1}})
        finish(mem)
        assert calls[1:] == [[{"n": [2]}, 1], {"a": 0, "b": 0}.keys()]


@pytest.mark.parametrize("changes", [False, True])
def test_what_a_callback_does_with_a_result_changes_no_later_call(changes: bool) -> None:
    with MemSync("obj", {"n": ["a"], "z": 0}, engine="memory") as mem:
        calls: list[Any] = []

        def spoil(value: Any) -> None:
            if changes:
                value.patch[0]["value"].clear()
                value = value.new
            calls.append(set(value))
            value.clear()
            value.add("c")

        observe: Any = mem.observe
        observe(lambda data: set(data["n"]), spoil, immediate=True, changes=changes)
        mem.patch({"$push": {"n": "a"}})  # the same set
        finish(mem)
        assert calls == [{"a"}]
        mem.patch({"$set": {"n": ["c"]}})
        finish(mem)
        mem.patch({"$set": {"n": []}})
        finish(mem)
        assert calls == [{"a"}, {"c"}, set()]


class Array:
    """Compares as arrays of numpy do: element by element."""

    def __init__(self, items: Any) -> None:
        self.items = [*items]
        self.shape = (len(self.items),)

    def __eq__(self, other: Any) -> Any:
        return Array(a == b for a, b in zip(self.items, other.items, strict=False))

    def __ne__(self, other: Any) -> Any:
        return Array(a != b for a, b in zip(self.items, other.items, strict=False))

    def all(self) -> bool:
        return all(self.items)

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = None  # type: ignore[assignment]


def test_arrays_that_compare_by_element() -> None:
    with MemSync("obj", {"n": [1, 2]}, engine="memory") as mem:
        calls: list[Any] = []
        mem.observe(lambda data: Array(data["n"]), lambda array: calls.append(array.items))
        mem.observe(lambda data: [Array(data["n"])], lambda arrays: calls.append(arrays[0].items))
        for value in ([1, 3], [], [1, 3]):
            mem.patch({"$set": {"n": value}})
            finish(mem)
        assert calls == [[1, 3]] * 2 + [[]] * 2 + [[1, 3]] * 2
        mem.patch([{"op": "replace", "path": "/n", "value": [1, 3]}])
        finish(mem)
        assert calls[6:] in ([], [[1, 3]])  # a list of them cannot be compared


def test_a_sentinel_stays_the_same_object() -> None:
    nothing = object()
    with MemSync("obj", {"n": 0}, engine="memory") as mem:
        calls: list[Any] = []
        mem.observe(lambda data: (data["n"] > 2) or [nothing, print], calls.append, immediate=True)
        for _ in range(3):
            mem.patch({"$inc": {"n": 1}})
            finish(mem)
        assert calls == [[nothing, print], True]


def test_types_inside_tuples_count() -> None:
    with MemSync("obj", {"n": 1}, engine="memory") as mem:
        calls: list[Any] = []
        mem.observe(lambda data: (data["n"], Pair(data["n"], 0)), calls.append)
        for value in (True, 1.0, 1):
            mem.patch({"$set": {"n": value}})
            finish(mem)
        assert [type(call[1].first) for call in calls] == [bool, float, int]
