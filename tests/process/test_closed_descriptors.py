"""Programs that were started without input or output, and those that redirect them later."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from memsync.testing import NAME, Cluster, until

pytestmark = pytest.mark.process

PROGRAM = """
import json, os, pathlib, subprocess, sys, time
from memsync import MemSync
from memsync.manager.folder.held_file import Files
name, closed, what, told = sys.argv[1], [int(n) for n in sys.argv[2]], sys.argv[3], sys.argv[4]
with MemSync(name, {"n": 0}, {"network": {"poll": 60}}) as mem:
    epoch = mem.epoch
    for _ in range(20):
        if what == "writes":  # as a library in C does
            for number in closed:
                os.write(number, b"garbage" * 1000)
        elif what == "redirects":  # as a daemon does
            null = os.open(os.devnull, os.O_RDWR)
            for number in closed:
                os.dup2(null, number)
            os.close(null)
        elif what == "child":
            subprocess.run(["sh", "-c", "read x; echo garbage; echo garbage >&2"], check=False)
        elif what == "fork":
            pid = os.fork()
            if not pid:
                try:
                    mem.patch({"$inc": {"n": 1}}, timeout=10)
                    for number in closed:
                        os.write(number, b"garbage")
                finally:
                    os._exit(0)
            os.waitpid(pid, 0)
        mem.patch({"$inc": {"n": 1}}, timeout=10)
        time.sleep(0.02)
    found = Files().inspect(pathlib.Path(os.environ["MEMSYNC_DIR"], f"{name}.d/peer-{mem.id}.json"))
    is_whole = found is not None and found[0] and json.loads(found[1])["id"] == mem.id
    with open(told, "w") as file:
        status = mem.get_status()["status"]
        file.write(f"{is_whole} {status} {mem.epoch - epoch} {mem.snapshot('n')}")
    mem.wait_for({"may": "go"}, timeout=20)
"""


def start(closed: str, what: str, told: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PROGRAM, NAME, closed, what, str(told)]
    close = " ".join(f"{number}{'<' if number == '0' else '>'}&-" for number in closed)
    return subprocess.Popen(["sh", "-c", f'exec "$@" {close}', "sh", *command])


@pytest.mark.parametrize("closed", ["0", "1", "2", "01", "12", "02", "012"])
@pytest.mark.parametrize("what", ["writes", "redirects", "child", "fork"])
def test_a_peer_without_input_and_output_is_as_good_as_any(
    cluster: Cluster, folder: Path, tmp_path: Path, closed: str, what: str
) -> None:
    role = "client" if closed in ("1", "012") else "host"
    if role == "client":
        cluster.peer({"n": 0})
    told = tmp_path / "told"
    program = start(closed, what, told)
    try:
        until(lambda: (told.exists() and told.read_text() != "") or program.poll() is not None)
        is_whole, found, epochs, number = told.read_text().split()
        assert (is_whole, found, epochs) == ("True", role, "0")
        assert int(number) == (40 if what == "fork" else 20)
        for path in folder.glob("*.d/*.lock"):
            assert json.loads(path.read_bytes())["name"] == NAME
        other = cluster.peers[0] if cluster.peers else cluster.peer()
        other.patch({"$set": {"may": "go"}})
        assert program.wait(timeout=30) == 0
    finally:
        program.kill()
        program.wait()


def test_open_descriptors_stay_what_they_are() -> None:
    """Nothing is opened beside them, and a closed one is replaced at the next start only."""
    program = """
import os, sys
from memsync import MemSync
before = [os.readlink(f"/proc/self/fd/{n}") for n in range(3)]
with MemSync("x"):
    assert [os.readlink(f"/proc/self/fd/{n}") for n in range(3)] == before
os.close(0)
with MemSync("x"):
    assert os.readlink("/proc/self/fd/0") == os.devnull
    assert os.get_inheritable(0)
    assert [os.readlink(f"/proc/self/fd/{n}") for n in (1, 2)] == before[1:]
"""
    if not Path("/proc/self/fd").exists():
        pytest.skip("shows descriptors in /proc")
    with open(os.devnull, "rb") as null:
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60, stdin=null)
