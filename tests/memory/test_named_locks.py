"""`mem.lock` and `mem.semaphore` with each engine, in one process."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from memsync import (
    LockLostError,
    LockTimeoutError,
    MemSync,
    NotStartedError,
    UsageError,
)
from memsync.runtime import lock_request
from memsync.runtime.lock_request import LockRequest
from memsync.runtime.lock_requests import LockRequests
from memsync.runtime.wakeup import Wakeup
from memsync.testing import until


class Pair:
    """Two started handles of one object."""

    def __init__(self, engine: str) -> None:
        self.host = MemSync("obj", {"n": 0}, engine=engine)
        self.host.start()
        self.client = MemSync("obj", engine=engine)
        self.client.start()

    def both(self) -> list[MemSync[Any]]:
        return [self.host, self.client]

    def queue(self, name: str = "k") -> list[str]:
        """The peers that wait, as the host knows them."""
        return [each["id"] for each in self.host.locks().get(name, {}).get("queue", [])]


@pytest.fixture
def pair(engine: str) -> Iterator[Pair]:
    pair = Pair(engine)
    yield pair
    for mem in pair.both():
        mem.stop()


def in_thread(function: Any) -> tuple[threading.Thread, list[Any]]:
    """A started thread, and what its function has returned or raised."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(function())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def test_one_holds_it_and_the_other_waits(pair: Pair) -> None:
    for mem, other in (pair.both(), pair.both()[::-1]):
        mine, theirs = mem.lock("k"), other.lock("k")
        with mine as lock:
            assert lock is mine
            assert mine.locked()
            until(theirs.locked)
            assert not theirs.acquire(blocking=False)
            assert not theirs.acquire(timeout=0.01)
            thread, results = in_thread(theirs.acquire)
            until(lambda: len(pair.queue()) == 1)
        thread.join(10)
        assert results == [True]
        assert theirs.token is not None
        theirs.release()
        assert not theirs.locked()
        until(lambda: pair.host.locks() == pair.client.locks() == {})


def test_a_waiting_thread_gets_it_by_the_release_itself(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float | None] = []

    class Counted(Wakeup):
        def wait(self, seconds: float | None) -> bool:
            waits.append(seconds)
            return super().wait(seconds)

    mine, theirs = pair.host.lock("k"), pair.client.lock("k", timeout=100)
    mine.acquire()
    monkeypatch.setattr(lock_request, "Wakeup", Counted)
    thread, results = in_thread(theirs.acquire)
    until(lambda: len(waits) == 1)
    assert pair.queue() == [pair.client.id]
    mine.release()
    thread.join(10)
    assert results == [True]
    assert len(waits) == 1  # no polling: it has slept all the time, and could have for longer
    assert waits[0] is not None
    assert waits[0] > 50
    theirs.release()


def test_tokens_grow_and_the_holder_reads_what_the_former_ones_wrote(pair: Pair) -> None:
    tokens: list[int] = []

    def work(mem: MemSync[Any]) -> None:
        lock = mem.lock("k")
        for _ in range(15):
            with lock:
                assert lock.token is not None
                tokens.append(lock.token)
                mem.patch({"$set": {"n": mem.data["n"] + 1}}, lock=lock)  # no guard, no $inc
        assert lock.token is None

    started = [in_thread(partial(work, mem)) for mem in [*pair.both(), *pair.both()]]
    for thread, results in started:
        thread.join(30)
        assert results == [None]
    assert pair.host.snapshot("n") == 60
    assert tokens == sorted(tokens)
    assert len(set(tokens)) == 60


def test_the_error_of_a_wait_that_ends_names_the_holder(pair: Pair) -> None:
    with pair.host.lock("job"):
        started = time.monotonic()
        with pytest.raises(LockTimeoutError, match=r"'job' was not free within 0\.05 s") as caught:
            pair.client.lock("job", timeout=0.05).acquire()
        assert time.monotonic() - started < 5
        assert caught.value.holder == pair.host.id
        assert caught.value.pid == pair.host.locks()["job"]["holders"][0]["pid"]
        assert caught.value.since is not None
        assert time.time() - caught.value.since < 60
        until(lambda: pair.queue("job") == [])  # nothing is left of the request


def test_a_handle_that_stops_gives_back_its_locks_and_wakes_the_others(pair: Pair) -> None:
    mine, theirs = pair.host.lock("k"), pair.client.lock("k")
    mine.acquire()
    thread, results = in_thread(theirs.acquire)
    until(lambda: pair.queue() == [pair.client.id])
    pair.host.stop()
    thread.join(10)
    assert results == [True]
    assert mine.lost.is_set()
    assert mine.token is None
    with pytest.raises(LockLostError):
        mine.release()
    pair.host.start()
    assert not mine.acquire(blocking=False)
    theirs.release()
    with mine:
        assert not mine.lost.is_set()


