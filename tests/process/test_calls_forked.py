"""What was made for calls before a fork: in the child it works anew, or it fails at once."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync, RpcTimeoutError
from memsync.testing import Cluster, until

pytestmark = pytest.mark.process


def count() -> Iterator[int]:
    """A stream without an end."""
    yield from range(10**9)


def wait_for(path: Path) -> None:
    """A task that ends when there is such a file."""
    until(path.exists, 60)


METHODS: dict[str, Any] = {"pid": os.getpid, "count": count}


def in_fork(ask: Callable[[], Any]) -> Any:
    """What `ask` returns in a forked child, or the type and the text of what it raises."""
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def run() -> None:
        try:
            sender.send(ask())
        except BaseException as error:
            sender.send((type(error), str(error)))

    child = context.Process(target=run)
    child.start()
    try:
        assert receiver.poll(10), "the child hangs"
        return receiver.recv()
    finally:
        child.kill()
        child.join()
        child.close()
        receiver.close()
        sender.close()


@pytest.fixture(params=["local", "memory"])
def mem(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[MemSync[Any]]:
    """A handle; with the engine ``local``, another process has the methods as well."""
    if request.param == "local":
        cluster.peer(rpc=METHODS)

    def nap() -> None:
        while not handle.rpc.current().cancelled:
            time.sleep(0.01)

    methods = {**METHODS, "nap": nap}
    with MemSync(cluster.name, rpc=methods, engine=request.param) as handle:
        yield handle


class TestExecutor:
    def test_it_works_anew_in_the_child(self, mem: MemSync[Any]) -> None:
        with mem.executor(2) as executor:
            assert list(executor.map(abs, [-1, -2])) == [1, 2]
            found = in_fork(lambda: list(executor.map(abs, [-3, -4, -5])))
            assert found == [3, 4, 5]
            assert list(executor.map(abs, [-6])) == [6]

    def test_a_task_from_before_the_fork_fails_at_once(
        self, mem: MemSync[Any], tmp_path: Path
    ) -> None:
        go = tmp_path / "go"
        with mem.executor(1) as executor:
            called: list[Any] = []
            tasks = [executor.submit(wait_for, go) for _ in range(3)]
            tasks[2].add_done_callback(called.append)

            def ask() -> Any:
                done, _ = concurrent.futures.wait(tasks, timeout=5)
                return len(done), [type(task.exception()) for task in tasks], len(called)

            assert in_fork(ask) == (3, [RpcTimeoutError] * 3, 0)
            kind, text = in_fork(tasks[1].result)
            assert kind is RpcTimeoutError
            assert "before a fork" in text
            go.touch()
            assert [task.result() for task in tasks] == [None] * 3

    def test_one_that_was_shut_down_stays_so(self, mem: MemSync[Any]) -> None:
        executor = mem.executor(1)
        executor.shutdown()
        kind, text = in_fork(lambda: executor.submit(abs, -1))
        assert kind is RuntimeError
        assert "after shutdown" in text


class TestFutures:
    @pytest.mark.parametrize(
        "ask",
        [
            lambda future: future.result(),
            lambda future: future.result(timeout=9),
            lambda future: next(concurrent.futures.as_completed([future])).result(),
            lambda future: asyncio.run(awaited(future)),
        ],
        ids=["result", "timeout", "as_completed", "asyncio"],
    )
    def test_one_from_before_the_fork_fails_at_once(
        self, mem: MemSync[Any], ask: Callable[[Any], Any]
    ) -> None:
        future = mem.rpc.submit("nap")
        called: list[Any] = []
        future.add_done_callback(called.append)
        began = time.monotonic()
        kind, text = in_fork(lambda: ask(future))
        assert kind is RpcTimeoutError
        assert "'nap' was called before a fork" in text
        assert time.monotonic() - began < 5
        assert in_fork(lambda: (future.cancel(), future.done(), len(called))) == (False, True, 0)
        assert not future.done()
        assert future.cancel()

    def test_one_that_was_done_has_its_value(self, mem: MemSync[Any]) -> None:
        future = mem.rpc.submit("pid")
        pid = future.result()
        assert in_fork(future.result) == pid


def test_a_stream_from_before_the_fork_fails_at_once(mem: MemSync[Any]) -> None:
    with mem.call("count") as stream:
        assert next(stream) == 0
        kind, text = in_fork(lambda: next(stream))
        assert kind is RpcTimeoutError
        assert "'count' was called before a fork" in text
        assert in_fork(stream.close) is None
        assert next(stream) == 1


async def awaited(future: Any) -> Any:
    """The result of a future, in an event loop."""
    return await asyncio.wrap_future(future)


PROGRAM = '''
import os, signal, sys, threading, time
from memsync import MemSync

begun = threading.Event()

class Slowly:
    """Has the import of one module take long, while its lock is held."""

    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1] and not begun.is_set():
            begun.set()
            time.sleep(0.3)

def fail():
    raise KeyError("failed")

async def later():
    return 1

rpc = {"fail": fail, "later": later} if "mem.call" in sys.argv[2] else None

def use():
    try:
        found.append(eval(sys.argv[2]))
    except KeyError:
        found.append("raised")

found = []
with MemSync("imports", rpc=rpc, engine="memory") as mem:
    sys.meta_path.insert(0, Slowly())
    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    assert begun.wait(20), "the module was imported before"
    child = os.fork()
    if not child:
        signal.alarm(20)
        use()
        os._exit(not found)
    assert os.waitpid(child, 0)[1] == 0
    thread.join()
    assert found
'''


@pytest.mark.parametrize(
    ("module", "use"),
    [
        ("memsync.rpc.peer_calls", "mem.run(abs, -1)"),
        ("cloudpickle", "mem.run(lambda: 1)"),
        ("importlib.metadata._adapters", "mem.run(lambda: 1)"),
        ("asyncio", "mem.call('later')"),
        ("tblib", "mem.call('fail')"),
    ],
)
def test_a_fork_waits_for_what_another_thread_imports(module: str, use: str) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, module, use],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
