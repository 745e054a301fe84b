"""One peer in the group: its copy of the object, its own writes, and the thread that drives it.

The driver thread finds a role, plays it until it ends, and finds the next one. It owns the
confirmed state: only the driver changes it, and, for the time of its own write, a thread that reads
from the link in the driver's place. Other threads number their writes, show them and hand them to
the role under `guard`, which is held for neither I/O nor callbacks.

While there is no role, between two hosts, writes are kept; whoever the next host is gets them.
"""

from __future__ import annotations

import logging
import platform
import selectors
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ..errors import MemSyncError, RendezvousError
from ..options import Options, stated
from ..replication.clock import HybridClock
from ..replication.group_options import check_group_options, group_part, group_value
from ..replication.lease import Lease
from ..replication.log import Log
from ..replication.messages import (
    PROTOCOL,
    Entry,
    Fetch,
    Grant,
    Hello,
    Source,
    frame,
)
from ..replication.replica import Replica
from ..replication.state import State
from ..replication.writes import Writes
from ..version import __version__
from .channel import Channel
from .contents import Address, Reign, encode
from .election import find_role
from .files import Files
from .folder import ObjectFolder
from .host import Host
from .link import Link
from .machine import Life, Machine, Pause
from .own_writes import OwnWrites
from .pending_write import PendingWrite
from .proxy import DocumentProxy
from .shortage import is_shortage, way_out
from .trace import facts_of, new_trace
from .watching import Watching

log = logging.getLogger("memsync.node")

Role = Host | Link
Announce = Callable[[str, Any], None]

_SHORT_LINK = 1.0  # seconds; a link that breaks sooner is not made again at once
_FIRST_PAUSE = 0.01  # seconds, doubled each time
_LONGEST_PAUSE = 0.1  # shorter than a newcomer waits for who has to make its file again
_ATTEMPTS = 5  # to take a place in a folder that is deleted at the same time
_RETRY = 0.5  # seconds between attempts after an error that a running peer may outlive
_STOP_PATIENCE = 5.0  # seconds for the driver to end


