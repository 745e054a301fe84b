"""The driver: one thread that finds a role, plays it until it ends, and finds the next one.

`states` has the table of its states. The driver owns the confirmed state: only its thread changes
it, and a thread that reads the answer to its own write in the driver's place. Between two roles the
writer keeps all writes for the next host.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ..clocks import monotonic
from ..engine import Announce, EngineStatus
from ..errors import MemSyncError, RendezvousError
from ..options import Options
from ..replication.lease import Lease
from ..replication.state import TornCopyError
from ..runtime.logs import Logger
from ..runtime.native import Event, Lock, get_ident
from ..runtime.own_threads import OwnThread
from ..runtime.participant import Participant
from ..runtime.standby import FirstRole
from ..runtime.wakeup import Wakeup
from .context import PeerContext, Stopped
from .election.election import Election
from .folder.paths import root_with_warning
from .folder.peer_file import PeerPlace, was_deleted
from .platform.descriptors import hint, is_shortage
from .platform.platform import Platform
from .platform.task import Pause, Task, run_task
from .platform.threads import launch_thread
from .role import Role, flush_through, ping_through
from .states import PeerEvent
from .timing import TIMING, Timing
from .users import check_user

log = Logger("memsync.node")


class Driver:
    """The engine of one participant, from its start to its stop."""

    def __init__(
        self,
        name: str,
        where: str,
        data: dict[str, Any],
        options: Options,
        announce: Announce,
        *,
        inherited: Participant | None = None,
        platform: Platform | None = None,
        timing: Timing = TIMING,
    ) -> None:
        self.where = where
        self.platform = platform or Platform()
        self.pid = self.platform.pid()
        self._users = self.platform.users()
        self.participant = Participant(
            self.platform.new_id(), name, data, options, announce, self.platform.wall_ms, inherited
        )
        self.participant.writer.wake = lambda: self.ctx.waker.wake()
        self.participant.writer.describe_host = self._describe_host
        if self.participant.standby is not None:
            self.participant.standby.may_begin = self._may_take_place
            self.participant.standby.began = self._take_place
        self.failure: BaseException | None = None
        self.role: Role | None = None
        self.election: Election
        self._closing: Role | None = None
        self._timing = timing
        self._ctx: PeerContext | None = None
        self._since = self.platform.wall_ms() / 1000  # seconds since 1970
        self._reason: str | None = None  # why the last role ended, or why there is none
        self._leaves_file = self._is_abandoned = False
        self._last_storage: dict[str, Any] | None = None  # after the last save of the group
        self._ready = Event()  # nobody waits for it: an interrupt would keep its lock
        self._first = FirstRole()  # for which `start` waits
        self._over = Wakeup()  # the driver has ended
        self._may_begin = Lock()  # taken by the driver, or by a `start` that fails
        self._ident = 0
        self._thread = OwnThread(self._drive, "memsync-driver")

    @staticmethod
    def place() -> str:
        """The rendezvous folder, as the environment names it now; raises `RendezvousError`."""
        return str(root_with_warning())

    # -- starting and stopping (any thread) ------------------------------------------------------

    def start(self, timeout: float) -> str:
        """See `Engine.start`; raises what `Election.find_role` and the folder raise."""
        self._timeout = timeout
        participant = self.participant
        try:
            launch_thread(self._thread, self._not_begun)
            self._first.wait(participant.standby, participant.members, timeout)
        except BaseException:  # for example KeyboardInterrupt
            self._abandon()
            raise
        if self.failure is not None:
            self._join(self._timing.driver_stop)
            raise self.failure
        return self._first.role(participant.name)

    def _abandon(self) -> None:
        """End the driver, which may be at the beginning, or never begin."""
        if self._may_begin.acquire(blocking=False):
            return  # it does nothing any more
        self._is_abandoned = True  # before the driver is in the folder
        if self._ctx is not None:
            self.stop(timeout=0)
        else:
            self._join(self._timing.driver_stop)

    def _join(self, timeout: float) -> None:
        """Wait for the end of the driver (seconds)."""
        if get_ident() != self._ident and self._over.wait(timeout):
            self._over.set()  # for the next call
            if self._ident:  # it has begun
                self._thread.join()

    @contextmanager
    def in_folder(self, timeout: float) -> Iterator[None]:
        """Join the rendezvous folder: until the driver ends, or until the block raises."""
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
            self.participant.writer.begin_step = self._ctx.begin_step
            self.participant.writer.end_step = self._ctx.end_step
            self._ctx.watch()
            undo.callback(self._ctx.unwatch)
            yield
            undo.pop_all()

    def stop(self, timeout: float, last_save: float = 0.0) -> None:
        """Leave the group; waits for pending writes, at most `timeout` seconds."""
        deadline = monotonic() + timeout
        role, writer, ctx = self.role, self.participant.writer, self._ctx
        if ctx is None:
            return  # it has never been in the folder
        if writer.is_inside() and role is not None:
            # In a signal handler: the interrupted write cannot end before the handler.
            ctx.stopping = True
            role.on_interrupt()
        elif get_ident() != self._ident:
            if writer.pending:
                wait = f"pending={writer.pending} timeout={timeout:g}s"
                log.info("stopping %s %s: %s", ctx, wait, self._describe_host())
            writer.flush(deadline)
        ctx.stopping = True
        ctx.waker.wake()
        self._join(max(deadline - monotonic(), self._timing.driver_stop))
        if self._closing is not None and self._closing.storage is not None:
            self._join(last_save)

    def close_after_fork(self) -> None:
        """In a forked child: the driver belongs to the parent, only its last state may be read."""
        self.ctx.stopping = True
        self.participant.close_after_fork()

    # -- questions (any thread) ------------------------------------------------------------------

    @property
    def ctx(self) -> PeerContext:
        """What the roles share; exists once the peer is in the folder."""
        assert self._ctx is not None, "the peer is not in the folder"
        return self._ctx

    @property
    def is_ended(self) -> bool:
        return self._ctx is not None and self._ctx.stopping

    def status(self) -> EngineStatus:
        role, closing = self.role, self._closing
        handing_over = closing is not None and closing.handing_over
        status, reason, host = "stopped", self._reason, None
        if role is not None and not self.is_ended:
            status, host = role.status, role.host_facts()
            waits = self.participant.stands_by()
            status, reason = ("starting", waits) if waits else (status, reason)
        elif not self.is_ended:
            status, reason = "starting", self._blocked_reason() or reason
        storage = role.storage if role is not None else self._last_storage
        return EngineStatus(status, self._since, reason, host, handing_over, storage)

    def ping(self, timeout: float) -> dict[str, Any]:
        """See `ping_through`."""
        return ping_through(self.participant.name, self._now, self._describe_host, timeout)

    def flush(self, timeout: float) -> None:
        flush_through(self._now, self._describe_host, timeout)

    def _now(self) -> tuple[Role | None, bool]:
        return self.role, self.is_ended

    def _describe_host(self) -> str:
        role = self.role
        if role is not None:
            return role.describe_host()
        reason = self._blocked_reason() or self._reason or "this peer has just started"
        return f"this peer has no host ({reason})"

    def _blocked_reason(self) -> str | None:
        return self._ctx.place.blocked_reason if self._ctx is not None else None

    # -- the driver's thread ---------------------------------------------------------------------

    def _drive(self) -> None:
        self._ident = get_ident()
        try:
            if not self._may_begin.acquire(blocking=False):
                return  # start() was interrupted
            with self.in_folder(self._timeout):
                pass  # on this thread, where no signal is handled
            if self._is_abandoned:
                self.ctx.stopping = True
            run_task(self.task())
        except OSError as error:
            advice = hint(error, "see what the system says")
            self.failure = RendezvousError(f"the peer cannot start ({error.strerror}): {advice}")
            self.failure.__cause__ = error
        except BaseException as error:
            self.failure = error
        finally:
            self._over.set()
            self._first.end()

    def _not_begun(self, error: BaseException) -> None:
        self.failure = error
        self._over.set()
        self._first.end()

    def task(self) -> Task[None]:
        """The driver's work, from the first search for a host to the end."""
        try:
            yield from self._play_roles()
        except Stopped:
            log.debug("stopped in the search for a role")
        except BaseException as error:
            self.failure = error
            if self._ready.is_set():
                self._status_changes(f"{type(error).__name__}: {error}")
                is_known = isinstance(error, MemSyncError)
                log.critical("failed %s: %s", self.ctx, error, exc_info=not is_known)
        finally:
            try:
                self._end()
            finally:  # whatever fails, nobody waits for this peer
                self._ready.set()
                self._first.end()

    def _play_roles(self) -> Task[None]:
        ctx, pause = self.ctx, 0.0
        while not ctx.stopping:
            role = yield from self._next_role()
            self._begin(role)
            began = ctx.platform.monotonic()
            was_unfit = yield from self._play(role)
            # From here on, because the end of the role may have taken long.
            others_first = ctx.platform.monotonic() + self._timing.retry if was_unfit else 0.0
            while ctx.platform.monotonic() < others_first and not ctx.stopping:
                yield Pause(ctx.waker, self._timing.retry)  # others may not have the error
            if ctx.stopping:
                return
            log.info("searching for a host %s reason=%r", ctx, self._reason)
            was_short = ctx.platform.monotonic() - began < self._timing.short_link
            if was_short and role.host_survived():
                if pause:
                    yield Pause(ctx.waker, pause)
                pause = min(max(pause * 2, self._timing.first_pause), self._timing.longest_pause)
            else:
                pause = 0.0

    def _next_role(self) -> Task[Role]:
        """The next role; a running peer retries after errors that may pass."""
        ctx, reported = self.ctx, ""
        while True:
            running = self._ready.is_set() or self._first.has_stood_by
            deadline = float("inf") if running else self._deadline
            try:
                return (yield from self.election.find_role(deadline))
            except TornCopyError as error:
                self.participant.tear(error)
                ctx.states.on(PeerEvent.FAILED)
            except (MemSyncError, OSError) as error:
                check_user(self._users, ctx.platform.users(), self.where, error)
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
        standby = self.participant.standby
        if standby is not None:
            standby.check(self.participant.state.members)
        self.role = role
        host = role.host_facts()
        where = host["address"], host["id"], host["pid"]
        log.info("%s %s address=%s host=%s host_pid=%s", role.status, ctx, *where)
        if ctx.stands_by:
            self._first.has_stood_by = True
            self._since = ctx.platform.wall_ms() / 1000
        else:
            self._act(role)

    def _act(self, role: Role) -> None:
        """The peer has a role and its place: `start` returns."""
        self._since = self.ctx.platform.wall_ms() / 1000
        self._ready.set()
        self._first.begin(role.status)
        self.participant.announce("connected", role.status)

    def _may_take_place(self) -> bool:
        """A host gives this peer its writer's place."""
        return self.ctx.place.take_place(self.participant.state.epoch) and self._first.take()

    def _take_place(self) -> None:
        log.info("has its writer's place %s", self.ctx)
        if self.role is not None:
            self._act(self.role)

    def _play(self, role: Role) -> Task[bool]:
        """Play a role to its end; returns whether an error of the folder ended it."""
        ctx, reason, was_unfit = self.ctx, "failed", False
        try:
            reason = yield from role.run()
        except (RendezvousError, OSError) as error:  # the error may pass
            reason = str(error)
            check_user(self._users, ctx.platform.users(), self.where, error)
            is_known = isinstance(error, RendezvousError) or is_shortage(error)
            log.error("%s is given up %s: %s", role.status, ctx, error, exc_info=not is_known)
            was_unfit = True
        except MemSyncError:
            raise
        except Exception as error:  # a `TornCopyError`, or one of which nobody knows what it tore
            self.participant.tear(error)
            reason = "this copy is torn"
            was_unfit = not isinstance(error, TornCopyError)
        finally:
            self.participant.leave_role(for_good=ctx.stopping, holds_back=role.lost)
            self.role, self._closing = None, role
            self._status_changes(reason)
            taken_back = yield from role.close(clean=self.failure is None)
            if taken_back is not None:
                self.participant.writer.recheck_later(taken_back)
            self._leaves_file = role.leaves_file
            self._last_storage = None if role.leaves_file else role.storage  # else others save
            self.election.keep_grant(role.granted)
            self._closing = None
            self.participant.announce("disconnected", reason)
            ctx.states.on(PeerEvent.STOP if ctx.stopping else PeerEvent.ROLE_OVER)
        return was_unfit

    def _status_changes(self, reason: str | None) -> None:
        self._since = self.ctx.platform.wall_ms() / 1000
        self._reason = reason

    def _end(self) -> None:
        ctx = self.ctx
        self.participant.end_waiting()
        try:
            ctx.states.on(PeerEvent.STOP)
            ctx.unwatch()
            ctx.place.close(remove=not self._leaves_file)
            ctx.place.clean_as_the_last(self.participant.state.epoch)
        finally:  # whatever fails, nobody waits for this peer
            ctx.stopping = True
            self.participant.writer.end()
            self.participant.freezer.thaw()
            ctx.waker.close()
        ctx.states.on(PeerEvent.LEFT)
        if self._ready.is_set():  # otherwise start() raises the error
            log.info("stopped %s", ctx)
