"""What a type checker says of programs that use memsync, in mypy's strict mode."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from memsync import errors
from memsync.runtime.dispatcher import EVENTS

ROOT = Path(errors.__file__).parent.parent

USER = """
from typing import Any, Literal, TypedDict

from memsync import Change, Gap, MemSync, MemSyncError, idempotent

mem = MemSync("x")
with_data = MemSync("x", {"n": 0}, {"timeout": 5})
with MemSync("x", {"n": 0}) as entered:
    reveal_type(entered.data)  # dict[str, Any]
reveal_type(mem)  # MemSync[dict[str, Any]]
reveal_type(mem.start(timeout=float("inf")))  # str
reveal_type(with_data.data)  # dict[str, Any]
reveal_type(mem.data["n"])  # Any
reveal_type(mem.snapshot())  # dict[str, Any]
reveal_type(mem.snapshot(""))  # dict[str, Any]
reveal_type(mem.snapshot("a.b"))  # Any
reveal_type(mem.at(3))  # dict[str, Any]
reveal_type(mem.at(3, "a.b"))  # Any
mem.flush()
mem.flush(timeout=5)
reveal_type(mem.wait_for({"n": 1}))  # dict[str, Any]
reveal_type(mem.wait_for(lambda data: data["n"] > 3, timeout=1))  # dict[str, Any]
reveal_type(mem.transact(lambda draft: len(draft["free"])))  # int
with mem.edit() as draft:
    reveal_type(draft)  # dict[str, Any]
    draft["n"] += 1


class Settings(TypedDict):
    theme: str
    size: int


def resize(draft: Settings) -> int:
    draft["size"] += 1
    return draft["size"]


settings = MemSync[Settings]("settings", {"theme": "dark", "size": 1})
reveal_type(settings.data["theme"])  # str
reveal_type(settings.snapshot())  # Settings
reveal_type(settings.at(3, ""))  # Settings
reveal_type(settings.wait_for({"size": 2}))  # Settings
reveal_type(settings.transact(resize))  # int
with settings.edit(timeout=3) as draft_of_settings:
    reveal_type(draft_of_settings["size"])  # int
with settings.lock("k") as held, settings.edit(lock=held) as draft_of_settings:
    reveal_type(settings.transact(resize, lock=held))  # int


def inside(mem: MemSync) -> int:  # no arguments: the default
    with mem.edit() as draft:
        return len(draft)  # an edit swallows no exception: no return is missing


def lost(error: MemSyncError) -> None:
    reveal_type(error.outcome)  # Literal['not_applied', 'unknown', 'applied']


def connected(role: Literal["host", "client"]) -> None: ...
def disconnected(reason: str) -> None: ...
def received(patches: list[dict[str, Any]]) -> None: ...
def changed(change: dict[str, Any]) -> None: ...
def gap(count: int) -> None: ...


mem.on("connected", connected)
mem.on("disconnected", disconnected)
mem.on("received_patches", received)
mem.on("host_changed", changed)
mem.on("rolled_back", lost)
mem.on("gap", gap)
mem.on("connected", print)
mem.patch({"$inc": {"n": 1}}, w="majority")
reveal_type(mem.submit({"$inc": {"n": 1}}, w="all").result())  # int
mem.patch({"$inc": {"n": 1}}, w=3)
mem.patch({"$inc": {"n": 1}}, emit=("done", 7))
mem.events.on("done", print)
reveal_type(mem.events.emit("done", 7))  # int
reveal_type(mem.events.wait("done", since=3).args)  # tuple[Any, ...]
for item in mem.events.stream("done"):
    if isinstance(item, Gap):
        reveal_type(item.count)  # int | None
    else:
        reveal_type(item.version)  # int
reveal_type(mem.presence.update(status="busy"))  # int
reveal_type(mem.presence.all())  # dict[str, dict[str, Any]]
with mem.events.stream("done", since=3) as stream:
    reveal_type(stream)  # EventStream
with mem.lock("k", timeout=5, lease=30, on_lost=lambda lost: print(lost.token)) as lock:
    reveal_type(lock)  # Lock
    reveal_type(lock.token)  # int | None
    reveal_type(lock.lost.wait(1))  # bool
    mem.patch({"$inc": {"n": 1}}, lock=lock)
with mem.semaphore("k", 2) as places:
    reveal_type(places)  # Semaphore
    reveal_type(places.acquire(timeout=1))  # bool
reveal_type(mem.locks())  # dict[str, dict[str, Any]]
reveal_type(mem.once("warm_up", lambda: 1))  # int
mem.last_out("tear_down", lambda: None)
for change, version in mem.changes("n"):
    reveal_type(version)  # int
mem.changes("n", since=version, initial=True, timeout=5)
with mem.observe("n", print, immediate=True, throttle=1, debounce=0.5) as subscription:
    reveal_type(subscription)  # Subscription


def on_any(change: Change[Any]) -> None: ...
def on_length(number: int) -> None: ...
def on_size(change: Change[int]) -> None:
    reveal_type(change.old)  # int
    reveal_type(change.peer)  # str | None


mem.observe("n", on_any, changes=True)
mem.observe(lambda data: len(data["n"]), on_length)
settings.observe(lambda data: data["size"], on_size, changes=True)
settings.observe(lambda data: data["size"], on_length, False, 1.5, None)
reveal_type(MemSync.from_config("x.yaml"))  # MemSync[Any]


