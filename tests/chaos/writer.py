"""What runs in the processes: a peer that writes, and notes each write before and after.

The notes are lines in a file, which survive SIGKILL: ``TIME WHAT NUMBER DETAIL``, the time that of
the monotonic clock, which all processes share.
"""

from __future__ import annotations

import faulthandler
import logging
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from memsync import MemSync, MemSyncError, NotStartedError

from ..process_helpers import log_to
from .leftovers import Process

STOP = "stop"  # the file that ends all writing
FOUNDING = {"count": 0, "log": {}, "shared": {}, "queue": [], "calm": {}}
_TIMEOUT = 20.0  # seconds; no write needs them as long as two peers are well
_PATIENCE_WITH_CONCERN = 5.0  # seconds; the members that it counts may be dead
_IN_FLIGHT = 30  # writes that are submitted and not looked at yet


class Task(NamedTuple):
    """Who writes, how, and where the notes go."""

    place: str
    name: str
    seed: int
    driver: Process  # when it is gone, nobody would ever stop the writer
    pace: float  # seconds of thought between two writes, at most
    says_goodbye: bool = True  # a child process: whether it calls stop() before it returns


def notes_in(task: Task) -> Callable[..., None]:
    """A function that appends a note."""
    append = log_to(Path(task.place) / task.name)

    def note(what: str, number: int = 0, detail: str = "") -> None:
        append(f"{time.monotonic():.6f} {what} {number} {' '.join(detail.split())}")

    return note


def log_into(mem: MemSync[Any], path: str) -> None:
    """Keep memsync's log in a file, and at SIGUSR1 the stacks of all threads, to find out why."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s.%(msecs)03d %(name)s %(message)s", "%X"))
    assert handler.stream is not None
    faulthandler.register(signal.SIGUSR1, handler.stream)
    logger = logging.getLogger("memsync")
    logger.handlers[:] = [handler]  # a forked child has its parent's
    logger.propagate = False
    logger.setLevel(logging.DEBUG)


def take_part(mem: MemSync[Any], task: Task) -> None:
    """Join and write until the peer is stopped or the file `STOP` appears."""
    note = notes_in(task)
    ended = mem.__dict__["writer_ended"] = threading.Event()
    with mem.on("rolled_back", lambda error: note("rolled_back", 0, repr(error))):
        try:
            mem.start()
        except MemSyncError as error:
            note("failed", 0, repr(error))
            return
        note("started", 0, mem.id)
        _Writer(mem, task, note).write()
        note("ended")
        ended.set()


class _Writer:
    def __init__(self, mem: MemSync[Any], task: Task, note: Callable[..., None]) -> None:
        self._mem = mem
        self._task = task
        self._note = note
        self._random = random.Random(task.seed)
        self._in_flight: list[threading.Event] = []  # set when its outcome is noted
        self._number = 0

    def write(self) -> None:
        thinking = threading.Event()  # never set: writers take their time
        stop = Path(self._task.place) / STOP
        while not stop.exists() and self._task.driver.is_running():
            try:
                self._write_one()
            except NotStartedError:
                break
            if self._task.pace:
                thinking.wait(self._random.random() * self._task.pace)
        self._look_at(self._in_flight)

    def _write_one(self) -> None:
        self._number += 1
        number, kind = self._number, self._random.choices(_KINDS, (70, 25, 5))[0]
        update = _update(self._random, self._task.name, number, kind)
        concern: dict[str, Any] = {"timeout": _TIMEOUT}
        if kind == "majority":
            concern = {"w": "majority", "timeout": _PATIENCE_WITH_CONCERN}
        self._note("begun", number, kind)
        try:
            if self._random.random() < 0.3:
                self._mem.patch(update, **concern)
                self._note("ok", number)
                return
            future = self._mem.submit(update, **concern)
        except MemSyncError as error:
            self._note(str(error.outcome), number, repr(error))
            if isinstance(error, NotStartedError):
                raise
            return
        noted = threading.Event()
        future.add_done_callback(partial(self._told, number, noted))
        self._in_flight.append(noted)
        if len(self._in_flight) > _IN_FLIGHT:
            self._look_at([self._in_flight.pop(0)])

    def _told(self, number: int, noted: threading.Event, future: Future[int]) -> None:
        error = future.exception()
        if error is None:
            self._note("ok", number)
        else:
            self._note(str(getattr(error, "outcome", "broken")), number, repr(error))
        noted.set()

    def _look_at(self, in_flight: list[threading.Event]) -> None:
        """Wait for the outcomes; one that never comes is missing in the notes.

        Not for the futures only: they are done an instant before their callbacks are called, and
        the process may end in it.
        """
        deadline = time.monotonic() + 2 * _TIMEOUT
        for noted in in_flight:
            if not noted.wait(max(deadline - time.monotonic(), 0)):
                self._note("broken", 0, "a write has no outcome")


# What never conflicts, what may, and what must be in more than half of the members.
_KINDS = ("plain", "contested", "majority")


def _update(rnd: random.Random, name: str, number: int, kind: str) -> dict[str, Any]:
    """An update with a tag of its own; the counter moves with it, or neither does."""
    update: dict[str, Any] = {"$inc": {"count": 1}, "$push": {f"log.{name}": number}}
    if kind != "contested":
        return update
    field = f"shared.{rnd.randrange(3)}"
    match rnd.randrange(5):
        case 0 | 1:
            update["$set"] = {field: [name, number]}
        case 2:
            update["$unset"] = {field: ""}
        case 3:
            update["$pop"] = {"queue": -1}
        case 4:
            update["$push"]["queue"] = {"$each": [number], "$slice": -9}
    return update


def make_child(mem: MemSync[Any], method: str, task: Task) -> int:
    """Start a process which takes part through this handle, as a peer of its own; its pid."""
    context: Any = get_context(method)  # each has a Process, which their base does not say
    process = context.Process(target=_take_part_as_child, args=(mem, task))
    process.start()
    mem.__dict__.setdefault("children", []).append(process)  # or it is collected while it runs
    pid: int = process.pid
    return pid


def _take_part_as_child(mem: MemSync[Any], task: Task) -> None:
    log_into(mem, f"{task.place}/{task.name}.log")
    take_part(mem, task)
    if task.says_goodbye:
        mem.stop()


def restart(mem: MemSync[Any], task: Task) -> None:
    """Stop and join again in the same process, as a new peer."""
    mem.stop()
    assert mem.__dict__["writer_ended"].wait(2 * _TIMEOUT), "the writer goes on after stop()"
    take_part(mem, task)


def be_calm(mem: MemSync[Any], name: str) -> None:
    """One more own write, which is behind all that came before it."""
    mem.patch({"$inc": {f"calm.{name}": 1}}, timeout=_TIMEOUT)