class Node:
    """A peer from `start` to `stop`; a new start is a new node with a new id."""

    def __init__(
        self,
        name: str,
        root: Path,
        data: dict[str, Any],
        options: Options,
        announce: Announce,
        machine: Machine,
    ) -> None:
        self.machine = machine
        self.id = machine.new_id()
        self.pid = machine.pid()
        self.name = name
        self.options = options
        self.stopping = False
        self.failure: BaseException | None = None
        # The lock itself, not an object around it: an interrupt between a Python __enter__ and its
        # block would leave it locked for ever. Reentrant, because a signal handler may read.
        self.guard = threading.RLock()
        self.state = State(self.guard)
        network = options.network
        self.log = Log(0, 0, max_entries=network.max_log, max_bytes=network.max_log_bytes)
        self.clock = HybridClock()
        self.lease = Lease(network.lease)
        machine.files.patience = min(Files.patience, self.lease.rhythm)
        self.leaves_file = False  # free, for a host to see for certain that this peer has gone
        self.granted: Grant | None = None  # the next epoch, by the host before
        self.no_relief_before = 0.0  # monotonic seconds; see `relief`
        self.leaves_gap = False  # before the epoch for which it stands next
        self.watching = Watching(self.guard)
        self.trace = new_trace(name, self.id, wanted=options.log_events)
        self.replica: Replica[PendingWrite] = Replica(
            self.id,
            self.state,
            self.log,
            Writes(keep=network.max_log, keep_bytes=network.max_log_bytes),
            self.guard,
            self.watching.changed,
        )
        self.own = OwnWrites(
            name,
            options,
            self.replica,
            self.guard,
            self.clock,
            self._rolled_back,
            self._wake,
            machine.wall_ms,
            self.whereabouts,
            self.trace,
        )
        self.role: Role | None = None
        self.hosting: Host | None = None  # from its candidature until it is closed
        self.since = machine.wall_ms() / 1000  # seconds since 1970: the status is what it is
        self.reason: str | None = None  # why the last role ended, or why there is none
        self.obstacle: str | None = None  # why there is none, for longer than elections take
        self._epoch_in_file = 0
        self.driver_ident = 0
        self.document_proxy = DocumentProxy(self)
        self._root = root
        self._data = data
        self._announce = announce
        self._ready = threading.Event()
        self._first_status = "stopped"  # the role that start() led to; it may be over already
        self._ponged = threading.Condition(threading.Lock())
        self._last_host: str | None = None
        self._said = ""  # of its options
        self._unmended = ""  # what was said of that
        self._thread = threading.Thread(target=self._drive, name="memsync-driver", daemon=True)

    # -- starting and stopping -------------------------------------------------------------------

    def start(self, timeout: float) -> str:
        """Take part; returns the role once this peer is level with the group.

        Raises what `election.find_role` and the folder raise; nothing is left behind then.
        """
        try:
            with self.settled_in(timeout):
                self._thread.start()
        except OSError as error:
            advice = way_out(error, "see what the system says")
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
        """Have a place in the folder, for the driver to leave; undone when the block fails."""
        self._deadline = self.machine.monotonic() + timeout
        with ExitStack() as undo:
            self.waker = self.machine.new_waker()
            undo.callback(self.waker.close)
            self._take_place()
            undo.callback(self._peer_file.close, remove=True)
            self._watch()
            undo.callback(self._unwatch)
            yield
            undo.pop_all()

    def _take_place(self) -> None:
        """Have a file in the folder, also when somebody deletes that at the same time."""
        for attempt in range(_ATTEMPTS):
            try:
                self.folder = ObjectFolder(self._root, self.name, self.machine.files)
                self.authkey = self.folder.authkey()
                self._peer_file = self.folder.publish_peer(self.id, self._peer_facts())
                return
            except RendezvousError as error:
                if not _was_deleted(error) or attempt == _ATTEMPTS - 1:
                    raise

    def stop(self, timeout: float = _STOP_PATIENCE) -> None:
        """Leave the group; writes on their way are waited for, at most `timeout` seconds."""
        deadline = time.monotonic() + timeout
        role = self.role
        if self.own.is_inside() and role is not None:
            # A signal handler: the write that it interrupts cannot be waited for.
            self.stopping = True
            role.break_off()
        elif threading.get_ident() != self.driver_ident:
            if self.own.pending:
                wait = f"writes={self.own.pending} at_most={timeout:g}s"
                log.info("stopping %s: waiting for %s; %s", self, wait, self.whereabouts())
            self.own.flush(deadline)
        self.stopping = True
        self.waker.wake()
        self._thread.join(max(deadline - time.monotonic(), 0.5))

    def adopt_group_options(self) -> None:
        """The state is known: its founder's options are this peer's, too."""
        self.own.max_frame = group_value(self.state.options, "network.max_frame")
        self.lease.seconds = group_value(self.state.options, "network.lease")
        self.machine.files.patience = min(Files.patience, self.lease.rhythm)

    def check_stop(self) -> None:
        """Raise `Stopped` when the peer is to end (for the driver's waits)."""
        if self.stopping:
            raise Stopped

    def close_after_fork(self) -> None:
        """In a forked child: this node is the parent's, only its last state may be read."""
        self.stopping = True
        self.watching.ended = True
        self.guard._at_fork_reinit()  # type: ignore[attr-defined]  # as the stdlib does it

    # -- what the roles need (driver, or the reader in its place) ----------------------------------

    def enter(self, role: Role, last: int) -> None:
        """This peer has a role; the host has decided its writes up to number `last`."""
        self.adopt_group_options()
        self.since = self.machine.wall_ms() / 1000
        self.role = role
        self.say_obstacle(None)
        self._compare_options()
        self.leaves_file = not isinstance(role, Host)
        self.leaves_gap = False
        self.own.enter(role, last, keeps_accepted=isinstance(role, Host))
        old, self._last_host = self._last_host, self.state.host
        if old not in (None, self._last_host):
            change = {"old": old, "new": self._last_host, "epoch": self.state.epoch}
            self._announce("host_changed", change)

    def _compare_options(self) -> None:
        """Say so where this peer wanted other options of a group that it had to join."""
        said, self._said = self._said, ""
        try:
            check_group_options(self.state.options, group_part(stated(self.options)))
        except MemSyncError as error:
            self._said = str(error)
            if self._said != said:
                log.warning("the options of the group count %s: %s", self, error)

    def whereabouts(self) -> str:
        """Who is to answer to this peer's writes, for people."""
        role = self.role
        if isinstance(role, Link):
            return f"the host is process {role.reign.pid}: is it frozen, or busy?"
        if role is not None:
            return "this process is the host, and no peer takes what it sends"
        return f"there is no host: {self.obstacle or self.reason or 'this peer has just started'}"

    def take_entry(self, entry: Entry, size: int) -> None:
        """Take an entry in; `settle` shows it."""
        self.replica.apply(entry, size)
        self.clock.merge(entry.timestamp)
        if self.trace is not None:
            self.trace("applied", **facts_of(entry))

    def settle(self, entries: list[Entry]) -> None:
        """Show what has come in, and tell: callbacks of the entries, writers of their outcomes."""
        self.replica.settle()
        self.announce(entries)
        self.own.tell()

    def source(self, fetch: Fetch) -> list[bytes]:
        """What brings a candidate level with us."""
        snapshot, frames = self.replica.level(fetch.epoch, fetch.version)
        return [frame(Source(self.state.epoch, self.state.version, snapshot)), *frames]

    def found(self) -> None:
        """Begin a new object with this peer's own data."""
        self.replica.found(self._data, stated(self.options), self.machine.new_network())

    def arrive(self, epoch: int, channel: Channel, hello: Hello) -> None:
        """A peer asks the host of an epoch to attach it (called on a handshake's thread)."""
        host = self.hosting
        if host is not None and host.epoch == epoch:
            host.arrive(channel, hello)
        else:
            channel.close()

    def announce(self, entries: list[Entry]) -> None:
        """Tell the user's callbacks what has come in."""
        patches = [
            {"version": e.version, "epoch": e.epoch, "peer": e.peer, "patch": e.body}
            for e in entries
            if e.kind == "patch"
        ]
        if patches:
            self._announce("received_patches", patches)

    def hello(self) -> Hello:
        """What this peer says of itself and of what it holds."""
        epoch, version = self.replica.pair
        is_new = not self.state.network  # else its options were looked at, or have to give way
        return Hello(
            PROTOCOL,
            self.name,
            self.id,
            self.machine.pid(),
            list(self.options.peer.roles),
            epoch,
            version,
            self.own.lowest,
            self.options.client_only,
            self.options.network.max_writers,
            options=group_part(stated(self.options)) if is_new else {},
            known=self.replica.writes.known,
            server_only=self.options.server_only,
            network=self.replica.network,
        )

    def rendezvous(self, epoch: int, address: Address) -> dict[str, Any]:
        """What the rendezvous file says while this peer hosts."""
        return {
            "protocol": PROTOCOL,
            "name": self.name,
            "network": self.state.network,
            "epoch": epoch,
            "id": self.id,
            "pid": self.machine.pid(),
            "address": address,
            "python": platform.python_version(),
            "memsync": __version__,
        }

    def state_epoch_in_file(self, epoch: int) -> None:
        """Say in the own peer file that this peer may hold something, before it does."""
        self._epoch_in_file = epoch
        self._peer_file.rewrite(encode(self._peer_facts()))

    def say_obstacle(self, obstacle: str | None) -> None:
        """Say why this peer has no host, in its status and its file; None: it has one."""
        if obstacle == self.obstacle:
            return
        self.obstacle = obstacle
        self._peer_file.rewrite(encode(self._peer_facts()))

    def mend(self) -> None:
        """Make again what somebody deleted of this peer's in the folder."""
        self._peer_file = self.folder.mended(self._peer_file)
        self._watch()  # the folder may be another one than before
        self.authkey = self.folder.kept_key(self.authkey)

    def try_to_mend(self, mend: Callable[[], None]) -> None:
        """Make again what was deleted; where that fails it is said once, and tried anew later.

        Who is connected does not need what is missing.
        """
        try:
            mend()
            self._unmended = ""
        except MemSyncError as error:
            if str(error) != self._unmended:
                log.error("what is missing in the folder cannot be made again: %s", error)
            self._unmended = str(error)

    def key(self) -> bytes:
        """The folder's key at this moment, for a handshake (on its thread)."""
        try:
            return self.folder.kept_key(self.authkey)
        except MemSyncError as error:
            log.debug("the last known key is used: %s", error)
            return self.authkey

    def reigns_still(self, reign: Reign, *, if_missing: bool = True) -> bool:
        """Whether the host of an epoch lives and is not replaced."""
        return self.folder.reigns_still(reign.epoch, reign.peer, if_missing=if_missing)

    def host_hangs(self, epoch: int) -> bool:
        """Whether the host of an epoch, whose lock is held, has been silent for a whole lease."""
        return self.lease.look(epoch, self.folder.last_beat(epoch), self.machine.monotonic())

    def _peer_facts(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "pid": self.machine.pid(),
            "roles": list(self.options.peer.roles),
            "maxWriters": self.options.network.max_writers,
            "clientOnly": self.options.client_only,
            "serverOnly": self.options.server_only,
            "epoch": self._epoch_in_file,
            "obstacle": self.obstacle,
        }

    def _watch(self) -> None:
        way = self.options.network.watch
        self.machine.watch(self.folder.path, self.waker.wake, way)

    def _unwatch(self) -> None:
        way = self.options.network.watch
        self.machine.unwatch(self.folder.path, self.waker.wake, way)

    def _wake(self) -> None:
        self.waker.wake()

    def _rolled_back(self, error: MemSyncError) -> None:
        self._announce("rolled_back", error)

    # -- pings -----------------------------------------------------------------------------------

    def pinged(self) -> None:
        """A client's answer has come (host)."""
        with self._ponged:
            self._ponged.notify_all()

    def ping_clients(self, host: Host, timeout: float) -> list[dict[str, Any]]:
        """Round trips to all clients, in seconds; None for who did not answer in time."""
        host.request_pings()
        deadline = time.monotonic() + timeout
        with self._ponged:
            while True:
                times = host.round_trips()
                left = deadline - time.monotonic()
                if left <= 0 or (times and all(each["time"] is not None for each in times)):
                    return times
                if not host.attached:
                    return []
                self._ponged.wait(min(left, 0.05))

    # -- selectors -------------------------------------------------------------------------------

    def register(
        self,
        selector: selectors.BaseSelector,
        channel: Channel,
        old: int,
        new: int,
        data: object = None,
    ) -> int:
        """Change what a selector looks for on a channel; 0 is nothing. Returns the new mask."""
        if old == new:
            return new
        if not old:
            selector.register(channel, new, data)
        elif not new:
            selector.unregister(channel)
        else:
            selector.modify(channel, new, data)
        return new

    # -- the driver ------------------------------------------------------------------------------

    def _drive(self) -> None:
        self.driver_ident = threading.get_ident()
        self.machine.live(self.life())

    def life(self) -> Life[None]:
        """What the driver does, from the first look for a host to the end."""
        try:
            yield from self._play_roles()
        except Stopped:
            log.debug("stopped while looking for a role")
        except BaseException as error:
            self.failure = error
            if self._ready.is_set():
                self._turn(f"{type(error).__name__}: {error}")
                log.critical("failed %s", self, exc_info=True)
        finally:
            self._end()
            self._ready.set()

    def _play_roles(self) -> Life[None]:
        pause = 0.0
        while not self.stopping:
            role = yield from self._next_role()
            self._say_role(role)
            if not self._ready.is_set():
                self._first_status = role.status
            self._ready.set()
            self._announce("connected", role.status)
            reason = "failed"
            was_unfit = False
            began = self.machine.monotonic()
            try:
                reason = yield from role.run()
            except (RendezvousError, OSError) as error:  # the folder may be well again soon
                reason = str(error)
                is_told = isinstance(error, RendezvousError) or is_shortage(error)
                log.error("%s is given up %s: %s", role.status, self, error, exc_info=not is_told)
                was_unfit = True
            finally:
                was_lost = isinstance(role, Link) and role.lost
                self.own.leave(for_good=self.stopping, holds_back=was_lost)
                self.role = None
                self._turn(reason)
                yield from self._close(role)
                self._announce("disconnected", reason)
            # Counted from here, for the end of the role may have taken long for the same reason.
            others_first = self.machine.monotonic() + _RETRY if was_unfit else 0.0
            while self.machine.monotonic() < others_first and not self.stopping:
                yield Pause(self.waker, _RETRY)  # others may have what is missing here
            if not self.stopping:
                log.info("looking for a host %s reason=%r", self, reason)
                is_short = self.machine.monotonic() - began < _SHORT_LINK
                if is_short and self._is_at_odds(role):
                    if pause:
                        yield Pause(self.waker, pause)
                    pause = min(max(pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
                else:
                    pause = 0.0

    def _turn(self, reason: str | None) -> None:
        """The status is another one from now on."""
        self.since = self.machine.wall_ms() / 1000
        self.reason = reason

    def _say_role(self, role: Role) -> None:
        if isinstance(role, Host):
            log.info("host %s address=%s", self, role.seat.server.endpoint)
        else:
            log.info("client %s host=%s host_pid=%s", self, role.reign.peer, role.reign.pid)

    def __str__(self) -> str:
        """What a line of the log says of the peer."""
        return f"name={self.name} peer={self.id} epoch={self.state.epoch} pid={self.pid}"

    def _is_at_odds(self, role: Role) -> bool:
        """Whether a link broke although its host lives and nobody here was interrupted."""
        if isinstance(role, Host) or role.interrupted:
            return False
        try:
            return self.reigns_still(role.reign)
        except RendezvousError as error:  # said by whoever looks for the next role
            log.debug("the folder cannot be looked at: %s", error)
            return True

    def _next_role(self) -> Life[Role]:
        """The next role; a peer that runs already outlives errors that may pass."""
        said = ""
        while True:
            running = self._ready.is_set()
            deadline = float("inf") if running else self._deadline
            try:
                return (yield from find_role(self, deadline))
            except (MemSyncError, OSError) as error:
                is_late = self.machine.monotonic() > deadline
                if not running and (is_late or not _was_deleted(error)):
                    raise
                if str(error) != said:
                    log.error("without a host %s: %s", self, error)
                said = str(error)
                self.say_obstacle(said)
            yield Pause(self.waker, _RETRY)
            self.check_stop()

    def _close(self, role: Role) -> Life[None]:
        if isinstance(role, Host):
            yield from role.close(clean=self.failure is None)
            has_handed_over = self.stopping and self.leaves_file
            if not has_handed_over and (role.seat.deposed or not self.stopping):
                self.own.take_back(role.give_back())
            return
        if self.stopping:
            role.leave()
        role.close()
        self.own.take_back(self.own.untold())

    def _end(self) -> None:
        self.watching.end()
        self._unwatch()
        self._peer_file.close(remove=not self.leaves_file)
        self._clean_as_the_last()
        self.stopping = True
        self.own.end()
        self.waker.close()
        if self._ready.is_set():  # else start() raises what went wrong
            log.info("stopped %s", self)

    def _clean_as_the_last(self) -> None:
        """Peers that go at one time leave files to each other: whoever is last removes them."""
        try:
            self.folder.clean_if_deserted(self.state.epoch)
        except (MemSyncError, OSError) as error:  # the next host does it
            log.debug("nothing was cleaned at the end: %s", error)


def _was_deleted(error: BaseException) -> bool:
    """Whether an error came of somebody's deleting the folder at the same time."""
    return isinstance(error.__cause__, FileNotFoundError)


class Stopped(Exception):
    """The peer ends while its driver waits; never leaves the package."""
