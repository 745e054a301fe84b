"""Names that were bound before a fork: in the child they follow the child's own copy."""

from __future__ import annotations

import json
import os
import pickle
import threading
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

import pytest

from memsync import ConflictError, MaxWritersError, MemSync, NotStartedError
from memsync.document import ReadOnlyDict, ReadOnlyList
from memsync.testing import Cluster, Peer, until

from ..bound_names import CHANGED, Bound, bind
from ..process_helpers import Child

pytestmark = pytest.mark.process

PATIENCE = 20.0  # seconds

DATA = {"n": 0, "users": {"ann": {"age": 1}}, "rows": [{"x": 1}, 2], "none": {}}
CHANGE = {
    "$set": {"n": 5, "users.ann.age": 2, "users.bob": 3, "rows.0.x": 4, "rows.2": 6, "new": True}
}
FIRST_READS: dict[str, tuple[Callable[[Bound], Any], Any]] = {
    "root": (lambda b: b.data["new"], True),
    "root attribute": (lambda b: b.data.n, 5),
    "root json": (lambda b: json.loads(json.dumps(b.data)), CHANGED),
    "keys of before": (lambda b: [*b.keys], [*CHANGED]),
    "inmost dict": (lambda b: b.ann["age"], 2),
    "list": (lambda b: [*b.rows], CHANGED["rows"]),
    "dict in a list": (lambda b: b.row["x"], 4),
}
"""See `tests/memory/test_inherited_by_engine.py` for all ways of reading."""


def read_in_children(mem: MemSync[Any]) -> dict[str, Any]:
    """In a child for each way of reading, its first use of memsync is that read."""
    bound = bind(mem)

    def first(read: Callable[[Bound], Any]) -> Callable[[], Any]:
        return lambda: read(bound)

    children = {name: Child(first(read)) for name, (read, _) in FIRST_READS.items()}
    mem.patch(CHANGE)
    return {name: child.result() for name, child in children.items()}


@pytest.mark.parametrize("role", ["host", "client"])
def test_the_first_read_of_any_container_shows_the_present(cluster: Cluster, role: str) -> None:
    host, client = cluster.start(2, DATA)

    found = (host if role == "host" else client).run(read_in_children)

    assert found == {name: value for name, (_, value) in FIRST_READS.items()}


def follow(mem: MemSync[Any]) -> list[Any]:
    """What a child sees of its own writes, then of the parent's, by names of before."""
    bound = bind(mem)
    wrote, seen = os.pipe(), os.pipe()

    def task() -> list[Any]:
        found: list[Any] = [bound.ann["age"]]
        mem.patch({"$set": {"users.ann.age": 10}, "$push": {"rows": 11}})
        found += [bound.ann["age"], bound.rows[-1], mem.data is bound.data]
        found += [mem.data["users"] is bound.users, mem.data["rows"][0] is bound.row]
        os.write(wrote[1], b"w")
        os.read(seen[0], 1)
        mem.wait_for({"n": 99})
        found += [bound.data["n"], bound.ann["age"], bound.row["x"]]
        mem.stop()
        return [*found, bound.data["n"], mem.get_status()["status"]]

    child = Child(task)
    child.begin()
    os.read(wrote[0], 1)
    mem.wait_for({"users.ann.age": 10})
    mem.patch({"$set": {"n": 99, "users.ann.age": 12, "rows.0.x": 13}})
    os.write(seen[1], b"s")
    return [child.result(), mem.data is bound.data, bound.ann["age"]]


@pytest.mark.parametrize("role", ["host", "client"])
def test_inherited_containers_go_on_as_those_of_the_child(cluster: Cluster, role: str) -> None:
    host, client = cluster.start(2, DATA)

    found = (host if role == "host" else client).run(follow)

    in_child = [1, 10, 11, True, True, True, 99, 12, 13, 99, "stopped"]
    assert found == [in_child, True, 12]
    until(lambda: host.status()["peers"] == 1, PATIENCE)


def test_a_child_of_multiprocessing_follows_and_leaves(cluster: Cluster) -> None:
    host, client = cluster.start(2, DATA)

    def by_process(mem: MemSync[Any]) -> tuple[int, int | None]:
        users = mem.data["users"]
        context = get_context("fork")
        go, result = context.Event(), context.SimpleQueue()

        def work() -> None:
            go.wait(20)
            result.put(users["ann"]["age"])

        process = context.Process(target=work)
        process.start()
        mem.patch(CHANGE)
        go.set()
        age = result.get()
        process.join(20)
        return age, process.exitcode

    assert client.run(by_process) == (2, 0)
    until(lambda: host.status()["peers"] == 1, PATIENCE, "the child did not leave")


def patches_in(calls: list[Any]) -> list[Any]:
    """The patches that a callback was called with."""
    return [each["patch"] for patches in calls if isinstance(patches, list) for each in patches]


