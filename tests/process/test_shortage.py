"""A process that has no descriptors left for a while, and files that were written to."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path

import pytest

from memsync import MemSync, RendezvousError
from memsync.manager.folder import ObjectFolder
from memsync.testing import NAME, Cluster, Peer, until

pytestmark = pytest.mark.process


def use_all_descriptors(mem) -> None:
    """Until `free_descriptors`; the limit is lowered first."""
    import os
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, hard))
    mem.__dict__["taken"] = taken = []
    while len(taken) < 60:
        try:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return


def free_descriptors(mem) -> None:
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


def keep_free(mem, number: int) -> None:
    import os

    for _ in range(number):
        os.close(mem.__dict__["taken"].pop())


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_who_has_too_few_descriptors_for_the_others_leaves_it_to_them_to_host(
    cluster: Cluster, end: str
) -> None:
    host, short, *others = cluster.start(4, {"n": 0})
    short.run(use_all_descriptors)
    short.run(keep_free, 4)
    getattr(host, end)()
    for peer in others:
        peer.run(lambda mem: mem.patch({"$inc": {"n": 1}}, timeout=5))
    assert cluster.host() in others
    short.run(free_descriptors)
    short.patch({"$inc": {"n": 1}})
    assert cluster.settled() == {"n": 3}


def test_a_host_that_gets_short_lets_an_attached_peer_host_and_the_next_one_in(
    cluster: Cluster,
) -> None:
    host, other = cluster.start(2, {"n": 0})
    host.run(use_all_descriptors)
    host.run(keep_free, 4)
    newcomer = cluster.peer(options={"timeout": 15})
    newcomer.patch({"$inc": {"n": 1}})
    assert cluster.host() is not host
    assert "descriptors" in until(lambda: host.status()["reason"])
    host.run(free_descriptors)
    assert other.patch({"$inc": {"n": 1}})
    assert cluster.settled() == {"n": 2}


def be_greedy(mem, seconds: float) -> None:
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

    monkeypatch.setattr(place, "_highest_epoch", fails)
    with pytest.raises(RendezvousError, match="no descriptors"):
        place.publish_lock(1, "ab", 1, "/x")
    assert ObjectFolder(folder, NAME).reign() is None


def test_strangers_do_not_get_the_last_descriptors(cluster: Cluster) -> None:
    program = cluster.script(LIMITED, "40")
    assert program.stdout.readline() == "host\n"
    with contextlib.ExitStack() as connected:
        clients = [connected.enter_context(MemSync(NAME)) for _ in range(12)]
        address = clients[0].get_status()["host"]["address"]
        strangers = [connected.enter_context(stranger(address)) for _ in range(64)]
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            for client in clients:
                client.patch({"$inc": {"n": 1}}, timeout=2)
        # It is full, so one of the others hosts by and by; it never has to give up.
        (epoch,) = {client.get_status()["epoch"] for client in clients}
        assert epoch <= 2
        assert strangers
    program.communicate(timeout=10)


def stranger(address: str) -> socket.socket:
    """A connection that says nothing, or waits to be accepted."""
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        sock.connect(address)
    return sock


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


def test_strangers_leave_a_host_the_descriptors_that_it_needs(
    cluster: Cluster, folder: Path
) -> None:
    program = cluster.script(LIMITED, "60")
    assert program.stdout.readline() == "host\n"
    rendezvous = json.loads((folder / f"{NAME}.d" / "rendezvous.json").read_text())
    strangers = [socket.socket(socket.AF_UNIX) for _ in range(64)]
    try:
        for stranger in strangers:
            stranger.connect(rendezvous["address"])
        end = time.monotonic() + 2.5  # longer than the host looks away from the folder
        while time.monotonic() < end:
            program.stdin.write("\n")
            program.stdin.flush()
            assert int(program.stdout.readline()) > 0
    finally:
        for stranger in strangers:
            stranger.close()
    with MemSync(NAME) as mem:
        assert mem.snapshot()["n"] > 0
    _, errors = program.communicate(timeout=10)
    assert program.returncode == 0, errors


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
