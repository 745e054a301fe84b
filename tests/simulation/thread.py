"""A task of a virtual process, run as if on a thread of its own.

A thread runs until its task waits, and goes on when the wait is over. Threads of one process
interleave at every wait, and where a call lets another thread run first (see `Process.preempt`).
"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import memsync
from memsync.errors import AuthenticationFailedError
from memsync.manager.platform.task import Dial, Pause, Readable, Receive, Select
from memsync.manager.timing import TIMING
from memsync.manager.transport.channel import ChannelLost
from memsync.runtime.awaited_write import AwaitedWrite

from .network import as_channel, connect

if TYPE_CHECKING:
    from .process import Process

PACKAGE = Path(memsync.__file__).parent
COUNTED = tuple(
    f"{PACKAGE / part}/"
    for part in ("document/live", "replication", "runtime", "manager/client", "manager/transport")
)
"""Code in which a thread may be interrupted: none of it depends on what a cache holds already."""
UNCOUNTED = str(PACKAGE / "replication/conflicts.py")  # it has a cache
LONGEST = 1e6  # seconds


class Decided(NamedTuple):
    """Wait until a write has its outcome, as `AwaitedWrite.wait` does."""

    write: AwaitedWrite
    timeout: float


class Thread:
    """One task of a process; `number` is its task id.

    `on_end` is called in the process with the exception that ended the task, or None.
    """

    def __init__(
        self,
        process: Process,
        number: int,
        task: Any,
        on_end: Callable[[BaseException | None], None],
    ) -> None:
        self.process = process
        self.number = number
        self.ended = False
        self.wait: Any = None
        self.lines_left = -1  # lines of memsync that it runs until it is interrupted
        self._task = task
        self._on_end = on_end
        self._turn = 0  # grows with each wait
        self._is_due = False
        self._found: Any = None  # what was ready when the wait ended

    @property
    def waits_for(self) -> str:
        """The kind of its wait, for people."""
        return type(self.wait).__name__ if self.wait is not None else "nothing"

    # -- steps -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Run up to the first wait, now or as soon as the process can."""
        self.process.when_running(lambda: self._step(None), self)

    def interrupt(self) -> None:
        """End its wait with KeyboardInterrupt."""
        self.process.when_running(self._interrupt, self)

    def _interrupt(self) -> None:
        if self.wait is not None and not self.ended:
            self.process.interrupted(f"at {self.waits_for}")
            self._step(None, KeyboardInterrupt())

    def bury(self, error: BaseException) -> None:
        """Unwind what is left of the task."""
        if self.ended:
            return
        self.ended = True
        try:
            while True:  # its `finally` blocks wait as well
                self._task.throw(error)
        except (type(error), StopIteration, RuntimeError):
            return

    def _step_in(self, turn: int, result: Any, error: BaseException | None = None) -> None:
        if turn == self._turn and not self.ended and self.wait is not None:
            self._step(result, error)

    def _step(self, result: Any, error: BaseException | None = None) -> None:
        """Resume the task with what came of its wait."""
        self.wait = None
        self._turn += 1
        try:
            wait = self._task.throw(error) if error is not None else self._task.send(result)
        except StopIteration:
            self._end(None)
            return
        except (Exception, KeyboardInterrupt) as ended:
            self._end(ended)
            return
        self.wait, self._is_due, self._found = wait, False, None
        self.process.waits(self)
        if isinstance(wait, Dial):
            self._dial(wait)
            return
        if self._is_ready():
            self.notify()
            return
        turn, timeout = self._turn, min(max(wait.timeout, 0.0), LONGEST)
        if isinstance(wait, Receive):
            timeout = min(timeout, TIMING.receive)
        delay = timeout + self.process.delay(self)
        self.process.world.after(delay, lambda: self._resume(turn, is_late=True))

    def trace(self, frame: Any, event: str, argument: Any) -> Any:
        """Raise KeyboardInterrupt after `lines_left` lines of memsync (see `sys.settrace`)."""
        file = frame.f_code.co_filename
        if not file.startswith(COUNTED) or file == UNCOUNTED:
            return None
        if event == "line" and self.lines_left >= 0 and self.process.runs(self):
            source = linecache.getline(file, frame.f_lineno).strip()
            if source.startswith("with "):
                return self.trace  # no signal comes between the end of a block and its exit
            if source == "try:" and self.lines_left == 0:
                return self.trace  # nor at a NOP, which the block around it does not cover
            self.lines_left -= 1
            if self.lines_left < 0:
                place = f"{Path(file).name}:{frame.f_code.co_name}"
                self.process.interrupted(f"in {place}")
                raise KeyboardInterrupt
        return self.trace

    def _end(self, error: BaseException | None) -> None:
        self.ended = True
        self.lines_left = -1
        self._on_end(error)

    # -- waits -----------------------------------------------------------------------------------

    def notify(self) -> None:
        """Something that the thread may wait for has changed."""
        if self.wait is None or self._is_due or not self.process.alive or not self._is_ready():
            return
        self._is_due = True
        turn = self._turn
        if isinstance(self.wait, Select) and len(self.process.threads) > 1:
            # The kernel has answered; another thread may run before this one sees it.
            self._found = self.wait.selector.ready()  # type: ignore[attr-defined]
        self.process.world.after(self.process.delay(self), lambda: self._resume(turn))

    def _is_ready(self) -> bool:
        match self.wait:
            case Select(selector, _, _):
                return bool(selector.ready())  # type: ignore[attr-defined]
            case Pause(waker, _):
                return bool(waker.is_set)  # type: ignore[attr-defined]
            case Readable(channel, _) | Receive(channel, _, _):
                return bool(channel.sock.inbound.is_readable)  # type: ignore[attr-defined]
            case Decided(write, _):
                return write.done
        return False

    def _resume(self, turn: int, *, is_late: bool = False) -> None:
        if turn == self._turn and self.process.alive and not self.ended:
            self.process.when_running(lambda: self._wake_up(turn, is_late), self)

    def _wake_up(self, turn: int, is_late: bool) -> None:
        if turn != self._turn or self.ended or self.wait is None:
            return
        if not (is_late or self._found or self._is_ready()):
            self._is_due = False  # another thread was faster
            return
        wait, self.wait = self.wait, None
        result: Any = None
        match wait:
            case Select(selector, _, _):
                result = self._found or selector.ready()  # type: ignore[attr-defined]
            case Pause(waker, _):
                waker.clear()
            case Readable(channel, _):
                result = channel.sock.inbound.is_readable  # type: ignore[attr-defined]
            case Receive(channel, _, _):
                self._receive(channel)
                return
        self._step(result)

    def _receive(self, channel: Any) -> None:
        try:
            is_readable = channel.sock.inbound.is_readable
            bodies = channel.receive() if is_readable else []
        except (Exception, KeyboardInterrupt) as error:
            self._step(None, error)
        else:
            self._step(bodies)

    def _dial(self, wait: Dial) -> None:
        process, world, turn = self.process, self.process.world, self._turn

        def finish(result: Any, error: BaseException | None) -> None:
            if turn == self._turn and process.alive:
                process.when_running(lambda: self._step_in(turn, result, error), self)

        def knock() -> None:
            address = str(wait.address)
            server = world.listeners.get(address) if address in world.disk.files else None
            if server is None or world.buggify("a connection is refused"):
                finish(None, ChannelLost(f"connecting to {wait.address}: nobody listens"))
                return
            mine, theirs = connect(world, process, server.process)
            world.note(process.name, f"dials {server.process.name}")

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
