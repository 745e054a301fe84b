"""A handle in a child process: by fork, spawn and forkserver it joins as a peer of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync, NotStartedError
from memsync.testing import Cluster, Peer, until

from ..process_helpers import EVENTS_ONLY, LASTING

pytestmark = pytest.mark.process

METHODS = ("fork", "spawn", "forkserver")


def write_one(mem: MemSync[Any]) -> dict[str, Any]:
    """What a child does: join at first use, write, read."""
    mem.patch({"$inc": {"n": 1}})
    status = mem.get_status()
    return {"id": mem.id, "pid": os.getpid(), "n": mem.data["n"], "status": status["status"]}


def write_into(mem: MemSync[Any], queue: SimpleQueue[dict[str, Any]]) -> None:
    """`write_one`, its result put into a queue."""
    queue.put(write_one(mem))


inherited: MemSync[Any] | None = None


def take_handle(mem: MemSync[Any]) -> None:
    """A pool's initializer."""
    global inherited
    inherited = mem


def write_as_worker(_: int) -> dict[str, Any]:
    """A pool's task."""
    assert inherited is not None
    return write_one(inherited)


def by_process(mem: MemSync[Any], method: str) -> list[dict[str, Any]]:
    """Two `Process`es, one after the other."""
    context: Any = get_context(method)  # each has a Process, which their base does not say
    results = []
    for _ in range(2):
        queue = context.SimpleQueue()
        child = context.Process(target=write_into, args=(mem, queue))
        child.start()
        results.append(queue.get())
        child.join(30)
        assert child.exitcode == 0
        queue.close()
    return results


def by_pool(mem: MemSync[Any], method: str) -> list[dict[str, Any]]:
    """A `Pool` that gets the handle in its initializer."""
    with get_context(method).Pool(2, initializer=take_handle, initargs=(mem,)) as pool:
        results = pool.map(write_as_worker, range(6), chunksize=1)
        pool.close()
        pool.join()
    return results


def by_executor(mem: MemSync[Any], method: str) -> list[dict[str, Any]]:
    """A `ProcessPoolExecutor` whose tasks get the handle."""
    with ProcessPoolExecutor(2, mp_context=get_context(method)) as executor:
        return list(executor.map(write_one, [mem] * 6))


@pytest.mark.parametrize("way", [by_process, by_pool, by_executor])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("role", ["host", "client"])
def test_a_handle_joins_in_the_child_as_a_peer_of_its_own(
    cluster: Cluster, method: str, way: Callable[..., list[dict[str, Any]]], role: str
) -> None:
    host, client = cluster.start(2, {"n": 0}, LASTING)
    parent = host if role == "host" else client
    results = parent.result(parent.begin(way, method), 60)
    ids = {peer.run(lambda mem: mem.id) for peer in (host, client)}
    assert len(results) in (2, 6)
    for result in results:
        assert result["status"] == "client"
        assert result["id"] not in ids
        assert result["pid"] not in (host.pid, client.pid)
        assert 1 <= result["n"] <= len(results)
    until(lambda: client.snapshot("n") == len(results))
    assert cluster.host() is host
    until(lambda: host.status()["peers"] == 1, message="the children did not leave")


def test_the_server_process_of_the_peers_has_imported_the_engine(cluster: Cluster) -> None:
    """An import of it takes each peer ten times as long as all the rest of its start."""
    code = "import sys; sys.exit('memsync.manager.driver' not in sys.modules)"
    process = get_context("forkserver").Process(target=exec, args=(code,))
    process.start()
    process.join(20)
    status = process.exitcode
    process.close()
    assert status == 0


def fork(task: Callable[[], None]) -> int:
    """A raw fork whose child runs a task and ends at once; returns the child's process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        task()
        os._exit(0)
    finally:
        os._exit(1)


def wait_for_count(peer: Peer, number: int) -> None:
    """Wait until the peer sees that value of the counter."""
    until(lambda: peer.snapshot("n") == number)


def fork_and_write(mem: MemSync[Any]) -> tuple[str, str]:
    """The ids of a forked child's handle and of the parent's; both have written."""
    before = mem.id
    reading, writing = os.pipe()

    def task() -> None:
        mem.patch({"$inc": {"n": 1}})
        assert mem.data["n"] == mem.snapshot("n")
        os.write(writing, mem.id.encode())
        mem.stop()

    pid = fork(task)
    mem.patch({"$inc": {"n": 1}})
    _, status = os.waitpid(pid, 0)
    assert status == 0
    in_child = os.read(reading, 100).decode()
    os.close(reading)
    os.close(writing)
    assert mem.id == before
    return before, in_child


@pytest.mark.parametrize("role", ["host", "client"])
def test_after_a_raw_fork_the_child_has_an_id_of_its_own_and_both_go_on(
    cluster: Cluster, role: str
) -> None:
    host, client = cluster.start(2, {"n": 0}, LASTING)
    parent = host if role == "host" else client
    for round_ in range(1, 6):
        own, of_child = parent.run(fork_and_write)
        assert own != of_child
        assert len(of_child) == len(own)
        # What the child has had acknowledged may still be on its way to a third peer.
        wait_for_count(parent, 2 * round_)
    assert cluster.host() is host
    assert cluster.settled([host, client]) == {"n": 10}


def test_a_fork_while_threads_write_disturbs_neither_parent_nor_child(cluster: Cluster) -> None:
    host, client = cluster.start(2, {"n": 0, "children": 0})

    def write(mem: MemSync[Any]) -> None:
        for _ in range(1000):
            mem.patch({"$inc": {"n": 1}})

    def fork_often(mem: MemSync[Any]) -> list[int]:
        def task() -> None:
            mem.patch({"$inc": {"children": 1}})
            mem.stop()

        pids = [fork(task) for _ in range(8)]
        return [os.waitpid(pid, 0)[1] for pid in pids]

    for parent in (host, client):
        writers = [parent.begin(write) for _ in range(2)]
        assert parent.result(parent.begin(fork_often), 60) == [0] * 8
        for writer in writers:
            parent.result(writer, 60)
    assert cluster.settled([host, client]) == {"n": 4000, "children": 16}


def fork_idle_child(mem: MemSync[Any]) -> int:
    """A child that lives on and does nothing, not even with its handle."""
    return fork(signal.pause)


def end_orphan(pid: int) -> None:
    """Kill a process that is nobody's child any more, and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    until(lambda: is_gone(pid))