def test_a_thread_that_waits_when_its_own_handle_stops_is_told(pair: Pair) -> None:
    with pair.client.lock("k"):
        thread, results = in_thread(pair.host.lock("k").acquire)
        until(lambda: pair.queue() == [pair.host.id])
        pair.host.stop()
        thread.join(10)
        assert isinstance(results[0], NotStartedError)


def test_any_thread_may_release_it(pair: Pair) -> None:
    lock = pair.client.lock("k")
    lock.acquire()
    thread, results = in_thread(lock.release)
    thread.join(10)
    assert results == [None]
    assert not lock.locked()


def test_a_second_acquire_of_one_object_waits_like_that_of_threading(pair: Pair) -> None:
    lock = pair.client.lock("k")
    with lock:
        assert not lock.acquire(blocking=False)
        assert not lock.acquire(timeout=0.01)
        thread, results = in_thread(lock.acquire)
        until(lambda: pair.queue() == [pair.client.id])
    thread.join(10)
    assert results == [True]
    lock.release()


def test_a_semaphore_counts(pair: Pair) -> None:
    mine, theirs = pair.host.semaphore("gpu", 3), pair.client.semaphore("gpu", 3)
    with mine, theirs:
        assert theirs.acquire(blocking=False)
        assert not mine.acquire(blocking=False)
        assert mine.locked()
        assert len(pair.host.locks()["gpu"]["holders"]) == 3
        with pytest.raises(UsageError, match="held 1 times by this object, so 2 places"):
            mine.release(2)
        theirs.release()
    until(lambda: pair.host.locks() == {})
    for _ in range(3):
        mine.acquire()
    mine.release(3)
    until(lambda: pair.client.locks() == {})


def test_a_name_has_one_number_of_places(pair: Pair) -> None:
    with pair.host.lock("k"), pytest.raises(UsageError, match="is in use with 1 place"):
        pair.client.semaphore("k", 2).acquire()
    with pair.client.semaphore("k", 2):
        pass


def test_a_write_with_a_lock_that_is_not_held_is_refused(pair: Pair) -> None:
    lock = pair.client.lock("k")
    update = {"$inc": {"n": 1}}
    for write in (pair.client.patch, pair.client.submit):
        with pytest.raises(LockLostError, match="'k' is not held"):
            write(update, lock=lock)
        with pytest.raises(UsageError, match=r"lock must be a lock of mem\.lock\(\), not 'k'"):
            write(update, lock="k")  # type: ignore[arg-type]
        with lock, pair.host.lock("other") as foreign:
            result = write(update, lock=lock)
            assert isinstance(result, int) or result.result(10)
            with pytest.raises(UsageError, match="of another handle"):
                write(update, lock=foreign)
    assert pair.client.snapshot("n") == 2


def test_a_draft_with_a_lock_is_sent_under_the_hold_of_its_beginning(pair: Pair) -> None:
    lock = pair.client.lock("k")
    with lock, pair.client.edit(lock=lock) as draft:
        draft["n"] += 1
    lock.acquire()

    def count(draft: dict[str, Any]) -> int:
        draft["n"] += 1
        return int(draft["n"])

    def count_without_the_lock(draft: dict[str, Any]) -> None:
        count(draft)
        lock.release()
        lock.acquire()  # another hold, under which nothing was read

    assert pair.client.transact(count, lock=lock) == 2
    with pytest.raises(LockLostError, match=r"hold of the lock 'k' .* is over"):
        pair.client.transact(count_without_the_lock, lock=lock)
    with (
        pytest.raises(LockLostError, match=r"hold of the lock 'k' .* is over"),
        pair.client.edit(lock=lock) as draft,
    ):
        count_without_the_lock(draft)
    lock.release()
    assert pair.host.snapshot("n") == pair.client.snapshot("n") == 2


def test_a_draft_with_a_lock_that_is_not_held_does_not_begin(pair: Pair) -> None:
    def refused(draft: dict[str, Any]) -> None:
        raise AssertionError(draft)

    for lock, error in [
        (pair.client.lock("k"), LockLostError),
        (pair.host.lock("k"), UsageError),
        ("k", UsageError),
    ]:
        wrong: Any = lock
        with pytest.raises(error):
            pair.client.edit(lock=wrong)
        with pytest.raises(error):
            pair.client.transact(refused, lock=wrong)


