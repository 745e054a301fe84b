"""Plays the rounds."""

from __future__ import annotations

import os
import random
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from memsync import LockLostError, LockTimeoutError, MemSync, MemSyncError, WriteTimeoutError
from memsync.locks import Lock
from memsync.testing import Cluster, Peer, until

from ..process_helpers import log_to
from .checker import fence_violations, holds_of, violations

NAME = "mutex"
LEASE = 0.5  # seconds
WORKERS = 5
PATIENCE = 20.0  # seconds until the others must go on
LATE_WRITES = 20  # of a holder that was frozen


class Report(NamedTuple):
    """What came of a run."""

    violations: list[str]
    rounds: int
    holds: int
    writes: int  # that the fenced place has taken
    free_after_kill: list[float]  # seconds
    free_after_freeze: list[float]  # seconds
    late: int  # writes of woken holders
    refused: int  # of these

    def __str__(self) -> str:
        return (
            f"{self.rounds} rounds, {self.holds} holds, {self.writes} fenced writes, "
            f"{len(self.violations)} violations\n"
            f"free after SIGKILL: {_times(self.free_after_kill)}\n"
            f"free after SIGSTOP, with a lease of {LEASE:g} s: {_times(self.free_after_freeze)}\n"
            f"late writes of woken holders: {self.refused} of {self.late} refused"
        )


