"""`wait_for` and `changes`: threads that wait for the object to change."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

import pytest

from memsync import MemErrors, MemSync, NotStartedError, UpdateError, UsageError, WaitTimeoutError
from memsync.testing import Cluster, until

from ..process_helpers import LASTING, read_line, watches_of, write_line

pytestmark = pytest.mark.process


def test_wait_for_returns_the_snapshot_that_satisfied_the_filter(cluster: Cluster) -> None:
    host, client = cluster.start(2, {"jobs": [{"state": "new"}], "n": 0})
    ticket = client.begin(lambda mem: mem.wait_for({"jobs.state": "done", "n": {"$gt": 2}}))
    host.patch({"$set": {"jobs.0.state": "done"}})
    for _ in range(3):
        host.patch({"$inc": {"n": 1}})
    found = client.result(ticket)
    assert found["n"] == 3
    assert found["jobs"] == [{"state": "done"}]
    assert type(found) is dict


def test_wait_for_looks_before_it_waits_and_counts_own_pending_writes(cluster: Cluster) -> None:
    host, client = cluster.start(2, {"n": 1})
    assert client.run(lambda mem: mem.wait_for({"n": 1}, timeout=0)) == {"n": 1}
    host.pause()

    def write(mem: MemSync[Any]) -> Any:
        mem.submit({"$inc": {"n": 1}})
        return mem.wait_for({"n": 2}, timeout=0)

    assert client.run(write) == {"n": 2}
    host.resume()


def test_wait_for_takes_a_function_of_the_data(cluster: Cluster) -> None:
    host, client = cluster.start(2, {"n": 0, "list": []})
    ticket = client.begin(lambda mem: mem.wait_for(lambda data: len(data["list"]) == 3))
    for i in range(5):
        host.patch({"$push": {"list": i}}, where={"list": {"$not": {"$size": 3}}}) if i < 3 else 0
    assert client.result(ticket)["list"] == [0, 1, 2]

    def broken(mem: MemSync[Any]) -> Any:
        return mem.wait_for(lambda data: data["missing"])

    with pytest.raises(KeyError):
        client.run(broken)


def test_wait_for_ends_at_its_deadline_with_an_error_that_names_what_was_wanted(
    cluster: Cluster,
) -> None:
    host = cluster.peer({"n": 0})
    begin = time.monotonic()
    with pytest.raises(WaitTimeoutError, match=r"'n': 5.*0\.2 s") as caught:
        host.run(lambda mem: mem.wait_for({"n": 5}, timeout=0.2))
    assert time.monotonic() - begin < 5
    assert (caught.value.code, caught.value.outcome) == (MemErrors.ERR_WAIT_TIMEOUT, "not_applied")


def test_wait_for_refuses_what_is_no_condition(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0})
    for wrong in ("n", 5, None, [{"n": 1}]):
        with pytest.raises(UsageError, match="filter"):
            host.run(lambda mem, wrong=wrong: mem.wait_for(wrong))
    with pytest.raises(UpdateError, match=r"\$wrong"):
        host.run(lambda mem: mem.wait_for({"n": {"$wrong": 1}}))
    with pytest.raises(UsageError, match="timeout"):
        host.run(lambda mem: mem.wait_for({"n": 0}, timeout=-1))


def test_wait_for_inside_a_callback_is_refused(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0})

    def ask(mem: MemSync[Any]) -> Exception:
        answer: list[Exception] = []
        done = threading.Event()

        def callback(patches: object) -> None:
            try:
                mem.wait_for({"n": 1}, timeout=5)
            except Exception as error:
                answer.append(error)
            done.set()

        mem.on("received_patches", callback)
        mem.patch({"$inc": {"n": 1}})
        assert done.wait(10)
        return answer[0]

    error = host.run(ask)
    assert isinstance(error, UsageError)
    assert "callback" in str(error)


def test_who_waits_when_the_peer_stops_is_told(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0})
    ticket = host.begin(lambda mem: mem.wait_for({"n": 1}, timeout=60))
    iterating = host.begin(lambda mem: list(mem.changes("n")))
    until(lambda: host.run(lambda mem: watches_of(mem)) == 2)
    host.stop()
    with pytest.raises(NotStartedError):
        host.result(ticket)
    assert host.result(iterating) == []


def test_changes_yields_each_newest_value_with_a_version_that_does_not_go_back(
    cluster: Cluster,
) -> None:
    host, client = cluster.start(2, {"a": {"n": 0}, "other": 0})

    def collect(mem: MemSync[Any]) -> list[tuple[Any, int]]:
        found = []
        for value, version in mem.changes("a"):
            found.append((value, version))
            if value is None:
                break
        return found

    ticket = client.begin(collect)
    until(lambda: client.run(lambda mem: watches_of(mem)) == 1)
    for _ in range(20):
        host.patch({"$inc": {"other": 1}})
        host.patch({"$inc": {"a.n": 1}})
    host.patch({"$unset": {"a": ""}})
    found = client.result(ticket)
    numbers = [value["n"] for value, _ in found[:-1]]
    assert numbers == sorted(set(numbers))
    assert found[-1][0] is None
    versions = [version for _, version in found]
    assert versions == sorted(versions)


def test_changes_begins_with_the_first_change_after_the_call_own_writes_included(
    cluster: Cluster,
) -> None:
    host = cluster.peer({"n": 0, "list": [{"x": 1}]})

    def use(mem: MemSync[Any]) -> tuple[Any, Any, Any]:
        whole, part = mem.changes(), mem.changes("list.0.x")
        mem.patch({"$set": {"n": 1}})
        first = next(whole)[0]
        mem.patch({"$set": {"list.0.x": 2}})
        return first, next(part)[0], next(whole)[0]

    first, part, second = host.run(use)
    assert first == {"n": 1, "list": [{"x": 1}]}
    assert part == 2
    assert second == {"n": 1, "list": [{"x": 2}]}


def test_a_value_that_was_yielded_is_detached_and_plain(cluster: Cluster) -> None:
    host = cluster.peer({"a": {"list": [1]}})

    def use(mem: MemSync[Any]) -> tuple[type, Any]:
        changes = mem.changes("a")
        mem.patch({"$push": {"a.list": 2}})
        value, _ = next(changes)
        value["list"].append(3)
        mem.patch({"$push": {"a.list": 4}})
        return type(value), next(changes)[0]

    assert host.run(use) == (dict, {"list": [1, 2, 4]})


@pytest.mark.parametrize("path", [5, None, "a..b", ".a", "a."])
def test_changes_refuses_what_is_no_path(cluster: Cluster, path: Any) -> None:
    host = cluster.peer({"n": 0})
    with pytest.raises(UsageError, match="path"):
        host.run(lambda mem: mem.changes(path))


def test_close_ends_an_iteration_that_waits_and_a_dropped_one_is_forgotten(
    cluster: Cluster,
) -> None:
    host = cluster.peer({"n": 0})

    def use(mem: MemSync[Any]) -> int:
        changes = mem.changes("n")
        ended = threading.Event()

        def iterate() -> None:
            for _ in changes:
                pass
            ended.set()

        thread = threading.Thread(target=iterate)
        thread.start()
        changes.close()
        changes.close()
        assert ended.wait(10)
        thread.join()
        for _ in range(100):
            mem.changes("n")
        gc.collect()
        mem.changes("n")
        return watches_of(mem)

    assert host.run(use) <= 2


def test_changes_goes_on_across_a_change_of_host(cluster: Cluster) -> None:
    host, client, other = cluster.start(3, {"n": 0})

    def collect(mem: MemSync[Any]) -> list[tuple[Any, int]]:
        found = []
        for value, version in mem.changes("n"):
            found.append((value, version))
            if value == 3:
                break
        return found

    ticket = client.begin(collect)
    until(lambda: client.run(lambda mem: watches_of(mem)) == 1)
    host.patch({"$inc": {"n": 1}})
    host.kill()
    other.patch({"$inc": {"n": 1}})
    other.patch({"$inc": {"n": 1}})
    found = client.result(ticket)
    assert [value for value, _ in found] == sorted({value for value, _ in found})


def test_what_came_over_a_fork_does_not_wait_for_ever(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0})
    program = cluster.script(
        """
        import os, sys, warnings
        from memsync import MemSync, WriteTimeoutError
        warnings.simplefilter("ignore")  # Python's own warning about threads and fork
        mem = MemSync("obj")
        mem.start()
        changes = mem.changes("n")
        print("up", flush=True)
        sys.stdin.readline()
        future = mem.submit({"$inc": {"n": 1}})
        child = os.fork()
        if not child:
            changes.close()
            assert [value for value, _ in changes] == [1]
            try:
                future.result()
            except WriteTimeoutError as error:
                print(error.outcome, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print("child ended", flush=True)
        sys.stdin.readline()
        print(future.result(20) > 0, next(changes)[0], flush=True)
        mem.stop()
        """
    )
    assert program.stdout is not None
    assert program.stdin is not None
    assert read_line(program) == "up\n"
    host.pause()
    write_line(program, "go")
    assert read_line(program) == "unknown\n"
    assert read_line(program) == "child ended\n"
    host.resume()
    program.stdin.write("go\n")
    out, err = program.communicate(timeout=30)
    assert (out, program.returncode) == ("True 1\n", 0), err


@pytest.mark.parametrize("path", ["a..b", ".", "a.", 5])
def test_snapshot_refuses_the_same_paths(cluster: Cluster, path: Any) -> None:
    host = cluster.peer({"n": 0})
    with pytest.raises(UsageError, match="path"):
        host.snapshot(path)


def test_a_handle_that_never_started_says_what_to_call() -> None:
    mem = MemSync[Any]("waiting")
    for call in (lambda: mem.wait_for({"n": 1}), lambda: mem.changes("n")):
        with pytest.raises(NotStartedError, match=r"start\(\)"):
            call()


def test_resuming_changes_leaves_no_hole_and_repeats_nothing_when_hosts_are_killed(
    cluster: Cluster,
) -> None:
    cluster.start(4, {"n": 0})
    since = {peer: peer.version for peer in cluster.active}

    def values_until_30(mem: MemSync[Any]) -> list[Any]:
        values: list[Any] = []
        for value, _ in mem.changes("n", initial=True, timeout=60):
            values.append(value)
            if value == 30:
                break
        return values

    living = {peer: peer.begin(values_until_30) for peer in cluster.active}
    until(lambda: all(peer.run(lambda mem: watches_of(mem)) for peer in cluster.active))
    for number in range(30):
        cluster.active[-1].patch({"$inc": {"n": 1}})
        if number in (7, 19):
            cluster.kill_host()

    def resume(mem: MemSync[Any], version: int) -> list[tuple[Any, int]]:
        changes = mem.changes("n", since=version, timeout=0)
        return [(value, changes.missed) for value, _ in changes]

    for peer in cluster.active:
        until(lambda: peer.snapshot("n") == 30)  # noqa: B023 - it is called at once
        before = 0
        for value, missed in peer.run(resume, since[peer]):
            assert 1 <= value - before <= missed + 1
            before = value
        assert before == 30
        values = peer.result(living[peer])
        assert values == sorted(set(values))
        assert (values[0], values[-1]) == (0, 30)


def test_changes_since_has_pending_writes_and_what_is_taken_back(cluster: Cluster) -> None:
    host, other = cluster.start(2, {"n": 0, "flag": 0}, LASTING)
    with MemSync[Any]("obj", options={"clientOnly": True}) as mem:
        for number in range(50):
            until(lambda: mem.data["flag"] == number)  # noqa: B023 - it is called at once
            host.pause()
            other.run(lambda mem: mem.submit({"$inc": {"flag": 1}}) and None)
            version, before = mem.version, mem.data["n"]
            future = mem.submit({"$inc": {"n": 1}}, where={"flag": mem.data["flag"]})
            changes = mem.changes("n", since=version)
            others = mem.changes("none", since=version, timeout=0)
            assert next(changes) == (before + 1, version)
            assert [*others] == []
            host.resume()
            if future.exception(20) is not None:
                assert next(changes)[0] == before
                return
    raise AssertionError("no write was refused")