def test_a_reader_may_lock(engine: str) -> None:
    with (
        MemSync("obj", engine=engine) as mem,
        MemSync("obj", options={"peer": {"roles": []}}, engine=engine) as reader,
        reader.lock("k"),
    ):
        until(mem.lock("k").locked)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "1 to 300 characters, not 0"),
        ({"name": "k" * 301}, "1 to 300 characters, not 301"),
        ({"name": 7}, "must be a str, not 7"),
        ({"name": "memsync.x"}, "is memsync's own"),
        ({"name": "k", "timeout": -1}, "timeout must be 0 to 3600 seconds, not -1"),
        ({"name": "k", "timeout": "1"}, "timeout must be a number of seconds, not '1'"),
        ({"name": "k", "lease": 0.1}, r"lease of the lock 'k' must be 0\.5 to 86400 seconds"),
        ({"name": "k", "lease": "1"}, "lease must be a number of seconds, not '1'"),
        ({"name": "k", "on_lost": 1}, "on_lost must be callable, not 1"),
    ],
)
def test_a_wrong_argument_is_named(arguments: Any, message: str) -> None:
    mem = MemSync("obj", engine="memory")
    with pytest.raises(UsageError, match=message):
        mem.lock(**arguments)


def test_wrong_uses_are_named(engine: str) -> None:
    mem = MemSync("obj", engine=engine)
    lock = mem.lock("k")
    with pytest.raises(NotStartedError):
        lock.acquire()
    with mem:
        with pytest.raises(UsageError, match=r"not held by this object: call acquire\(\)"):
            lock.release()
        with pytest.raises(UsageError, match="does not wait: leave out the timeout"):
            lock.acquire(False, 1)
        for wrong in (-2, 1e9, "1"):
            with pytest.raises(UsageError, match="timeout must be"):
                lock.acquire(timeout=wrong)  # type: ignore[arg-type]
        for places in (0, True, "2", 10**7):
            with pytest.raises(UsageError, match="place"):
                mem.semaphore("s", places)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="1 place or more, not 0"):
            mem.semaphore("s", 1).release(0)
    assert not lock.lost.is_set()
    assert repr(lock) == "<Lock 'k' unlocked>"


def test_an_exception_in_the_block_is_what_the_program_sees(pair: Pair) -> None:
    lock = pair.host.lock("k")
    with pytest.raises(ZeroDivisionError), lock:  # noqa: PT012 - both belong into the block
        pair.host.stop()
        raise ZeroDivisionError
    pair.host.start()
    with pytest.raises(LockLostError, match="was lost before it was released"), lock:
        pair.host.stop()
    with pytest.raises(ZeroDivisionError), pair.client.lock("k"):
        raise ZeroDivisionError
    assert pair.client.locks() == {}


def test_a_copy_by_pickle_begins_without_the_lock(pair: Pair) -> None:
    lock = pair.host.lock("k", timeout=0.05)
    semaphore = pair.host.semaphore("s", 2)
    with lock:
        copy = pickle.loads(pickle.dumps(lock))
        assert copy.token is None
        with pytest.raises(UsageError):
            copy.release()
        with pytest.raises(LockTimeoutError):
            copy.acquire()  # of the same peer, which changes nothing
    with copy, pickle.loads(pickle.dumps(semaphore)):
        assert lock.locked()
        assert not semaphore.locked()
    copy._mem.stop()


def test_handles_of_one_peer_give_back_their_own_locks_only(pair: Pair) -> None:
    copy = pickle.loads(pickle.dumps(pair.host))
    mine, theirs = pair.host.lock("k"), copy.lock("c")
    mine.acquire()
    theirs.acquire()
    assert copy.id == pair.host.id
    thread, results = in_thread(copy.lock("k").acquire)
    until(lambda: pair.queue() == [copy.id])
    copy.stop()
    thread.join(10)
    assert isinstance(results[0], NotStartedError)
    until(lambda: pair.client.locks().keys() == {"k"})
    assert theirs.lost.is_set()
    assert mine.token is not None
    mine.release()


def test_without_a_lock_an_entry_wakes_nobody(pair: Pair) -> None:
    for mem in pair.both():
        assert mem._participating().lock_requests is None
        assert mem._participating().entry_waiters.waiting == []


def test_what_is_held_costs_nothing_when_other_locks_change(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = [pair.client.lock(f"held {number}") for number in range(50)]
    assert all(lock.acquire() for lock in held)
    looks, look = [], LockRequests._look_now

    def counted(requests: LockRequests, request: LockRequest, **more: Any) -> Any:
        looks.append(request)
        return look(requests, request, **more)

    monkeypatch.setattr(LockRequests, "_look_now", counted)
    for mem in pair.both():
        with mem.lock("other"):
            pass
    assert len(looks) < len(held)
