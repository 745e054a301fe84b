"""What transact() returns is plain and detached, wherever in the result the draft's parts are."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import pytest

from memsync import MemSync

JOB = {"id": 1, "steps": [{"s": 0}], "by": {"name": "Ada"}}


@pytest.fixture
def mem() -> Iterator[MemSync[Any]]:
    data = {"jobs": [JOB, 5], "one": JOB, "done": [], "n": 0}
    with MemSync[Any]("results", data, engine="memory") as handle:
        yield handle


def containers(value: Any) -> Iterator[Any]:
    if isinstance(value, (dict, list)):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from containers(inner)


@dataclass
class Record:
    job: Any
    others: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Frozen:
    job: Any


class Named(NamedTuple):
    number: int
    job: Any


class Holder:
    def __init__(self, job: Any) -> None:
        self.job = job


class Slotted:
    __slots__ = ("job",)

    def __init__(self, job: Any) -> None:
        self.job = job


class Derived(Slotted):
    __slots__ = "__own", "unset"

    def __init__(self, job: Any) -> None:
        super().__init__(None)
        self.__own = job

    def own(self) -> Any:
        return self.__own


class Struct(msgspec.Struct):
    job: Any
    others: list[Any] = []


class Marked:
    """What attrs makes of a class with ``@attrs.define``."""

    __slots__ = ("others",)
    __attrs_attrs__ = ("others",)

    def __init__(self, others: Any) -> None:
        self.others = others


WRAPPED: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "itself": (lambda job: job, lambda result: result),
    "dict": (lambda job: {"a": {"b": job}}, lambda result: result["a"]["b"]),
    "defaultdict": (
        lambda job: collections.defaultdict(list, {"a": [job]}),
        lambda result: result["a"][0],
    ),
    "ordered": (lambda job: collections.OrderedDict(a=job), lambda result: result["a"]),
    "list": (lambda job: [0, [job]], lambda result: result[1][0]),
    "tuple": (lambda job: (1, (job, 2)), lambda result: result[1][0]),
    "named tuple": (lambda job: Named(1, job), lambda result: result.job),
    "set": (lambda job: {Frozen(job)}, lambda result: next(iter(result)).job),
    "frozenset": (lambda job: frozenset({Frozen(job)}), lambda result: next(iter(result)).job),
    "dataclass": (lambda job: Record(1, [job]), lambda result: result.others[0]),
    "frozen dataclass": (lambda job: Frozen(Record(job)), lambda result: result.job.job),
    "namespace": (lambda job: SimpleNamespace(x=[job]), lambda result: result.x[0]),
    "object": (lambda job: Holder(job), lambda result: result.job),
    "slots": (lambda job: Slotted(job), lambda result: result.job),
    "private slots": (lambda job: Derived(job), lambda result: result.own()),
    "struct": (lambda job: Struct(job), lambda result: result.job),
    "list in a struct": (lambda job: Struct(0, [job]), lambda result: result.others[0]),
    "list in an attrs class": (lambda job: Marked([job]), lambda result: result.others[0]),
    "chain map": (
        lambda job: collections.ChainMap({"a": job}, {"b": [job]}),
        lambda result: result["a"] if result["a"] is result["b"][0] else None,
    ),
    "deque": (lambda job: collections.deque([job], 3), lambda result: result[0]),
    "view": (lambda job: {"a": job}.values(), lambda result: next(iter(result))),
    "items": (lambda job: {"a": job}.items(), lambda result: next(iter(result))[1]),
    "iterator": (lambda job: iter([job]), next),
    "copy": (lambda job: job.copy(), lambda result: result),
    "merged": (lambda job: job | {"z": 1}, lambda result: {k: result[k] for k in JOB}),
}


@pytest.mark.parametrize("take", ["pop", "read", "loop", "get"])
@pytest.mark.parametrize("name", WRAPPED)
def test_parts_of_the_draft_are_plain_in_the_result(
    mem: MemSync[Any], name: str, take: str
) -> None:
    wrap, unwrap = WRAPPED[name]

    def claim(draft: Any) -> Any:
        draft["n"] += 1
        if take == "pop":
            return wrap(draft["jobs"].pop(0))
        if take == "loop":
            return wrap(next(job for job in draft["jobs"] if job != 5))
        return wrap(draft["one"] if take == "read" else draft.get("one"))

    job = unwrap(mem.transact(claim))
    assert job == JOB
    assert all(type(part) in (dict, list) for part in containers(job))
    mem.patch({"$push": {"done": job}})
    job["steps"].append(1)
    job["by"]["name"] = "Eve"
    assert mem.snapshot("done") == [JOB]
    assert mem.snapshot("one") == JOB
    assert JOB["by"] == {"name": "Ada"}


def _returning(result: Any) -> Callable[[Any], Any]:
    return lambda draft: result


def test_what_is_no_part_of_the_draft_stays_itself(mem: MemSync[Any]) -> None:
    mine: dict[str, Any] = {"plain": [1], "self": None}
    mine["self"] = mine
    for result in (mine, (1, mine), Record(mine), Holder(mine), Holder, len, mem, {1, 2}):
        assert mem.transact(_returning(result)) is result
    twice = mem.transact(lambda draft: (draft["one"], draft["one"]))
    assert twice[0] is twice[1]


def test_a_row_that_was_put_in_and_returned_is_the_row_of_the_program(mem: MemSync[Any]) -> None:
    row: dict[str, Any] = {}

    def add(draft: Any) -> Any:
        draft["done"].append(row)
        row["x"] = draft["n"]
        return draft["done"][-1]

    assert mem.transact(add) is row
    assert mem.snapshot("done") == [{"x": 0}]


def test_what_the_result_holds_is_guarded(mem: MemSync[Any]) -> None:
    """The result is read before the patch is made, so it is what the object held then."""
    with MemSync[Any]("results", engine="memory") as other:
        runs = []

        def read(draft: Any) -> Any:
            runs.append(1)
            draft["n"] += 1
            one = draft["one"]
            if len(runs) == 1:
                other.patch({"$set": {"one.by.name": "Eve"}})
            return one

        assert mem.transact(read)["by"] == {"name": "Eve"}
        assert mem.snapshot("n") == 1


def test_the_whole_draft_as_a_result_is_a_snapshot(mem: MemSync[Any]) -> None:
    result = mem.transact(lambda draft: draft)
    assert result == mem.snapshot()
    assert type(result) is dict
    result["jobs"][0]["id"] = 9
    assert mem.snapshot("one.id") == 1
