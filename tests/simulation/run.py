"""One seed: a group with its users, faults, then healing, and the verdict of the checkers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from memsync.document import identical, to_plain
from memsync.manager.host.host import Host
from memsync.options import Options, load_options
from memsync.replication.kinds.method import callable_peers
from memsync.replication.kinds.presence import present
from memsync.replication.lock_part import lock_facts

from . import workload
from .checkers import CHECKERS, CHECKERS_AFTER_A_WIPE
from .disk import Disk
from .faults import BUGGIFY_POINTS, FAULTS, RARE, WIPE, delete_witnesses
from .history import Final, History
from .lock_users import LockUser
from .network import Pipe
from .process import Process
from .world import World

FAULTY = 4.0  # seconds of the first phase
LOCKING = 0.4  # share of the runs whose users lock
PATIENCE = 90.0  # seconds until the group must be quiet again
MAX_PROCESSES = 9
KINDS, KINDS_WEIGHTS = ["", "reader", "clientOnly", "serverOnly"], [12, 1, 1, 1]


class Result(NamedTuple):
    """The verdict on a seed, and what happened in it."""

    seed: int
    violations: list[str]
    trace: int
    counts: Counter[str]
    fail_overs: list[float]  # seconds of those in which nobody was frozen or cut off


@cache
def _options(text: str) -> Options:
    limits: dict[str, Any] = {"poll": 0.2}
    stated: dict[str, Any] = {"network": limits}
    for word in text.split():
        match word.split("="):
            case ["strict" | "last" as rule]:
                stated["conflict"] = rule
            case ["clientOnly" | "serverOnly" as role]:
                stated[role] = True
            case ["reader"]:
                stated["peer"] = {"roles": []}
            case ["standby"]:
                stated["onMaxWriters"] = "wait"
            case [key, value]:
                limits[key] = float(value) if key == "lease" else int(value)
    return load_options(stated, environ={})


class Run:
    """The group of one seed."""

    def __init__(
        self,
        seed: int,
        *,
        tell: bool = False,
        faults: Sequence[str] | None = None,
        points: Sequence[str] | None = None,
        kinds: Sequence[str] = workload.KINDS,
        capacity: int | None = None,
        strict: bool | None = None,
        wipes: bool = False,
        limited: bool = True,
    ) -> None:
        world = self.world = World(seed)
        self.history = History()
        self.history.all_peers = world.processes
        chance = world.streams["setup"]
        drawn = chance.choice([300, 2000, 100_000, 100_000])
        world.pipe_capacity = drawn if capacity is None else capacity
        world.disk = Disk(world)
        world.disk.observed = chance.random() < 0.75
        world.listeners = {}
        enabled = [point for point in BUGGIFY_POINTS if chance.random() < 0.25]
        world.buggify_points = frozenset(enabled if points is None else points)
        is_strict = chance.random() < 0.25
        self.history.is_strict = is_strict if strict is None else strict
        # A stream of its own: the other draws of a seed stay.
        is_last = not self.history.is_strict and world.streams["rule"].random() < 0.2
        self.history.is_last = is_last if strict is None else False
        group = ["strict"] if self.history.is_strict else []
        group += ["last"] if self.history.is_last else []
        if chance.random() < 0.3:
            group.append(f"maxLog={chance.choice([1, 3, 20])}")
        if chance.random() < 0.25:
            group.append("maxQueue=1024")
        if chance.random() < 0.6:
            group.append(f"lease={chance.choice([0.2, 0.5, 1.0])}")
        if (
            chance.random() < 0.2 and limited and not wipes
        ):  # two clusters may have more writers than one may
            self.history.writer_limit = chance.choice([2, 3, 4])
            group.append(f"maxWriters={self.history.writer_limit}")
        self._group = " ".join(group)
        self._numbers = iter(range(1, 1_000_000))
        self._users = world.streams["users"]
        self._locking = world.streams["locks"]
        self._lock_users: list[LockUser] = []
        self._kinds = kinds
        chosen = [name for name in FAULTS if chance.random() < 0.6] or ["kill_host"]
        self.faults = chosen if faults is None else [*faults]
        self._checkers = CHECKERS
        if wipes:
            self.faults.append(WIPE)
            self._checkers = CHECKERS_AFTER_A_WIPE

        if tell:
            world.story = self._configuration()

    def _configuration(self) -> list[str]:
        """What the seed has drawn, for people."""
        world = self.world
        return [
            f"seed {world.seed}: group options {self._group or 'of the default'}",
            f"pipes of {world.pipe_capacity} bytes, watched folder {world.disk.observed}, "
            f"strict {self.history.is_strict}, last {self.history.is_last}, "
            f"writers at most {self.history.writer_limit}",
            f"faults {', '.join(self.faults)}",
            f"buggify points {', '.join(sorted(world.buggify_points)) or 'none'}",
        ]

    def join(self, kind: str | None = None) -> None:
        """Start a process, if there is room, of the given kind or of one that the seed draws."""
        world = self.world
        if len(world.processes) >= MAX_PROCESSES and not world.calm:
            return
        chance = world.streams["setup"]
        # The last newcomer may host; otherwise it could be that no peer may.
        if kind is None:
            kind = "reader" if world.calm else chance.choices(KINDS, KINDS_WEIGHTS)[0]
        limit = self.history.writer_limit
        # A stream of its own: the other draws of a seed stay.
        if limit is not None and world.streams["standby"].random() < 0.6:
            kind += " standby"
        options = _options(f"{self._group} {kind}".strip())
        process = Process(
            world, f"p{len(world.processes)}", workload.FOUNDING, options, self.history
        )
        process.skew = chance.choice([0.0, 0.0, 0.0, -2.0, 0.3, 2.0])
        process.start()

    def later(self, seconds: float, event: Callable[[], object]) -> None:
        """Do something later, unless the faults are over by then."""
        self.world.after(seconds, lambda: None if self.world.calm else event())

    def hold(self, pipe: Pipe) -> None:
        """What is in a link, or comes into it, does not arrive until `resume`."""
        pipe.stopped = True
        self.history.disturbed()

    def resume(self, pipe: Pipe) -> None:
        """A stopped link goes on."""
        pipe.stopped = False
        self.history.disturbed()
        for process in self.world.processes:
            if any(sock.inbound is pipe for sock in process.sockets):
                process.awake_since = self.world.now
            process.notify()

    def write_somewhere(self) -> None:
        """A user of some process writes."""
        up = [p for p in self.world.processes if p.alive and p.started and not p.frozen]
        if not up:
            return
        process = self._users.choice(up)
        number = next(self._numbers)
        process.when_running(lambda: workload.write(process, self._users, number, self._kinds))

    def _keep_locking(self) -> None:
        """Users of some processes lock (on a stream of its own)."""
        if self.world.calm:
            return
        chance = self._locking
        up = [p for p in self.world.processes if p.alive and p.started and not p.frozen]
        if up:
            user = LockUser(chance.choice(up), chance)
            self._lock_users.append(user)
            user.process.when_running(user.begin)
        self.world.after(chance.expovariate(1 / 0.1), self._keep_locking)

    def write_and_wait(self, process: Process, lines: int, seconds: float | None) -> None:
        """A user of a process writes and waits, and is interrupted after some lines or seconds."""
        number = next(self._numbers)

        def begin() -> None:
            thread = workload.write(
                process, self._users, number, self._kinds, waits=True, interrupted_after=lines
            )
            if thread is not None and seconds is not None:
                self.world.after(seconds, thread.interrupt)

        process.when_running(begin)

    def _keep_writing(self) -> None:
        if self.world.calm:
            return
        for _ in range(self._users.choice([1, 1, 1, 4])):
            self.write_somewhere()
        self.world.after(self._users.expovariate(1 / 0.08), self._keep_writing)

    def _do_harm(self) -> None:
        world = self.world
        if world.calm:
            return
        chance = world.streams["faults"]
        name = chance.choice(self.faults)
        world.note("", f"fault: {name}")
        harm = delete_witnesses if name == WIPE else FAULTS.get(name) or RARE[name]
        if harm(self, chance):
            world.fired[name] += 1
        world.after(chance.expovariate(1 / 0.35), self._do_harm)

    def go(self) -> Result:
        """Run both phases and check the history."""
        world = self.world
        chance = world.streams["setup"]
        for _ in range(chance.randint(2, 5)):
            world.after(chance.random() * 0.05, self.join)
        world.after(0.1, self._keep_writing)
        world.after(0.15 + chance.random() * 0.3, self._do_harm)
        if "lock" in self._kinds and self._locking.random() < LOCKING:
            world.after(0.12, self._keep_locking)
        world.run(world.now + FAULTY)
        self._heal()
        world.run(world.now + PATIENCE, self._is_quiet)
        self._record_the_end()
        self.history.give_up_fail_over(world.now)
        logged = list(self.history.logged)
        for process in world.processes:
            process.bury()
        self.history.logged = logged
        violations = [
            f"{checker.__name__}: {found}"
            for checker in self._checkers
            for found in checker(self.history)
        ]
        counts = Counter(world.fired) + self.history.ends
        for write in self.history.writes:
            counts[f"{write.kind}: {write.outcome}"] += 1
        seconds = [each.ended_at - each.at for each in self.history.undisturbed_fail_overs()]
        counts["a fail-over is measured"] += len(seconds)
        return Result(world.seed, violations, world.trace, counts, seconds)

    def _heal(self) -> None:
        world = self.world
        world.calm = True
        world.note("", "the faults are over")
        staying = [process for process in self._up() if not process.leaving]
        self.history.survivors = {p.participant.replica.cluster_id for p in staying} - {""}
        for process in world.processes:
            process.fuse, process.lit_by = -1, None
            process.thaw()
            for sock in process.sockets:
                sock.inbound.stopped = False
            process.notify()
        self.join()

    def _up(self) -> list[Process]:
        return [p for p in self.world.processes if p.alive and not p.ended]

    def _is_quiet(self) -> bool:
        up = self._up()
        if any(p.alive and p.waiting_users for p in self.world.processes):
            return False
        users = [user for user in self._lock_users if not user.ended]
        if any(user.process.alive and not user.process.ended for user in users):
            return False
        if any(p.leaving or not p.is_up or p.participant.writer.pending for p in up):
            return False
        if any(isinstance(p.driver.role, Host) and p.driver.role.ordering.unannounced for p in up):
            return False
        if any(p.stands_by_in_vain for p in up):
            return False
        # A host has removed the file of a dead peer, and died with the entry that it is dead: the
        # next one only sees that the file is missing, and waits for `missing_grace`.
        dead = self._known_dead()
        if any(dead & p.participant.state.members.keys() for p in up):
            return False
        pairs = {p.participant.state.pair for p in up}
        return len(pairs) <= 1 and sum(p.hosts for p in up) <= 1

    def _known_dead(self) -> frozenset[str]:
        """Peers that have been dead for a second, and whose files no fault has deleted."""
        deaths, deleted = self.history.deaths, self.history.deleted
        gone = [p for p in self.world.processes if self.world.now - deaths.get(p.name, 1e9) > 1]
        ids = {process.participant.id for process in gone}
        return frozenset(peer for peer in ids if not any(peer in path for path in deleted))

    def _record_the_end(self) -> None:
        if self.world.is_restless:
            self.history.unsettled.append(f"the group does not rest: {self.world.steps} steps")
        if not self._is_quiet():
            for process in self._up():
                self.history.unsettled.append(
                    f"{process.name}: role {getattr(process.driver.role, 'status', None)}, pair "
                    f"{process.participant.state.pair}, "
                    f"pending {process.participant.writer.pending}, "
                    f"leaving {process.leaving}, waits for {process.waits_for}, "
                    f"stands by in vain {process.stands_by_in_vain}"
                )
        dead = self._known_dead()
        for process in self._up():
            if not process.is_up:
                continue
            replica = process.participant.replica
            confirmed = replica.state.document
            assert process.driver.role is not None
            self.history.finals.append(
                Final(
                    process.name,
                    process.participant.id,
                    replica.state.cluster_id,
                    replica.state.encode(),
                    identical(to_plain(replica.view), confirmed),
                    process.participant.writer.pending,
                    process.driver.role.status,
                    confirmed,
                    present(replica.state),
                    dead,
                    {peer: [*r.methods] for peer, r in callable_peers(replica.state).items()},
                    lock_facts(replica.state),
                )
            )


def run(seed: int, **focus: Any) -> tuple[Result, list[str]]:
    """Run a seed; with ``tell=True`` the second value has a line for each event.

    The seed draws which `faults` and `points` there are, which `kinds` of writes, what `capacity`
    (bytes) a pipe has, and whether conflicts are `strict`, unless these are given. No number of
    writers is the limit with ``limited=False``.
    """
    one = Run(seed, **focus)
    listener = _Listener(one.history)
    log = logging.getLogger("memsync")
    level, log.propagate = log.level, False
    log.setLevel(logging.WARNING)
    log.addHandler(listener)
    try:
        return one.go(), one.world.story or []
    finally:
        log.removeHandler(listener)
        log.setLevel(level)
        log.propagate = True


class _Listener(logging.Handler):
    """Records the warnings and errors that memsync logs."""

    def __init__(self, history: History) -> None:
        super().__init__(logging.WARNING)
        self._history = history

    def emit(self, record: logging.LogRecord) -> None:
        self._history.logged.append(record.getMessage())