def test_callbacks_and_changes_of_before_go_on(cluster: Cluster) -> None:
    host, client = cluster.start(2, DATA)

    def parent(mem: MemSync[Any]) -> tuple[list[Any], ...]:
        calls: list[Any] = []
        cancelled: list[Any] = []
        n, users = mem.data["n"], mem.data["users"]
        assert n == 0
        mem.on("received_patches", calls.append)
        mem.on("connected", calls.append)
        subscription = mem.on("received_patches", cancelled.append)
        changes, closed = mem.changes("n"), mem.changes("users")
        ready = os.pipe()

        def task() -> tuple[list[Any], ...]:
            subscription.cancel()
            closed.close()
            assert "ann" in users
            os.write(ready[1], b"r")
            mem.wait_for({"n": 8})
            until(lambda: "client" in calls and patch in patches_in(calls), PATIENCE)
            values = [next(changes)[0]]
            mem.patch({"$inc": {"n": 1}})
            values.append(next(changes)[0])
            changes.close()
            return cancelled, values, [*changes], [*closed]

        child = Child(task)
        mem.patch({"$set": {"n": 7}})
        child.begin()
        os.read(ready[0], 1)
        mem.patch({"$set": {"n": 8}})
        found: tuple[list[Any], ...] = child.result()
        mem.wait_for({"n": 9})
        assert [next(changes)[0] for _ in range(3)] == [7, 8, 9]
        last = [{"op": "replace", "path": "/n", "value": 9}]
        until(lambda: calls == cancelled and patches_in(calls)[-1:] == [last], PATIENCE)
        return found

    patch = [{"op": "replace", "path": "/n", "value": 8}]
    for peer in (host, client):
        peer.patch({"$set": {"n": 0}})
        assert peer.run(parent) == ([], [8, 9], [], [])


def test_a_loop_over_changes_goes_on_in_the_child_that_it_has_forked(cluster: Cluster) -> None:
    _, client = cluster.start(2, DATA)

    def loop(mem: MemSync[Any]) -> list[int]:
        changes = mem.changes("n")
        mem.patch({"$inc": {"n": 1}})
        has_read = os.pipe()

        def go_on() -> list[int]:
            first = next(changes)[0]
            os.write(has_read[1], b"r")
            return [first, next(changes)[0]]

        seen = []
        for value, _ in changes:
            seen.append(value)
            if value == 1:
                child = Child(go_on)
                mem.patch({"$inc": {"n": 1}})
                child.begin()
                os.read(has_read[0], 1)
                mem.patch({"$inc": {"n": 1}})
            if value == 3:
                return [*seen, *child.result()]
        raise AssertionError("the loop has ended")

    assert client.run(loop) == [1, 2, 3, 2, 3]


@pytest.mark.parametrize("joined", [True, False])
def test_a_child_of_a_child_follows(cluster: Cluster, joined: bool) -> None:
    host, client = cluster.start(2, DATA)

    def parent(mem: MemSync[Any]) -> Any:
        bound = bind(mem)
        calls: list[Any] = []
        mem.on("received_patches", calls.append)

        def of_child() -> Any:
            if joined:
                assert bound.ann["age"] == 1
            grandchild = Child(of_grandchild)
            mem.patch(CHANGE)
            return grandchild.result(), bound.ann["age"], mem.data["users"] is bound.users

        def of_grandchild() -> Any:
            found = bound.ann["age"], bound.rows[2], mem.data["users"] is bound.users
            mem.patch({"$set": {"users.ann.age": 2}})
            mem.patch({"$inc": {"n": 1}})
            until(lambda: calls, PATIENCE)
            return found

        return Child(of_child).result()

    for peer in (host, client):
        peer.patch({"$set": {"users": {"ann": {"age": 1}}, "rows": [{"x": 1}]}})
        assert peer.run(parent)[1:] == (2, True)
    until(lambda: host.status()["peers"] == 1, PATIENCE)


def fork_and_wait(mem: MemSync[Any]) -> Any:
    """A child that waits; what it reads later comes by `read_of_child`."""
    bound = bind(mem)
    return Child(lambda: (bound.ann["age"], bound.data["n"], mem.data is bound.data))


def begin_child(peer: Peer) -> None:
    peer.run(lambda mem: setattr(mem, "child", fork_and_wait(mem)))


def read_of_child(peer: Peer) -> Any:
    return peer.run(lambda mem: mem.child.result())


@pytest.mark.parametrize("role", ["host", "client"])
def test_the_parent_has_stopped_meanwhile(cluster: Cluster, role: str) -> None:
    host, client = cluster.start(2, DATA)
    parent, other = (host, client) if role == "host" else (client, host)
    begin_child(parent)
    parent.stop()
    other.patch(CHANGE)

    assert read_of_child(parent) == (2, 5, True)


