"""Programs that end without `stop`: whatever ends them, the others go on."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.manager import MemSyncManager
from memsync.testing import NAME, Cluster, until

from ..process_helpers import PlainManager, read_line, write_line

pytestmark = pytest.mark.process

SOON = 8.0  # seconds; less than the options of these tests would have anybody wait

PROGRAM = """
    import signal, sys, threading, time
    from memsync import MemSync

    def main():
        mem = MemSync("obj", {"n": 0}, {"timeout": 10})
        mem.start()
        mem.patch({"$inc": {"n": 1}})
        print(mem.get_status()["status"], flush=True)
        sys.stdin.readline()
        mem.submit({"$inc": {"n": 10}})
        %s

    main()
"""

ENDS = {
    "return": ("return", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "exception": ("raise LookupError('on purpose')", 1),
    "interrupt": ("signal.raise_signal(signal.SIGINT)", -signal.SIGINT),
    "a thread that never ends": (
        "threading.Thread(target=threading.Event().wait, daemon=True).start()",
        0,
    ),
}


def finish(program: subprocess.Popen[str]) -> float:
    """Let the program go on to its end; returns how long that took, in seconds."""
    begin = time.monotonic()
    write_line(program, "")
    program.wait(20)
    return time.monotonic() - begin


@pytest.mark.parametrize("end", ENDS)
def test_a_host_that_ends_without_stop_hands_over_and_loses_nothing(
    cluster: Cluster, end: str
) -> None:
    line, code = ENDS[end]
    program = cluster.script(PROGRAM % line)
    assert read_line(program) == "host\n"
    client = cluster.peer({"n": -1}, {"network": {"poll": 10}})
    assert finish(program) < SOON
    assert program.returncode == code
    client.run(lambda mem: mem.patch({"$inc": {"n": 100}}, timeout=5))
    assert client.snapshot() == {"n": 111}
    assert client.status()["status"] == "host"
    until(lambda: client.status()["peers"] == 0, SOON)
    if end != "exception":
        assert "Exception" not in program.communicate()[1]


@pytest.mark.parametrize("end", ENDS)
def test_a_client_that_ends_without_stop_leaves_the_group_at_once(
    cluster: Cluster, end: str
) -> None:
    line, code = ENDS[end]
    host = cluster.peer({"n": 0}, {"network": {"poll": 10}})
    program = cluster.script(PROGRAM % line)
    assert read_line(program) == "client\n"
    assert host.status()["peers"] == 1
    assert finish(program) < SOON
    assert program.returncode == code
    until(lambda: host.status()["peers"] == 0, SOON)
    assert host.snapshot() == {"n": 11}


def test_a_frozen_host_does_not_keep_a_program_from_ending(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0})
    program = cluster.script(PROGRAM % "return")
    assert read_line(program) == "client\n"
    host.pause()
    try:
        assert finish(program) < SOON
    finally:
        host.resume()
    assert program.returncode == 0
    until(lambda: host.snapshot("n") == 11, 5, "what was sent is not applied")


INTERRUPTED = """
    import sys
    from memsync import MemSync

    with MemSync("obj", {"n": 0}) as mem:
        try:
            print(mem.get_status()["status"], flush=True)
            while True:
                mem.patch({"$inc": {"n": 1}})
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        finally:
            version = mem.patch({"$set": {"last": True}}, timeout=5)
            print("wrote", mem.snapshot("last"), version <= mem.version, flush=True)
