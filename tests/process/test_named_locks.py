"""G9: named locks between processes that are killed, frozen, forked and interrupted."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from multiprocessing import get_context
from typing import Any

import pytest

from memsync import LockLostError, LockTimeoutError, MemSync, NotStartedError, UsageError
from memsync.locks import Lock
from memsync.testing import Cluster, Peer, until

from ..process_helpers import EVENTS_ONLY, LASTING, Child, host_of

pytestmark = pytest.mark.process

NAME = "job"

_held: dict[str, Any] = {}  # in each peer


def hold(mem: MemSync[Any], **options: Any) -> int:
    lock = mem.lock(NAME, on_lost=lambda lost: _held.setdefault("told", lost.token), **options)
    lock.acquire()
    _held["lock"] = lock
    assert lock.token is not None
    return lock.token


def acquired(mem: MemSync[Any]) -> int:
    lock = _held["lock"] = mem.lock(NAME)
    lock.acquire()
    assert lock.token is not None
    return lock.token


def release(mem: MemSync[Any]) -> None:
    _held["lock"].release()


def write(mem: MemSync[Any]) -> int:
    return mem.patch({"$inc": {"n": 1}}, lock=_held["lock"])


def late_writes(mem: MemSync[Any], count: int) -> int:
    """How many of so many writes of a woken holder are refused."""
    proof, refused = _held["proof"], 0
    lock = Lock(mem, NAME)
    lock.proof = lambda mem: proof  # type: ignore[method-assign]  # it has not noticed the loss
    for future in [mem.submit({"$inc": {"n": 1}}, lock=lock) for _ in range(count)]:
        refused += isinstance(future.exception(10), LockLostError)
    return refused


def hold_with_proof(mem: MemSync[Any], lease: float) -> int:
    """Hold, and keep what shows that; a busy machine may let the lease run out afterwards."""
    token = hold(mem, lease=lease)
    _held["proof"] = _held["lock"].proof(mem)
    return token


def last_look(mem: MemSync[Any]) -> float:
    """When the host has last looked for signs of life of holders (monotonic seconds)."""
    looked: float = host_of(mem).ordering.leases._checked_at
    return looked


def is_lost(mem: MemSync[Any]) -> bool:
    lost: bool = _held["lock"].lost.wait(10)
    return lost


def was_told(mem: MemSync[Any]) -> bool:
    return "told" in _held


def queue_length(mem: MemSync[Any]) -> int:
    return len(mem.locks().get(NAME, {}).get("queue", ()))


def begin_to_wait(peer: Peer, of: Peer) -> int:
    """Have a peer wait for the lock, and wait until it is in the queue."""
    before = of.run(queue_length)
    ticket = peer.begin(acquired)
    until(lambda: of.run(queue_length) == before + 1)
    return ticket


@pytest.mark.parametrize("victim", [0, 1], ids=["host", "client"])
def test_g9_the_lock_of_a_killed_holder_is_free_within_a_second(
    cluster: Cluster, victim: int
) -> None:
    """The end of its connection tells of its death; whatever else could would take a minute."""
    peers = cluster.start(3, {"n": 0}, EVENTS_ONLY)
    holder = peers.pop(victim)
    token = holder.run(hold)
    first = begin_to_wait(peers[0], peers[1])
    holder.kill()
    assert peers[0].result(first) > token
    assert peers[0].run(write) > 0


def test_g9_the_lock_outlives_a_killed_host(cluster: Cluster) -> None:
    host, holder, waiter = cluster.start(3, {"n": 0})
    token = holder.run(hold)
    ticket = begin_to_wait(waiter, holder)
    host.kill()
    until(lambda: holder.run(MemSync.get_status)["host"] is not None)
    assert holder.run(write) > 0
    assert holder.run(queue_length) == 1
    assert not holder.run(lambda mem: mem.lock(NAME).acquire(blocking=False))
    holder.run(release)
    assert waiter.result(ticket) > token


def test_g9_a_planned_stop_of_the_host_changes_nothing(cluster: Cluster) -> None:
    host, holder, waiter = cluster.start(3, {"n": 0})
    holder.run(hold)
    ticket = begin_to_wait(waiter, holder)
    host.stop()
    assert holder.run(write) > 0
    holder.run(release)
    waiter.result(ticket)


def test_fifty_waiters_get_their_turn_in_their_order_without_the_dead_ones(
    cluster: Cluster,
) -> None:
    holder, *waiters = cluster.start(6, {"order": []})
    holder.run(hold)

    def wait(mem: MemSync[Any], number: int) -> None:
        def work() -> None:
            with mem.lock(NAME) as lock:
                mem.patch({"$push": {"order": number}}, lock=lock)

        def waiting() -> int:  # in this process; those of others may come late
            queue = mem.locks().get(NAME, {}).get("queue", ())
            return sum(each["pid"] == os.getpid() for each in queue)

        before = waiting()
        threading.Thread(target=work, daemon=True).start()
        while waiting() == before:
            time.sleep(0.001)

    for number in range(50):
        waiters[number % 5].run(wait, number)
    waiters[2].kill()
    until(lambda: holder.run(queue_length) == 40)
    holder.run(release)
    until(lambda: len(holder.run(MemSync.snapshot)["order"]) == 40)
    expected = [number for number in range(50) if number % 5 != 2]
    assert holder.run(MemSync.snapshot)["order"] == expected


def test_g9_a_frozen_holder_keeps_a_lock_without_a_lease(cluster: Cluster) -> None:
    host, holder = cluster.start(2, {"n": 0})
    token = holder.run(hold)
    holder.pause()
    assert not host.run(lambda mem: mem.lock(NAME).acquire(timeout=1.5))
    holder.resume()
    assert holder.run(write) > 0
    assert host.run(MemSync.locks)[NAME]["holders"][0]["token"] == token


def test_g9_a_frozen_holder_with_a_lease_loses_the_lock_and_its_writes_are_refused(
    cluster: Cluster,
) -> None:
    host, holder = cluster.start(2, {"n": 0}, LASTING)
    holder.run(hold, lease=3)
    begin = host.run(last_look)
    until(lambda: host.run(last_look) > begin + 3.5)  # a holder that runs keeps it
    assert holder.run(write) > 0
    holder.run(release)
    token = holder.run(hold_with_proof, lease=1)
    holder.pause()
    later = host.run(acquired)
    assert later > token
    holder.resume()
    assert holder.run(late_writes, 300) == 300
    assert holder.run(is_lost)
    until(lambda: holder.run(was_told))
    with pytest.raises(LockLostError):
        holder.run(release)
    assert host.run(MemSync.snapshot)["n"] == 1
    host.run(release)
    assert holder.run(hold) > later


def test_g9_the_next_host_ends_the_lease_as_well(cluster: Cluster) -> None:
    host, holder, other = cluster.start(3, {"n": 0})
    holder.run(hold, lease=1)
    holder.pause()
    host.kill()
    assert other.run(acquired)
    holder.resume()
    assert holder.run(is_lost)


def test_a_frozen_host_that_holds_a_lock_loses_it_with_its_role(cluster: Cluster) -> None:
    options = {"network": {"lease": 0.5}}
    host, other = cluster.start(2, {"n": 0}, options=options)
    token = host.run(hold, lease=0.5)
    host.pause()
    assert other.run(acquired) > token
    host.resume()
    assert host.run(is_lost)
    assert other.run(write) > 0


def test_a_forked_child_does_not_have_the_lock_of_its_parent(cluster: Cluster) -> None:
    with MemSync(cluster.name, {"n": 0}) as mem:
        lock = mem.lock(NAME)
        lock.acquire()

        def in_child() -> list[Any]:
            facts: list[Any] = [lock.token, lock.acquire(blocking=False)]
            for action in (lock.release, lambda: mem.patch({"$inc": {"n": 1}}, lock=lock)):
                try:
                    action()
                except (UsageError, LockLostError) as error:
                    facts.append(str(error))
            mem.stop()
            return facts

        token, acquires, release_error, patch_error = Child(in_child).result()
        assert (token, acquires) == (None, False)
        assert "is held by the parent process" in release_error
        assert "is not held by this object" in patch_error
        assert lock.token is not None
        assert mem.patch({"$inc": {"n": 1}}, lock=lock)
        lock.release()
        assert Child(lambda: _work_and_stop(lock, 1)).result() is None
        assert mem.snapshot("n") == 2
        assert mem.locks() == {}


def test_a_child_forked_under_the_lock_ends_as_it_likes(cluster: Cluster) -> None:
    with MemSync(cluster.name) as mem, mem.lock(NAME) as lock:
        child = os.fork()
        if child == 0:
            code = 99
            try:
                with suppress(SystemExit):
                    lock.__exit__(SystemExit, SystemExit(3), None)
                    code = 3
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        assert lock.token is not None


def _work(lock: Lock, times: int) -> None:
    mem: Any = lock._mem
    for _ in range(times):
        with lock:
            mem.patch({"$set": {"n": mem.data["n"] + 1}}, lock=lock)


def _work_and_stop(lock: Lock, times: int) -> None:
    _work(lock, times)
    lock._mem.stop()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_lock_is_an_argument_of_a_process(cluster: Cluster, method: str) -> None:
    with MemSync(cluster.name, {"n": 0}) as mem:
        context: Any = get_context(method)
        arguments = (mem.lock(NAME), 5)
        processes = [context.Process(target=_work_and_stop, args=arguments) for _ in range(2)]
        for process in processes:
            process.start()
        _work(mem.lock(NAME), 5)
        for process in processes:
            process.join(60)
            assert process.exitcode == 0
            process.close()
        assert mem.snapshot("n") == 15


def interrupt_waiting(mem: MemSync[Any], ended: threading.Event) -> None:
    """Send SIGINT once the lock is waited for.

    A signal that comes as a wait of C begins does not end it, so repeat it.
    """
    until(lambda: queue_length(mem) == 1)
    while not ended.is_set():
        os.kill(os.getpid(), signal.SIGINT)
        ended.wait(5)


def test_ctrl_c_ends_the_wait_and_takes_the_request_back(cluster: Cluster) -> None:
    (holder,) = cluster.start(1)
    holder.run(hold)
    with MemSync(cluster.name) as mem:
        lock = mem.lock(NAME)
        for _ in range(5):
            until(lambda: queue_length(mem) == 0)
            ended = threading.Event()
            thread = threading.Thread(target=interrupt_waiting, args=(mem, ended))
            thread.start()
            try:
                with pytest.raises(KeyboardInterrupt):
                    lock.acquire()
            finally:
                ended.set()
                thread.join()
            assert lock.token is None
        until(lambda: holder.run(queue_length) == 0)
        holder.run(release)
        with lock:
            pass
        until(lambda: mem.locks() == {})


def test_a_request_that_gets_no_answer_is_taken_back_later(cluster: Cluster) -> None:
    (host,) = cluster.start(1, options=LASTING)
    with MemSync(cluster.name, options={"timeout": 3600}) as mem:
        lock = mem.lock(NAME)
        host.pause()
        assert not lock.acquire(timeout=0.2)  # no other time ends before the test fails
        host.resume()
        until(lambda: mem.get_status()["pending"] == 0)
        assert host.run(MemSync.locks) == {}
        with lock:
            pass


def cost_of_a_second() -> float:
    """The processor's seconds that this process uses in one of a clock."""
    before = time.process_time()
    time.sleep(1)
    return time.process_time() - before


