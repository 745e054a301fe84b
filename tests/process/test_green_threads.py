"""Programs that gevent or eventlet has patched, together with programs that have plain threads."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from memsync import MemSync
from memsync.testing import Cluster, until

from ..process_helpers import read_line, write_line

LIBRARIES = ("gevent", "eventlet")
MISSING = [each for each in LIBRARIES if importlib.util.find_spec(each) is None]

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(bool(MISSING), reason=f"not installable on {sys.version}: {MISSING}"),
]

PATCH = """
import sys, time, warnings
warnings.simplefilter("ignore")  # eventlet warns that it is deprecated
if sys.argv[1] == "gevent":
    from gevent import monkey
    monkey.patch_all()
    from gevent import joinall, sleep, spawn
else:
    import eventlet
    eventlet.monkey_patch()
    from eventlet import sleep, spawn
    def joinall(greenlets):
        for each in greenlets:
            each.wait()
"""

PREPARE = (
    PATCH
    + """
from memsync import MemSync, WaitTimeoutError
mem = MemSync("obj", {"n": 0, "m": 0}, {"timeout": 20})
print(mem.start(), flush=True)

def count(writes):
    for _ in range(writes):
        mem.patch({"$inc": {"n": 1}})
"""
)


def run(cluster: Cluster, library: str, source: str) -> subprocess.Popen[str]:
    return cluster.script(PREPARE + source, library)


def finish(program: subprocess.Popen[str]) -> list[str]:
    """The lines that a program still prints; it must end well, and its hub must see no error."""
    output, errors = program.communicate(timeout=60)
    assert program.returncode == 0, errors
    assert "Traceback" not in errors
    return output.splitlines()


ALL_CALLS = """
from concurrent.futures import as_completed, wait

ticks = patches = 0
def tick():
    global ticks
    while True:
        sleep(0.001)
        ticks += 1

def note(_):
    global patches
    sleep(0)  # a callback may let others run
    patches += 1

def follow():
    for value, _ in mem.changes("n"):
        if value == 200:
            return

spawn(tick)
mem.on("received_patches", note)
waits = [spawn(follow), spawn(mem.wait_for, {"n": 200})]
joinall([*waits, *(spawn(count, 25) for _ in range(8))])
assert mem.data["n"] == 200 and ticks > 1, (mem.data["n"], ticks)

futures = [mem.submit({"$inc": {"n": 1}}) for _ in range(50)]
done = []
futures[-1].add_done_callback(done.append)
assert len({each.result(10) for each in futures}) == 50
waited = [mem.submit({"$inc": {"m": 0}}) for _ in range(20)]
assert wait(waited, 10).done == set(waited) == set(as_completed(waited, 10))
with mem.edit() as draft:
    draft["m"] = draft["n"]
def move(draft):
    draft["m"] += 1
joinall([spawn(mem.transact, move) for _ in range(5)])
def end_wait():
    before = ticks
    while ticks - before <= 10:
        sleep(0.001)
    mem.patch({"$set": {"ticked": 1}})
spawn(end_wait)
mem.wait_for({"ticked": 1})  # the hub goes on meanwhile
try:
    mem.wait_for({"n": -1}, timeout=0.3)
    raise AssertionError("nothing was waited for")
except WaitTimeoutError:
    pass
mem.patch({"$set": {"w": 1}}, w=1 if mem.get_status()["status"] == "host" else "majority")
mem.ping()
while not (patches and done):
    sleep(0.01)
print(mem.snapshot("n"), mem.snapshot("m"), flush=True)
mem.stop()
print(mem.get_status()["status"], flush=True)
"""


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("role", ["host", "client"])
def test_every_call_lets_other_greenlets_run(cluster: Cluster, library: str, role: str) -> None:
    if role == "client":
        cluster.peer({"n": 0, "m": 0})
    program = run(cluster, library, ALL_CALLS)

    assert finish(program) == [role, "250 255", "stopped"]


COPIES = """
import gc, pickle
from memsync import MemSync
engine = sys.argv[2]

