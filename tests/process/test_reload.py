"""Modules that are reloaded, or imported a second time, while peers run: no fork hangs.

A reload replaces classes, so a peer that runs meanwhile may fail; then it says so in time.
"""

from __future__ import annotations

import pytest

from memsync.testing import Cluster

pytestmark = pytest.mark.process

PREPARE = """
import importlib, os, random, signal, sys
import memsync.manager.driver, memsync.memory.engine, memsync.runtime.edits, memsync.runtime.waiting
from memsync import MemSync, MemSyncError

def loaded():
    return [each for each in sys.modules if each.split(".")[0] == "memsync"]

def in_fork(function):
    child = os.fork()
    if not child:
        try:
            signal.alarm(20)  # ends a child that hangs, which is the failure
            function()
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        os._exit(1)
    return os.waitpid(child, 0)[1]
"""

ONE = """
mem = MemSync("reloaded", {"n": 0}, {"timeout": 10})
mem.start()
mem.patch({"$inc": {"n": 1}})
for _ in range(2):
    importlib.reload(sys.modules[sys.argv[1]])
mem.patch({"$inc": {"n": 1}})

def child():
    assert in_fork(lambda: mem.patch({"$inc": {"n": 1}})) == 0
    mem.patch({"$inc": {"n": 1}})
    mem.stop()

assert in_fork(child) == 0
print(mem.wait_for({"n": 4}))
mem.stop()
"""

STATE = (
    "memsync.runtime.forks",
    "memsync.manager.folder.watcher",
    "memsync.lifecycle",
    "memsync.memory.engine",
    "memsync.manager.platform.platform",
    "memsync",
)


@pytest.mark.parametrize("module", STATE)
def test_a_reloaded_module_keeps_what_runs(cluster: Cluster, module: str) -> None:
    program = cluster.script(PREPARE + ONE, module)

    assert program.communicate(timeout=60)[0] == "{'n': 4}\n"


ALL = """
names = loaded()
order = sys.argv[1]
names = names[::-1] if order == "reversed" else names
if order.isdigit():
    random.Random(int(order)).shuffle(names)

def use(mem):
    try:
        return mem.patch({"$inc": {"n": 1}})
    except MemSyncError as error:
        return error
    except Exception as error:  # of a class that a reload has replaced
        return error

mem = MemSync("reloaded", {"n": 0}, {"timeout": 1})
mem.start()
mem.patch({"$inc": {"n": 1}})
for name in names:
    importlib.reload(sys.modules[name])
use(mem)
print(in_fork(lambda: use(mem)))
"""


@pytest.mark.parametrize("order", ["forward", "reversed", "1", "2"])
def test_a_fork_after_a_reload_of_everything_does_not_hang(cluster: Cluster, order: str) -> None:
    program = cluster.script(PREPARE + ALL, order)

    assert program.communicate(timeout=60)[0] == "0\n"


TWICE = """
first = MemSync("twice", {"n": 0})
first.start()
for name in loaded():
    del sys.modules[name]
from memsync import MemSync as Second
assert Second is not MemSync
second = Second("twice")
second.start()

def child():
    for mem in (first, second):
        mem.patch({"$inc": {"n": 1}})
        mem.stop()

assert in_fork(child) == 0
for mem in (first, second):
    mem.patch({"$inc": {"n": 1}})
print(first.wait_for({"n": 4}), second.wait_for({"n": 4}))
second.stop()
first.stop()
"""


def test_two_copies_of_the_library_live_in_one_process(cluster: Cluster) -> None:
    program = cluster.script(PREPARE + TWICE)

    assert program.communicate(timeout=60)[0] == "{'n': 4} {'n': 4}\n"
