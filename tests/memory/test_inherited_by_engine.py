"""What a forked child does with the containers of before, with each engine."""

from __future__ import annotations

import copy
import json
import os
import pickle
import signal
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from memsync import MemSync, UsageError
from memsync.at_exit import engines
from memsync.document import ReadOnlyDict, apply_update
from memsync.document.live import replay
from memsync.lifecycle import engine_factory
from memsync.testing import until
from tests.bound_names import CHANGED, Bound, bind
from tests.process_helpers import Child

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

CHANGE = [
    {"op": "replace", "path": "/n", "value": 0},
    {"op": "replace", "path": "/users/ann/age", "value": 1},
    {"op": "remove", "path": "/users/bob"},
    {"op": "replace", "path": "/rows/0/x", "value": 1},
    {"op": "remove", "path": "/rows/2"},
    {"op": "remove", "path": "/new"},
]


READS: Mapping[str, tuple[Callable[[Bound], Any], Any]] = {
    "root []": (lambda b: b.data["n"], 5),
    "root [] of a new field": (lambda b: b.data["new"], True),
    "root get": (lambda b: b.data.get("n"), 5),
    "root get with a default": (lambda b: b.data.get("new", False), True),
    "root attribute": (lambda b: b.data.n, 5),
    "root len": (lambda b: len(b.data), 5),
    "root in": (lambda b: "new" in b.data, True),
    "root loop": (lambda b: [*b.data], [*CHANGED]),
    "root reversed": (lambda b: [*reversed(b.data)], [*reversed(CHANGED)]),
    "root items": (lambda b: dict(b.data.items()), CHANGED),
    "root values": (lambda b: [*b.data.values()], [*CHANGED.values()]),
    "root keys": (lambda b: [*b.data.keys()], [*CHANGED]),
    "keys of before": (lambda b: [*b.keys], [*CHANGED]),
    "mapping of before": (lambda b: b.keys.mapping["n"], 5),
    "dict()": (lambda b: dict(b.data), CHANGED),
    "**": (lambda b: {**b.data}, CHANGED),
    "json": (lambda b: json.loads(json.dumps(b.data)), CHANGED),
    "pickle": (lambda b: pickle.loads(pickle.dumps(b.data)), CHANGED),
    "deepcopy": (lambda b: copy.deepcopy(b.data), CHANGED),
    "==": (lambda b: b.data == CHANGED, True),
    "== from the left": (lambda b: b.data == CHANGED, True),
    "!=": (lambda b: b.data != CHANGED, False),
    "repr": (lambda b: repr(b.data), repr(CHANGED)),
    "|": (lambda b: b.data | {"n": 1}, {**CHANGED, "n": 1}),
    "inner dict []": (lambda b: b.users["bob"], 3),
    "inner dict len": (lambda b: len(b.users), 2),
    "inner dict bool": (lambda b: bool(b.users), True),
    "inner dict loop": (lambda b: [*b.users], ["ann", "bob"]),
    "inmost dict": (lambda b: b.ann["age"], 2),
    "inmost attribute": (lambda b: b.ann.age, 2),
    "list []": (lambda b: b.rows[2], 6),
    "list slice": (lambda b: b.rows[1:], [2, 6]),
    "list len": (lambda b: len(b.rows), 3),
    "list loop": (lambda b: [each for each in b.rows][1:], [2, 6]),
    "list reversed": (lambda b: [*reversed(b.rows)][:2], [6, 2]),
    "list in": (lambda b: 6 in b.rows, True),
    "list index": (lambda b: b.rows.index(6), 2),
    "list + another": (lambda b: b.rows + b.rows, CHANGED["rows"] + CHANGED["rows"]),
    "list ==": (lambda b: b.rows == CHANGED["rows"], True),
    "list <": (lambda b: b.rows < CHANGED["rows"], False),
    "list unpacked": (lambda b: [*b.rows][2], 6),
    "list json": (lambda b: json.dumps(b.rows), json.dumps(CHANGED["rows"])),
    "dict in a list": (lambda b: b.row["x"], 4),
}


@pytest.mark.parametrize("name", READS)
def test_each_first_read_shows_the_childs_own_object(name: str) -> None:
    read, value = READS[name]
    with MemSync[Any]("obj", CHANGED, engine="memory") as mem:
        bound = bind(mem)
        mem.patch(CHANGE)
        assert Child(lambda: read(bound)).result() == value
        assert bound.data == {
            "n": 0,
            "users": {"ann": {"age": 1}},
            "rows": [{"x": 1}, 2],
            "none": {},
        }