def is_gone(pid: int) -> bool:
    """Whether a process has ended; a new parent may reap it later."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter if it is reaped in between
        return True


def test_a_forked_child_does_not_keep_a_killed_host_alive(cluster: Cluster) -> None:
    host, client, other = cluster.start(3, {"n": 0}, EVENTS_ONLY)
    idle = host.run(fork_idle_child)
    try:
        host.kill()
        client.run(lambda mem: mem.patch({"$inc": {"n": 1}}, timeout=15))
        assert other.run(lambda mem: mem.patch({"$inc": {"n": 1}}, timeout=15)) > 0
        newcomer = cluster.peer({"n": 99})
        assert cluster.settled() == {"n": 2}
        until(lambda: newcomer.status()["peers"] == 2)
    finally:
        end_orphan(idle)


def test_the_end_of_a_killed_host_is_seen_at_once_although_a_forked_child_lives(
    cluster: Cluster,
) -> None:
    host, client = cluster.start(2, {"n": 0}, EVENTS_ONLY)
    client.run(lambda mem: setattr(mem, "ends", []))
    client.run(lambda mem: mem.on("disconnected", mem.ends.append) and None)
    idle = host.run(fork_idle_child)
    try:
        host.kill()
        (reason,) = until(lambda: client.run(lambda mem: mem.ends))
        assert "closed the connection" in reason or "reset" in reason
    finally:
        end_orphan(idle)


def test_a_forked_child_does_not_keep_a_killed_client_in_the_group(cluster: Cluster) -> None:
    limited = {"network": {"maxWriters": 2, **EVENTS_ONLY["network"]}}
    host, client = cluster.start(2, {"n": 0}, limited)
    idle = client.run(fork_idle_child)
    try:
        client.kill()
        until(lambda: host.status()["peers"] == 0)
        next_writer = cluster.peer(options=limited)
        next_writer.patch({"$inc": {"n": 1}})
    finally:
        end_orphan(idle)


def test_a_forked_child_of_a_host_that_stops_does_not_hold_the_others_up(cluster: Cluster) -> None:
    host, client = cluster.start(2, {"n": 0}, EVENTS_ONLY)
    idle = host.run(fork_idle_child)
    try:
        host.stop()
        client.run(lambda mem: mem.patch({"$inc": {"n": 1}}, timeout=15))
        assert client.status()["status"] == "host"
    finally:
        host.run(lambda mem: os.kill(idle, signal.SIGKILL))
        host.run(lambda mem: os.waitpid(idle, 0) and None)


def test_a_handle_that_was_never_started_is_not_started_in_a_forked_child(
    cluster: Cluster,
) -> None:
    def in_child(mem: MemSync[Any]) -> int:
        def task() -> None:
            with pytest.raises(NotStartedError):
                mem.patch({"$set": {"n": 1}})

        return os.waitpid(fork(task), 0)[1]

    assert cluster.peer(start=False).run(in_child) == 0


def test_a_stopped_handle_stays_stopped_in_a_forked_child(cluster: Cluster) -> None:
    def in_child(mem: MemSync[Any]) -> int:
        def task() -> None:
            with pytest.raises(NotStartedError):
                mem.patch({"$set": {"n": 1}})
            assert mem.snapshot() == {"n": 3}

        return os.waitpid(fork(task), 0)[1]

    peer = cluster.peer({"n": 3})
    peer.stop()
    assert peer.run(in_child) == 0


def test_a_pickled_handle_carries_no_key(cluster: Cluster, folder: Path) -> None:
    import pickle

    peer: Peer = cluster.peer({"n": 1})
    pickled = peer.run(lambda mem: pickle.dumps(mem))
    assert (folder / "authkey").read_bytes() not in pickled
    assert b"authkey" not in pickled
