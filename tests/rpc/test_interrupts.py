"""An exception at any place of a call leaves both ends usable, and no call behind.

Each test interrupts a sample of the places of one use; with ``EVERY_PLACE=1`` in the environment it
takes all of them.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memsync.errors import RpcError
from memsync.rpc.caller import Caller
from memsync.rpc.stream import Stream
from memsync.testing import until

from ..interrupts.injector import Foreign, Injection, places_of
from ..interrupts.sample import every, sample
from .links import Peer, peers

PLACES = 25  # of each use


def add(a: int, b: int) -> int:
    return a + b


def fail() -> None:
    raise KeyError("fail")


def items() -> Iterator[int]:
    yield from range(20)


def call(caller: Caller) -> None:
    assert caller.call("add", (1, 2)) == 3


def call_a_failing_one(caller: Caller) -> None:
    with contextlib.suppress(KeyError):
        caller.call("fail")


def read_a_stream(caller: Caller) -> None:
    assert list(caller.call("items")) == [*range(20)]


def leave_a_stream(caller: Caller) -> None:
    with caller.call("items") as stream:
        next(stream)


def wait_for_a_future(caller: Caller) -> None:
    future = caller.start("add", (1, 2))
    future.add_done_callback(lambda done: None)
    concurrent.futures.wait([future], 5)
    assert future.result(5) == 3


def cancel_a_future(caller: Caller) -> None:
    future = caller.start("items")
    future.cancel()
    assert future.done()


USES = [
    call,
    call_a_failing_one,
    read_a_stream,
    leave_a_stream,
    wait_for_a_future,
    cancel_a_future,
]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_an_interrupted_use(use: Callable[[Caller], None]) -> None:
    methods = {"add": add, "fail": fail, "items": items}
    with peers(Peer("here"), Peer("there", methods)) as (here, there):
        caller = here.connect_to(there)
        places: Counter[Any] = Counter()
        for _ in range(3):
            places.update(list(places_of(lambda: use(caller))))
        is_all = os.environ.get("EVERY_PLACE")
        choose = every if is_all else sample(PLACES, seed=len(use.__name__))
        reached = 0
        for place in choose(places):
            if place.is_in(Stream.__del__):
                continue  # Python itself ignores what is raised in a finalizer
            injection = Injection(place, Foreign(str(place)))
            # A call that the interrupted thread has cancelled; and what loads a pickle may raise
            # anything, so it becomes an error that names it.
            with contextlib.suppress(concurrent.futures.CancelledError, RpcError):
                injection.run(lambda: use(caller))
            reached += injection.has_come
            assert caller.call("add", (1, 2), timeout=5) == 3, place
            until(lambda: caller.calls == there.callees[0].calls == 0, message=str(place))
        assert reached
        assert caller.link.error is None  # type: ignore[attr-defined]  # of a `MemoryLink`
