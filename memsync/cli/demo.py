"""The demo's parent: it starts the workers, kills the one that is host, and checks the result.

The parent is a peer of the group like the workers, except that it is never host (``clientOnly``).
It follows the run in its own replica, where reading costs no call and disturbs nobody.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import MemSyncError
from ..manager.folder import ObjectFolder
from ..manager.names import root_folder
from ..peer import MemSync
from .demo_worker import shared_object, work
from .pool import DemoError, Pool
from .report import Report
from .words import InputError, count_words, field_for

TICK = 0.2  # seconds between two looks at the workers while nothing changes
STANDSTILL = 60.0  # seconds without a change after which the run is given up


@dataclass(frozen=True)
class Progress:
    """What the replica shows while the run goes on."""

    done: int
    words: int
    epoch: int
    host: int | None  # process ids
    killed: int | None
    done_by: dict[str, int]  # files by process id


@dataclass(frozen=True)
class Kill:
    """The death of the host."""

    pid: int
    epoch: int  # the reign that it ended
    at: float  # monotonic seconds


class Demo:
    """One run: `paths` are counted by `workers` processes; `show` is called with the progress."""

    def __init__(
        self,
        paths: list[Path],
        workers: int,
        *,
        kill: bool,
        verbose: bool,
        show: Callable[[Progress], None],
    ) -> None:
        self._paths = paths
        self._workers = workers
        self._kill = kill
        self._verbose = verbose
        self._show = show
        self._name = f"demo-{secrets.token_hex(6)}"
        self._mem: MemSync[Any] = MemSync(self._name, options={"clientOnly": True})
        self._pool = Pool()
        self._changed = threading.Event()
        self._writes = 0
        self._reigns: dict[int, float] = {}  # when each epoch was seen (monotonic seconds)
        self._killed: Kill | None = None

    def run(self) -> Report:
        """Count, kill, compare.

        Raises `DemoError` when a worker ended by itself or nothing went on for too long, and
        `InputError` when a file cannot be read any more. No worker outlives the call.
        """
        if not self._paths:
            return Report()
        try:
            with self._own_folder(), self._pool:
                report = self._count_together()
        except MemSyncError as error:
            raise DemoError(f"the group failed: {error}") from error
        return replace(report, plain=self._count_plainly())

    @contextmanager
    def _own_folder(self) -> Iterator[None]:
        """The folder in which the peers meet; no other run has its name, so it is removed."""
        folder = ObjectFolder(root_folder(), self._name)
        try:
            yield
        finally:
            shutil.rmtree(folder.path)

    def _count_together(self) -> Report:
        # This handle is only passed on: in each worker it joins as a peer of its own.
        shared: MemSync[Any] = MemSync(self._name, shared_object(self._paths))
        self._pool.start(self._workers, work, (shared, self._verbose))
        self._mem.on("received_patches", self._on_patches)
        self._mem.on("host_changed", self._on_host_changed)
        try:
            with self._mem:
                report = self._follow()
                self._mem.patch({"$set": {"stage": "over"}})
                self._pool.join()
                return report
        except MemSyncError:
            self._pool.check()  # a worker that died explains more than what followed from it
            raise

    def _follow(self) -> Report:
        mem = self._mem
        self._wait_until(lambda: len(mem.data["done_by"]) == self._workers)
        first_epoch, begin, writes = mem.epoch, time.monotonic(), self._writes
        mem.patch({"$set": {"stage": "before" if self._kill else "after"}})
        self._wait_until(self._is_done)
        seconds = time.monotonic() - begin
        return Report(
            files=mem.data["done"],
            counts=mem.snapshot("counts"),
            changes=sum(epoch > first_epoch for epoch in self._reigns),
            seconds_without_host=self._seconds_without_host() or 0.0,
            writes_per_second=(self._writes - writes) / seconds,
        )

    def _count_plainly(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for path in self._paths:
            try:
                counts.update(count_words(path))
            except OSError as error:
                raise InputError(f"{path} cannot be read any more: {error.strerror}") from error
        return {field_for(word): number for word, number in counts.items()}

    # -- following the run -----------------------------------------------------------------------

    def _on_patches(self, patches: list[dict[str, Any]]) -> None:
        self._writes += len(patches)
        self._changed.set()

    def _on_host_changed(self, change: dict[str, Any]) -> None:
        self._reigns[change["epoch"]] = time.monotonic()
        self._changed.set()

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Follow the run until the condition holds; kill the host when its time has come."""
        version, since = self._mem.version, time.monotonic()
        while not condition():
            self._changed.wait(TICK)
            self._changed.clear()
            self._pool.check()
            if self._mem.data["problem"] is not None:
                raise InputError(self._mem.data["problem"])
            if self._mem.data["stage"] == "held" and self._killed is None:
                self._kill_host()
            self._show(self._progress())
            if self._mem.version != version:
                version, since = self._mem.version, time.monotonic()
            elif time.monotonic() - since > STANDSTILL:
                raise DemoError(f"nothing has changed for {STANDSTILL:g} s")
        self._show(self._progress())

    def _is_done(self) -> bool:
        """Whether all files are done, and the death of the host, if there is one, is overcome."""
        all_done = self._mem.data["done"] == len(self._paths)
        return all_done and (not self._kill or self._seconds_without_host() is not None)

    def _kill_host(self) -> None:
        """Kill the host, which has a file in hand now; the run may then go beyond its half."""
        holder = self._mem.data["files"][self._mem.data["held"]]["state"]
        host = self._mem.get_status()["host"]
        if host is None or host["id"] != holder:
            raise DemoError("the host changed by itself")
        self._killed = Kill(host["pid"], self._mem.epoch, self._pool.kill(host["pid"]))
        self._mem.patch({"$set": {"stage": "after"}})

    def _seconds_without_host(self) -> float | None:
        """From the kill to the next reign; None while that is not seen, or nothing was killed."""
        killed = self._killed
        if killed is None:
            return None
        seen = [at for epoch, at in self._reigns.items() if epoch > killed.epoch]
        return min(seen) - killed.at if seen else None

    def _progress(self) -> Progress:
        data, host = self._mem.data, self._mem.get_status()["host"]
        return Progress(
            done=data["done"],
            words=data["words"],
            epoch=self._mem.epoch,
            host=host["pid"] if host else None,
            killed=self._killed.pid if self._killed else None,
            done_by=dict(data["done_by"]),
        )
