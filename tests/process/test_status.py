"""What `get_status` says at every moment, for whoever has to find out at night what is wrong."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync, RendezvousError
from memsync.testing import NAME, PATIENCE, Cluster, until

from ..process_helpers import driver_of

pytestmark = pytest.mark.process

FACTS = {"status", "id", "epoch", "version", "pending", "peers", "host"}
MORE = {"since", "reason", "handing_over", "storage", "server"}
HOST_FACTS = {"id", "pid", "address", "started", "connections", "since"}


def test_the_status_has_the_same_facts_before_during_and_after() -> None:
    mem = MemSync[Any](NAME, {"n": 0})
    never = mem.get_status()
    begin = time.time()
    with mem:
        running = mem.get_status()
        mem.patch({"$inc": {"n": 1}})
        version = mem.version
    stopped = mem.get_status()
    for status in (never, running, stopped):
        assert status.keys() == FACTS | MORE
    assert (never["status"], never["host"], never["id"], never["since"]) == (
        "stopped",
        None,
        None,
        None,
    )
    assert (running["status"], running["epoch"], running["reason"]) == ("host", 1, None)
    assert running["host"].keys() == HOST_FACTS
    assert running["host"]["id"] == running["id"]
    assert begin - 0.01 <= running["host"]["since"] <= running["since"] <= stopped["since"]
    assert (stopped["status"], stopped["host"], stopped["reason"]) == ("stopped", None, "stopped")
    assert stopped["version"] == version


def test_the_status_is_a_copy() -> None:
    mem = MemSync[Any](NAME)
    mem.get_status()["status"] = "changed"
    assert mem.get_status()["status"] == "stopped"


def test_a_client_names_its_host_and_since_when_it_reigns(cluster: Cluster) -> None:
    host, client = cluster.start(2)
    until(lambda: host.status()["host"]["connections"] == 1)
    said, seen = host.status(), client.status()
    assert seen["status"] == "client"
    assert seen["host"] == said["host"]
    assert seen["host"]["pid"] == host.pid
    assert (seen["peers"], said["peers"]) == (1, 1)


def test_who_starts_says_so_and_has_no_host(cluster: Cluster) -> None:
    lonely = cluster.peer(options={"clientOnly": True, "timeout": 60}, start=False)
    ticket = lonely.begin(MemSync.start)
    until(lambda: lonely.status()["status"] == "starting")
    status = lonely.status()
    assert (status["host"], status["version"], status["peers"]) == (None, 0, 0)
    assert status["id"] is not None
    cluster.peer()
    assert lonely.result(ticket) == "client"
    assert lonely.status()["status"] == "client"


def test_who_has_lost_its_host_says_why_and_what_is_pending(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0})
    client = cluster.peer(options={"clientOnly": True})
    host.kill()
    until(lambda: client.status()["status"] == "starting")
    client.run(lambda mem: mem.submit({"$inc": {"n": 1}}) and None)
    status = client.status()
    assert (status["host"], status["pending"]) == (None, 1)
    assert status["reason"]
    cluster.peer()
    until(lambda: client.status()["status"] == "client")
    until(lambda: client.status()["pending"] == 0)


def test_a_host_that_was_replaced_says_so(cluster: Cluster) -> None:
    host, client = cluster.start(2, {"n": 0})  # a short lease may depose the next one as well
    host.pause()
    client.run(lambda mem: mem.patch({"$inc": {"n": 1}}, timeout=15))
    host.signal(signal.SIGCONT)
    status = until(lambda: (s := host.status())["status"] == "client" and s)
    assert status["reason"] == "deposed"
    assert status["host"]["pid"] == client.pid


def test_a_start_that_failed_leaves_the_status_as_it_was(folder: Path) -> None:
    (folder / "authkey").write_bytes(b"too short")
    mem = MemSync[Any](NAME)
    with pytest.raises(RendezvousError):
        mem.start()
    assert mem.get_status()["status"] == "stopped"
    assert mem.get_status()["host"] is None


def test_the_status_waits_for_nobody_who_reads_or_writes() -> None:
    found: list[dict[str, Any]] = []
    with MemSync[Any](NAME) as mem:
        thread = threading.Thread(target=lambda: found.append(mem.get_status()))
        with driver_of(mem).participant.guard:  # as for a snapshot of a big object
            thread.start()
            thread.join(PATIENCE)
            assert found, "get_status() waits for the guard"
    assert found[0]["status"] == "host"
