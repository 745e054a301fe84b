"""Calls over links in one process: values, futures, time, cancelling, lost links."""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from memsync.errors import (
    NoSuchMethodError,
    NotSerializableError,
    PeerLostError,
    QueueFullError,
    RpcError,
    RpcTimeoutError,
    TooLargeError,
    UsageError,
)
from memsync.rpc import callee as callee_module
from memsync.rpc.context import current
from memsync.rpc.functions import RUN
from memsync.rpc.messages import Cancel
from memsync.rpc.versions import NoVersions
from memsync.testing import until

from .links import Peer, calling, give_time, peers


def add(a: int, b: int = 0) -> int:
    return a + b


async def later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


def test_a_method_returns_its_value() -> None:
    with calling({"math": {"add": add}, "later": later}) as caller:
        assert caller.call("math.add", (1,), {"b": 2}) == 3
        assert caller.call("later", ([1, {"a": None}],)) == [1, {"a": None}]
        assert caller.calls == 0


VALUES: list[Any] = [
    None, True, 0, -(2**63), 2**63, 1.5, float("inf"), "text", "\ud800", [], {}, {"a": [1, {}]},
    (1, 2), {1: 2}, {1, 2}, b"bytes", datetime.date(2026, 1, 2), {"deep": [(1,)]},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    with calling({"echo": lambda value: value}) as caller:
        found = caller.call("echo", (value,))
        assert found == value
        assert type(found) is type(value)


def test_json_values_travel_without_a_pickle() -> None:
    with calling({"echo": lambda v: v}, pickles=False, caller_pickles=False) as caller:
        assert caller.call("echo", ({"a": [1, 2.5, None, "x"]},)) == {"a": [1, 2.5, None, "x"]}


def test_without_pickles_a_caller_refuses_what_json_cannot_hold() -> None:
    with calling({"echo": lambda v: v}, caller_pickles=False) as caller:
        with pytest.raises(
            NotSerializableError, match=r"tuple cannot be shared.*rpc\.pickles is false"
        ):
            caller.call("echo", ((1, 2),))
        with pytest.raises(NotSerializableError, match="function"):
            caller.call(RUN, (add, 1))


def test_without_pickles_a_callee_refuses_pickles_and_functions() -> None:
    with calling({"echo": lambda v: v}, pickles=False) as caller:
        with pytest.raises(
            NotSerializableError, match=r"'echo' was not run.*rpc\.pickles is false"
        ):
            caller.call("echo", ((1, 2),))
        with pytest.raises(NoSuchMethodError, match="runs no functions"):
            caller.call(RUN, (add, 1))


def test_a_function_is_run_at_the_callee() -> None:
    number = 5
    with calling({}) as caller:
        assert caller.call(RUN, (lambda n: n + number, 1)) == 6


def test_a_result_that_cannot_travel_is_named() -> None:
    with calling({"lock": threading.Lock, "big": lambda: "x" * 2000}, max_bytes=1500) as caller:
        with pytest.raises(RpcError, match="the result of 'lock' cannot be pickled"):
            caller.call("lock")
        with pytest.raises(RpcError, match=r"'big' was run, but a Result .* network\.maxFrame"):
            caller.call("big")
        with pytest.raises(TooLargeError, match=r"a Call .* network\.maxFrame"):
            caller.call("lock", ("x" * 2000,))
        assert caller.calls == 0


def test_an_unknown_method_is_named_with_the_known_ones() -> None:
    with (
        calling({"math": {"add": add}}) as caller,
        pytest.raises(NoSuchMethodError, match=r"no method 'math\.sub'; its methods: math\.add"),
    ):
        caller.call("math.sub", (1,))


def test_a_published_method_is_found() -> None:
    from memsync.rpc.functions import make_method

    find = {"square": make_method("square", lambda n: n * n)}.get
    with calling({}, find=find) as caller:
        assert caller.call("square", (3,)) == 9


def test_a_future_has_the_value_and_calls_back() -> None:
    found: list[int] = []
    with calling({"add": add}) as caller:
        future = caller.start("add", (1, 2))
        future.add_done_callback(lambda done: found.append(done.result()))
        assert future.result(5) == 3
        assert future.exception() is None
        assert future.done()
        assert not future.cancelled()
        assert not future.cancel()
        until(lambda: found == [3])
        assert "done" in repr(future)


def test_futures_work_with_concurrent_futures_and_asyncio() -> None:
    gate = threading.Event()
    with calling({"add": add, "wait": gate.wait, "later": later}) as caller:
        futures: list[concurrent.futures.Future[Any]] = [
            caller.start("add", (n,)) for n in range(20)
        ]
        waiting: concurrent.futures.Future[Any] = caller.start("wait")
        assert concurrent.futures.wait(futures, timeout=20).not_done == set()
        done, pending = concurrent.futures.wait([*futures, waiting], timeout=0.1)
        assert (len(done), pending) == (20, {waiting})
        found = {future.result() for future in concurrent.futures.as_completed(futures)}
        assert found == set(range(20))
        assert waiting.cancel()
        done, _ = concurrent.futures.wait([waiting], timeout=5)
        assert done == {waiting}
        assert [*concurrent.futures.as_completed([waiting])] == [waiting]

        async def main() -> Any:
            return await asyncio.wrap_future(caller.start("later", (7,)))

        assert asyncio.run(main()) == 7
        gate.set()


def test_a_call_times_out_and_is_cancelled_there() -> None:
    begun: list[bool] = []
    seen: list[bool] = []

    def slow() -> None:
        begun.append(True)
        assert current().deadline is not None
        until(lambda: current().cancelled)
        with pytest.raises(concurrent.futures.CancelledError):
            current().check()
        seen.append(True)

    with calling({"slow": slow}) as caller:

        def attempt(seconds: float) -> list[bool]:
            start = time.monotonic()
            with pytest.raises(
                RpcTimeoutError, match=r"'slow' on peer there \(pid 4711\)"
            ) as caught:
                caller.call("slow", timeout=seconds)
            assert time.monotonic() - start >= seconds
            assert (caught.value.method, caught.value.seconds) == ("slow", seconds)
            assert caught.value.outcome == "unknown"
            return begun

        give_time(attempt)
        until(lambda: seen)


def test_a_future_times_out_without_a_waiting_thread() -> None:
    gate = threading.Event()
    with calling({"wait": gate.wait}) as caller:
        future = caller.start("wait", timeout=0.1)
        until(future.done)
        assert isinstance(future.exception(), RpcTimeoutError)
        gate.set()


def test_a_wait_for_a_future_may_be_shorter_than_its_time() -> None:
    gate = threading.Event()
    with calling({"wait": gate.wait}) as caller:
        future = caller.start("wait")
        with pytest.raises(TimeoutError) as caught:
            future.result(0.05)
        assert not isinstance(caught.value, RpcTimeoutError)
        gate.set()
        assert future.result(5) is True


def test_cancel_reaches_an_async_method_as_cancelled_error() -> None:
    seen: list[str] = []

    async def slow() -> None:
        seen.append("begun")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with calling({"slow": slow}) as caller:
        for _ in range(2):  # the first one starts the loop
            future = caller.start("slow")
            until(lambda: seen == ["begun"])
            assert future.cancel()
            with pytest.raises(concurrent.futures.CancelledError):
                future.result()
            until(lambda: seen == ["begun", "cancelled"])
            seen.clear()


def test_the_time_of_an_async_method_ends_there_without_a_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[bool] = []
    seen: list[str] = []

    async def slow() -> None:
        begun.append(True)
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("ended")

    with calling({"slow": slow}) as caller:
        send = caller.link.send
        monkeypatch.setattr(
            caller.link, "send", lambda each: None if isinstance(each, Cancel) else send(each)
        )

        def attempt(seconds: float) -> list[bool]:
            with pytest.raises(RpcTimeoutError):
                caller.call("slow", timeout=seconds)
            return begun

        give_time(attempt)
        until(lambda: seen)


def test_the_death_of_the_caller_cancels() -> None:
    begun = threading.Event()
    reasons: list[str | None] = []

    def slow() -> None:
        begun.set()
        until(lambda: current().cancelled)
        reasons.append(current().reason)

    with calling({"slow": slow}) as caller:
        future = caller.start("slow")
        assert begun.wait(20)
        caller.link.close()
        assert isinstance(future.exception(5), PeerLostError)
        until(lambda: reasons == ["the caller has gone (the link was closed)"])


def test_a_call_that_waits_for_a_thread_is_not_run_after_its_cancel() -> None:
    gate, ran = threading.Event(), list[int]()
    with calling({"wait": gate.wait, "run": ran.append}, threads=1) as caller:
        waiting = caller.start("wait")
        future = caller.start("run", (1,))
        assert future.cancel()
        gate.set()
        assert waiting.result(5)
        caller.call("run", (2,))
        assert ran == [2]


def test_a_lost_link_names_the_call() -> None:
    gate = threading.Event()

    with calling({"wait": lambda *args, **kwargs: gate.wait()}) as caller:
        future = caller.start("wait", ("x" * 1000, 2), {"b": [3]})
        time.sleep(0.05)
        caller.link.close()
        with pytest.raises(PeerLostError) as caught:
            future.result(5)
        error = caught.value
        assert (error.peer, error.pid, error.method) == ("there", 4711, "wait")
        assert error.arguments is not None
        assert error.arguments.startswith("'xxxxx")
        assert error.arguments.endswith(", 2, b=[3]")
        assert len(error.arguments) < 250
        assert error.seconds is not None
        assert error.seconds >= 0.05
        assert error.outcome == "unknown"
        with pytest.raises(PeerLostError):
            caller.call("wait")
        assert caller.calls == 0
        gate.set()


def test_nested_calls_have_the_time_that_is_left() -> None:
    left: list[float] = []
    with peers(Peer("a"), Peer("b")) as (a, b):
        to_b, to_a = a.connect_to(b), b.connect_to(a)

        def outer() -> Any:
            left.append(current().remaining() or 0)
            time.sleep(0.2)
            return to_a.call("inner", default_timeout=30)

        def inner() -> str:
            left.append(current().remaining() or 0)
            return current().peer

        for peer in (a, b):
            peer.serve(outer=outer, inner=inner)
        assert to_b.call("outer", timeout=25) == "b"
        assert left[0] <= 25
        assert left[1] <= left[0] - 0.2


def test_the_cancel_of_a_call_cancels_the_calls_of_its_method() -> None:
    seen: list[str] = []

    def inner() -> None:
        seen.append("inner")
        until(lambda: current().cancelled)
        seen.append("cancelled")

    with peers(Peer("a"), Peer("b"), Peer("c", {"inner": inner})) as (a, b, c):
        to_c = b.connect_to(c)

        def outer() -> None:
            with pytest.raises(concurrent.futures.CancelledError, match="cancelled"):
                to_c.call("inner")
            with pytest.raises(concurrent.futures.CancelledError):
                to_c.call("inner")
            seen.append("outer")

        b.serve(outer=outer)
        future = a.connect_to(b).start("outer")
        until(lambda: seen == ["inner"])
        future.cancel()
        until(lambda: sorted(seen) == ["cancelled", "inner", "outer"])


def test_an_async_method_must_not_wait_for_a_call_on_the_loop() -> None:
    with peers(Peer("a"), Peer("b", {"add": add})) as (a, b):
        to_b = a.connect_to(b)
        to_itself = b.connect_to(b)

        async def outer() -> int:
            with pytest.raises(UsageError, match=r"asyncio\.wrap_future"):
                to_itself.call("add", (1, 2))
            found: int = await asyncio.wrap_future(to_itself.start("add", (1, 2)))
            return found

        b.serve(outer=outer, add=add)
        assert to_b.call("outer") == 3


def test_progress_reaches_the_future() -> None:
    gate = threading.Event()
    found: list[Any] = []

    def work() -> None:
        current().progress(1, 2, "half")
        gate.wait()
        current().progress(2, 2)

    with calling({"work": work, "add": add}) as caller:
        future = caller.start("work")
        until(lambda: future.progress == (1, 2, "half"))
        assert caller.call("add", (1, 2)) == 3  # the thread that reads has done with the report
        future.on_progress(lambda *progress: found.append(progress))
        gate.set()
        future.result(5)
        until(lambda: found == [(2, 2, "")])
        assert future.progress == (2, 2, "")


def test_progress_checks_its_arguments() -> None:
    def work() -> None:
        for bad in (("1",), (1, "2"), (1, 2, 3), (None,)):
            with pytest.raises(UsageError, match="progress"):
                current().progress(*bad)

    with calling({"work": work}) as caller:
        caller.call("work")


def test_current_is_refused_outside_of_a_method() -> None:
    with pytest.raises(UsageError, match="outside of a remote call"):
        current()


def test_a_callee_with_too_many_calls_refuses_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callee_module, "CALLS_MAX", 3)
    gate = threading.Event()
    with calling({"wait": gate.wait}, threads=1) as caller:
        futures = [caller.start("wait") for _ in range(3)]
        with pytest.raises(QueueFullError, match="'wait' was not run"):
            caller.call("wait")
        gate.set()
        assert [future.result(5) for future in futures] == [True] * 3


