"""C code that writes past the read-only containers: no peer stops, and the group stays one.

`heapq`, `list.append(view, x)` and the like ask no method of a subclass, so they cannot be refused.
The next write to the place finds a changed number of items. The peer warns, and gets the object
anew from the others.
"""

from __future__ import annotations

import bisect
import ctypes
import heapq
import logging
import operator
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync, UpdateError
from memsync.testing import until

pytestmark = pytest.mark.process

DATA: dict[str, Any] = {
    "q": [1, 2, 3],
    "d": {"k": 1, "inner": {"x": [1, {"y": 2}]}},
    "rows": [{"a": 1}, [1, 2]],
    "n": 0,
}
New = Callable[[], MemSync[Any]]
OPERATOR: Any = operator  # typeshed lacks some types


@pytest.fixture(params=["local", "memory"])
def new(request: pytest.FixtureRequest, folder: Path) -> Iterator[New]:
    """A function that starts one more handle of one object in this process."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(MemSync("obj", DATA, engine=request.param))


def is_warned(caplog: pytest.LogCaptureFixture, place: str) -> int:
    """How many warnings name the place."""
    return sum(
        record.levelno == logging.WARNING and f"at {place!r} by other code" in record.getMessage()
        for record in caplog.records
    )


def set_attribute_through(view: Any) -> None:
    class Program:
        pass

    program = Program()
    program.__dict__ = view
    program.x = 1  # type: ignore[attr-defined]


# What the code does, and the updates that touch its place afterwards.
PUSH, SET = {"$push": {"q": 9}}, {"$set": {"d.z": 9}}
WRITES: dict[str, tuple[Callable[[Any], object], str, dict[str, Any]]] = {
    "heappop": (lambda data: heapq.heappop(data["q"]), "/q", PUSH),
    "heappush": (lambda data: heapq.heappush(data["q"], 0), "/q", PUSH),
    "append": (lambda data: list.append(data["q"], 1), "/q", PUSH),
    "pop, then $pop": (lambda data: list.pop(data["q"]), "/q", {"$pop": {"q": 1}}),
    "clear, then a field": (lambda data: list.clear(data["q"]), "/q", {"$set": {"q.1": 7}}),
    "extend, then $pull": (lambda data: list.extend(data["q"], [3, 3]), "/q", {"$pull": {"q": 2}}),
    "itself": (lambda data: list.append(data["q"], data["q"]), "/q", PUSH),
    "a view": (lambda data: list.append(data["q"], data["d"]), "/q", PUSH),
    "no JSON": (lambda data: list.append(data["q"], object()), "/q", PUSH),
    "ctypes": (
        lambda data: ctypes.pythonapi.PyList_Append(
            ctypes.py_object(data["q"]), ctypes.py_object(5)
        ),
        "/q",
        PUSH,
    ),
    "setitem": (lambda data: dict.__setitem__(data["d"], "new", 1), "/d", SET),
    "update": (lambda data: dict.update(data["d"], new={"x": 1}), "/d", SET),
    "delitem": (lambda data: dict.__delitem__(data["d"], "inner"), "/d", {"$inc": {"d.k": 1}}),
    "popitem": (lambda data: dict.popitem(data["d"]), "/d", {"$unset": {"d.k": ""}}),
    "clear": (lambda data: dict.clear(data["d"]), "/d", SET),
    "attributes": (lambda data: set_attribute_through(data["d"]), "/d", SET),
    "eval": (lambda data: eval("n + 1", data), "", {"$set": {"z": 1}}),
    "exec": (lambda data: exec("n", data), "", {"$unset": {"n": ""}}),
    "root": (lambda data: dict.pop(data, "n"), "", {"$inc": {"n": 1}}),
    "deep": (
        lambda data: heapq.heappop(data["d"]["inner"]["x"]),
        "/d/inner/x",
        {"$push": {"d.inner.x": 4}},
    ),
    "in an array": (lambda data: list.pop(data["rows"][1]), "/rows/1", {"$push": {"rows.1": 1}}),
    "dict in an array": (
        lambda data: dict.update(data["rows"][0], b=1),
        "/rows/0",
        {"$set": {"rows.0.c": 1}},
    ),
}


@pytest.fixture
def expected() -> Iterator[MemSync[Any]]:
    """An object to which nothing but the updates happens."""
    with MemSync("copy", DATA, engine="memory") as mem:
        yield mem


@pytest.mark.parametrize("own", [True, False], ids=["own write", "write of the other"])
@pytest.mark.parametrize("role", ["client", "host"])
@pytest.mark.parametrize("name", WRITES)
def test_the_peer_warns_and_gets_the_object_again(
    new: New,
    caplog: pytest.LogCaptureFixture,
    expected: MemSync[Any],
    name: str,
    role: str,
    own: bool,
) -> None:
    write, place, update = WRITES[name]
    host, client = new(), new()
    victim, other = (host, client) if role == "host" else (client, host)
    references = victim.data, victim.data["d"]
    write(victim.data)
    writer = victim if own else other
    version = writer.patch(update, timeout=10)
    expected.patch(update)
    for mem in (victim, other):
        until(lambda mem=mem: mem.version >= version)  # type: ignore[misc]
        until(lambda mem=mem: mem.snapshot() == expected.snapshot())  # type: ignore[misc]
        until(lambda mem=mem: mem.get_status()["status"] in ("host", "client"))  # type: ignore[misc]
    assert is_warned(caplog, place) == 1
    assert references[0] is victim.data
    if "d" in place:
        assert references[1] == expected.data["d"]
    # All goes on, from both sides.
    for mem in (victim, other):
        mem.patch({"$inc": {"count": 1}}, timeout=10)
    for mem in (victim, other):
        until(lambda mem=mem: mem.snapshot("count") == 2)  # type: ignore[misc]
    with pytest.raises(TypeError):
        victim.data["rows"].append(1)


@pytest.mark.parametrize("name", WRITES)
def test_a_peer_without_others_keeps_what_is_json(
    new: New, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    write, place, update = WRITES[name]
    mem = new()
    write(mem.data)
    with suppress(UpdateError):  # it may not fit what the code has left
        mem.patch(update, timeout=10)
        assert is_warned(caplog, place) == 1
        assert "or stays changed if there is none" in caplog.text
    mem.patch({"$set": {"after": [1]}}, timeout=10)
    again = new()
    assert again.snapshot("after") == [1]
    until(lambda: again.snapshot() == mem.snapshot())


REFUSED: dict[str, Callable[[Any], object]] = {
    "insort": lambda data: bisect.insort(data["q"], 2),
    "shuffle": lambda data: random.Random(1).shuffle(data["q"]),
    "operator.setitem": lambda data: operator.setitem(data["q"], 0, 1),
    "operator.delitem": lambda data: operator.delitem(data, "n"),
    "operator.iadd": lambda data: OPERATOR.iadd(data["q"], [1]),
    "operator.ior": lambda data: OPERATOR.ior(data, {"x": 1}),
    "PyObject_SetItem": lambda data: ctypes.pythonapi.PyObject_SetItem(
        ctypes.py_object(data), ctypes.py_object("x"), ctypes.py_object(1)
    ),
    "setattr": lambda data: setattr(data, "x", 1),
    "slice": lambda data: operator.setitem(data["q"], slice(None), [1]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_asks_the_container_is_refused(name: str) -> None:
    with MemSync("obj", DATA, engine="memory") as mem:
        with pytest.raises(TypeError, match=r"patch.*edit"):
            REFUSED[name](mem.data)
        assert mem.snapshot() == DATA


def test_a_newcomer_gets_no_damaged_copy(new: New, caplog: pytest.LogCaptureFixture) -> None:
    host, client = new(), new()
    client.patch({"$set": {"n": "x" * 10_000}})  # what the host has encoded is not used again
    heapq.heappop(host.data["q"])
    newcomer = new()
    client.patch({"$push": {"q": 4}}, timeout=10)
    for mem in (host, client, newcomer):
        until(lambda mem=mem: mem.snapshot("q") == [1, 2, 3, 4])  # type: ignore[misc]
    assert is_warned(caplog, "/q") == 1


def test_a_peer_is_damaged_again_and_again(new: New) -> None:
    host, client = new(), new()
    for turn in range(6):
        for mem in (host, client):
            heapq.heappop(mem.data["q"])
            mem.patch({"$push": {"q": turn}}, timeout=10)
    for mem in (host, client):
        until(lambda mem=mem: len(mem.snapshot("q")) == 15)  # type: ignore[misc]
    assert host.snapshot() == client.snapshot()
