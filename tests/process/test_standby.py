"""The writers' mutex: `MaxWritersError`, and peers that stand by for a place (G8).

`python -m tests.standby` has the longer run.
"""

from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path
from select import select
from typing import Any

import pytest
from msgspec import structs

from memsync import HostUnresponsiveError, MaxWritersError, MemErrors, MemSync, NotStartedError
from memsync.manager import timing
from memsync.testing import Cluster, Peer, until

pytestmark = pytest.mark.process

SINGLE: dict[str, Any] = {"network": {"maxWriters": 1}}
STANDBY: dict[str, Any] = {**SINGLE, "onMaxWriters": "wait"}


def wait_for_answers(mem: MemSync[Any]) -> None:
    """Have a host pass over none of its clients that stand by, however busy the machine is."""
    structs.force_setattr(timing.TIMING, "standby_answer", 60.0)


def standby(cluster: Cluster, options: dict[str, Any] = STANDBY) -> tuple[Peer, int]:
    """A peer that stands by, with the ticket of its start."""
    peer = cluster.peer({"n": -1}, options, start=False)
    ticket = peer.begin(MemSync.start, timeout=math.inf)
    until(lambda: peer.status()["status"] == "starting" and peer.status()["peers"])
    return peer, ticket


def count(mem: MemSync[Any]) -> int:
    return mem.patch({"$inc": {"n": 1}})


def test_the_error_names_who_has_the_place_and_since_when(cluster: Cluster) -> None:
    before = time.time()
    writer = cluster.peer({"n": 0}, SINGLE)
    second = cluster.peer(options=SINGLE, start=False)
    with pytest.raises(
        MaxWritersError, match=r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    ) as caught:
        second.start()
    error = caught.value
    assert error.code == MemErrors.ERR_MAX_WRITERS
    assert error.limit == 1
    assert error.holders is not None
    (holder,) = error.holders
    assert (holder["pid"], holder["id"]) == (writer.pid, writer.status()["id"])
    assert before - 1 <= holder["since"] <= time.time() + 1


def test_g8_a_standby_follows_and_starts_when_the_writer_ends(cluster: Cluster) -> None:
    writer = cluster.peer({"n": 0}, STANDBY)
    first, first_start = standby(cluster)
    second, second_start = standby(cluster)
    status = first.status()
    assert f"process {writer.pid} " in status["reason"]
    assert status["host"]["pid"] == writer.pid
    assert [peer["roles"] for peer in writer.run(lambda mem: mem.peers)] == [[], []]
    with pytest.raises(NotStartedError):
        first.run(count)
    writer.run(count)
    second.pause()  # as host, it would let itself in if the first one took a moment to join it
    writer.kill()
    assert first.result(first_start) == "host"
    second.resume()
    first.run(count)
    assert first.snapshot() == {"n": 2}  # it has held the object all the time
    until(lambda: (second.status()["host"] or {}).get("pid") == first.pid)
    assert second.status()["status"] == "starting"
    first.stop()
    assert second.result(second_start) == "host"
    second.run(count)
    assert second.snapshot() == {"n": 3}


def test_standbys_are_let_in_as_they_have_joined_and_a_dead_one_is_passed_over(
    cluster: Cluster,
) -> None:
    host = cluster.peer({"n": 0}, {**SINGLE, "peer": {"roles": []}, "serverOnly": True})
    host.run(wait_for_answers)
    writer = cluster.peer(options=STANDBY)
    waiting = [standby(cluster) for _ in range(3)]
    waiting[1][0].kill()
    for position in (0, 2):
        writer.stop()
        writer, ticket = waiting[position]
        writer.result(ticket)
        later = [peer for peer, _ in waiting[position + 1 :] if peer.alive]
        assert [peer.status()["status"] for peer in later] == ["starting"] * len(later)


def test_a_frozen_standby_is_passed_over(cluster: Cluster) -> None:
    writer = cluster.peer({"n": 0}, STANDBY)
    (frozen, frozen_start), (awake, awake_start) = standby(cluster), standby(cluster)
    host = cluster.peer(options={"peer": {"roles": []}, "serverOnly": True})
    until(lambda: host.status()["status"] == "host")
    frozen.pause()
    writer.stop()
    awake.result(awake_start)
    frozen.resume()
    until(lambda: frozen.status()["status"] == "starting")
    awake.stop()
    frozen.result(frozen_start)


def test_g8_a_frozen_writer_keeps_its_place_through_an_election(cluster: Cluster) -> None:
    limits = {"maxWriters": 1, "lease": 0.5, "recovery": 0.3}
    writer = cluster.peer({"n": 0}, {"network": limits})
    epoch = writer.status()["epoch"]
    peer, ticket = standby(cluster, {"network": limits, "onMaxWriters": "wait"})
    writer.pause()
    until(lambda: (peer.status()["host"] or {}).get("pid") == peer.pid)  # it has deposed the writer
    assert peer.status()["status"] == "starting"
    writer.resume()
    until(lambda: writer.status()["epoch"] > epoch)  # a busy machine may let it host once more
    writer.run(count)
    assert peer.status()["status"] == "starting"
    writer.kill()
    peer.result(ticket)
    assert peer.snapshot() == {"n": 1}


