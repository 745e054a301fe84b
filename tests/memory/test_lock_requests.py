"""Requests for locks that end early: lost, begun again, interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from memsync import ConflictError, LockTimeoutError, MemSync, NotStartedError
from memsync.clocks import monotonic
from memsync.locks import Lock, NamedPlaces
from memsync.replication.kinds.lock import LockKind, releasing
from memsync.runtime.call import Call
from memsync.runtime.futures import WriteFuture
from memsync.runtime.lock_request import LockRequest
from memsync.runtime.lock_requests import LockRequests, requests_of
from memsync.runtime.writer import Writer
from memsync.testing import until

PATIENCE = 10.0  # seconds


def end(request: LockRequest) -> None:
    """End a hold behind the back of its process, as the end of its lease does."""
    writer, call = request.participant.writer, Call(kind=LockKind.name)
    body = releasing(request.number, "held or not")
    writer.patch(body, call._replace(deadline=monotonic() + PATIENCE), PATIENCE)


class Loser:
    """Ends the next holds, as many as `times`, before `acquire` returns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        self._patched = monkeypatch
        self.left = times

    def when_granted(self) -> None:
        """The process has seen the grant, but not yet the thread that waits."""
        wait = LockRequests._wait

        def late(requests: LockRequests, request: LockRequest, deadline: float) -> Any:
            if self.left:
                self.left -= 1
                until(lambda: request.token is not None)
                end(request)
                until(lambda: request.lost.is_set() or request.is_dropped)
            return wait(requests, request, deadline)

        self._patched.setattr(LockRequests, "_wait", late)

    def before_it_is_seen(self) -> None:
        """The process reads the grant and its end together."""
        look, publish = LockRequests._look_now, LockRequests.set

        def late(requests: LockRequests, request: LockRequest, **more: Any) -> Any:
            if self.left:
                self.left -= 1
                end(request)
            return look(requests, request, **more)

        def unless_late(requests: LockRequests) -> None:
            if not self.left:
                publish(requests)

        self._patched.setattr(LockRequests, "_look_now", late)
        self._patched.setattr(LockRequests, "set", unless_late)


@pytest.mark.parametrize("moment", [Loser.when_granted, Loser.before_it_is_seen])
@pytest.mark.parametrize("times", [1, 3])
def test_a_hold_that_ends_before_acquire_returns_is_asked_for_again(
    engine: str, monkeypatch: pytest.MonkeyPatch, moment: Callable[[Loser], None], times: int
) -> None:
    told: list[Any] = []
    with MemSync("obj", engine=engine) as host, MemSync("obj", engine=engine) as mem:
        loser = Loser(monkeypatch, times)
        moment(loser)
        lock = mem.lock("k", lease=30, on_lost=told.append)
        with lock:
            assert loser.left == 0
            assert not lock.lost.is_set()
            until(lambda: "k" in host.locks())
            assert host.locks()["k"]["holders"][0]["token"] == lock.token
            assert len(host.locks()["k"]["holders"]) == 1
        until(lambda: host.locks() == {})
    assert told == []  # it never had what was lost


def test_the_error_of_a_wait_counts_the_others_and_tells_the_time_in_utc(engine: str) -> None:
    def queue(mem: MemSync[Any]) -> list[Any]:
        return list(mem.locks()["k"]["queue"])

    with MemSync("obj", engine=engine) as mem, MemSync("obj", engine=engine) as other:
        with mem.lock("k"):
            with pytest.raises(LockTimeoutError, match=r" s; 0 requests wait$") as caught:
                other.lock("k", timeout=0.05).acquire()
            assert caught.value.since is not None
            since = datetime.fromtimestamp(caught.value.since, UTC)
            caught.match(f"has held it since {since:%Y-%m-%d %H:%M:%S} UTC, for ")
            until(lambda: queue(mem) == [])
            thread = threading.Thread(target=mem.lock("k", timeout=PATIENCE).acquire)
            thread.start()
            until(lambda: len(queue(other)) == 1)
            with pytest.raises(LockTimeoutError, match=r" s; 1 request waits$"):
                other.lock("k", timeout=0.05).acquire()
        thread.join(PATIENCE)