def _times(seconds: list[float]) -> str:
    if not seconds:
        return "not measured"
    ordered = sorted(seconds)
    median, most = ordered[len(ordered) // 2], ordered[-1]
    return f"median {median * 1000:.0f} ms, maximum {most * 1000:.0f} ms, of {len(ordered)}"


def work(mem: MemSync[Any], path: str, seed: int) -> None:
    """Take turns until somebody kills this process."""
    chance, log = random.Random(seed), log_to(path)
    lock = mem.lock(NAME, lease=LEASE)
    while True:
        with suppress(LockLostError, LockTimeoutError, WriteTimeoutError):
            _turn(mem, lock, log, chance)
        if chance.random() < 0.01:
            mem.stop()  # a planned one, also of the host
            mem.start()


def _turn(mem: MemSync[Any], lock: Lock, log: Any, chance: random.Random) -> None:
    asked = time.monotonic()
    lock.acquire()
    at, token = time.monotonic(), lock.token
    if token is None:
        return
    log(f"acquired {token} {os.getpid()} {asked:.6f} {at:.6f}")
    try:
        for _ in range(chance.randint(1, 3)):
            mem.patch({"$push": {"fence": [token, os.getpid()]}}, lock=lock)
            time.sleep(chance.random() * 0.005)
    finally:
        releasing = time.monotonic()
        lock.release()
        log(f"releasing {token} {releasing:.6f}")  # the host has taken it, so it was not lost


def hold(mem: MemSync[Any]) -> tuple[Lock, Any]:
    """A lock under which this process has written, and the proof of the hold."""
    while True:  # on a busy machine it is lost at once, now and then
        with suppress(LockLostError):
            lock = mem.lock(NAME, lease=LEASE)
            lock.acquire()
            proof = lock.proof(mem)
            mem.patch({"$push": {"fence": [proof[2], os.getpid()]}}, lock=lock)
            return lock, proof


def hold_and_write_late(mem: MemSync[Any], woken: Path) -> tuple[int, int]:
    """Hold the lock, be frozen meanwhile, and write on with the old token.

    The file `woken` is made while this process is frozen.
    """
    lock, proof = hold(mem)
    lock.proof = lambda mem: proof  # type: ignore[method-assign]  # it has not noticed the loss
    mem.presence.update(holds=True)
    until(woken.exists, 60)
    refused = 0
    update = {"$push": {"fence": [proof[2], os.getpid()]}}
    for future in [mem.submit(update, lock=lock) for _ in range(LATE_WRITES)]:
        refused += isinstance(future.exception(20), LockLostError)
    with suppress(MemSyncError):
        lock.release()
    mem.presence.update(holds=None)
    return LATE_WRITES, refused


class Proof:
    """One run of some rounds."""

    def __init__(self, cluster: Cluster, folder: Path, seed: int) -> None:
        self._cluster = cluster
        self._folder = folder
        self._chance = random.Random(seed)
        self._workers: list[Peer] = []
        self._free_after_kill: list[float] = []
        self._free_after_freeze: list[float] = []
        self._late = self._refused = 0

    def run(self, rounds: int) -> Report:
        with MemSync(self._cluster.name, {"fence": []}, {"clientOnly": False}) as mem:
            self._mem = mem
            self._sleeper = self._cluster.start(1)[0]
            self._fill()
            mem.stop()  # so that the workers host
            mem.start()
            for _ in range(rounds):
                chosen = self._chance.random()
                if chosen < 0.5:
                    self._kill(holder=True)
                elif chosen < 0.7:
                    self._kill(holder=False)
                elif chosen < 0.85:
                    self._freeze()
                else:
                    self._freeze_a_holder_that_writes_late()
                self._fill()
                self._goes_on()
            for worker in self._workers:
                worker.kill()
            with mem.lock(NAME, timeout=PATIENCE):
                writes = [(token, pid) for token, pid in mem.snapshot("fence")]
        holds = holds_of((self._folder / "log").read_text().splitlines())
        found = [*violations(holds), *fence_violations(writes)]
        times = self._free_after_kill, self._free_after_freeze
        return Report(found, rounds, len(holds), len(writes), *times, self._late, self._refused)

    def _fill(self) -> None:
        self._workers = [worker for worker in self._workers if worker.alive]
        while len(self._workers) < WORKERS:
            worker = self._cluster.start(1)[0]
            worker.begin(work, str(self._folder / "log"), self._chance.randrange(1 << 30))
            self._workers.append(worker)

    def _holder(self) -> dict[str, Any] | None:
        holders = self._mem.locks().get(NAME, {}).get("holders", ())
        return holders[0] if holders else None

    def _paused_holder(self) -> tuple[Peer, int]:
        """A worker that was frozen while it held the lock, and its token."""
        while True:
            holder = until(self._holder, PATIENCE)
            assert holder is not None
            worker = next((each for each in self._workers if each.pid == holder["pid"]), None)
            if worker is None:
                continue
            worker.pause()
            time.sleep(0.005)  # what it has sent arrives
            now = self._holder()
            if now is not None and now["token"] == holder["token"]:
                return worker, holder["token"]
            worker.resume()

    def _kill(self, *, holder: bool) -> None:
        if not holder:
            self._chance.choice(self._workers).kill()
            return
        worker, token = self._paused_holder()
        killed = time.monotonic()
        worker.kill()
        self._free_after_kill.append(self._granted_after(token) - killed)

    def _freeze(self) -> None:
        """A holder loses the lock by its lease, and goes on."""
        worker, token = self._paused_holder()
        frozen = time.monotonic()
        self._free_after_freeze.append(self._granted_after(token) - frozen)
        worker.resume()

    def _freeze_a_holder_that_writes_late(self) -> None:
        sleeper, woken = self._sleeper, self._folder / f"woken-{self._late}"
        ticket = sleeper.begin(hold_and_write_late, woken)
        until(lambda: any(f.get("holds") for f in self._mem.presence.all().values()), PATIENCE)
        token = (self._holder() or {"token": 0})["token"]
        sleeper.pause()
        self._granted_after(token)
        woken.touch()
        sleeper.resume()
        late, refused = sleeper.result(ticket, 60)
        self._late, self._refused = self._late + late, self._refused + refused

    def _granted_after(self, token: int) -> float:
        """Wait until there is a later holder; returns when."""
        until(lambda: (self._holder() or {"token": 0})["token"] > token, PATIENCE)
        return time.monotonic()

    def _goes_on(self) -> None:
        before = (self._holder() or {"token": 0})["token"]
        self._granted_after(before)