DATA = {"n": 0, "users": {"ann": {"age": 1}}, "rows": [{"x": 1}, 2]}


def test_inherited_containers_show_the_childs_own_object(engine: str) -> None:
    with MemSync[Any]("obj", DATA, engine=engine) as mem:
        ann, users, rows = mem.data["users"]["ann"], mem.data["users"], mem.data["rows"]
        calls: list[Any] = []
        mem.on("received_patches", calls.append)
        changes = mem.changes("n")

        def task() -> Any:
            age = ann["age"]
            mem.patch({"$set": {"n": 3, "users.ann.age": 4}, "$push": {"rows": 5}})
            until(lambda: calls, 20)
            return age, ann["age"], rows[-1], mem.data["users"] is users, next(changes)[0]

        child = Child(task)
        mem.patch({"$set": {"users.ann.age": 2}})
        # The memory engine has no group in the child, which founds the object with its own data.
        assert child.result() == (2 if engine == "local" else 1, 4, 5, True, 3)
        if engine == "memory":
            assert ann["age"] == 2
        else:
            mem.wait_for({"users.ann.age": 4})


def test_a_handle_that_joined_through_a_container_stops(engine: str) -> None:
    with MemSync[Any]("obj", DATA, engine=engine) as mem:
        users = mem.data["users"]

        def task() -> Any:
            before = mem.get_status()["status"]
            mem.stop()  # nothing runs yet
            found = users["ann"]["age"], mem.get_status()["status"]
            mem.stop()
            return before, *found, mem.get_status()["status"], users["ann"]["age"]

        status = "client" if engine == "local" else "host"
        assert Child(task).result() == ("stopped", 1, status, "stopped", 1)


CHANGES: dict[str, dict[str, Any]] = {
    "a new field": {"$set": {"users.bob": 1}},
    "a removed field": {"$unset": {"users.eve": 1}},
    "a renamed field": {"$rename": {"users.eve": "users.eva"}},
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_fork_in_the_middle_of_a_change_keeps_the_identity(
    engine: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = CHANGES[kind]
    data = {"users": {"ann": {"age": 1}, "eve": 2}}
    with MemSync[Any]("obj", data, engine=engine) as mem:
        users, ann = mem.data["users"], mem.data["users"]["ann"]
        children: list[Child] = []
        note_size = replay.note_size  # type: ignore[attr-defined]

        def fork_before(container: Any) -> None:
            if container is users and not children:
                children.append(Child(task))
            note_size(container)

        def task() -> Any:
            found = ann["age"], mem.data["users"] is users, mem.data["users"]["ann"] is ann
            return *found, mem.snapshot() == (expected if engine == "local" else data)

        monkeypatch.setattr(replay, "note_size", fork_before)
        expected = apply_update(copy.deepcopy(data), update)
        mem.patch(update)
        assert children[0].result() == (1, True, True, True)


def test_a_signal_handler_forks_and_reads(engine: str) -> None:
    with MemSync[Any]("obj", DATA, engine=engine) as mem:
        ann = mem.data["users"]["ann"]
        results = []

        def handler(*args: object) -> None:
            results.append(Child(lambda: (ann["age"], mem.patch({"$inc": {"n": 1}}) > 0)).result())

        before = signal.signal(signal.SIGUSR1, handler)
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            until(lambda: results, 20)
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert results == [(1, True)]


def test_a_signal_handler_that_interrupts_the_join_starts_no_second_engine(engine: str) -> None:
    with MemSync[Any]("obj", DATA, engine=engine) as mem:
        ann = mem.data["users"]["ann"]

        def read() -> tuple[int, list[str], int]:
            refusals: list[str] = []
            kind: Any = engine_factory(engine)
            start = kind.start

            def handler(*args: object) -> None:
                try:
                    mem.start()
                except UsageError as error:
                    refusals.append(str(error))

            def interrupted(self: Any, timeout: float) -> Any:
                os.kill(os.getpid(), signal.SIGUSR1)
                return start(self, timeout)

            signal.signal(signal.SIGUSR1, handler)
            kind.start = interrupted
            age = ann["age"]
            return age, refusals, sum(each.pid == os.getpid() for each in engines)

        age, refusals, number = Child(read).result()
        assert (age, number) == (1, 1)
        assert ["while it interrupts start()" in each for each in refusals] == [True]


def test_the_classes_of_the_parent_stay_as_they_are(engine: str) -> None:
    before = dict(vars(ReadOnlyDict))
    with MemSync[Any]("obj", DATA, engine=engine) as mem:
        assert Child(lambda: mem.data["n"]).result() == 0
        assert dict(vars(ReadOnlyDict)) == before