def task():
    copy = pickle.loads(raw)
    copy.patch({"$inc": {"n": 1}})
    sleep(0.01)

raw = pickle.dumps(MemSync("obj", {"n": 0}, {"timeout": 9}, engine=engine))
with MemSync("obj", {"n": 0}, engine=engine) as mem:
    kept = pickle.loads(raw)  # two seconds without a copy would end the peer
    kept.start()
    for _ in range(3):
        joinall([spawn(task) for _ in range(10)])
        gc.collect()
        print(len(mem.peers), flush=True)
    del kept
    copy = pickle.loads(raw)
    copy.start()
    copy.stop()
    for _ in range(1000):
        if not mem.peers:
            break
        sleep(0.01)
    print(len(mem.peers), mem.data["n"])
"""


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("engine", ["local", "memory"])
def test_copies_by_pickle_share_a_peer_that_leaves(
    cluster: Cluster, library: str, engine: str
) -> None:
    program = cluster.script(PATCH + COPIES, library, engine)

    assert finish(program) == ["1", "1", "1", "0 30"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_threads_join_a_patched_host(cluster: Cluster, library: str) -> None:
    program = run(cluster, library, "spawn(count, 50)\nmem.wait_for({'stop': 1})\nmem.stop()")
    assert read_line(program) == "host\n"
    peers = [cluster.peer() for _ in range(2)]

    for peer in peers:
        for _ in range(20):
            peer.patch({"$inc": {"n": 1}})
    until(lambda: peers[0].snapshot("n") == 90, 10)
    peers[0].patch({"$set": {"stop": 1}})

    finish(program)
    peers[1].patch({"$inc": {"n": 1}})  # a peer with threads hosts now
    until(lambda: peers[0].snapshot("n") == 91, 10)


@pytest.mark.parametrize("library", LIBRARIES)
def test_greenlets_survive_the_death_of_a_host_and_take_over(
    cluster: Cluster, library: str
) -> None:
    first = cluster.peer({"n": 0, "m": 0})
    program = run(
        cluster,
        library,
        """
writers = [spawn(count, 200) for _ in range(4)]
joinall(writers)
n = mem.wait_for({"n": 800})["n"]
while mem.get_status()["status"] != "host":
    sleep(0.01)
print(n, mem.get_status()["status"], flush=True)
sys.stdin.readline()
mem.stop()
""",
    )
    assert read_line(program) == "client\n"
    until(lambda: first.snapshot("n") > 20, 20)
    first.kill()

    assert read_line(program) == "800 host\n"  # each acknowledged write once
    second = cluster.peer()
    assert second.snapshot("n") == 800
    write_line(program)
    finish(program)


@pytest.mark.parametrize("library", LIBRARIES)
def test_threads_take_over_from_a_patched_host_that_is_killed(
    cluster: Cluster, library: str
) -> None:
    program = run(cluster, library, "count(10)\nprint('counted', flush=True)\ncount(10**9)")
    assert read_line(program) == "host\n"
    peer = cluster.peer()
    assert read_line(program) == "counted\n"
    program.kill()
    program.wait()

    before = peer.snapshot("n")
    peer.patch({"$inc": {"n": 1}})
    assert peer.snapshot("n") >= max(before, 10) + 1
    assert peer.status()["status"] == "host"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_forked_child_of_a_patched_program_joins(cluster: Cluster, library: str) -> None:
    source = """
import os
spawn(mem.wait_for, {"end": 1})
sleep(0.01)
child = os.fork()
if not child:
    joinall([spawn(mem.patch, {"$inc": {"n": 1}}) for _ in range(5)])
    mem.stop()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
