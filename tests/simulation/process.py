"""A virtual process: one peer, its life, its clocks, and what its machine owns for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from memsync.errors import AuthenticationFailedError
from memsync.manager.driver import Driver
from memsync.manager.host.host import Host
from memsync.manager.platform.task import Dial, Pause, Readable, Select, Task, Wait
from memsync.manager.states import PeerState
from memsync.manager.timing import Timing
from memsync.manager.transport.channel import ChannelLost

from .disk import ROOT, File
from .network import Server, Socket, as_channel, connect
from .platform import VirtualPlatform
from .world import MAX_DEPTH, Killed, World

if TYPE_CHECKING:
    from memsync.options import Options

    from .history import History

NAME = "obj"
START_TIMEOUT = 30.0  # seconds
SIMULATED = Timing(step_down_pause=0.6)
"""Instead of ten seconds, or a host would step down once in a run at most."""
MAX_LOOKS = 100_000  # at the clock in one step


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
        self.ended = False  # by itself
        self.leaving = False
        self.fuse = -1  # calls until `on_fuse`
        self.on_fuse: Callable[[], None] = lambda: None
        self.lit_by: Callable[[], bool] | None = None  # the fuse waits until this is true
        self.sockets: list[Socket] = []
        self.servers: list[Server] = []
        self.held: list[File] = []
        self.busy_until = 0.0  # with something else than memsync
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
        self._task: Task[None] | None = None
        self._wait: Wait | None = None
        self.task = 1  # the one that runs
        self._turn = 0  # grows with each wait
        self._is_due = False
        self._put_off: list[Callable[[], None]] = []
        self._running = False
        self._looks = 0  # at the clock, in this step
        world.processes.append(self)

    # -- time ------------------------------------------------------------------------------------

    def wall_ms(self) -> int:
        return int((1_700_000_000 + self.world.now + self.skew) * 1000)

    # -- being hurt ------------------------------------------------------------------------------

    def call(self, what: str) -> None:
        """The process asks something of its platform."""
        if not self.alive:
            raise Killed
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

    def spin(self) -> None:
        """The process looks at its clock: a step that does so for ever waits without a wait."""
        self._looks += 1
        if self._looks > MAX_LOOKS:
            raise RuntimeError("a step of the task does not end")

    def kill(self) -> None:
        """The end at once: sockets go, and an instant later the locks."""
        if not self.alive:
            return
        self.world.note(self.name, "is killed")
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
        """Stop, and go on later: between two steps, or in the middle of one."""
        if not self.alive or self.frozen or self.lost_its_file():
            return  # frozen without its file, nobody could know of it
        world = self.world
        world.note(self.name, f"is frozen for {seconds:.3f}")
        self.frozen = True
        if not self._running:
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
        """Whether somebody has deleted the peer file of this living process."""
        name = f"/peer-{self.participant.id}.json"
        return self.is_up and not any(path.endswith(name) for path in self.disk.files)

    def has_left(self) -> bool:
        """Whether it has told so by its peer file, although it may not be at its end yet."""
        name = f"/peer-{self.participant.id}.json"
        files = [file for path, file in self.disk.files.items() if path.endswith(name)]
        return self.leaving and not any(file.holder for file in files)

    def thaw(self) -> None:
        """Go on."""
        if not self.frozen:
            return
        self.world.note(self.name, "goes on")
        self.frozen = False
        self.awake_since = self.world.now
        self.world.after(self.world.latency(), self._catch_up)

    def when_running(self, event: Callable[[], None]) -> None:
        """Do something in this process, now or when it can."""
        if not self.alive or self.ended:
            return
        if self.frozen or self._running:
            self._put_off.append(event)
            return
        self.do(event)

    def _catch_up(self) -> None:
        if not self.frozen and not self._running and self._put_off:
            put_off, self._put_off = self._put_off, []
            for event in put_off:
                self.when_running(event)

    def do(self, event: Callable[[], None]) -> None:
        """Run some of the process's code now."""
        self._running = True
        self._looks = 0
        try:
            event()
        except Killed:
            return
        finally:
            self._running = False
            if self._put_off:
                self.world.after(self.world.latency(), self._catch_up)
        if self.alive:
            self.history.looked(self)

    # -- living ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Join the group."""
        self.world.note(self.name, f"starts {self.participant.id}")
        self.do(self._begin)

    def _begin(self) -> None:
        with self.driver.in_folder(START_TIMEOUT):
            self._task = self.driver.task()
        self._go_on(None)

    def stop(self) -> None:
        """Leave the group as `Node.stop` does: what is under way is waited for."""
        if self.leaving or not self.alive:
            return
        self.leaving = True
        deadline = self.world.now + 5

        def look() -> None:
            if self.participant.writer.pending and self.world.now < deadline:
                self.world.after(0.002, lambda: self.when_running(look))
                return
            self.world.note(self.name, "stops")
            self.driver.ctx.stopping = True
            self.driver.ctx.waker.wake()

        self.when_running(look)

    @property
    def started(self) -> bool:
        """Whether ``start()`` has returned, so that its user may write."""
        return self._task is not None and self.driver._ready.is_set() and not self.ended

    @property
    def waits_for(self) -> str:
        """What it waits for, for people."""
        return type(self._wait).__name__ if self._wait is not None else "nothing"

    def bury(self) -> None:
        """The run is over: unwind what is left of the task."""
        self.alive = False
        if self._task is not None:
            with suppress(Killed, StopIteration):
                while True:  # its last wishes are waits as well
                    self._task.throw(Killed())

    def was_awake_for(self, seconds: float) -> bool:
        """Whether it was neither frozen nor cut off in the last so many seconds."""
        if self.frozen or any(s.inbound.stopped for s in self.sockets if not s.closed):
            return False
        return self.world.now - self.awake_since >= seconds

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
        """Something that the process may wait for has changed."""
        if self._wait is None or self._is_due or not self.alive or not self._is_ready():
            return
        self._is_due = True
        turn = self._turn
        self.world.after(self.world.latency() + self._stutter(), lambda: self._resume(turn))

    def _stutter(self) -> float:
        """Seconds that a thread waits for the interpreter after a wait that blocked."""
        is_busy = self.world.now < self.busy_until and not isinstance(self._wait, Dial)
        return 0.005 if is_busy and self._wait is not None and self._wait.timeout > 0 else 0.0

    def _is_ready(self) -> bool:
        match self._wait:
            case Select(selector, _):
                return bool(selector.ready())  # type: ignore[attr-defined]
            case Pause(waker, _):
                return bool(waker.is_set)  # type: ignore[attr-defined]
            case Readable(channel, _):
                return bool(channel.sock.inbound.is_readable)  # type: ignore[attr-defined]
        return False

    def _resume(self, turn: int) -> None:
        if turn != self._turn or not self.alive:
            return
        self.when_running(lambda: self._wake_up(turn))

    def _wake_up(self, turn: int) -> None:
        if turn != self._turn:
            return
        result: Any = None
        match self._wait:
            case Select(selector, _):
                result = selector.ready()  # type: ignore[attr-defined]
            case Pause(waker, _):
                waker.clear()
            case Readable(channel, _):
                result = channel.sock.inbound.is_readable  # type: ignore[attr-defined]
        self._go_on(result)

    def _go_on(self, result: Any, error: BaseException | None = None) -> None:
        task = self._task
        assert task is not None
        self._wait = None
        self._turn += 1
        try:
            wait = task.throw(error) if error is not None else task.send(result)
        except StopIteration:
            self.ended = True
            self._close_sockets()
            self._free()
            self.history.ended(self)
            self.world.note(self.name, f"has ended: {self.driver.failure!r}")
            return
        self._wait, self._is_due = wait, False
        if isinstance(wait, Dial):
            self._dial(wait)
            return
        if self._is_ready():
            self.notify()
            return
        turn = self._turn
        timeout = max(wait.timeout, 0.0) if wait.timeout < 1e6 else 1e6
        delay = timeout + self.world.latency() + self._stutter()
        self.world.after(delay, lambda: self._resume(turn))

    def _dial(self, wait: Dial) -> None:
        world, turn = self.world, self._turn

        def finish(result: Any, error: BaseException | None) -> None:
            if turn == self._turn and self.alive:
                self.when_running(lambda: self._go_on_with(turn, result, error))

        def knock() -> None:
            address = str(wait.address)
            server = world.listeners.get(address) if address in world.disk.files else None
            if server is None or world.buggify("a connection is refused"):
                finish(None, ChannelLost(f"connecting to {wait.address}: nobody listens"))
                return
            mine, theirs = connect(world, self, server.process)
            world.note(self.name, f"dials {server.process.name}")

            def give_up() -> None:
                if turn == self._turn:
                    mine.end()
                    finish(None, ChannelLost(f"handshake with {wait.address}: timed out"))

            def answered(is_key_right: bool = True) -> None:
                if not is_key_right:
                    finish(None, AuthenticationFailedError("another key"))
                elif theirs.closed:
                    mine.end()
                    finish(None, ChannelLost(f"handshake with {wait.address}: end of file"))
                else:
                    finish(as_channel(mine), None)

            world.after(wait.timeout, give_up)
            world.after(
                world.latency(), lambda: server.accept(theirs, wait.authkey, wait.hello, answered)
            )
            theirs.on_end = answered

        world.after(world.latency(), knock)

    def _go_on_with(self, turn: int, result: Any, error: BaseException | None) -> None:
        if turn == self._turn:
            self._go_on(result, error)

    def _announced(self, event: str, payload: Any) -> None:
        self.history.announced(self, event, payload)