@idempotent
def double(n: int) -> int:
    return 2 * n


offers = MemSync("x", rpc={"math": {"double": double}, "ping": lambda: None})
reveal_type(double(2))  # int
reveal_type(mem.call("math.double", 1, peer="p", timeout=1))  # Any
reveal_type(mem.call_all("math.double", 1))  # dict[str, Any]
reveal_type(mem.run(double, 1, on="host"))  # int
reveal_type(mem.rpc.submit("ping").result(timeout=1))  # Any
reveal_type(mem.rpc.publish("double", double))  # int
with mem.executor(2) as executor:
    reveal_type(executor.submit(double, 1).result())  # int
    reveal_type(list(executor.map(double, [1])))  # list[int]
reveal_type(mem.rpc.current().remaining())  # float | None
"""

WRONG = """
from memsync import MemSync, MemSyncError

mem = MemSync("x", {"n": 0})
mem.on("conected", print)  # call-overload
mem.patch({}, w="most")  # arg-type
mem.submit({}, w="al")  # arg-type
mem.patch({}, emit=5)  # arg-type
mem.events.on("x", 5)  # arg-type
mem.events.stream("x").missed  # attr-defined
mem.presence.on_change(5)  # arg-type
mem.lock(5)  # arg-type
mem.semaphore("x", "2")  # arg-type
mem.patch({}, lock="x")  # arg-type
mem.lock("x", on_lost=lambda: None)  # arg-type
mem.once("x", 5)  # arg-type
mem.snapshot(5)  # call-overload
mem.at("3")  # call-overload
mem.wait_for(lambda data: data.n)  # attr-defined
mem.transact(5)  # arg-type
mem.observe(5, print)  # call-overload
mem.observe("n", 5)  # call-overload
MemSync("x", network={"spin": 0})  # call-arg
settings = MemSync[dict[str, int]]("s")
settings.data["a"] + "b"  # operator
def fails(error: MemSyncError) -> None: ...
def counts(count: int) -> None: ...
mem.on("connected", counts)  # call-overload
mem.on("disconnected", counts)  # call-overload
mem.on("received_patches", counts)  # call-overload
mem.on("host_changed", counts)  # call-overload
mem.on("rolled_back", counts)  # call-overload
mem.on("gap", fails)  # call-overload
settings.observe(lambda data: data["n"], fails)  # misc
settings.observe(lambda data: data["n"], counts, changes=True)  # call-overload
mem.run("double")  # arg-type
mem.call("double", timeout="5")  # arg-type
mem.executor("2")  # arg-type
"""


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[int, str]]:
    place = tmp_path_factory.mktemp("typing")

    def run(program: str) -> dict[int, str]:
        """What mypy says of each line of a program of a user."""
        (place / "user.py").write_text(program)
        command = (sys.executable, "-m", "mypy", "--strict", "--config-file=", "user.py")
        done = subprocess.run(
            command,
            cwd=place,
            env={**os.environ, "MYPYPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert not done.stderr, done.stderr
        found: dict[int, str] = {}
        for line in done.stdout.splitlines():
            match = re.fullmatch(r"user.py:(\d+): (?:error|note): (.*)", line)
            assert match or not line.startswith("memsync"), line
            if match and re.search(r"  \[[a-z-]+\]$|Revealed type", line):
                found[int(match[1])] = match[2]
        return found

    return run


def comments(program: str, marker: str) -> dict[int, str]:
    """The comment of each line that has the marker and a comment."""
    lines = enumerate(program.splitlines(), 1)
    return {n: line.partition("  # ")[2] for n, line in lines if marker in line and "  # " in line}


def plain(told: str) -> str:
    """A revealed type as a program writes it, in the same words for each version of mypy."""
    match = re.search(r'Revealed type is "(.*)"', told)
    assert match, told
    text = re.sub(r"(\w+\.)+(?=\w)", "", match[1])
    text = re.sub(r"TypedDict\('?(\w+).*", r"\1", text)
    text = text.replace("Union[", "").replace("]]", "]") if "Union[" in text else text
    return re.sub(r"'\](?: \||,) Literal\[", "', ", text)


def test_types_are_known_without_an_annotation(check: Callable[[str], dict[int, str]]) -> None:
    found = {number: plain(told) for number, told in check(USER).items()}
    assert found == comments(USER, "reveal_type")


def test_mistakes_are_found(check: Callable[[str], dict[int, str]]) -> None:
    found = {n: told.rpartition("[")[2].rstrip("]") for n, told in check(WRONG).items()}
    assert found == comments(WRONG, "")


def test_each_event_has_its_type(check: Callable[[str], dict[int, str]]) -> None:
    lines = [f"mem.on({name!r}, print)" for name in EVENTS]
    program = "\n".join(["from memsync import MemSync", 'mem = MemSync("x")', *lines])
    assert check(program) == {}


def test_the_type_needs_nothing_at_run_time() -> None:
    """typing_extensions, from which type checkers take the default, need not be installed."""
    program = textwrap.dedent("""
        import sys
        sys.modules["typing_extensions"] = None
        from memsync import MemSync
        print(MemSync[int]("x", engine="memory"))
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert "<MemSync 'x' stopped" in done.stdout, done.stderr