mem.patch({"$set": {"end": 1}})
print(mem.snapshot("n"), flush=True)
mem.stop()
"""
    program = run(cluster, library, source)
    output, errors = program.communicate(timeout=60)

    assert output == "host\n5\n", errors


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_patch_after_the_import_is_refused(cluster: Cluster, library: str) -> None:
    late = f"""
from memsync import MemSync, UsageError
{PATCH}
try:
    MemSync("late", {{}}).start()
except UsageError as error:
    print(error)
"""
    program = cluster.script(late, library)
    output, errors = program.communicate(timeout=60)

    assert f"{library} has patched this process after memsync was imported" in output, errors
    assert "before anything imports memsync" in output


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_import_that_patches_nothing_changes_nothing(cluster: Cluster, library: str) -> None:
    source = f"""
import warnings
warnings.simplefilter("ignore")
import {library}
from memsync import MemSync
import threading, memsync.runtime.native as native
assert native.LIBRARY == "" and native.Condition is threading.Condition
with MemSync("plain", {{"n": 0}}) as mem:
    mem.patch({{"$inc": {{"n": 1}}}})
    print(mem.data["n"])
"""
    program = cluster.script(source)
    output, errors = program.communicate(timeout=60)

    assert output == "1\n", errors


@pytest.mark.parametrize("library", LIBRARIES)
def test_lines_of_many_greenlets_and_of_memsync_mix(cluster: Cluster, library: str) -> None:
    source = f"""
{PATCH}
import logging, os
from memsync import MemSync
logging.basicConfig(level=logging.DEBUG, stream=open(os.devnull, "w"))
mem = MemSync("obj", {{"n": 0}}, {{"logEvents": True, "network": {{"window": 8}}}})
mem.start()
def work():
    for _ in range(60):
        future = mem.submit({{"$inc": {{"n": 1}}}})
        logging.info("a line")
    future.result(20)
joinall([spawn(work) for _ in range(10)])
print(mem.data["n"])
mem.stop()
"""
    program = cluster.script(source, library)

    assert finish(program) == ["600"]


def test_programs_without_these_libraries_do_not_import_them() -> None:
    source = "import memsync.manager.driver, sys; print({'gevent', 'eventlet'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, env=os.environ, check=True
    )

    assert done.stdout == "set()\n"


@pytest.mark.parametrize("library", LIBRARIES)
def test_greenlets_call_and_are_called(cluster: Cluster, library: str) -> None:
    def methods(mem: Callable[[], MemSync[Any]]) -> dict[str, Any]:
        def wait_for_ticks(count: int) -> None:
            while mem().call("ticks") < count:
                time.sleep(0.05)

        return {"add": lambda a, b: a + b, "wait_for_ticks": wait_for_ticks}

    worker = cluster.peer(rpc=methods)
    program = cluster.script(CALLING, library)
    assert read_line(program) == "45\n"  # ten greenlets, and the hub went on
    assert worker.run(lambda mem: mem.call("nap", 0.05)) == program.pid
    assert worker.run(lambda mem: list(mem.call("count", 40))) == [*range(40)]
    write_line(program)
    assert finish(program) == []


CALLING = (
    PATCH
    + """
import os
from memsync import MemSync

def nap(seconds):
    time.sleep(seconds)
    return os.getpid()

def count(stop):
    yield from range(stop)

ticks = []
def tick():
    while True:
        ticks.append(1)
        sleep(0.005)

mem = MemSync("obj", rpc={"nap": nap, "count": count, "ticks": lambda: len(ticks)})
mem.start()
spawn(tick)
sums = []
joinall([spawn(lambda n=n: sums.append(mem.call("add", n, 0))) for n in range(10)])
mem.call("wait_for_ticks", len(ticks) + 10)
joinall([spawn(lambda: mem.call("wait_for_ticks", len(ticks) + 10)) for _ in range(3)])
print(sum(sums), flush=True)
joinall([spawn(sys.stdin.readline)])
mem.stop()
"""
)