def wait_until_the_end(mem: MemSync[Any]) -> None:
    with suppress(NotStartedError):
        mem.lock(NAME).acquire()


def test_a_waiting_thread_costs_next_to_nothing(cluster: Cluster) -> None:
    (holder,) = cluster.start(1)
    holder.run(hold)
    with MemSync(cluster.name) as mem:
        threads = [threading.Thread(target=wait_until_the_end, args=(mem,)) for _ in range(20)]
        for thread in threads:
            thread.start()
        until(lambda: holder.run(queue_length) == 20)
        until(lambda: cost_of_a_second() < 0.1)  # a collection of garbage may cost more
        mem.stop()
        for thread in threads:
            thread.join(10)


def take_at_once(mem: MemSync[Any]) -> tuple[list[bool], str]:
    """Whether locks without a holder are taken, and what a taken one says."""
    taken = []
    for number in range(20):
        with mem.lock(f"free{number}", timeout=0):
            taken.append(True)
        lock = mem.lock(f"free{number}")
        taken.append(lock.acquire(timeout=0))
        lock.release()
    try:
        with mem.lock(NAME, timeout=0):
            return taken, "it was free"
    except LockTimeoutError as error:
        return taken, str(error)


def test_a_time_out_of_zero_tries_once(cluster: Cluster) -> None:
    host, client = cluster.peer({}), cluster.peer()
    host.run(hold)
    for peer in (client, cluster.peer()):
        taken, why = peer.run(take_at_once)
        assert taken == [True] * 40
        assert "within 0 s" in why