def test_a_callee_waits_for_what_the_caller_has_seen() -> None:
    reached = threading.Event()
    asked: list[tuple[int, int]] = []

    class Versions(NoVersions):
        def wait(self, pair: tuple[int, int], seconds: float) -> bool:
            asked.append(pair)
            return reached.wait(seconds)

    with calling({"add": add, "later": later}, versions=Versions()) as caller:

        def attempt(seconds: float) -> object:
            with pytest.raises(RpcTimeoutError) as caught:
                caller.call("add", (1,), pair=(3, 17), timeout=seconds)
            assert caught.value.outcome in ("not_applied", "unknown")  # whose clock was first
            return asked

        give_time(attempt)
        future = caller.start("add", (1, 2), pair=(3, 18))
        reached.set()
        assert future.result(5) == 3
        assert caller.call("later", (1,), pair=(3, 18)) == 1
        assert caller.call("later", (2,), pair=(3, 18)) == 2
        assert {(3, 17), (3, 18)} == set(asked)


@pytest.mark.parametrize("depth", [64, 70])
def test_a_method_that_calls_itself_without_end_is_refused(depth: int) -> None:
    with peers(Peer("a"), Peer("b", threads=1)) as (a, b):
        to_itself = b.connect_to(b)

        def down(left: int) -> int:
            found: int = 0 if left == 0 else 1 + to_itself.call("down", (left - 1,))
            return found

        b.serve(down=down)
        to_b = a.connect_to(b)
        if depth <= 64:
            assert to_b.call("down", (depth,)) == depth
        else:
            with pytest.raises(UsageError, match="does a method call itself"):
                to_b.call("down", (depth,))


