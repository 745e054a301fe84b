"""A process that has no descriptors left for a while, and files that were written to."""

from __future__ import annotations

import errno
import json
import logging
import os
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync, RendezvousError
from memsync.manager.folder.folder import ObjectFolder
from memsync.manager.transport import server
from memsync.testing import NAME, Cluster, Peer, until

from ..process_helpers import driver_of

pytestmark = pytest.mark.process


def use_all_descriptors(mem: MemSync[Any]) -> None:
    """Until `free_descriptors`; the limit is lowered first."""
    import os
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, hard))
    taken: list[int] = []
    mem.__dict__["taken"] = taken
    while len(taken) < 60:
        try:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return


def free_descriptors(mem: MemSync[Any]) -> None:
    import os

    for fd in mem.__dict__.pop("taken"):
        os.close(fd)


def until_out_of_a_role(peer: Peer) -> None:
    """It may have the next one already, for the end of the first has freed some."""
    until(lambda: "ulimit" in (peer.status()["reason"] or ""))


def test_a_lone_host_outlives_that_there_are_no_descriptors(cluster: Cluster) -> None:
    host = cluster.peer({"n": 1})
    host.run(use_all_descriptors)
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


def be_greedy(mem: MemSync[Any], seconds: float) -> None:
    """For so long, take each descriptor that becomes free; the limit is lowered first."""
    import os
    import resource
    import time

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, hard))
    taken, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            time.sleep(0.0001)
    for fd in taken:
        os.close(fd)


def test_a_lone_peer_outlives_that_each_descriptor_is_taken_from_it(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0})
    host.patch({"$inc": {"n": 1}})
    host.run(be_greedy, 3.0)
    host.patch({"$inc": {"n": 1}})
    assert cluster.peer().snapshot() == {"n": 2}


def test_a_client_outlives_it_while_its_host_dies(cluster: Cluster) -> None:
    host, client, other = cluster.start(3, {"n": 0})
    ticket = client.begin(be_greedy, 3.0)
    host.kill()
    other.patch({"$inc": {"n": 1}})
    client.result(ticket)
    client.patch({"$inc": {"n": 1}})
    assert cluster.settled([client, other]) == {"n": 2}


def test_a_lock_that_cannot_be_looked_at_again_is_given_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process held an epoch in which it did not host, so nobody could."""
    place = ObjectFolder(folder, NAME)

    def fails() -> int:
        raise RendezvousError("no descriptors")

    monkeypatch.setattr(place, "highest_epoch", fails)
    with pytest.raises(RendezvousError, match="no descriptors"):
        place.publish_lock(1, "ab", 1, "/x")
    assert ObjectFolder(folder, NAME).latest_epoch() is None


LIMITED = """
    import resource, sys
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), hard))
    from memsync import MemSync, RendezvousError
    mem = MemSync("obj", {"n": 0}, {"timeout": 5})
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
        said, errors = cluster.script(LIMITED, limit).communicate(timeout=10)
        assert "ulimit -n" in said or said == "host\n", errors


@pytest.mark.parametrize("content", [b"\x00\xff", b"", b"[]", b'{"protocol": "x"}'])
def test_a_held_lock_that_was_written_to_is_mended(
    cluster: Cluster, folder: Path, content: bytes
) -> None:
    host = cluster.peer({"n": 1})
    (lock,) = (folder / f"{NAME}.d").glob("epoch-*.lock")
    before = json.loads(lock.read_bytes())
    lock.write_bytes(content)
    assert cluster.peer().snapshot() == {"n": 1}
    assert json.loads(lock.read_bytes()) == before
    assert host.status()["epoch"] == before["epoch"]


def test_a_peer_file_that_was_written_to_is_mended(cluster: Cluster, folder: Path) -> None:
    client = cluster.start(2, {"n": 1})[1]
    path = folder / f"{NAME}.d" / f"peer-{client.run(lambda mem: mem.id)}.json"
    before = path.read_bytes()
    path.write_bytes(b"nonsense")
    until(lambda: path.read_bytes() == before)


@pytest.mark.parametrize("mode", [0o644, 0o660])
def test_a_key_that_others_may_read_is_refused(folder: Path, mode: int) -> None:
    with MemSync(NAME):
        pass
    (folder / "authkey").chmod(mode)
    with pytest.raises(RendezvousError, match=f"authkey may be read by others .mode {mode:o}.*600"):
        MemSync(NAME).start()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_key_of_somebody_else_is_refused(folder: Path) -> None:
    with MemSync(NAME):
        pass
    os.chown(folder / "authkey", 12345, -1)
    with pytest.raises(RendezvousError, match="authkey belongs to user 12345"):
        MemSync(NAME).start()
