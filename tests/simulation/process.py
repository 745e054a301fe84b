"""A virtual process: one peer, its threads, its clocks, and what the system holds for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from memsync.manager.driver import Driver
from memsync.manager.host.host import Host
from memsync.manager.platform.task import Dial, Pause, Receive
from memsync.manager.role import Role
from memsync.manager.states import PeerState
from memsync.manager.timing import Timing
from memsync.replication.membership import writer_limit, writers

from .disk import ROOT, File
from .network import Server, Socket
from .platform import VirtualPlatform
from .thread import LONGEST, Thread
from .world import MAX_DEPTH, Killed, World

if TYPE_CHECKING:
    from memsync.options import Options

    from .history import History

NAME = "obj"
START_TIMEOUT = 30.0  # seconds
SIMULATED = Timing(step_down_pause=0.6)
"""Instead of ten seconds, or a host would step down once in a run at most."""
MAX_CLOCK_READS = 100_000  # in one step
DRIVER, MAIN = 1, 2  # task ids: the driver, and the user's main thread, which never waits
PREEMPTED = 0.1  # share of the calls in which another thread runs first


class Process:
    """A process from its start to its death."""

    def __init__(
        self, world: World, name: str, data: dict[str, Any], options: Options, history: History
    ) -> None:
        self.world = world
        self.disk = world.disk
        self.name = name
        self.alive = True
        self.frozen = False
        self.awake_since = 0.0
        self.ended = False  # its driver has ended, so it has left or failed
        self.leaving = False
        self.fuse = -1  # calls until `on_fuse`
        self.on_fuse: Callable[[], object] = lambda: None
        self.lit_by: Callable[[], bool] | None = None  # the fuse waits until this is true
        self.sockets: list[Socket] = []
        self.servers: list[Server] = []
        self.held: list[File] = []
        self.busy_until = 0.0  # until then its interpreter is busy with other code
        self.held_until = 0.0  # a forked child has not closed the parent's descriptors yet
        chance = world.streams["clocks"]
        self.boot = chance.random() * 1e5  # monotonic clocks have nothing in common
        self.skew = 0.0  # seconds that the wall clock is ahead
        self.history = history
        self.driver = Driver(
            NAME,
            str(ROOT),
            data,
            options,
            self._announced,
            platform=VirtualPlatform(self),
            timing=SIMULATED,
        )
        self.participant = self.driver.participant
        begin = self.driver._begin

        def begin_role(role: Role) -> None:
            begin(role)
            self.history.role_begins(self, role)

        self.driver._begin = begin_role  # type: ignore[method-assign] # also of those that stand by
        self.driver_thread: Thread | None = None
        self.threads: list[Thread] = []
        self._next_thread = MAIN + 1
        self._thread: Thread | None = None  # the one that runs; None for the main thread
        self._is_running = False
        self._preempted: list[Thread | None] = []  # in the middle of a step
        self._put_off: list[tuple[Callable[[], object], Thread | None]] = []
        self._clock_reads = 0  # in this step
        world.processes.append(self)

    # -- time ------------------------------------------------------------------------------------

    def wall_ms(self) -> int:
        return int((1_700_000_000 + self.world.now + self.skew) * 1000)

    # -- harm ------------------------------------------------------------------------------------

    def call(self, what: str) -> None:
        """The process asks something of its platform."""
        if not self.alive:
            raise Killed
        assert not self.participant.guard._is_owned(), f"{what} under the participant's guard"  # type: ignore[attr-defined]
        if self.lit_by is not None:
            if not self.lit_by():
                return
            self.lit_by = None
        if self.fuse >= 0:
            self.fuse -= 1
            if self.fuse < 0:
                self.world.note(self.name, f"in {what}:")
                self.on_fuse()
                if not self.alive:
                    raise Killed

    def read_clock(self) -> None:
        """Count the reads of the clock: a step that does not end reads it again and again."""
        self._clock_reads += 1
        if self._clock_reads > MAX_CLOCK_READS:
            raise RuntimeError("a step of the task does not end")

    def kill(self) -> None:
        """Die at once: the system closes the sockets, and an instant later frees the locks."""
        if not self.alive:
            return
        self.world.note(self.name, "is killed")
        if self.hosts:
            self.history.host_goes(self)
        self.alive = False
        self.frozen = False
        self.history.ended(self)
        delay = max(0.0, self.held_until - self.world.now)
        self.world.after(delay, self._close_sockets)
        self.world.after(delay + self.world.streams["disk"].random() * 0.002, self._free)

    def _close_sockets(self) -> None:
        for server in self.servers:
            server.end()
        for sock in self.sockets:
            sock.end()

    def _free(self) -> None:
        for file in self.held:
            if file.holder is self:
                file.holder = None

    def freeze(self, seconds: float) -> None:
        """Stop for some seconds, between two steps or in the middle of one."""
        if not self.alive or self.frozen or self.lost_its_file():
            return  # without its file, no peer could know that it lives
        world = self.world
        world.note(self.name, f"is frozen for {seconds:.3f}")
        self.frozen = True
        self.history.disturbed()
        if not self._is_running:
            world.after(seconds, self.thaw)
            return
        if world.depth >= MAX_DEPTH:
            self.thaw()
            return
        world.depth += 1
        try:
            world.run(world.now + seconds, lambda: not self.frozen)
        finally:
            world.depth -= 1
        self.thaw()

    def lost_its_file(self) -> bool:
        """Whether the peer file of this living process was deleted."""
        name = f"/peer-{self.participant.id}.json"
        return self.is_up and not any(path.endswith(name) for path in self.disk.files)

    def has_left(self) -> bool:
        """Whether it has let its peer file go, although its driver may not have ended yet."""
        name = f"/peer-{self.participant.id}.json"
        files = [file for path, file in self.disk.files.items() if path.endswith(name)]
        return self.leaving and not any(file.holder for file in files)

    def thaw(self) -> None:
        """Go on."""
        if not self.frozen:
            return
        self.world.note(self.name, "goes on")
        self.history.disturbed()
        self.frozen = False
        self.awake_since = self.world.now
        self.world.after(self.world.latency(), self._catch_up)

    def when_running(self, event: Callable[[], object], thread: Thread | None = None) -> None:
        """Run code of this process, on one of its threads, now or as soon as that can run."""
        if not self.alive or (self.ended and thread is None):
            return
        if self.frozen or self._is_running or thread in self._preempted:
            self._put_off.append((event, thread))
            return
        self.do(event, thread)

    def _catch_up(self) -> None:
        if not self.frozen and not self._is_running and self._put_off:
            put_off, self._put_off = self._put_off, []
            for event, thread in put_off:
                self.when_running(event, thread)

    def do(self, event: Callable[[], object], thread: Thread | None = None) -> None:
        """Run code of this process now, on one of its threads or on the user's main thread."""
        before = self._thread, self._is_running, self._clock_reads
        self._thread, self._is_running, self._clock_reads = thread, True, 0
        tracing = sys.gettrace()
        if thread is not None and thread.lines_left >= 0:
            sys.settrace(thread.trace)
        try:
            event()
        except Killed:
            return
        finally:
            sys.settrace(tracing)
            self._thread, self._is_running, self._clock_reads = before
            if self._put_off:
                self.world.after(self.world.latency(), self._catch_up)
        if self.alive:
            if len(self.threads) > 1:
                self.threads = [each for each in self.threads if not each.ended]
                self.notify()  # one thread may have done what another one waits for
            self.history.stepped(self)

    def preempt(self) -> None:
        """The running thread is in a call of the system: others of the process may run first."""
        world = self.world
        if len(self.threads) < 2 or not self._is_running or world.depth >= MAX_DEPTH:
            return
        chance = world.streams["preemption"]
        if world.calm or chance.random() > PREEMPTED:
            return
        world.fired["a thread is preempted"] += 1
        self.let_others_run(chance.choice([0.0001, 0.0005, 0.002, 0.02]))

    def let_others_run(self, seconds: float) -> None:
        """The running thread waits for the interpreter."""
        world, thread = self.world, self._thread
        world.depth += 1
        self._preempted.append(thread)
        self._thread, self._is_running = None, False
        try:
            world.after(0.0, self._catch_up)
            world.run(world.now + seconds)
            if self.frozen:
                world.run(world.now + LONGEST, lambda: not self.frozen)
        finally:
            self._thread, self._is_running = thread, True
            self._preempted.remove(thread)
            world.depth -= 1
        if not self.alive:
            raise Killed

    def runs(self, thread: Thread) -> bool:
        """Whether a thread is the one that runs now."""
        return self._thread is thread and self._is_running and not self.frozen

    @property
    def is_preempted(self) -> bool:
        """Whether a thread of it is in the middle of a step."""
        return bool(self._preempted)

    @property
    def task_id(self) -> int:
        """The id of the running task."""
        return self._thread.number if self._thread is not None else MAIN

    def interrupted(self, where: str) -> None:
        """A thread of the process is interrupted."""
        self.world.note(self.name, f"is interrupted {where}")
        self.world.fired["an interrupt"] += 1

    # -- running ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Join the group."""
        self.world.note(self.name, f"starts {self.participant.id}")
        self.do(self._begin)

    def _begin(self) -> None:
        with self.driver.in_folder(START_TIMEOUT):
            self.driver_thread = self._new_thread(DRIVER, self.driver.task(), self._driver_ended)
        self.driver_thread.start()

    def spawn(
        self,
        task: Generator[Any, Any, None],
        on_end: Callable[[BaseException | None], None],
        lines: int = -1,
    ) -> Thread:
        """Start a user's thread; `on_end` gets the exception that ended it, or None.

        From 0 on, `lines` says after how many lines of memsync the thread is interrupted.
        """
        self._next_thread += 1
        thread = self._new_thread(self._next_thread, task, on_end)
        thread.lines_left = lines
        thread.start()
        return thread

    def _new_thread(
        self, number: int, task: Any, on_end: Callable[[BaseException | None], None]
    ) -> Thread:
        thread = Thread(self, number, task, on_end)
        self.threads.append(thread)
        return thread

    def _driver_ended(self, error: BaseException | None) -> None:
        if error is not None:
            self.history.unsettled.append(f"the driver of {self.name} ended: {error!r}")
        self.ended = True
        self._close_sockets()
        self._free()
        self.history.ended(self)
        self.world.note(self.name, f"has ended: {self.driver.failure!r}")

    @property
    def waiting_users(self) -> list[Thread]:
        """The user's threads that wait for their writes."""
        return [t for t in self.threads if t is not self.driver_thread and not t.ended]

    def stop(self) -> None:
        """Leave the group as `Driver.stop` does: pending writes are waited for first."""
        if self.leaving or not self.alive:
            return
        self.leaving = True
        deadline = self.world.now + 5

        def stop_when_written() -> None:
            if self.participant.writer.pending and self.world.now < deadline:
                self.world.after(0.002, lambda: self.when_running(stop_when_written))
                return
            self.world.note(self.name, "stops")
            if self.hosts:
                self.history.host_goes(self)
            self.driver.ctx.stopping = True
            self.driver.ctx.waker.wake()

        self.when_running(stop_when_written)

    @property
    def started(self) -> bool:
        """Whether ``start()`` has returned, so that its users may write."""
        return self.driver_thread is not None and self.driver._ready.is_set() and not self.ended

    @property
    def waits_for(self) -> str:
        """The kinds of its threads' waits, for people."""
        return ", ".join(thread.waits_for for thread in self.threads) or "nothing"

    def bury(self) -> None:
        """The run is over: unwind what is left of the tasks."""
        self.alive = False
        for thread in self.threads:
            thread.bury(Killed())

    def was_awake_for(self, seconds: float) -> bool:
        """Whether it was neither frozen nor cut off for this long."""
        if self.frozen or any(s.inbound.stopped for s in self.sockets if not s.closed):
            return False
        return self.world.now - self.awake_since >= seconds

    @property
    def is_disturbed(self) -> bool:
        """Whether it is frozen, or a link to it is stopped."""
        return self.alive and not self.was_awake_for(0.0)

    @property
    def may_take_over(self) -> bool:
        """Whether it is a client that may host."""
        has_begun = self.started or self.driver._first.has_stood_by
        is_client = self.is_up and not self.hosts and has_begun and not self.leaving
        return is_client and not self.participant.options.client_only

    @property
    def stands_by_in_vain(self) -> bool:
        """Whether it waits for a writer's place although there is room."""
        if not self.participant.stands_by():
            return False
        members = self.participant.state.members
        limit = writer_limit(members)
        return limit is None or len(writers(members)) < limit

    @property
    def is_up(self) -> bool:
        """Whether it has a role."""
        return self.alive and self.driver.role is not None

    @property
    def is_candidate(self) -> bool:
        """Whether it has taken a lock and does not host yet."""
        return self.driver.ctx.states.current is PeerState.RECOVERING

    @property
    def hosts(self) -> bool:
        return self.alive and isinstance(self.driver.role, Host)

    def notify(self) -> None:
        """Something that a thread of the process may wait for has changed."""
        for thread in self.threads:
            thread.notify()

    def delay(self, thread: Thread) -> float:
        """Seconds until a thread whose wait is over does run."""
        return self.world.latency() + self._stutter(thread)

    def _stutter(self, thread: Thread) -> float:
        """Seconds that a thread waits for the interpreter after a wait that blocked."""
        wait = thread.wait
        is_busy = self.world.now < self.busy_until and not isinstance(wait, Dial)
        return 0.005 if is_busy and wait is not None and wait.timeout > 0 else 0.0

    def waits(self, thread: Thread) -> None:
        """A thread begins to wait."""
        if thread is self.driver_thread:
            if isinstance(thread.wait, Pause) and any(
                isinstance(user.wait, Receive) for user in self.waiting_users
            ):
                self.world.fired["a fence waits for a reader"] += 1
        elif isinstance(thread.wait, Receive):
            self.world.fired["a waiting user holds the reader role"] += 1

    def _announced(self, event: str, payload: Any) -> None:
        if callable(payload):
            payload, _ = payload()
        self.history.announced(self, event, payload)