@pytest.mark.parametrize("threads", [1, 4])
def test_circles_of_calls_do_not_starve(threads: int) -> None:
    everybody = [Peer(f"p{n}", threads=threads) for n in range(3)]
    with peers(*everybody):
        callers = [p.connect_to(everybody[(n + 1) % 3]) for n, p in enumerate(everybody)]

        def step(n: int) -> Callable[[int], int]:
            return lambda left: 0 if left == 0 else 1 + callers[n].call("step", (left - 1,))

        for n, peer in enumerate(everybody):
            peer.serve(step=step(n))
        futures = [caller.start("step", (8,)) for caller in callers for _ in range(20)]
        assert [future.result(20) for future in futures] == [8] * 60


def test_two_peers_call_each_other_a_hundred_times_at_once() -> None:
    with peers(Peer("a", threads=1), Peer("b", threads=1)) as (a, b):
        to_b, to_a = a.connect_to(b), b.connect_to(a)
        a.serve(leaf=add, back=lambda n: to_b.call("leaf", (n,)))
        b.serve(leaf=add, back=lambda n: to_a.call("leaf", (n,)))
        futures = [caller.start("back", (n,)) for n in range(100) for caller in (to_a, to_b)]
        assert [future.result(20) for future in futures[::2]] == [*range(100)]
        assert [future.result(20) for future in futures[1::2]] == [*range(100)]
        assert a.service.pool.threads <= 2
        assert b.service.pool.threads <= 2