def test_the_host_was_killed_meanwhile(cluster: Cluster) -> None:
    host, client, other = cluster.start(3, DATA)
    begin_child(client)
    host.kill()
    other.patch(CHANGE)

    assert read_of_child(client) == (2, 5, True)


def test_a_child_that_uses_nothing_does_not_join(cluster: Cluster) -> None:
    host, client = cluster.start(2, DATA)

    def idle(mem: MemSync[Any]) -> Any:
        bound = bind(mem)
        child = Child(lambda: (threading.active_count(), mem.get_status()["id"], type(bound.data)))
        mem.patch({"$inc": {"n": 1}})
        return child.result()

    assert client.run(idle) == (1, None, ReadOnlyDict)
    assert host.status()["peers"] == 1


def is_hooked() -> bool:
    """Whether a read of a container calls Python code."""
    return "__getitem__" in vars(ReadOnlyDict) or "__getitem__" in vars(ReadOnlyList)


def test_only_what_was_inherited_and_is_not_used_yet_is_read_slowly(cluster: Cluster) -> None:
    peer = cluster.peer(DATA)

    def two(mem: MemSync[Any]) -> Any:
        with MemSync[Any]("second", DATA) as second, MemSync[Any]("third", DATA) as third:
            bound, others, thirds = bind(mem), bind(second), bind(third)

            def task() -> Any:
                found: list[Any] = [is_hooked(), bound.ann["age"], is_hooked()]
                found += [second.get_status()["id"], third.get_status()["id"]]
                found += [others.rows[2], others.ann["age"], type(others.rows), is_hooked()]
                assert second.data["users"] is others.users
                assert third.get_status()["id"] is None
                grandchild = Child(lambda: (bound.row["x"], others.row["x"], thirds.row["x"]))
                third.patch(CHANGE)
                return [*found, grandchild.result(), type(thirds.rows), thirds.rows[2]]

            child = Child(task)
            mem.patch(CHANGE)
            second.patch(CHANGE)
            assert not is_hooked()
            return child.result()

    first = [True, 2, False, None, None, 6, 2, ReadOnlyList, False]
    assert peer.run(two) == [*first, (4, 4, 4), ReadOnlyList, 6]


def test_a_new_handle_in_the_child_is_read_at_full_speed(cluster: Cluster) -> None:
    peer = cluster.peer(DATA)

    def with_new(mem: MemSync[Any]) -> Any:
        bound = bind(mem)

        def task() -> Any:
            with MemSync[Any]("other", {"n": 1}) as other:
                found = other.data["n"], is_hooked(), mem.get_status()["id"]
                return *found, bound.ann["age"], is_hooked(), type(bound.ann)

        child = Child(task)
        mem.patch(CHANGE)
        return child.result()

    assert peer.run(with_new) == (1, False, None, 2, False, ReadOnlyDict)


def test_containers_whose_handle_is_gone_follow(cluster: Cluster) -> None:
    peer = cluster.peer(DATA)

    def without_handle(mem: MemSync[Any]) -> Any:
        calls: list[Any] = []

        def load() -> Bound:
            second = MemSync[Any]("obj")
            second.start()
            second.on("received_patches", calls.append)
            return bind(second)

        bound = load()

        def task() -> Any:
            found = bound.ann["age"]
            mem.patch({"$set": {"users.ann.age": 3}})
            until(lambda: bound.ann["age"] == 3 and calls, PATIENCE)
            return found, bound.rows[2]

        child = Child(task)
        mem.patch(CHANGE)
        return child.result()

    assert peer.run(without_handle) == (2, 6)
    until(lambda: peer.status()["peers"] == 1, PATIENCE)


def test_copies_of_a_handle_share_the_childs_peer(cluster: Cluster) -> None:
    peer = cluster.peer(DATA)

    def copies(mem: MemSync[Any]) -> Any:
        first, second = (pickle.loads(pickle.dumps(mem)) for _ in range(2))
        calls: list[Any] = []
        for each in (first, second):
            each.on("received_patches", calls.append)
            each.start()
        bound = bind(second)
        second.stop()

        def task() -> Any:
            found = bound.ann["age"], bound.rows[2]
            first.patch({"$inc": {"n": 1}})
            until(lambda: calls, PATIENCE)
            ids = {each.get_status()["id"] for each in (mem, first)}
            with pytest.raises(NotStartedError):
                second.patch({"$inc": {"n": 1}})
            mem.stop()
            assert bound.data["n"] == 6
            first.stop()
            return found, len(ids), second.snapshot("n"), mem.get_status()["status"]

        child = Child(task)
        first.patch(CHANGE)
        return child.result()

    assert peer.run(copies) == ((2, 6), 1, 6, "stopped")
    until(lambda: peer.status()["peers"] == 0, PATIENCE)


