"""Calls under way everywhere, while the host is killed again and again."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from threading import Thread
from typing import Any, NamedTuple

import pytest

from memsync import MemSync, MemSyncError, PeerLostError, RpcTimeoutError
from memsync.testing import Cluster, until

pytestmark = pytest.mark.process

BUDGET = 5.0  # seconds of each call
TYPED = {PeerLostError.__name__, RpcTimeoutError.__name__}


class Outcomes(NamedTuple):
    """What the callers of one process have seen."""

    kinds: dict[str, int]  # "answered", or the class of the error
    longest: float  # seconds of a call
    wrong: int  # answers that belong to other calls
    hanging: int  # callers that did not end


def methods(mem: Callable[[], MemSync[Any]]) -> dict[str, Any]:
    """One method, which takes a moment and returns its argument."""

    def work(seconds: float, number: float) -> float:
        time.sleep(seconds)
        return number

    return {"work": work}


def call_for(mem: MemSync[Any], seconds: float, callers: int, pause: float) -> Outcomes:
    """Have threads call, one call after the other."""
    kinds: Counter[str] = Counter()
    durations, wrong = [0.0], [0]
    until_then = time.monotonic() + seconds

    def call() -> None:
        while time.monotonic() < until_then:
            number, began = random.random(), time.monotonic()
            try:
                answer = mem.call("work", random.uniform(0, pause), number, timeout=BUDGET)
                wrong[0] += answer != number
                kinds["answered"] += 1
            except MemSyncError as error:
                kinds[type(error).__name__] += 1
            durations.append(time.monotonic() - began)

    threads = [Thread(target=call, daemon=True) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(until_then + 2 * BUDGET - time.monotonic(), 0))
    hanging = sum(thread.is_alive() for thread in threads)
    return Outcomes(dict(kinds), max(durations), wrong[0], hanging)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("processes", "callers", "kills", "seconds"),
    [(5, 5, 2, 2.0), pytest.param(50, 20, 20, 11.0, marks=pytest.mark.slow)],
)
def test_each_call_is_answered_or_fails_in_time(
    cluster: Cluster, processes: int, callers: int, kills: int, seconds: float
) -> None:
    options = {"rpc": {"threads": callers}}
    cluster.start(processes, {"n": 0}, options, rpc=methods)
    pause = processes * callers / 500  # so that the machine keeps up
    tickets = {peer: peer.begin(call_for, seconds, callers, pause) for peer in list(cluster.peers)}
    killed = set()
    for _ in range(kills):
        began = time.monotonic()
        killed.add(cluster.kill_host())
        time.sleep(max(began + seconds / (kills + 1) - time.monotonic(), 0))
    kinds: Counter[str] = Counter()
    for peer, ticket in tickets.items():
        if peer in killed:
            continue
        outcomes = peer.result(ticket, timeout=seconds + BUDGET + 20)
        assert outcomes.longest < 2 * BUDGET  # a thread may wait for a processor, no call twice
        assert (outcomes.hanging, outcomes.wrong) == (0, 0)
        kinds.update(outcomes.kinds)
    assert set(kinds) <= {"answered", *TYPED}, kinds
    assert kinds["answered"] > 0.8 * sum(kinds.values())
    until(lambda: len(cluster.host().run(lambda mem: mem.peers)) == processes - kills - 1)
    print(kinds)