"""


@pytest.mark.parametrize("attempt", range(3))
@pytest.mark.parametrize("role", ["host", "client"])
def test_after_ctrl_c_in_the_middle_of_a_patch_the_next_one_works(
    cluster: Cluster, role: str, attempt: int
) -> None:
    if role == "client":
        cluster.peer({"n": 0})
    program = cluster.script(INTERRUPTED)
    assert read_line(program) == f"{role}\n"
    other = cluster.peers[0] if role == "client" else cluster.peer()
    until(lambda: (other.snapshot("n") or 0) > 50 * (attempt + 1))
    program.send_signal(signal.SIGINT)
    output, errors = program.communicate(timeout=20)
    assert output == "interrupted\nwrote True True\n", errors
    assert program.returncode == 0
    until(lambda: other.snapshot("last") is True, 5)


def test_ctrl_c_while_waiting_for_a_frozen_host_leaves_a_usable_peer(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0})
    program = cluster.script("""
        import signal, sys, threading
        from memsync import MemSync

        with MemSync("obj") as mem:
            print("ready", flush=True)
            sys.stdin.readline()
            try:
                threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
                mem.patch({"$inc": {"n": 1}})
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            sys.stdin.readline()
            mem.patch({"$inc": {"n": 10}})
            print(mem.snapshot("n"), flush=True)
    """)
    assert read_line(program) == "ready\n"
    host.pause()
    try:
        write_line(program, "")
        assert read_line(program) == "interrupted\n"
    finally:
        host.resume()
    write_line(program, "")
    assert read_line(program) == "11\n"
    assert program.wait(5) == 0


def test_stop_in_a_callback_does_not_hang(cluster: Cluster) -> None:
    host, client = cluster.start(2, {"n": 0})
    client.run(lambda mem: mem.on("received_patches", lambda _: mem.stop()) and None)
    host.patch({"$inc": {"n": 1}})
    until(lambda: client.status()["status"] == "stopped", 5)
    until(lambda: host.status()["peers"] == 0, 5)


def test_g12_peers_that_all_stop_at_the_same_time_leave_one_lock_and_the_key(
    cluster: Cluster, folder: Path
) -> None:
    for _ in range(5):
        peers = cluster.start(4)
        tickets = [(peer, peer.begin(MemSync.stop)) for peer in peers]
        for peer, ticket in tickets:
            peer.result(ticket)
            peer.kill()
        left = [path.name for path in (folder / f"{NAME}.d").iterdir()]
        assert [name.partition("-")[0] for name in left] == ["epoch"], left


def test_g12_the_last_peer_cleans_up_after_a_host_that_was_killed(
    cluster: Cluster, folder: Path
) -> None:
    host, client = cluster.start(2)
    client.pause()
    ticket = client.begin(MemSync.stop)  # it stops as a client, for it wakes when the host is dead
    host.kill()
    client.resume()
    client.result(ticket)
    left = sorted(path.name for path in (folder / f"{NAME}.d").iterdir())
    assert [name.partition("-")[0] for name in left[:1]] == ["epoch"], left
    assert left[1:] in ([], ["rendezvous.json"]), left  # of the dead host, for people


WAITING_PROGRAM = """
    import sys, threading
    from memsync import MemSync

    mem = MemSync("obj", {"n": 0})
    print(mem.start(), flush=True)
    threading.Thread(target=sys.stdin.read).start()
"""


def test_a_host_whose_main_thread_has_ended_takes_newcomers(cluster: Cluster) -> None:
    """Python 3.12 starts no more threads then, while the program waits for threads or workers."""
    program = cluster.script(WAITING_PROGRAM)
    assert read_line(program) == "host\n"
    client = cluster.peer(options={"timeout": 5})
    client.patch({"$inc": {"n": 1}})
    _, errors = program.communicate("", timeout=10)
    assert (program.returncode, errors) == (0, "")
    client.patch({"$inc": {"n": 1}})
    assert client.snapshot() == {"n": 2}


def test_a_host_that_can_start_no_thread_at_its_end_takes_peers_and_refuses_proxies(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = threading.Thread.start

    def refusing(thread: threading.Thread) -> None:
        if thread.name == "memsync-handshake":
            raise RuntimeError("can't create new thread at interpreter shutdown")
        start(thread)

    with MemSync[Any](NAME, {"n": 0}) as mem:
        monkeypatch.setattr(threading.Thread, "start", refusing)
        clients = cluster.start(3, options={"timeout": 5})
        with pytest.raises((OSError, EOFError)):
            PlainManager.document_at(*MemSyncManager.locate(NAME))
        for client in [*clients, cluster.peer(options={"timeout": 5})]:
            client.patch({"$inc": {"n": 1}})
        assert mem.data == {"n": 4}
    assert "serves no more proxies" in caplog.text