def test_a_hold_that_ends_again_and_again_is_a_time_out(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MemSync("obj", engine=engine) as mem:
        with monkeypatch.context() as patched:
            Loser(patched, 1_000_000).when_granted()
            assert not mem.lock("k", lease=30).acquire(timeout=0.05)
            with pytest.raises(LockTimeoutError, match="nobody seems to hold it"):
                mem.lock("k", timeout=0.05).acquire()
        until(lambda: mem.get_status()["pending"] == 0)
        assert mem.locks() == {}
        with mem.lock("k", timeout=0):
            pass


def test_a_handle_that_stops_as_its_lock_is_granted_does_not_return_it(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = LockRequests._wait

    def late(requests: LockRequests, request: LockRequest, deadline: float) -> Any:
        until(lambda: request.token is not None)
        mem.stop()
        return wait(requests, request, deadline)

    with MemSync("obj", engine=engine) as host, MemSync("obj", engine=engine) as mem:
        monkeypatch.setattr(LockRequests, "_wait", late)
        with pytest.raises(NotStartedError, match="stopped while it waited for the lock 'k'"):
            mem.lock("k").acquire()
        until(lambda: host.locks() == {})


def test_a_release_that_was_lost_is_made_again_under_its_own_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The request had begun again meanwhile, and its new hold was released."""
    with MemSync("obj", engine="memory") as mem:
        requests = requests_of(mem._participating())
        request = requests.prepare("k", mem._use, mem._dispatcher)
        futures: list[WriteFuture] = []
        bodies: list[Any] = []

        def submit(writer: Writer, body: Any, call: Call, future: WriteFuture) -> None:
            bodies.append(body)
            futures.append(future)

        with monkeypatch.context() as patched:
            patched.setattr(Writer, "submit", submit)
            requests.give_up(request)
            request.renew(next(requests._numbers))
            assert requests.acquire(request, monotonic() + PATIENCE)
            futures[0].finish(1, ConflictError("the host was replaced"))
            until(lambda: len(bodies) == 2)
        assert bodies[0] == bodies[1] != releasing(request.number, "held or not")
        assert request.is_held
        requests.release(request, PATIENCE)


def use_plainly(lock: Lock) -> None:
    lock.acquire()
    lock.release()


def use_with(lock: Lock) -> None:
    with lock:
        pass


@pytest.mark.parametrize("use", [use_plainly, use_with])
def test_ctrl_c_before_the_place_is_claimed_releases_it_all_the_same(
    engine: str, monkeypatch: pytest.MonkeyPatch, use: Callable[[Lock], None]
) -> None:
    with MemSync("obj", engine=engine) as host, MemSync("obj", engine=engine) as mem:
        lock, claim, interrupts = mem.lock("a"), NamedPlaces._claim, [KeyboardInterrupt]

        def interrupted(*arguments: Any) -> Any:
            if interrupts:
                raise interrupts.pop()
            return claim(*arguments)

        monkeypatch.setattr(NamedPlaces, "_claim", interrupted)
        with pytest.raises(KeyboardInterrupt):
            use(lock)
        assert host.lock("a").acquire(timeout=5)


def replace_copy(mem: MemSync[Any]) -> None:
    """Have the requests of a handle think that its copy was replaced by another one."""
    requests = requests_of(mem._participating())
    requests._seen = (None, 0)
    requests.set()
    has_run = threading.Event()
    mem._dispatcher.call_surely(has_run.set)
    assert has_run.wait(PATIENCE)


def test_a_hold_that_no_request_stands_for_is_given_back_in_a_new_copy(engine: str) -> None:
    with MemSync("obj", engine=engine) as host, MemSync("obj", engine=engine) as mem:
        forgotten, held, other = mem.lock("forgotten"), mem.lock("held"), host.lock("other")
        assert all(lock.acquire() for lock in (forgotten, held, other))
        requests_of(mem._participating())._open.pop(forgotten._held[0].number)
        replace_copy(mem)
        until(lambda: host.locks().keys() == {"held", "other"})
        replace_copy(host)
        assert mem.patch({"$set": {"n": 1}}, lock=held)
        assert host.patch({"$set": {"n": 2}}, lock=other)
        assert host.locks().keys() == {"held", "other"}
        held.release()
        other.release()


@pytest.mark.parametrize("function", ["release", "settle", "release_unless_last"])
def test_a_hold_that_is_about_to_end_is_not_given_back_before(
    engine: str, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    patch, copies = Writer.patch, []

    def late(writer: Writer, body: Any, *more: Any) -> int:
        if "acquire" not in body:
            copies.append(body)
            replace_copy(mem)
        return patch(writer, body, *more)

    results: list[int] = []
    with MemSync("obj", engine=engine) as host, MemSync("obj", engine=engine) as mem:
        lock = mem.lock("k")
        lock.acquire()
        if function == "release_unless_last":
            mem.last_out("k", lambda: results.append(1))
        monkeypatch.setattr(Writer, "patch", late)
        if function == "release":
            lock.release()
        elif function == "settle":
            results.append(mem.once("k", lambda: 1))
            assert host.once("k", lambda: 2) == 1
        else:
            mem.stop()
        assert len(copies) == 1
        assert results == ([] if function == "release" else [1])
