"""A process that has no descriptors left for a while."""

from __future__ import annotations

import errno
import logging
import os
from multiprocessing.connection import Connection
from typing import Any

import pytest

from memsync import MemSync
from memsync.manager.transport import server
from memsync.testing import NAME, Cluster, Peer, until

from ..process_helpers import driver_of

pytestmark = pytest.mark.process


def use_all_descriptors(mem: MemSync[Any]) -> None:
    """Until `free_descriptors`; the limit is lowered first."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, hard))
    taken: list[int] = mem.__dict__.setdefault("taken", [])
    while len(taken) < 60:
        try:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return


def free_descriptors(mem: MemSync[Any]) -> None:
    for fd in mem.__dict__.pop("taken"):
        os.close(fd)


def until_out_of_a_role(peer: Peer) -> None:
    """It may have the next one already, for the end of the first has freed some.

    Another thread may free a descriptor at any time, and one suffices for the role: take it, too.
    """

    def is_out() -> bool:
        peer.run(use_all_descriptors)
        return "ulimit" in (peer.status()["reason"] or "")

    until(is_out)


def test_a_lone_host_outlives_that_there_are_no_descriptors(cluster: Cluster) -> None:
    host = cluster.peer({"n": 1})
    until_out_of_a_role(host)
    host.run(free_descriptors)
    host.patch({"$inc": {"n": 1}})
    assert cluster.peer().snapshot() == {"n": 2}


@pytest.mark.parametrize("who", ["host", "client"])
def test_a_peer_without_descriptors_is_waited_for_by_nobody(cluster: Cluster, who: str) -> None:
    first, second, third = cluster.start(3, {"n": 0})
    short = {"host": first, "client": second}[who]
    short.run(use_all_descriptors)
    third.patch({"$inc": {"n": 1}})
    until_out_of_a_role(short)
    third.patch({"$inc": {"n": 1}})
    short.run(free_descriptors)
    short.patch({"$inc": {"n": 1}})
    assert cluster.settled() == {"n": 3}


LIMITED = """
    import resource, sys
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), hard))
    from memsync import MemSync, RendezvousError
    mem = MemSync("obj", {"n": 0}, {"timeout": 30})
    try:
        print(mem.start(), flush=True)
    except RendezvousError as error:
        print(error, flush=True)
    else:
        for line in sys.stdin:
            print(mem.patch({"$inc": {"n": 1}}), flush=True)
        mem.stop()
"""


def test_a_host_accepts_again_after_a_shortage_and_warns_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept = server.MemSyncServer._accept
    failures: list[server.MemSyncServer] = []

    def scarce(self: server.MemSyncServer) -> Connection:
        if len(failures) < 3:
            failures.append(self)
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(self)

    with MemSync(NAME, {"n": 0}):
        monkeypatch.setattr(server.MemSyncServer, "_accept", scarce)
        cluster.peer(options={"timeout": 10}).patch({"$inc": {"n": 1}})
    warnings = [each for each in caplog.records if "could not be accepted" in each.getMessage()]
    assert [each.levelname for each in warnings if each.levelno >= logging.WARNING] == ["WARNING"]
    assert "ulimit -n" in warnings[0].getMessage()


def test_a_peer_waits_for_a_descriptor_for_less_than_the_lease() -> None:
    with MemSync[Any](NAME, {}, {"network": {"lease": 0.3}}) as mem:
        assert 0 < driver_of(mem).platform.files.patience < 0.3


def test_a_start_without_descriptors_says_so(cluster: Cluster) -> None:
    for limit in ("10", "13", "14"):
        said, errors = cluster.script(LIMITED, limit).communicate(timeout=60)
        assert "ulimit -n" in said or said == "host\n", errors