def test_a_start_that_gives_up_says_who_has_the_place_and_leaves_nothing(cluster: Cluster) -> None:
    writer = cluster.peer({"n": 0}, SINGLE)
    peer = cluster.peer(options=STANDBY, start=False)

    def is_told() -> bool:
        with pytest.raises((MaxWritersError, HostUnresponsiveError)) as caught:
            peer.run(MemSync.start, timeout=0.2)
        if caught.type is HostUnresponsiveError:  # a fifth of a second is little on a busy machine
            return False
        return bool(caught.match(f"no place in 0.2 s: .*process {writer.pid} "))

    for _ in range(2):
        until(is_told)
        assert peer.status()["status"] == "stopped"
        assert not peer.run(lambda mem: mem._peer.uses)
        until(lambda: writer.run(lambda mem: mem.peers) == [])
    folder = Path(os.environ["MEMSYNC_DIR"]) / "obj.d"
    until(lambda: len(list(folder.glob("peer-*"))) == 1)
    writer.stop()
    assert peer.start() == "host"


def test_stop_ends_the_wait(cluster: Cluster) -> None:
    writer = cluster.peer({"n": 0}, SINGLE)
    peer, ticket = standby(cluster)
    peer.stop()
    with pytest.raises(NotStartedError, match="was stopped while start"):
        peer.result(ticket)
    until(lambda: writer.run(lambda mem: mem.peers) == [])


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_wait(cluster: Cluster, name: str) -> None:
    writer = cluster.peer({"n": 0}, SINGLE)
    program = cluster.script(
        """
        import signal, sys
        from memsync import MemSync, NotStartedError

        mem = MemSync("obj", options={"network": {"maxWriters": 1}, "onMaxWriters": "wait"})
        signal.signal(signal.SIGTERM, lambda *_: mem.stop())
        try:
            mem.start(timeout=float("inf"))
        except (KeyboardInterrupt, NotStartedError) as error:
            print(type(error).__name__, mem.get_status()["status"], flush=True)
        """
    )
    until(lambda: writer.run(lambda mem: mem.peers))
    assert program.stdout is not None
    program.send_signal(getattr(signal, name))
    while not select([program.stdout], [], [], 10)[0]:  # it came as a wait of C began
        program.send_signal(getattr(signal, name))
    output, errors = program.communicate(timeout=60)
    expected = {"SIGINT": "KeyboardInterrupt stopped\n", "SIGTERM": "NotStartedError stopped\n"}
    assert (output, errors) == (expected[name], "")
    until(lambda: writer.run(lambda mem: mem.peers) == [])


def test_callbacks_hear_nothing_while_their_peer_stands_by(cluster: Cluster) -> None:
    writer = cluster.peer({"n": 0}, SINGLE)

    def prepare(mem: MemSync[Any]) -> None:
        heard: list[Any] = []
        mem.__class__.heard = heard  # type: ignore[attr-defined]
        mem.on("connected", lambda role: heard.append(role))
        mem.on("received_patches", lambda patches: heard.append("patch"))
        mem.events.on("job", lambda n: heard.append(n))

    peer = cluster.peer(options=STANDBY, start=False)
    peer.run(prepare)
    ticket = peer.begin(MemSync.start, timeout=math.inf)
    until(lambda: writer.run(lambda mem: mem.peers))
    writer.run(lambda mem: (mem.events.emit("job", 1), count(mem)))
    reached = writer.status()["version"]
    until(lambda: peer.status()["version"] >= reached)
    writer.stop()
    peer.result(ticket)
    peer.run(lambda mem: mem.events.emit("job", 2))
    until(lambda: 2 in peer.run(lambda mem: mem.heard))
    heard = [each for each in peer.run(lambda mem: mem.heard) if each != "patch"]
    assert heard == ["host", 2]


def test_a_standby_states_a_smaller_limit_and_waits_for_it(cluster: Cluster) -> None:
    writers = cluster.start(2, {"n": 0})
    peer, ticket = standby(cluster)
    newcomer = cluster.peer()  # the limit of one that stands by is nobody's limit yet
    for writer in (*writers, newcomer):
        assert peer.status()["status"] == "starting"
        writer.stop()
    peer.result(ticket)
    with pytest.raises(MaxWritersError):
        cluster.peer()


def test_a_program_that_ends_while_a_thread_stands_by_leaves_no_file(cluster: Cluster) -> None:
    program = cluster.script(
        """
        import threading, time
        from memsync import MemSync

        options = {"network": {"maxWriters": 1}, "onMaxWriters": "wait"}
        writer = MemSync("obj", options=options)
        writer.start()
        mem = MemSync("obj", options=options)
        threading.excepthook = lambda args: print(args.exc_type.__name__)
        threading.Thread(target=mem.start, args=[float("inf")], daemon=True).start()
        while not mem.get_status()["peers"]:
            time.sleep(0.01)
        """
    )
    _, errors = program.communicate(timeout=60)
    assert (program.returncode, errors) == (0, "")
    names = [path.name for path in (Path(os.environ["MEMSYNC_DIR"]) / "obj.d").iterdir()]
    assert [name for name in names if not name.startswith("epoch-")] == []
    assert len(names) == 1
