"""`ping` while there is no host, or another one comes."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from memsync import HostUnresponsiveError, MemSync
from memsync.testing import NAME, Cluster, until

from ..process_helpers import LASTING, driver_of

pytestmark = pytest.mark.process


def seconds_of(call: Any) -> float:
    begin = time.monotonic()
    with pytest.raises(HostUnresponsiveError, match=r"did not answer within 0\.6 s: ") as caught:
        call()
    assert isinstance(caught.value.pid, int | None)
    return time.monotonic() - begin


def test_a_link_that_is_lost_is_no_answer_before_the_time_is_over(cluster: Cluster) -> None:
    """It said "within 0.6 s" after no time at all."""
    cluster.peer({"n": 0}, LASTING)
    with MemSync[Any](NAME) as mem:
        role = driver_of(mem).role
        assert role is not None
        cluster.pause()
        role._stream.lose("on purpose")  # type: ignore[attr-defined]
        assert 0.6 <= seconds_of(lambda: mem.ping(timeout=0.6)) < 10
        cluster.resume()


def test_a_peer_without_a_role_waits_for_the_next_host(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0}, LASTING)
    with MemSync[Any](NAME, options={"clientOnly": True}) as mem:
        host.kill()
        until(lambda: mem.get_status()["status"] == "starting")
        assert 0.6 <= seconds_of(lambda: mem.ping(timeout=0.6)) < 10
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(mem.ping(timeout=30)))
        thread.start()
        cluster.peer()
        thread.join(30)
        assert found[0]["connection"] == "client"
        assert found[0]["host"]["time"] < 30


def test_a_frozen_host_is_named(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0}, LASTING)
    with MemSync[Any](NAME) as mem:
        host.pause()
        with pytest.raises(HostUnresponsiveError, match=f"the host is process {host.pid}"):
            mem.ping(timeout=0.2)
        host.resume()


@pytest.mark.parametrize("engine", ["local", "memory"])
def test_a_ping_without_time_is_answered_or_refused(engine: str) -> None:
    with MemSync[Any](NAME, engine=engine) as mem:
        assert mem.ping(timeout=0)["connection"] == "host"
