"""An exception at any place of a call over a real road leaves handle and connection usable."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from memsync import MemSync, NotSerializableError, PeerLostError
from memsync.testing import until

from ..interrupts.injector import Foreign, Injection, Place, places_of
from ..interrupts.sample import every, sample

PLACES = 25  # of each use
TABLE = {"add": lambda a, b: a + b}


def call(mem: MemSync[Any]) -> None:
    assert mem.call("add", 1, 2, timeout=5) == 3


def connect_and_call(mem: MemSync[Any]) -> None:
    assert mem._peer.calls is not None
    mem._peer.calls._connections._connections.clear()  # the links stay open, for this test
    call(mem)


def submit(mem: MemSync[Any]) -> None:
    assert mem.rpc.submit("add", 1, 2).result(5) == 3


def run(mem: MemSync[Any], on: str = "any") -> None:
    with suppress(NotSerializableError):  # cloudpickle was interrupted
        assert mem.run(len, [1, 2], on=on, timeout=5) == 2


def call_itself(mem: MemSync[Any]) -> None:
    run(mem, mem.id)


USES = [call, connect_and_call, submit, run, call_itself]


def check(mem: MemSync[Any], what: str) -> None:
    """Calls of this thread and of another one are answered, and none is left."""
    results: list[Any] = []

    def use() -> None:
        try:
            results.append(mem.call("add", 3, 4, timeout=5))
        except PeerLostError:  # the interrupt broke the connection, and this call saw its end
            results.append(mem.call("add", 3, 4, timeout=5))

    thread = threading.Thread(target=use)
    use()
    thread.start()
    thread.join(10)
    assert results == [7, 7], what
    assert mem._peer.calls is not None
    connections = list(mem._peer.calls._connections._connections.values())
    callers = [each.caller for each in connections if each.caller is not None]
    until(lambda: not any(caller.calls for caller in callers), message=what)
    until(lambda: all(each.attempt is None for each in connections), message=what)


@pytest.mark.parametrize("engine", ["local", "memory"])
@pytest.mark.parametrize("use", USES)
def test_an_interrupted_call(engine: str, use: Callable[[MemSync[Any]], None]) -> None:
    choose = every if "EVERY_PLACE" in os.environ else sample(PLACES, seed=1)
    with MemSync("obj", rpc=TABLE, engine=engine), MemSync("obj", engine=engine) as mem:
        call(mem)
        found: Counter[Place] = Counter()
        for _ in range(3):
            found.update(places_of(lambda: use(mem)).keys())
        reached = 0
        for number, place in enumerate(choose(found)):
            error = (KeyboardInterrupt, Foreign)[number % 2]("injected")
            injection = Injection(place, error)
            injection.run(lambda: use(mem))
            reached += injection.has_come
            check(mem, f"{use.__name__} interrupted at {place}")
    assert reached


@pytest.mark.parametrize("engine", ["local", "memory"])
def test_an_interrupted_start_of_a_peer_with_methods(engine: str) -> None:
    mem: MemSync[Any] = MemSync("obj", rpc=TABLE, engine=engine)
    choose = every if "EVERY_PLACE" in os.environ else sample(PLACES, seed=2)
    with MemSync("obj", engine=engine) as other:

        def start() -> None:
            mem.start()

        found: Counter[Place] = Counter()
        for _ in range(3):
            found.update(places_of(start).keys())
            mem.stop()
        for number, place in enumerate(choose(found)):
            error = (KeyboardInterrupt, Foreign)[number % 2]("injected")
            injection = Injection(place, error)
            try:
                injection.run(start)
            except Exception as error:
                raise AssertionError(f"start() interrupted at {place}") from error
            if injection.was_raised and mem.get_status()["status"] == "stopped":
                until(lambda: not other.peers, message=f"start() interrupted at {place}")
            mem.start()
            assert other.call("add", 1, 2, timeout=5) == 3, place
            assert mem.call("add", 1, 2, timeout=5) == 3, place
            mem.stop()
