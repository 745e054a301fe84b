"""`mem.once` and `mem.last_out` between processes that die."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync, once
from memsync.testing import Cluster, until

from ..process_helpers import log_to

pytestmark = pytest.mark.process


def run_once(mem: MemSync[Any], path: str, seconds: float) -> str:
    def work() -> str:
        log_to(path)(os.getpid())
        time.sleep(seconds)
        return f"by {os.getpid()}"

    return mem.once("warm_up", work)


def test_the_next_one_runs_it_if_the_process_dies_that_runs_it(
    cluster: Cluster, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.touch()
    victim, *others = cluster.start(4)
    victim.begin(run_once, str(log), 60)
    until(log.read_text)
    tickets = [peer.begin(run_once, str(log), 0) for peer in others]
    with MemSync(cluster.name) as mem:
        until(lambda: len(mem.locks()["memsync.once.warm_up"]["queue"]) == 3)
        victim.kill()
        results = {peer.result(ticket) for peer, ticket in zip(others, tickets, strict=True)}
        ran = log.read_text().split()
        assert len(ran) == 2
        assert ran[0] == str(victim.pid)
        assert results == {f"by {ran[1]}"}
        assert mem.once("warm_up", lambda: "again") in results


def test_the_result_outlives_the_host(cluster: Cluster, tmp_path: Path) -> None:
    host, other = cluster.start(2)
    result = host.run(run_once, str(tmp_path / "log"), 0)
    host.kill()
    assert other.run(run_once, str(tmp_path / "log"), 0) == result


SCRIPT = """
    import os, sys, threading
    from memsync import MemSync, once

    once._EXIT_PATIENCE = 30  # a busy machine may not run the host for seconds
    path = sys.argv[1]
    mem = MemSync("obj")
    mem.start()
    mem.last_out("tear_down", lambda: open(path, "a").write(f"{os.getpid()} {mem.snapshot()}\\n"))
    print("ready", flush=True)
    how = sys.stdin.readline().strip()
    if how == "stop":
        mem.stop()
    elif how == "raise":
        raise SystemExit(3)
"""


def test_the_end_of_a_process_is_a_leave_and_a_killed_one_drops_out(
    cluster: Cluster, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    with MemSync(cluster.name, {"n": 1}):
        programs = [cluster.script(SCRIPT, str(path)) for _ in range(4)]
        for program in programs:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
        killed, *others = programs
        for program, how in zip(others, ("stop", "return", "raise"), strict=True):
            if program is others[1]:
                killed.kill()
                killed.wait(20)
            assert not path.exists()
            program.communicate(f"{how}\n", timeout=60)
        assert path.read_text() == f"{others[2].pid} {{'n': 1}}\n"


def register(mem: MemSync[Any], path: str) -> None:
    vars(once)["_EXIT_PATIENCE"] = 30  # a busy machine may not run the host for seconds

    def leave() -> None:
        log_to(path)(os.getpid())

    mem.last_out("tear_down", leave)


@pytest.mark.parametrize("leaves", ["host", "client"])
def test_a_peer_that_was_killed_just_before_does_not_count(
    cluster: Cluster, tmp_path: Path, leaves: str
) -> None:
    host, client = cluster.start(2)
    last = host if leaves == "host" else client
    log = tmp_path / "log"
    for _ in range(2):
        (victim,) = cluster.start(1)
        for peer in (last, victim):
            peer.run(register, str(log))
        log.unlink(missing_ok=True)
        victim.kill()  # it has ended when this returns
        last.run(MemSync.stop)
        assert log.exists(), "the killed peer was taken for one that is still there"
        last.run(MemSync.start)
        if leaves == "host":
            host, client = client, host
            last = host
