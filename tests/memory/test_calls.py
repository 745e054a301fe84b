"""Calls with each engine: the face, the choice of the peer, and what belongs to which handle."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, wait
from functools import partial
from typing import Any

import pytest

from memsync import (
    MemSync,
    NoSuchMethodError,
    NotSerializableError,
    NotStartedError,
    PeerLostError,
    ReadOnlyError,
    RpcTimeoutError,
    UsageError,
    leaver,
)
from memsync.rpc.choice import Choice
from memsync.rpc.context import current
from memsync.rpc.request import Request
from memsync.testing import until
from tests.rpc.links import give_time

TABLE = {"math": {"add": lambda a, b: a + b}, "echo": lambda *args, **kwargs: [args, kwargs]}


@pytest.fixture
def pair(engine: str) -> Iterator[tuple[MemSync[Any], MemSync[Any]]]:
    """A peer with methods, and one without."""
    with (
        MemSync("obj", {"n": 0}, rpc=TABLE, engine=engine) as worker,
        MemSync("obj", engine=engine) as client,
    ):
        yield worker, client


Pair = tuple[MemSync[Any], MemSync[Any]]


def test_the_value_itself_is_the_result(pair: Pair) -> None:
    for mem in pair:
        assert mem.call("math.add", 1, b=2) == 3
        assert mem.call_all("math.add", 2, 2) == {pair[0].id: 4}
        assert mem.rpc.submit("math.add", 1, 1).result(5) == 2
        assert mem.run(lambda n: n * n, 7) == 49


def test_methods_with_arguments_like_those_of_the_call(pair: Pair) -> None:
    _, client = pair
    found = client.rpc.call("echo", (1,), {"peer": "a", "timeout": None, "name": 2})
    assert found == [(1,), {"peer": "a", "timeout": None, "name": 2}]
    assert client.call("echo", name="x") == [(), {"name": "x"}]


def test_arguments_that_json_does_not_have(pair: Pair) -> None:
    _, client = pair
    assert client.call("echo", {1}, b"x") == [({1}, b"x"), {}]
    with pytest.raises(NotSerializableError):
        client.call("echo", threading.Lock())


def test_nobody_has_the_method(pair: Pair) -> None:
    for mem in pair:
        for call in (mem.call, mem.call_all, mem.rpc.call, mem.rpc.submit):
            with pytest.raises(NoSuchMethodError, match="did you mean 'echo'"):
                call("ecko")
        with pytest.raises(NoSuchMethodError, match=r"the methods are echo, math\.add"):
            mem.call("nothing")
        with pytest.raises(NoSuchMethodError, match=f"peer {pair[1].id} has no method"):
            mem.call("echo", peer=pair[1].id)
        with pytest.raises(PeerLostError, match="nothing was run") as caught:
            mem.call("echo", peer="0123456789abcdef")
        assert caught.value.outcome == "not_applied"


def test_wrong_arguments_are_named(pair: Pair) -> None:
    mem: Any = pair[1]
    wrong: list[Callable[[], Any]] = [
        lambda: mem.call(5),
        lambda: mem.call(""),
        lambda: mem.call("echo", timeout="5"),
        lambda: mem.call("echo", peer=5),
        lambda: mem.rpc.call("echo", "text"),
        lambda: mem.rpc.call("echo", (), [1]),
        lambda: mem.run("echo"),
        lambda: mem.run(len, [], on=5),
        lambda: mem.executor(0),
        lambda: mem.executor(True),
        lambda: mem.rpc.publish("a b", len),
        lambda: mem.rpc.publish("x", 5),
        lambda: mem.rpc.current(),
    ]
    for call in wrong:
        with pytest.raises(UsageError):
            call()


@pytest.mark.parametrize("rpc", [{"a": 5}, {"a b": len}, {5: len}, {"": len}, [len]])
def test_a_wrong_table_is_refused(engine: str, rpc: Any) -> None:
    with pytest.raises(UsageError):
        MemSync("obj", rpc=rpc, engine=engine)


def test_before_the_start_and_after_the_stop(engine: str) -> None:
    mem = MemSync("obj", rpc=TABLE, engine=engine)
    for _ in range(2):
        for call in (
            lambda: mem.call("echo"),
            lambda: mem.call_all("echo"),
            lambda: mem.run(len, []),
            lambda: mem.rpc.publish("x", len),
            lambda: mem.rpc.submit("echo"),
            lambda: mem.executor(),
        ):
            with pytest.raises(NotStartedError):
                call()
        with mem:
            assert mem.call("math.add", 1, 2) == 3
            assert mem.run(len, [1]) == 1


def test_others_come_first_and_take_turns(engine: str) -> None:
    handles: list[MemSync[Any]] = []
    for number in range(3):
        handles.append(MemSync("obj", rpc={"who": lambda n=number: n}, engine=engine))
    try:
        for handle in handles:
            handle.start()
        assert {handles[0].call("who") for _ in range(6)} == {1, 2}
        assert sorted(handles[0].call_all("who").values()) == [0, 1, 2]
        assert handles[0].call("who", peer=handles[0].id) == 0
        handles[1].stop()
        assert {handles[0].call("who") for _ in range(3)} == {2}
        handles[2].stop()
        assert handles[0].call("who") == 0
    finally:
        for handle in handles:
            handle.stop()


def test_the_least_busy_one_is_called(engine: str) -> None:
    free = threading.Event()
    table = {"wait": lambda: free.wait(10), "who": lambda: threading.current_thread().name}
    with (
        MemSync("obj", rpc=table, engine=engine) as one,
        MemSync("obj", rpc=table, engine=engine) as other,
        MemSync("obj", engine=engine) as client,
    ):
        busy = [client.rpc.submit("wait", peer=one.id) for _ in range(3)]
        asked = [client.rpc.submit("wait") for _ in range(3)]
        assert client._peer.calls is not None
        connections = client._peer.calls._connections
        assert (connections.calls(one.id), connections.calls(other.id)) == (3, 3)
        free.set()
        assert all(future.result(5) for future in busy + asked)


def test_generators_are_streams(engine: str) -> None:
    closed = []

    def count(stop: int) -> Iterator[int]:
        try:
            yield from range(stop)
        finally:
            closed.append(stop)

    with (
        MemSync("obj", rpc={"count": count}, engine=engine),
        MemSync("obj", engine=engine) as mem,
    ):
        assert list(mem.call("count", 100)) == [*range(100)]
        with mem.call("count", 10**9) as stream:
            assert [next(stream) for _ in range(50)] == [*range(50)]
        until(lambda: closed == [100, 10**9])


def test_progress_and_cancel(engine: str) -> None:
    seen, begun = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        current = mem.rpc.current()
        current.progress(1, 2, "half")
        while True:
            try:
                current.check()
            except CancelledError:
                seen.set()
                raise
            time.sleep(0.005)

    async def sleep() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.set()
            raise

    table = {"work": work, "sleep": sleep}
    with MemSync("obj", rpc=table, engine=engine), MemSync("obj", engine=engine) as mem:
        for name in table:
            seen.clear()
            begun.clear()
            future = mem.rpc.submit(name)
            assert begun.wait(5)
            assert future.cancel()
            assert seen.wait(5)
        seen.clear()
        begun.clear()

        def attempt(seconds: float) -> bool:
            with pytest.raises(RpcTimeoutError):
                mem.call("work", timeout=seconds)
            return begun.is_set()

        give_time(attempt)
        assert seen.wait(5)


def test_the_budget_goes_down_the_chain(engine: str) -> None:
    def outer() -> float:
        left: float = mem.call("inner")
        return left

    def inner() -> float:
        left = mem.rpc.current().remaining()
        assert left is not None
        return left

    table = {"outer": outer, "inner": inner}
    with MemSync("obj", rpc=table, engine=engine) as mem, MemSync("obj", engine=engine) as client:
        assert 0 < client.call("outer", timeout=25) <= 25  # it would be 30 otherwise


def test_published_functions(pair: Pair) -> None:
    worker, client = pair
    version = client.rpc.publish("math.add", lambda a, b: "published")
    assert client.version >= version
    client.rpc.publish("area.square", lambda n: n * n)
    assert worker.call("area.square", 5) == 25
    assert set(client.call_all("area.square", 2)) == {worker.id, client.id}
    assert client.call("math.add", 1, 2) == 3  # that of the table comes first
    client.rpc.publish("area.square", lambda n: -n)
    assert worker.call("area.square", 5) == -5
    worker.rpc.unpublish("area.square")
    worker.rpc.unpublish("area.square")
    with pytest.raises(NoSuchMethodError):
        client.call("area.square", 5)


def test_readers_call_and_offer_but_do_not_publish(engine: str) -> None:
    reader: dict[str, Any] = {"peer": {"roles": []}}
    with (
        MemSync("obj", engine=engine) as writer,
        MemSync("obj", None, reader, rpc={"one": lambda: 1}, engine=engine) as mem,
    ):
        assert writer.call("one") == mem.call("one") == 1
        assert mem.run(len, [1, 2], on=writer.id) == 2
        assert writer.run(len, [1], on=mem.id) == 1
        with pytest.raises(ReadOnlyError):
            mem.rpc.publish("x", len)


def test_peers_show_the_methods(pair: Pair) -> None:
    worker, client = pair
    assert [peer["methods"] for peer in client.peers] == [["math.add", "echo"]]
    assert [peer["methods"] for peer in worker.peers] == [[]]


def test_a_call_sees_what_the_caller_has_seen(engine: str) -> None:
    worker: MemSync[Any] = MemSync(
        "obj", {"n": 0}, rpc={"read": lambda: worker.data["n"]}, engine=engine
    )
    with worker, MemSync("obj", engine=engine) as mem:
        for number in range(1, 200):
            mem.patch({"$set": {"n": number}})
            assert mem.call("read") == number


class TestHandles:
    """Methods belong to the handle that was given them."""

    def test_they_go_with_it_while_copies_stay(
        self, engine: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leaver, "STAY", 0.05)
        with MemSync("obj", engine=engine) as other:
            mem = MemSync("obj", rpc={"one": lambda: 1}, engine=engine)
            mem.start()
            copy = pickle.loads(pickle.dumps(mem))
            assert copy.id == mem.id
            assert other.call("one") == copy.call("one") == 1
            mem.stop()
            with pytest.raises(NoSuchMethodError):
                other.call("one")
            with pytest.raises(NoSuchMethodError):
                copy.call("one")
            assert other.run(len, [], on=copy.id) == 0
            mem.start()
            assert copy.id == mem.id
            assert other.call("one") == copy.call("one") == 1
            mem.stop()
            copy.stop()

    def test_a_method_may_stop_its_handle(self, engine: str) -> None:
        mem: MemSync[Any] = MemSync("obj", rpc={"stop": lambda: mem.stop()}, engine=engine)
        mem.start()
        with MemSync("obj", engine=engine) as other:
            with pytest.raises(PeerLostError):
                other.call("stop")
            until(lambda: mem.get_status()["status"] == "stopped")

    def test_a_callback_may_call(self, pair: Pair) -> None:
        worker, client = pair
        results: list[Any] = []
        client.on("received_patches", lambda _: results.append(client.call("math.add", 1, 1)))
        worker.patch({"$inc": {"n": 1}})
        until(lambda: results == [2])

    def test_callbacks_of_futures_run_on_the_dispatcher(self, pair: Pair) -> None:
        names: list[str] = []
        future = pair[1].rpc.submit("math.add", 1, 1)
        future.add_done_callback(lambda _: names.append(threading.current_thread().name))
        until(lambda: names == ["memsync-dispatch"])
        futures = [pair[1].rpc.submit("math.add", n, 0) for n in range(20)]
        assert wait(futures, timeout=5).not_done == set()


class TestExecutor:
    def test_results_errors_and_order(self, pair: Pair) -> None:
        with pair[1].executor(4) as executor:
            assert list(executor.map(pow, range(20), [2] * 20)) == [n * n for n in range(20)]
            assert list(executor.map(abs, range(-9, 0), chunksize=4)) == [*range(9, 0, -1)]
            future = executor.submit(int, "x")
            with pytest.raises(ValueError, match="invalid literal"):
                future.result(5)
            with pytest.raises(NotSerializableError):
                executor.submit(len, threading.Lock()).result(5)
        with pytest.raises(RuntimeError):
            executor.submit(len, [])

    def test_tasks_that_wait_can_be_cancelled(self, pair: Pair) -> None:
        _gate.clear()
        executor = pair[1].executor(1)
        first = executor.submit(_wait_at_the_gate)
        until(first.running)
        others = [executor.submit(time.sleep, 0) for _ in range(5)]
        assert others[-1].cancel()
        executor.shutdown(wait=False, cancel_futures=True)
        assert all(other.cancelled() for other in others[1:])
        assert not first.done()
        _gate.set()
        executor.shutdown()
        assert first.done()

    def test_as_the_executor_of_asyncio(self, pair: Pair) -> None:
        async def main() -> int:
            with pair[1].executor() as executor:
                return await asyncio.get_running_loop().run_in_executor(executor, pow, 2, 5)

        assert asyncio.run(main()) == 32


def test_call_all_in_a_method_belongs_to_its_call(engine: str) -> None:
    """Also where it connects first: with one thread each, two peers call each other."""
    handles: list[MemSync[Any]] = []

    def table(number: int) -> dict[str, Any]:
        return {"nothing": int, "all": lambda: handles[number].call_all("nothing")}

    options = {"rpc": {"threads": 1}}
    with (
        MemSync("obj", {}, options, rpc=table(0), engine=engine) as first,
        MemSync("obj", options=options, rpc=table(1), engine=engine) as second,
        MemSync("obj", engine=engine) as client,
    ):
        handles += (first, second)
        ids = (first.id, second.id)
        assert client.call_all("all", timeout=10) == dict.fromkeys(ids, dict.fromkeys(ids, 0))


_begun, _cancelled, _gate = threading.Event(), threading.Event(), threading.Event()


def _wait_at_the_gate() -> None:
    """As below."""
    assert _gate.wait(20)


def _wait_for_the_cancel() -> None:
    """A task; pickled by its name, so it shares the events of this process."""
    _begun.set()
    until(lambda: current().cancelled, timeout=20)
    _cancelled.set()


def test_an_executor_in_a_method_belongs_to_its_call(engine: str) -> None:
    _begun.clear()
    _cancelled.clear()

    def method() -> None:
        with first.executor(1) as executor:
            executor.submit(_wait_for_the_cancel).result(20)

    with (
        MemSync("obj", rpc={"method": method}, engine=engine) as first,
        MemSync("obj", engine=engine) as client,
    ):
        future = client.rpc.submit("method", timeout=30)
        assert _begun.wait(10)
        future.cancel()
        assert _cancelled.wait(10)


def test_call_all_has_what_a_method_exits_with(engine: str) -> None:
    def leave() -> None:
        raise SystemExit(3)

    with (
        MemSync("obj", rpc={"end": leave}, engine=engine) as first,
        MemSync("obj", rpc={"end": lambda: 5}, engine=engine) as second,
        MemSync("obj", engine=engine) as client,
    ):
        for _ in range(2):  # the first one connects
            found = client.call_all("end")
            assert found[second.id] == 5
            assert type(found[first.id]) is SystemExit


def test_messages_name_each_method_once_and_say_how_many_there_are(engine: str) -> None:
    methods = {f"m{number:02}": int for number in range(25)}
    with (
        MemSync("obj", rpc=methods, engine=engine) as mem,
        MemSync("obj", rpc={"m00": int}, engine=engine) as other,
    ):
        other.rpc.publish("m01", abs)
        named = ", ".join(f"m{number:02}" for number in range(20))
        for call in (mem.call, lambda name: mem.call(name, peer=mem.id)):
            with pytest.raises(NoSuchMethodError, match=f"the methods are {named} and 5 more$"):
                call("qqqq")


def test_wrong_names_of_peers_and_publications_are_refused(pair: Pair) -> None:
    mem: Any = pair[1]
    wrong: list[Callable[[], Any]] = [
        lambda: mem.call("echo", peer=""),
        lambda: mem.run(abs, -1, on=""),
        lambda: mem.rpc.unpublish(5),
        lambda: mem.rpc.unpublish("a b"),
    ]
    for call in wrong:
        with pytest.raises(UsageError):
            call()


def test_without_pickles_the_argument_is_named(engine: str) -> None:
    options: Any = {"rpc": {"pickles": False}, "engine": engine}
    with MemSync("obj", {}, options, rpc=TABLE) as mem:
        with pytest.raises(NotSerializableError, match=r"^in the call of 'echo', argument 2: a"):
            mem.call("echo", 1, {2})
        with pytest.raises(NotSerializableError, match=r"^in the call of 'echo', x\.a: a value"):
            mem.call("echo", x={"a": {2}})


def test_equal_peers_take_equal_turns() -> None:
    names = ["own", "a", "b", "c"]
    handles = [MemSync("turns", rpc={"who": partial(str, name)}, engine="memory") for name in names]
    with contextlib.ExitStack() as stack:
        own, *_ = [stack.enter_context(handle) for handle in handles]
        found = [own.call("who") for _ in range(12)]
    assert {name: found.count(name) for name in names} == {"own": 0, "a": 4, "b": 4, "c": 4}


def test_a_peer_that_loads_no_pickles_is_named() -> None:
    plain = MemSync("strict", rpc={"own": int}, engine="memory")
    strict = MemSync("strict", {}, {"rpc": {"pickles": False}}, rpc={"who": str}, engine="memory")
    with plain, strict:
        plain.rpc.publish("pid", os.getpid)
        message = f"peer {strict.id} cannot run %s, as rpc.pickles is false there: set it to true"
        with pytest.raises(NoSuchMethodError, match=message % "functions of others"):
            plain.run(os.getpid, on=strict.id)
        with pytest.raises(NoSuchMethodError, match=message % "the published 'pid'"):
            plain.call("pid", peer=strict.id)
        with pytest.raises(NoSuchMethodError, match="has no method 'own'"):
            plain.call("own", peer=strict.id)
        assert plain.call("who", peer=strict.id) == ""
        assert plain.run(os.getpid, on=plain.id) == os.getpid()


def test_an_attempt_that_may_have_run_decides_the_error(pair: Pair) -> None:
    connections: Any = None  # there is nobody to connect to
    choice = Choice(pair[1]._participating(), connections)
    request = Request("unknown", (), None, timeout=5, default=5)
    request.failed = {
        "a": PeerLostError("it died", outcome="unknown"),
        "b": PeerLostError("it was dead before", outcome="not_applied"),
    }
    with pytest.raises(PeerLostError, match="it died"):
        choice.target(request, None)
    del request.failed["a"]
    with pytest.raises(NoSuchMethodError):
        choice.target(request, None)
