"""Virtual time, the processes that live in it, and the steps at which they can be hurt.

One thread runs everything. A process has tasks (see `memsync.manager.platform.task`): its driver,
and the users that wait for their writes. Each runs until it waits, and goes on when the wait is
over, some virtual time later. Each request to the platform is a *call*. In a call a process can be
killed, frozen, or have another of its threads run first; it then stays in the middle of its step
while a nested `World.run` lets the world go on. Every call of a killed process raises `Killed` and
has no effect.
"""

from __future__ import annotations

import heapq
import random
import zlib
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .disk import Disk
    from .network import Server
    from .process import Process

MAX_DEPTH = 3  # processes frozen in the middle of a step at the same time
CHANCE = 0.15  # of what is allowed but rare, each time that it may happen
STEPS_MAX = 150_000  # of one run; a healthy group comes to rest in a third of them at most
CHANCES = {"a source breaks off": 0.6}  # few recoveries fetch a state


class Killed(BaseException):
    """The process is dead: nothing that it does has an effect any more."""


class Streams:
    """Random numbers, a stream for each subsystem: a new draw in one does not shift the others."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._streams: dict[str, random.Random] = {}

    def __getitem__(self, subsystem: str) -> random.Random:
        stream = self._streams.get(subsystem)
        if stream is None:
            stream = self._streams[subsystem] = random.Random(f"{self._seed} {subsystem}")
        return stream


class World:
    """One run: its time, its processes, its disk and network, its faults, and its trace."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now = 1000.0  # seconds
        self.streams = Streams(seed)
        self.processes: list[Process] = []
        self.fired: Counter[str] = Counter()  # faults, buggify points and other events, by name
        self.buggify_points: frozenset[str] = frozenset()
        self.calm = False  # the faults are over
        self.depth = 0
        self.trace = 0
        self.steps = 0
        self.disk: Disk
        self.listeners: dict[str, Server] = {}
        self.pipe_capacity = 100_000  # bytes
        self.story: list[str] | None = None  # the events in words, if they are wanted
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._ticket = count()
        self._latency = self.streams["scheduler"]

    def at(self, when: float, event: Callable[[], object]) -> None:
        """Have something happen at a time."""
        heapq.heappush(self._queue, (when, next(self._ticket), event))

    def after(self, seconds: float, event: Callable[[], object]) -> None:
        """Have something happen after some seconds."""
        heapq.heappush(self._queue, (self.now + seconds, next(self._ticket), event))

    def latency(self) -> float:
        """Seconds until a thread that may run does run; now and then that takes long."""
        draw = self._latency.random()
        if draw < 0.97 or self.calm:
            return 0.00002 + draw * 0.0002
        return (draw - 0.97) * 0.3

    def note(self, who: str, what: str) -> None:
        """Add to the trace."""
        self.trace = zlib.crc32(f"{self.now:.6f} {who} {what}".encode(), self.trace)
        if self.story is not None:
            self.story.append(f"{self.now - 1000:10.6f} {who:4} {what}")

    def run(self, until: float, done: Callable[[], bool] | None = None) -> None:
        """Let the world go on until a time, or until something is true."""
        queue = self._queue
        while queue and queue[0][0] <= until and not self.is_restless:
            if done is not None and done():
                return
            when, _, event = heapq.heappop(queue)
            self.now = max(self.now, when)
            self.steps += 1
            event()
        self.now = max(self.now, until)

    @property
    def is_restless(self) -> bool:
        """Whether the run has ended early, because somebody does something all the time."""
        return self.steps >= STEPS_MAX

    def buggify(self, point: str) -> bool:
        """Whether a named buggify point does now what is allowed but rare."""
        if self.calm or point not in self.buggify_points:
            return False
        if self.streams[f"buggify {point}"].random() > CHANCES.get(point, CHANCE):
            return False
        self.fired[f"buggify: {point}"] += 1
        return True