def test_a_join_that_fails_says_so_and_is_repeated(cluster: Cluster) -> None:
    limited = {"network": {"maxWriters": 2}}
    host, client = cluster.start(2, DATA, limited)

    def be_refused(mem: MemSync[Any]) -> Any:
        bound = bind(mem)
        calls: list[Any] = []
        mem.on("received_patches", calls.append)
        refused, go = os.pipe(), os.pipe()
        mem.go = go[1]

        def task() -> Any:
            for read in (lambda: bound.ann["age"], lambda: mem.data, lambda: [*bound.rows]):
                with pytest.raises(MaxWritersError):
                    read()
            os.write(refused[1], b"r")
            os.read(go[0], 1)
            until(lambda: not raises(lambda: bound.ann["age"]), PATIENCE)
            found = bound.ann["age"], bound.rows[2], mem.data["users"] is bound.users, is_hooked()
            mem.patch({"$inc": {"n": 1}})
            until(lambda: calls, PATIENCE)
            return found

        child = mem.child = Child(task)
        child.begin()
        os.read(refused[0], 1)

    def raises(read: Callable[[], Any]) -> bool:
        try:
            read()
        except MaxWritersError:
            return True
        return False

    client.run(be_refused)
    host.patch(CHANGE)
    client.stop()
    client.run(lambda mem: os.write(mem.go, b"g") and None)
    assert read_of_child(client) == (2, 6, True, False)


def test_a_handle_that_has_stopped_before_stays_stopped(cluster: Cluster) -> None:
    _, client = cluster.start(2, DATA)

    def stopped(mem: MemSync[Any]) -> Any:
        bound = bind(mem)
        changes = mem.changes("n")
        mem.stop()
        return Child(lambda: (bound.ann["age"], [*changes], mem.get_status()["status"])).result()

    assert client.run(stopped) == (1, [], "stopped")


def test_the_threads_of_a_child_all_wait_for_its_join(cluster: Cluster) -> None:
    _, client = cluster.start(2, DATA)

    def with_threads(mem: MemSync[Any]) -> Any:
        bound = bind(mem)

        def task() -> Any:
            found: list[Any] = []
            barrier = threading.Barrier(8)

            def read() -> None:
                barrier.wait()
                found.append((bound.data["n"], bound.users["bob"], bound.ann.age, bound.rows[2]))

            threads = [threading.Thread(target=read) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
            return found

        child = Child(task)
        mem.patch(CHANGE)
        return child.result()

    assert client.run(with_threads) == [(5, 3, 2, 6)] * 8


@pytest.mark.parametrize("role", ["host", "client"])
def test_a_fork_at_any_moment_of_a_write_keeps_the_identity(cluster: Cluster, role: str) -> None:
    host, client = cluster.start(2, DATA)

    def fork_often(mem: MemSync[Any]) -> list[Any]:
        bound = bind(mem)
        ends = threading.Event()

        def write(number: int) -> None:
            while not ends.is_set():
                mem.patch({"$inc": {f"users.ann.w{number}": 1, "n": 1}, "$push": {"rows": 1}})
                mem.submit({"$pop": {"rows": 1}})
                mem.submit({"$unset": {f"users.ann.w{number}": 1}})

        def task() -> Any:
            age = bound.ann["age"]
            is_same = (
                mem.data["users"]["ann"] is bound.ann,
                mem.data["rows"] is bound.rows,
                mem.data["rows"][0] is bound.row,
            )
            at_least = mem.patch({"$inc": {"n": 1}})
            return age, is_same, mem.version >= at_least, bound.data["n"] > 0

        threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        try:
            return [Child(task).result() for _ in range(25)]
        finally:
            ends.set()
            for thread in threads:
                thread.join()

    found = (host if role == "host" else client).run(fork_often)

    assert found == [(1, (True, True, True), True, True)] * 25


def test_a_draft_of_before_writes_nothing_to_the_wrong_element(cluster: Cluster) -> None:
    _, client = cluster.start(2, {"l": ["a", "b"]})

    def with_draft(mem: MemSync[Any]) -> Any:
        edit: Any = mem.edit()
        draft = edit.__enter__()
        draft["l"][1] = "B"

        def leave() -> Any:
            try:
                edit.__exit__(None, None, None)
            except ConflictError:
                return "conflict", mem.snapshot("l")
            return "written", mem.snapshot("l")

        child = Child(leave)
        edit.__exit__(ValueError, ValueError(), None)  # sends nothing
        mem.patch([{"op": "add", "path": "/l/1", "value": "b"}])
        return child.result()

    assert client.run(with_draft) == ("conflict", ["a", "b", "b"])
