"""A process that gives up its user after the start, as daemons do: it goes on, or says why not."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import pytest

from memsync.manager.folder.held_file import Files
from memsync.testing import NAME, Cluster, until

from ..process_helpers import read_line, write_line

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(os.getuid() != 0, reason="gives up root"),
]

PROGRAM = """
import logging, os, resource, sys, tempfile, threading, time
from memsync import MemSync, MemSyncError
from memsync.testing import until
logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
with MemSync("warm") as mem, MemSync("warm") as client:  # nobody else may read the libraries
    client.patch({"$inc": {"n": 1}})
own = sys.argv[3]
mem = MemSync(sys.argv[1], {"n": 0}, {"network": {"poll": 0.2}})
print(mem.start(), flush=True)
sys.stdin.readline()
exec(sys.argv[2])
def write(handle=mem):
    try:
        return handle.patch({"$inc": {"n": 1}}, timeout=20) > 0
    except MemSyncError as error:
        return f"{type(error).__name__} {error}"
"""
ENDS = """
until(lambda: mem.get_status()["status"] == "stopped")
print(write())
print(mem.get_status()["reason"])
try:
    print(mem.start(timeout=3600))  # it does not wait for anything
except MemSyncError as error:
    print(type(error).__name__, error)
os.environ["MEMSYNC_DIR"] = own
with MemSync("after", {"n": 0}) as after:
    print(after.patch({"$inc": {"n": 1}}) > 0)
"""
LENDS = """
os.seteuid(0)
print(write())
print(mem.get_status()["status"])
mem.stop()
"""

CHANGES = ["os.setuid(65534)", "os.setreuid(65534, 65534)", "os.setresuid(65534, 65534, 65534)"]


@pytest.fixture
def own() -> Iterator[str]:
    """A folder of the user that a program becomes."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        os.chown(path, 65534, 65534)
        yield path


def begin(cluster: Cluster, role: str, program: str, change: str, own: str) -> Popen[str]:
    """Start a program; a cluster of one more peer, unless it is alone."""
    if role == "client":
        cluster.peer({"n": 0})
    started = cluster.script(PROGRAM + program, NAME, change, own)
    assert read_line(started).strip() == ("client" if role == "client" else "host")
    if role == "host":
        cluster.peer()
    return started


def end(program: Popen[str]) -> tuple[list[str], str]:
    """Let it change its user; returns what it printed and logged after that."""
    write_line(program)
    told, logged = program.communicate(timeout=60)
    assert program.returncode == 0, logged
    assert "Traceback" not in logged
    return told.splitlines(), logged


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("role", ["alone", "host", "client"])
def test_a_peer_that_gives_up_its_user_ends_with_one_clear_error(
    cluster: Cluster, folder: Path, own: str, change: str, role: str
) -> None:
    program = begin(cluster, role, ENDS, change, own)
    (wrote, reason, again, after), logged = end(program)
    assert wrote.startswith("NotStartedError")
    assert reason.startswith("RendezvousError")
    for text in (wrote, reason, logged):
        assert "changed its user from 0 to 65534 after start()" in text
        assert f"the rendezvous folder {folder} belongs to the former" in text
        assert "create the handle and start it after the change" in text
    assert logged.count("CRITICAL") == 1
    assert again.startswith(f"RendezvousError the rendezvous folder {folder} belongs to user 0")
    assert after == "True"
    if role != "alone":  # the others go on
        (other,) = cluster.peers
        until(lambda: other.status()["status"] == "host")
        other.patch({"$inc": {"n": 1}})


@pytest.mark.parametrize("role", ["alone", "host", "client"])
@pytest.mark.parametrize("seconds", [0.0, 0.05, 1.0])
def test_a_peer_that_lends_itself_a_user_goes_on(
    cluster: Cluster, own: str, role: str, seconds: float
) -> None:
    change = f"os.seteuid(65534); time.sleep({seconds})"
    (wrote, status), _ = end(begin(cluster, role, LENDS, change, own))
    assert wrote == "True"
    assert status in ("host", "client")


@pytest.mark.parametrize("role", ["alone", "host", "client"])
def test_a_peer_that_keeps_the_other_user_is_told_what_it_needs(
    cluster: Cluster, own: str, role: str
) -> None:
    """Not to make a file readable for the user that it is not."""
    _, logged = end(begin(cluster, role, LENDS, "os.seteuid(65534); time.sleep(2)", own))
    assert "make it readable for user 0" not in logged
    for line in logged.splitlines():
        if line.startswith("ERROR"):
            assert "has the effective user 65534 for now (os.seteuid)" in line


def test_the_heart_of_a_file_beats_without_its_user(own: str) -> None:
    """The time of a file can be set by its user only, but whoever has it open may write."""
    path = Path(own) / "file"
    held = Files().publish(path, b"{1234}", Path(own))
    assert held is not None
    before = Files().last_heartbeat(path)

    def beats() -> bool:
        held.heartbeat(time.time_ns())
        return Files().last_heartbeat(path) > before

    Path(own).chmod(0o755)
    os.seteuid(12345)
    try:
        until(beats)
    finally:
        os.seteuid(0)
    assert path.read_bytes() == b"{1234}"
    held.close(remove=True)
