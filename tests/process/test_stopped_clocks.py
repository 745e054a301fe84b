"""Programs whose tests stop or set the clock: the deadlines of memsync end all the same."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import freezegun
import pytest
import time_machine

from memsync import MemSync, WaitTimeoutError, WriteTimeoutError
from memsync.errors import ConflictError
from memsync.testing import NAME, Cluster, until

pytestmark = pytest.mark.process

Stopped = Callable[[], AbstractContextManager[Any]]

CLOCKS: dict[str, Stopped] = {
    "freezegun": lambda: freezegun.freeze_time("2012-01-14"),
    "freezegun, later": lambda: freezegun.freeze_time("2099-01-14"),
    "freezegun, ticking": lambda: freezegun.freeze_time("2012-01-14", auto_tick_seconds=900),
    "time-machine": lambda: time_machine.travel(0, tick=False),
    "time-machine, later": lambda: time_machine.travel(4_000_000_000, tick=True),
}


@pytest.fixture(params=CLOCKS)
def stopped(request: pytest.FixtureRequest) -> Stopped:
    return CLOCKS[request.param]


def times_out(call: Callable[[], object], error: type[Exception], seconds: float) -> None:
    """The call raises the error after its time, on the clock of the system."""
    begin = time.clock_gettime(time.CLOCK_MONOTONIC)
    with pytest.raises(error):
        call()
    assert seconds <= time.clock_gettime(time.CLOCK_MONOTONIC) - begin < seconds + 10


@pytest.mark.parametrize("engine", ["local", "memory"])
def test_what_waits_ends_at_its_deadline(stopped: Stopped, engine: str) -> None:
    with stopped(), MemSync[Any](NAME, {"n": 0}, engine=engine) as mem:
        assert mem.patch({"$inc": {"n": 1}}, timeout=5) == mem.version
        times_out(lambda: mem.wait_for({"n": 5}, timeout=0.2), WaitTimeoutError, 0.2)
        times_out(lambda: mem.wait_for(lambda d: False, timeout=0.2), WaitTimeoutError, 0.2)
        assert mem.ping(timeout=1)["host"] == {"time": 0.0}

        def always_late(draft: Any) -> None:
            read = draft["n"]
            mem.patch({"$inc": {"n": 1}}, timeout=5)
            draft["n"] = read + 1

        with pytest.raises((ConflictError, WriteTimeoutError)):  # the latter on a busy machine
            mem.transact(always_late, timeout=0.2)


def test_a_client_and_its_host_agree_although_only_one_clock_stands(
    cluster: Cluster, stopped: Stopped
) -> None:
    host = cluster.peer({"n": 0})
    with stopped(), MemSync[Any](NAME) as mem:
        mem.patch({"$inc": {"n": 1}}, timeout=5)
        assert mem.submit({"$inc": {"n": 1}}).result(timeout=5) == mem.version
        assert 0 < mem.ping(timeout=5)["host"]["time"] < 5
        host.pause()
        write = {"$inc": {"n": 1}}
        times_out(lambda: mem.patch(write, timeout=0.3), WriteTimeoutError, 0.3)
        host.resume()
        until(lambda: host.snapshot() == {"n": 3})


def test_a_host_that_dies_is_replaced_while_the_clock_stands(
    cluster: Cluster, stopped: Stopped
) -> None:
    cluster.peer({"n": 0}, {"network": {"lease": 0.5}})
    with stopped(), MemSync[Any](NAME) as mem:
        cluster.kill_host()
        mem.patch({"$inc": {"n": 1}}, timeout=20)
        assert mem.get_status()["status"] == "host"


def test_the_heart_of_a_host_does_not_stop(folder: Path, stopped: Stopped) -> None:
    with stopped(), MemSync[Any](NAME, {"n": 0}, {"network": {"lease": 0.5}}) as mem:
        lock = folder / f"{NAME}.d" / f"epoch-{mem.epoch}.lock"
        beats = {lock.stat().st_mtime_ns}

        def has_beaten() -> bool:
            beats.add(lock.stat().st_mtime_ns)
            return len(beats) >= 4

        until(has_beaten)


def test_a_clock_that_stood_before_the_import_stops_nothing() -> None:
    program = textwrap.dedent("""
        import freezegun
        with freezegun.freeze_time("2012-01-14"):
            from memsync import MemSync, WaitTimeoutError
            with MemSync("early", {"n": 0}) as mem, MemSync("early") as client:
                client.patch({"$inc": {"n": 1}}, timeout=5)
                for each in (mem, client):
                    try:
                        each.wait_for({"n": 7}, timeout=0.1)
                    except WaitTimeoutError:
                        print("late")
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["late", "late"], done.stderr


def test_a_stopped_clock_does_not_lose_against_others(cluster: Cluster) -> None:
    """A write of a peer whose clock stands in the past is not older than what it has not seen."""
    peer = cluster.peer({"n": 0})
    with freezegun.freeze_time("2012-01-14"), MemSync[Any](NAME) as mem:
        begin = mem.version
        for number in range(1, 21):
            peer.run(lambda other, n: other.patch({"$set": {"n": n}}), number)
            mem.patch({"$set": {"n": -number}}, timeout=5)
        assert mem.version == begin + 40
