"""Modules that are reloaded, or imported a second time, while peers run.

Every peer goes on with the right values, and no fork hangs.
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

    assert program.communicate(timeout=110)[0] == "{'n': 4}\n"


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
mem.start(timeout=20)
mem.patch({"$inc": {"n": 1}}, timeout=20)
for name in names:
    importlib.reload(sys.modules[name])
use(mem)
print(in_fork(lambda: use(mem)))
"""


@pytest.mark.parametrize("order", ["forward", "reversed", "1", "2"])
def test_a_fork_after_a_reload_of_everything_does_not_hang(cluster: Cluster, order: str) -> None:
    program = cluster.script(PREPARE + ALL, order)

    assert program.communicate(timeout=110)[0] == "0\n"


VALUES = """
from memsync import ConditionError, ConflictError, UpdateError

order, role, engine = sys.argv[1:4]
data = {"n": 0, "w": [], "d": {"x": {"y": [1, 2]}}, "q": [{"i": 1}, {"i": 2}]}

def handle():
    return MemSync("values", data, {"timeout": 10}, engine=engine)

is_alone = role == "host" or engine == "memory"
if is_alone:
    host = handle()
    host.start()
else:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(110)
        with handle() as host:
            os.write(writer, b"x")
            number = host.wait_for({"done": True}, 100)["m"]
        os._exit(number != 25)
    os.read(reader, 1)  # it is the host
mem = host if role == "host" else handle()
mem.start()
mem.patch({"$inc": {"n": 1}})
assert mem.data["d"]["x"]
for _ in range(2):
    names = loaded()
    names = names[::-1] if order == "reversed" else names
    if order.isdigit():
        random.Random(int(order)).shuffle(names)
    for name in names:
        importlib.reload(sys.modules[name])

def holds(value, path=""):
    found = mem.snapshot(path)
    assert found == value, (found, value)

def refused(kind, update, **others):
    try:
        mem.patch(update, **others)
    except kind:
        return
    raise AssertionError(kind)

mem.patch({"$inc": {"n": 1}})
holds(2, "n")
mem.patch({"$push": {"w": "p"}})
mem.patch({"$push": {"w": {"z": [1]}}})
holds(["p", {"z": [1]}], "w")
mem.patch([
    {"op": "add", "path": "/w/0", "value": {"k": 1}},
    {"op": "remove", "path": "/w/1"},
    {"op": "move", "from": "/q/0", "path": "/q/1"},
])
holds({"n": 2, "w": [{"k": 1}, {"z": [1]}], "d": data["d"], "q": data["q"][::-1]})
refused(ConditionError, {"$set": {"n": 9}}, where={"n": 77})
refused(UpdateError, {"$inc": {"w": 1}})
refused(ConflictError, [{"op": "test", "path": "/n", "value": 5}])
with mem.edit() as draft:
    draft["d"]["x"]["y"].append(3)
    draft["n"] += 1
    draft["q"].pop(0)
holds({"x": {"y": [1, 2, 3]}}, "d")
assert mem.transact(lambda draft: draft["q"].pop(0)) == {"i": 1}
mem.patch({"$set": {"w.$[e].z": 5}}, array_filters=[{"e.z": [1]}])
mem.patch({"$unset": {"d.x": ""}, "$set": {"e.f.0": 1}, "$rename": {"n": "m"}})
holds({"w": [{"k": 1}, {"z": 5}], "d": {}, "q": [], "m": 3, "e": {"f": {"0": 1}}})
for future in [mem.submit({"$inc": {"m": 1}}) for _ in range(20)]:
    future.result(10)
assert mem.data["w"] == [{"k": 1}, {"z": 5}] and list(mem.data) == list(mem.snapshot())
with handle() as late:
    late.patch({"$inc": {"m": 1}})
    assert late.wait_for({"m": 24})
mem.wait_for({"m": 24})
mem.patch({"$inc": {"m": 1}, "$set": {"done": True}})
holds(25, "m")
if not is_alone:
    assert os.waitpid(child, 0)[1] == 0
mem.stop()
print("right")
"""


@pytest.mark.parametrize("engine", ["local", "memory"])
@pytest.mark.parametrize("role", ["host", "client"])
@pytest.mark.parametrize("order", ["forward", "reversed", "1", "2", "3", "4"])
def test_after_a_reload_of_everything_the_values_are_right(
    cluster: Cluster, order: str, role: str, engine: str
) -> None:
    """Old and new code share classes and sentinels: each write is applied once."""
    program = cluster.script(PREPARE + VALUES, order, role, engine)
    output, problems = program.communicate(timeout=110)

    assert output == "right\n", problems


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

    assert program.communicate(timeout=110)[0] == "{'n': 4} {'n': 4}\n"
