"""Users that wait for named locks, hold them, write with them, and give up."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from memsync.errors import MemSyncError
from memsync.replication.kinds.lock import LockKind, acquiring
from memsync.runtime.call import Call
from memsync.runtime.futures import WriteFuture
from memsync.runtime.lock_request import LockRequest
from memsync.runtime.lock_requests import requests_of

if TYPE_CHECKING:
    from .process import Process

NAMES = {"mutex": 1, "other": 1, "places": 2}
LOOK = 0.005  # seconds between two looks of a user
IMPATIENT = 0.15  # share of the users that give up while they wait
LATE = 0.4  # share of the holders that write once more, some time after their release
FREEZES = 0.2  # share of the holders with a lease whose process freezes
LEASES = [None, None, 0.5, 0.5]


class Dispatcher:
    """Runs callbacks on the main thread of a process, a moment later."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def call_surely(self, callback: Callable[..., Any], *args: Any) -> None:
        process = self._process
        process.world.after(
            process.world.latency(), lambda: process.when_running(lambda: callback(*args))
        )


class LockUser:
    """One request, from the wish to the end; it looks now and then, as a thread that is woken."""

    def __init__(self, process: Process, chance: random.Random) -> None:
        self.process = process
        self.ended = False
        self._chance = chance
        self._name = chance.choice(sorted(NAMES))
        self._lease = chance.choice(LEASES)
        self._patience = chance.random() * 1.5 if chance.random() < IMPATIENT else 60.0
        self._holds = chance.choice([0.0, 0.0, 0.02, 0.3, 1.0])  # seconds
        self._writes = chance.choice([1, 2, 3])
        self._request: LockRequest | None = None
        self._began = self._held_at = process.world.now
        self._number = 0

    def begin(self) -> None:
        """Ask for the lock (the process runs)."""
        if not self._may_go_on():
            return
        process = self.process
        requests = requests_of(process.participant)
        dispatcher: Any = Dispatcher(process)
        places = NAMES[self._name]
        request = requests.prepare(self._name, None, dispatcher, places=places, lease=self._lease)
        self._request, self._number = request, request.number
        requests._open[self._number] = request
        process.world.note(process.name, f"wants the lock {self._name} as {self._number}")
        self._submit(acquiring(request.wish), LockKind.name, None)
        self._look_later()

    def _may_go_on(self) -> bool:
        process = self.process
        if not process.alive or process.ended or process.leaving:
            self.ended = True
        return not self.ended

    def _look_later(self) -> None:
        process = self.process
        process.world.after(LOOK, lambda: process.when_running(self._look))
        if not process.alive or process.ended:
            self.ended = True

    def _look(self) -> None:
        request, world = self._request, self.process.world
        assert request is not None
        if not self._may_go_on():
            return
        if not requests_of(request.participant)._take(request):
            if request.is_dropped or world.calm or world.now - self._began > self._patience:
                world.fired["a request for a lock is given up"] += 1
                requests_of(request.participant).give_up(request)
                self.ended = True
                return
        elif request.lost.is_set():
            world.fired["a lock is lost"] += 1
            world.note(self.process.name, f"has lost the lock {self._name}")
            self._write()
            self.ended = True
            return
        else:
            if self._writes:
                self._held_at = world.now
                if self._lease and not world.calm and self._chance.random() < FREEZES:
                    seconds = self._chance.choice([0.3, 1.2])
                    world.after(0.0, lambda: self.process.freeze(seconds))
                self._write()
                self._writes -= 1
            if world.calm or (not self._writes and world.now - self._held_at >= self._holds):
                world.fired["a lock is released"] += 1
                requests_of(request.participant).give_up(request)
                if self._chance.random() < LATE:
                    delay = self._chance.random() * 0.5
                    world.after(delay, lambda: self.process.when_running(self._write_late))
                else:
                    self.ended = True
                return
        self._look_later()

    def _write_late(self) -> None:
        if self._may_go_on():
            self._write()
            self.ended = True

    def _write(self) -> None:
        """A write that only the holder may make."""
        request = self._request
        assert request is not None
        assert request.token is not None
        who = [request.token, self.process.participant.id, self._number]
        update = {"$push": {f"fence.{self._name}": who}}
        self._submit(update, "patch", [self._name, self._number, request.token])

    def _submit(self, update: Any, kind: str, proof: list[Any] | None) -> None:
        participant = self.process.participant
        deadline = self.process.driver.platform.monotonic() + 20
        call = Call(deadline=deadline, kind=kind, lock=proof)
        future = WriteFuture(lambda callback, done: callback(done))
        future.add_done_callback(self._refused)
        try:
            participant.writer.submit(update, call, future)
        except MemSyncError as error:
            if "role" not in str(error):  # a reader may lock, and not write
                raise

    def _refused(self, future: Any) -> None:
        error = future.exception()
        if error is not None:
            self.process.world.fired[f"with a lock: {type(error).__name__}"] += 1
