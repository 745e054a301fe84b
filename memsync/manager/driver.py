"""The driver: one thread that finds a role, plays it until it ends, and finds the next one.

`states` has the table of the states that it goes through. The driver owns the confirmed state: only
its thread changes it, and, for the time of its own write, a thread that reads from the link in the
driver's place. While there is no role, between two hosts, writes are kept in the writer; the next
host gets them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ..engine import Announce, EngineStatus
from ..errors import HostUnresponsiveError, MemSyncError, RendezvousError
from ..options import Options
from ..replication.lease import Lease
from ..runtime.participant import Participant
from .context import PeerContext, Stopped
from .election.election import Election
from .folder.paths import root_folder
from .folder.peer_file import PeerPlace, was_deleted
from .platform.descriptors import hint, is_shortage
from .platform.platform import Platform
from .platform.task import Pause, Task, run_task
from .role import Role
from .states import PeerEvent
from .timing import TIMING, Timing

log = logging.getLogger("memsync.node")


class Driver:
    """The engine of one platform, for one participant; a later start is a new driver."""

    def __init__(
        self,
        name: str,
        where: str,
        data: dict[str, Any],
        options: Options,
        announce: Announce,
        *,
        platform: Platform | None = None,
        timing: Timing = TIMING,
    ) -> None:
        self.where = where
        self.platform = platform or Platform()
        self.pid = self.platform.pid()
        self.participant = Participant(
            self.platform.new_id(), name, data, options, announce, self.platform.wall_ms
        )
        self.participant.writer.wake = self._wake
        self.participant.writer.describe_host = self._describe_host
        self.failure: BaseException | None = None
        self.role: Role | None = None
        self.election: Election
        self._closing: Role | None = None
        self._timing = timing
        self._ctx: PeerContext | None = None
        self._since = self.platform.wall_ms() / 1000  # seconds since 1970
        self._reason: str | None = None  # why the last role ended, or why there is none
        self._leaves_file = False
        self._ready = threading.Event()
        self._first_status = "stopped"  # the role that start() led to; it may be over already
        self._ident = 0
        self._thread = threading.Thread(target=self._drive, name="memsync-driver", daemon=True)

    @staticmethod
    def place() -> str:
        """The rendezvous folder, as the environment names it now."""
        return str(root_folder())

    # -- starting and stopping (any thread) ------------------------------------------------------

    def start(self, timeout: float) -> str:
        """Take part; returns the role once this peer is level with the group.

        Raises what `Election.find_role` and the folder raise; nothing is left behind then.
        """
        try:
            with self.settled_in(timeout):
                self._thread.start()
        except OSError as error:
            advice = hint(error, "see what the system says")
            raise RendezvousError(f"no peer can start ({error.strerror}): {advice}") from error
        try:
            self._ready.wait()
        except BaseException:  # interrupted: a failed start leaves nothing behind
            self.stop(timeout=0)
            raise
        if self.failure is not None:
            self._thread.join()
            raise self.failure
        return self._first_status

    @contextmanager
    def settled_in(self, timeout: float) -> Iterator[None]:
        """Join the rendezvous folder. If the block raises, everything is undone; otherwise the
        driver leaves the folder when it ends.
        """
        participant, platform = self.participant, self.platform
        self._deadline = platform.monotonic() + timeout
        lease = Lease(participant.options.network.lease)
        platform.files.patience = min(platform.files.patience, lease.rhythm)
        with ExitStack() as undo:
            waker = platform.new_waker()
            undo.callback(waker.close)
            place = PeerPlace(
                Path(self.where),
                participant.name,
                participant.id,
                self.pid,
                participant.options,
                platform.files,
            )
            undo.callback(place.close, remove=True)
            self._ctx = PeerContext(participant, platform, place, waker, lease, self._timing)
            self.election = Election(self._ctx)
            self._ctx.watch()
            undo.callback(self._ctx.unwatch)
            yield
            undo.pop_all()

    def stop(self, timeout: float) -> None:
        """Leave the group; writes on their way are waited for, at most `timeout` seconds."""
        deadline = time.monotonic() + timeout
        role, writer, ctx = self.role, self.participant.writer, self.ctx
        if writer.is_inside() and role is not None:
            # A signal handler: the write that it interrupts cannot be waited for.
            ctx.stopping = True
            role.on_interrupt()
        elif threading.get_ident() != self._ident:
            if writer.pending:
                wait = f"writes={writer.pending} at_most={timeout:g}s"
                log.info("stopping %s: waiting for %s; %s", ctx, wait, self._describe_host())
            writer.flush(deadline)
        ctx.stopping = True
        ctx.waker.wake()
        self._thread.join(max(deadline - time.monotonic(), 0.5))

    def close_after_fork(self) -> None:
        """In a forked child: this driver is the parent's, only its last state may be read."""
        self.ctx.stopping = True
        self.participant.close_after_fork()

    # -- the seam's questions (any thread) -------------------------------------------------------

    @property
    def ctx(self) -> PeerContext:
        """What the roles share, once the peer has a place."""
        assert self._ctx is not None, "not settled in"
        return self._ctx

    @property
    def is_ended(self) -> bool:
        """Whether the peer has stopped, or is about to."""
        return self._ctx is not None and self._ctx.stopping

    def status(self) -> EngineStatus:
        """What the peer is now."""
        role, closing = self.role, self._closing
        handing_over = closing is not None and closing.handing_over
        blocked_reason = self._ctx.place.blocked_reason if self._ctx is not None else None
        if self.is_ended:
            return EngineStatus("stopped", self._since, self._reason, None, handing_over)
        if role is None:
            reason = blocked_reason or self._reason
            return EngineStatus("starting", self._since, reason, None, handing_over)
        host = role.host_facts()
        return EngineStatus(role.status, self._since, self._reason, host, handing_over)

    def ping(self, timeout: float) -> dict[str, Any]:
        """Round trips to the host, on the host to each client.

        Raises `HostUnresponsiveError` when the host does not answer within `timeout` seconds.
        """
        role = self.role
        try:
            if role is None:
                raise TimeoutError
            return role.ping(timeout)
        except TimeoutError:
            raise HostUnresponsiveError(
                f"the host of {self.participant.name!r} did not answer within {timeout:g} s",
                pid=role.host_facts()["pid"] if role is not None else None,
            ) from None

    def _describe_host(self) -> str:
        role = self.role
        if role is not None:
            return role.describe_host()
        blocked_reason = self._ctx.place.blocked_reason if self._ctx is not None else None
        return f"there is no host: {blocked_reason or self._reason or 'this peer has just started'}"

    def _wake(self) -> None:
        self.ctx.waker.wake()

    # -- the driver's thread ---------------------------------------------------------------------

    def _drive(self) -> None:
        self._ident = threading.get_ident()
        run_task(self.task())

    def task(self) -> Task[None]:
        """What the driver does, from the first look for a host to the end."""
        try:
            yield from self._play_roles()
        except Stopped:
            log.debug("stopped while looking for a role")
        except BaseException as error:
            self.failure = error
            if self._ready.is_set():
                self._turn(f"{type(error).__name__}: {error}")
                log.critical("failed %s", self.ctx, exc_info=True)
        finally:
            self._end()
            self._ready.set()

    def _play_roles(self) -> Task[None]:
        ctx, pause = self.ctx, 0.0
        while not ctx.stopping:
            role = yield from self._next_role()
            self._begin(role)
            began = ctx.platform.monotonic()
            was_unfit = yield from self._play(role)
            # Counted from here, because the end of the role may have taken long as well.
            others_first = ctx.platform.monotonic() + self._timing.retry if was_unfit else 0.0
            while ctx.platform.monotonic() < others_first and not ctx.stopping:
                yield Pause(ctx.waker, self._timing.retry)  # others may have what is missing here
            if ctx.stopping:
                return
            log.info("looking for a host %s reason=%r", ctx, self._reason)
            was_short = ctx.platform.monotonic() - began < self._timing.short_link
            if was_short and role.broke_although_the_host_lives():
                if pause:
                    yield Pause(ctx.waker, pause)
                pause = min(max(pause * 2, self._timing.first_pause), self._timing.longest_pause)
            else:
                pause = 0.0

    def _next_role(self) -> Task[Role]:
        """The next role; a peer that runs already outlives errors that may pass."""
        ctx, reported = self.ctx, ""
        while True:
            running = self._ready.is_set()
            deadline = float("inf") if running else self._deadline
            try:
                return (yield from self.election.find_role(deadline))
            except (MemSyncError, OSError) as error:
                is_late = ctx.platform.monotonic() > deadline
                if not running and (is_late or not was_deleted(error)):
                    raise
                ctx.states.on(PeerEvent.FAILED)
                if str(error) != reported:
                    log.error("without a host %s: %s", ctx, error)
                reported = str(error)
                ctx.place.publish_blocked_reason(reported)
            yield Pause(ctx.waker, self._timing.retry)
            ctx.check_stop()

    def _begin(self, role: Role) -> None:
        ctx = self.ctx
        ctx.place.publish_blocked_reason(None)
        self._since = ctx.platform.wall_ms() / 1000
        self.role = role
        log.info("%s %s %s", role.status, ctx, role.announcement())
        if not self._ready.is_set():
            self._first_status = role.status
        self._ready.set()
        self.participant.announce("connected", role.status)

    def _play(self, role: Role) -> Task[bool]:
        """Play a role to its end; returns whether the folder kept this peer from going on."""
        ctx, reason, was_unfit = self.ctx, "failed", False
        try:
            reason = yield from role.run()
        except (RendezvousError, OSError) as error:  # the folder may be well again soon
            reason = str(error)
            is_known = isinstance(error, RendezvousError) or is_shortage(error)
            log.error("%s is given up %s: %s", role.status, ctx, error, exc_info=not is_known)
            was_unfit = True
        finally:
            self.participant.leave_role(for_good=ctx.stopping, holds_back=role.lost)
            self.role, self._closing = None, role
            self._turn(reason)
            taken_back = yield from role.close(clean=self.failure is None)
            if taken_back is not None:
                self.participant.writer.recheck_later(taken_back)
            self._leaves_file = role.leaves_file
            self.election.granted = role.granted
            self._closing = None
            self.participant.announce("disconnected", reason)
            ctx.states.on(PeerEvent.STOP if ctx.stopping else PeerEvent.ROLE_OVER)
        return was_unfit

    def _turn(self, reason: str | None) -> None:
        """The status is another one from now on."""
        self._since = self.ctx.platform.wall_ms() / 1000
        self._reason = reason

    def _end(self) -> None:
        ctx = self.ctx
        ctx.states.on(PeerEvent.STOP)
        self.participant.view_waiters.end()
        ctx.unwatch()
        ctx.place.close(remove=not self._leaves_file)
        ctx.place.clean_as_the_last(self.participant.state.epoch)
        ctx.stopping = True
        self.participant.writer.end()
        ctx.waker.close()
        ctx.states.on(PeerEvent.LEFT)
        if self._ready.is_set():  # else start() raises what went wrong
            log.info("stopped %s", ctx)
