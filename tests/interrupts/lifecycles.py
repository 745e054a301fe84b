"""Starts and stops that are interrupted at each place, and what they leave behind."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from memsync import MemSync
from memsync.testing import Cluster, until

from .injector import Injection, Place, places_of
from .sample import Choose
from .scenarios import DATA, ERRORS, PATIENCE, Broken, Report, demand

Other = Any
"""The peer of another process that hosts or follows, or None."""


@contextmanager
def nobody() -> Iterator[Other]:
    yield None


@contextmanager
def a_host() -> Iterator[Other]:
    with Cluster() as cluster:
        yield cluster.peer(DATA)


@contextmanager
def a_handle() -> Iterator[Other]:
    with MemSync("obj", DATA, engine="memory") as other:
        yield other


OTHERS = {"alone": nobody, "beside a host": a_host, "memory": a_handle, "memory alone": nobody}
LIFE = ("start", "stop")


def left_behind(other: Other) -> dict[str, Any]:
    """What would grow with each start that leaves something behind."""
    folder = Path(os.environ["MEMSYNC_DIR"])
    names = [thread.name for thread in threading.enumerate()]
    return {
        "files": len([*folder.glob("*/peer-*"), *folder.glob("*/tmp-*")]),
        "descriptors": sum(_is_ours(path) for path in Path("/proc/self/fd").glob("*")),
        "threads": sum(name.startswith("memsync") for name in names),
        "members": 0 if other is None else _members(other),
    }


def _members(other: Other) -> int:
    return len(other.peers) if isinstance(other, MemSync) else other.status()["peers"]


def _is_ours(path: Path) -> bool:
    with suppress(FileNotFoundError):
        target = os.readlink(path)
        return target.startswith(("socket:", "anon_inode:", os.environ["MEMSYNC_DIR"]))
    return False


def interrupt_life(other_name: str, call: str, choose: Choose, most: int = 20) -> Report:
    """Interrupt starts or stops at the chosen ones of their places."""
    engine = "memory" if "memory" in other_name else "local"
    with OTHERS[other_name]() as other:
        found: Counter[Place] = Counter()
        for _ in range(3):
            with ExitStack() as stack:
                mem: MemSync[Any] = MemSync("obj", DATA, engine=engine)
                stack.callback(mem.stop)
                if call == "stop":
                    mem.start()
                found.update(places_of(getattr(mem, call)).keys())
        waiting = choose(found)
        total, reached = len(waiting), 0
        broken: list[str] = []
        while waiting and len(broken) < most:
            place = waiting.pop()
            error = ERRORS[len(waiting) % len(ERRORS)]("injected")
            try:
                reached += _attempt(other, engine, call, place, error)
            except Exception as wrong:
                broken.append(f"{other_name}, {call}, {place}: {wrong!r}")
    return Report(total, reached, broken)


def _attempt(other: Other, engine: str, call: str, place: Place, error: BaseException) -> bool:
    before = left_behind(other)
    mem: MemSync[Any] = MemSync("obj", DATA, engine=engine)
    if call == "stop":
        mem.start()
    injection = Injection(place, error)
    try:
        injection.run(getattr(mem, call))
        status = mem.get_status()["status"]
        if call == "start" and not injection.was_raised:
            demand(status in ("host", "client"), f"after start() it is {status}")
        if call == "start" and injection.was_raised and status == "stopped":
            _demand_nothing_more(before, other, "the failed start")
        mem.stop()
        _demand_nothing_more(before, other, "the stop")
        try:
            mem.start()
            mem.patch({"$inc": {"n": 1}}, timeout=PATIENCE)
        except Exception as wrong:
            raise Broken(f"it cannot start again: {wrong!r}") from wrong
        if other is not None:
            other.patch({"$inc": {"n": 1}}, timeout=PATIENCE)
            demand(_members(other) == 1, f"the other peer sees {_members(other)} members")
    finally:
        mem.stop()
    return injection.has_come


def _demand_nothing_more(before: dict[str, Any], other: Other, what: str) -> None:
    gc.collect()

    def more() -> dict[str, Any]:
        now = left_behind(other)
        return {kind: now[kind] for kind in now if now[kind] > before[kind]}

    try:
        until(lambda: not more(), PATIENCE, lambda: "")
    except AssertionError:
        raise Broken(f"{what} leaves behind: {more()}, before {before}") from None