def test_what_a_method_raises_after_its_cancel_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    begun = threading.Event()

    def slow() -> None:
        begun.set()
        until(lambda: current().cancelled)
        raise ValueError("too late")

    with calling({"slow": slow}) as caller:
        future = caller.start("slow")
        assert begun.wait(20)
        future.cancel()
        until(lambda: "too late" in caplog.text)
        assert "method=slow caller=here" in caplog.text


def test_stopping_while_methods_run_leaves_no_thread() -> None:
    begun, ended = list[str](), list[str]()

    async def task() -> None:
        begun.append("task")
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("task")

    def plain() -> None:
        begun.append("plain")
        until(lambda: current().cancelled)
        ended.append("plain")

    with calling({"task": task, "plain": plain}) as caller:
        for name in ("task", "plain"):
            caller.start(name)
        until(lambda: len(begun) == 2)
    assert sorted(ended) == ["plain", "task"]
    assert [t.name for t in threading.enumerate() if t.name.startswith("memsync-rpc")] == []


def test_a_call_over_a_link_that_is_down_was_not_run() -> None:
    with calling({"add": add}) as caller:
        assert caller.call("add", (1,)) == 1
        caller.link.close()
        until(lambda: caller.is_lost)
        with pytest.raises(PeerLostError, match="was not run") as caught:
            caller.call("add", (1,))
        assert caught.value.outcome == "not_applied"
