"""One peer in the group: its copy of the object, its own writes, and the thread that drives it.

The driver thread finds a role, plays it until it ends, and finds the next one. It owns the copy: only
the driver changes it, and, for the time of its own write, a thread that reads from the link in the
driver's place. Other threads number their writes and hand them to the role under `lock`, which is
held for neither I/O nor callbacks.

While there is no role, between two hosts, writes are kept; whoever the next host is gets them.
"""

from __future__ import annotations

import logging
import os
import platform
import secrets
import selectors
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from .. import __version__
from ..document import check_filter, check_patch, check_update, normalize, to_plain
from ..errors import (
    MemSyncError,
    NotStartedError,
    QueueFullError,
    ReadOnlyError,
    TooLargeError,
    WriteTimeoutError,
)
from ..options import Options, stated
from ..replication.clock import HybridClock
from ..replication.log import Log
from ..replication.messages import (
    PROTOCOL,
    Entry,
    Fetch,
    Hello,
    Propose,
    SnapshotPart,
    Source,
    frame,
)
from ..replication.replica import Replica
from ..replication.state import State
from ..replication.writes import Write, Writes
from . import forks, watcher
from .channel import Channel
from .election import find_role
from .folder import Address, ObjectFolder, root_folder
from .host import Host
from .link import Link
from .waker import Waker

log = logging.getLogger("memsync.node")

Role = Host | Link
Announce = Callable[[str, Any], None]

_RETRY = 0.5  # seconds between attempts after an error that a running peer may outlive
_STOP_PATIENCE = 5.0  # seconds for the driver to end


class PendingWrite(Write):
    """A write that a thread may wait for."""

    def __init__(self, proposal: Propose) -> None:
        super().__init__(proposal)
        self._decided = threading.Lock()
        self._decided.acquire()
        self.future: Future[int] | None = None

    def resolve(self, version: int, error: MemSyncError | None) -> None:
        """Set the outcome and wake who waits."""
        super().resolve(version, error)
        self._decided.release()
        if self.future is None:
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(version)

    def wait(self, deadline: float) -> None:
        """Wait until the outcome is known, or the time is over (monotonic seconds)."""
        if not self.done and self._decided.acquire(timeout=max(deadline - time.monotonic(), 0)):
            self._decided.release()


class Node:
    """A peer from `start` to `stop`; a new start is a new node with a new id."""

    def __init__(
        self, name: str, data: dict[str, Any], options: Options, announce: Announce
    ) -> None:
        self.id = secrets.token_hex(8)
        self.name = name
        self.options = options
        self.stopping = False
        self.failure: BaseException | None = None
        self.guard = threading.RLock()
        self.lock = threading.Lock()
        self.state = State(self.guard)
        network = options.network
        self.log = Log(0, 0, max_entries=network.max_log, max_bytes=network.max_log_bytes)
        self.replica = Replica(self.state, self.log)
        self.clock = HybridClock()
        self.writes = Writes(keep=network.window)
        self.role: Role | None = None
        self.candidate: Host | None = None
        self.driver_ident = 0
        self.document_proxy = DocumentProxy(self)
        self._data = data
        self._announce = announce
        self._room = threading.Condition(self.lock)
        self._ready = threading.Event()
        self._ponged = threading.Condition(threading.Lock())
        self._last_host: str | None = None
        self._thread = threading.Thread(target=self._drive, name="memsync-driver", daemon=True)

    # -- starting and stopping -------------------------------------------------------------------

    def start(self, timeout: float) -> str:
        """Take part; returns the role once this peer is level with the group.

        Raises what `election.find_role` and the folder raise; nothing is left behind then.
        """
        self.folder = ObjectFolder(root_folder(), self.name)
        self.authkey = self.folder.authkey()
        self.waker = Waker()
        self._deadline = time.monotonic() + timeout
        try:
            self._peer_file = self.folder.publish_peer(self.id, self._peer_facts(0))
        except BaseException:
            self.waker.close()
            raise
        watcher.watch(self.folder.path, self.waker.wake)
        self._thread.start()
        try:
            self._ready.wait()
        except BaseException:  # interrupted: a failed start leaves nothing behind
            self.stop(timeout=0)
            raise
        if self.failure is not None:
            self._thread.join()
            raise self.failure
        assert self.role is not None or self.stopping
        return self.role.status if self.role is not None else "stopped"

    def stop(self, timeout: float = _STOP_PATIENCE) -> None:
        """Leave the group; writes on their way are waited for, at most `timeout` seconds."""
        deadline = time.monotonic() + timeout
        if threading.get_ident() != self.driver_ident:
            for write in list(self.writes.pending.values()):
                self.wait(write, deadline)
        self.stopping = True
        self.waker.wake()
        self._thread.join(max(deadline - time.monotonic(), 0.5))

    def check_stop(self) -> None:
        """Raise `Stopped` when the peer is to end (for the driver's waits)."""
        if self.stopping:
            raise Stopped

    def close_after_fork(self) -> None:
        """In a forked child: this node is the parent's, nothing here may be used."""
        self.stopping = True

    # -- writing (any thread) --------------------------------------------------------------------

    def patch(self, update: Any, where: Any, array_filters: Any, timeout: float) -> int:
        """Write, and wait for the outcome: the version from which on it counts.

        Raises what the update is refused with, `WriteTimeoutError` after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        write = self.propose(update, where, array_filters, deadline)
        self.wait(write, deadline)
        if not write.done:
            raise WriteTimeoutError(
                f"no answer within {timeout:g} s; the write stays pending and may still be applied"
            )
        if write.error is not None:
            raise write.error
        assert write.version is not None
        return write.version

    def propose(
        self,
        update: Any,
        where: Any,
        array_filters: Any,
        deadline: float,
        *,
        future: Future[int] | None = None,
    ) -> PendingWrite:
        """Check a write, number it and send it on its way.

        Raises `UpdateError`, `NotSerializableError`, `ReadOnlyError`, `QueueFullError` when the
        window stays full until the deadline, `TooLargeError` for a proposal over the frame limit;
        the write is then not applied.
        """
        if "writer" not in self.options.peer.roles:
            raise ReadOnlyError(
                f"this peer's roles are {list(self.options.peer.roles)}: state peer.roles: "
                "['writer'] to write"
            )
        body = check_update(update) if isinstance(update, dict) else check_patch(update)
        where = check_filter(where) if where is not None else None
        if array_filters is not None:
            array_filters = normalize(array_filters, "array_filters")
        with self.lock:
            self._wait_for_room(deadline)
            proposal = Propose(
                self.writes.next_number,
                self.writes.lowest,
                self.clock.tick(time.time_ns() // 1_000_000),
                self.state.epoch,
                self.state.version,
                "patch",
                body,
                where,
                array_filters,
            )
            encoded = frame(proposal)
            self._check_size(len(encoded))
            write = PendingWrite(proposal)
            write.future = future
            self.writes.add(write)
            role = self.role
            if role is not None:
                role.queue_write(write, encoded)
        if role is not None:
            role.kick()
        return write

    def wait(self, write: PendingWrite, deadline: float) -> None:
        """Wait until a write is decided or the time is over."""
        while not write.done and time.monotonic() < deadline:
            role = self.role
            if role is not None:
                role.wait_for(write, deadline)
            write.wait(deadline)

    def _wait_for_room(self, deadline: float) -> None:
        window = self.options.network.window
        while len(self.writes.pending) >= window:
            left = deadline - time.monotonic()
            if self.stopping:
                raise NotStartedError("this peer has stopped: call start() again")
            if left <= 0 or not self._room.wait(left):
                raise QueueFullError(
                    f"{window} writes are in flight (network.window) and none was answered in time"
                )

    def _check_size(self, size: int) -> None:
        limit = self.options.network.max_frame
        if size > limit:
            raise TooLargeError(
                f"the update has {size} bytes, over network.maxFrame ({limit}): split it, or raise "
                "the limit for the whole group"
            )

    def settle(self, number: int, version: int, error: MemSyncError | None) -> None:
        """The outcome of an own write is known."""
        with self.lock:
            write = self.writes.settle(number, accepted=error is None)
            self._room.notify()
        if write is not None:
            write.resolve(version, error)

    def unsent(self, number: int) -> list[PendingWrite]:
        """The own writes from a number on, for a host that asks for them."""
        with self.lock:
            return self.writes.after(number - 1)  # type: ignore[return-value]  # all are PendingWrites

    # -- what the roles need (driver, or the reader in its place) ----------------------------------

    def enter(self, role: Role, last: int) -> None:
        """From now on writes go to this role, beginning with those its host has not decided."""
        with self.lock:
            for write in self.writes.after(last):
                role.queue_write(write, frame(write.proposal))  # type: ignore[arg-type]  # ditto
            self.role = role
        role.kick()

    def take_entry(self, entry: Entry, size: int) -> None:
        """Apply an entry; an own one is thereby acknowledged."""
        self.replica.apply(entry, size)
        self.clock.merge(entry.timestamp)
        if entry.peer == self.id and entry.number:
            self.settle(entry.number, entry.version, None)

    def take_part(self, part: SnapshotPart) -> None:
        """Take a part of a snapshot in."""
        self.replica.take_part(part)

    def source(self, fetch: Fetch) -> list[bytes]:
        """What brings a candidate level with us."""
        snapshot, frames = self.replica.level(fetch.epoch, fetch.version)
        return [frame(Source(self.state.epoch, self.state.version, snapshot)), *frames]

    def found(self) -> None:
        """Begin a new object with this peer's own data."""
        self.state.found(self._data, stated(self.options))

    def arrive(self, epoch: int, channel: Channel, hello: Hello) -> None:
        """A peer asks the host of an epoch to attach it (called on a handshake's thread)."""
        for host in (self.candidate, self.role):
            if isinstance(host, Host) and host.epoch == epoch and not self.stopping:
                host.arrive(channel, hello)
                return
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
        for entry in entries:
            if entry.kind == "reign":
                old, self._last_host = self._last_host, entry.body["host"]
                self._announce(
                    "host_changed", {"old": old, "new": self._last_host, "epoch": entry.epoch}
                )

    def hello(self) -> Hello:
        """What this peer says of itself and of what it holds."""
        epoch, version = self.replica.pair
        return Hello(
            PROTOCOL,
            self.name,
            self.id,
            os.getpid(),
            list(self.options.peer.roles),
            epoch,
            version,
            self.writes.lowest,
            self.options.client_only,
            self.options.network.max_writers,
        )

    def rendezvous(self, epoch: int, address: Address) -> dict[str, Any]:
        """What the rendezvous file says while this peer hosts."""
        return {
            "protocol": PROTOCOL,
            "name": self.name,
            "epoch": epoch,
            "id": self.id,
            "pid": os.getpid(),
            "address": address,
            "python": platform.python_version(),
            "memsync": __version__,
        }

    def state_epoch_in_file(self, epoch: int) -> None:
        """Say in the own peer file that this peer may hold something, before it does."""
        self._peer_file.rewrite(self._peer_facts(epoch))

    def reigns_still(self, epoch: int) -> bool:
        """Whether the host of an epoch lives and is not replaced."""
        return self.folder.reigns_still(epoch)

    def _peer_facts(self, epoch: int) -> dict[str, Any]:
        return {
            "id": self.id,
            "pid": os.getpid(),
            "roles": list(self.options.peer.roles),
            "maxWriters": self.options.network.max_writers,
            "clientOnly": self.options.client_only,
            "epoch": epoch,
        }

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

    def new_selector(self) -> selectors.BaseSelector:
        """A selector that the waker can wake, closed in forked children."""
        with forks.opening:
            selector = selectors.DefaultSelector()
            forks.register(selector, selector.close)
        selector.register(self.waker, selectors.EVENT_READ)
        return selector

    def drop_selector(self, selector: selectors.BaseSelector) -> None:
        """Close a selector."""
        forks.release(selector)
        selector.close()

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
        try:
            self._live()
        except Stopped:
            log.debug("stopped while looking for a role")
        except BaseException as error:
            self.failure = error
            if self._ready.is_set():
                log.critical("peer %s of %r has failed", self.id, self.name, exc_info=True)
        finally:
            self._end()
            self._ready.set()

    def _live(self) -> None:
        while not self.stopping:
            role = self._next_role()
            log.info("%s peer=%s epoch=%s", role.status, self.id, self.state.epoch)
            self._ready.set()
            self._announce("connected", role.status)
            reason = "failed"
            try:
                reason = role.run()
            finally:
                with self.lock:
                    self.role = None
                self._close(role)
                self._announce("disconnected", reason)
            if not self.stopping:
                log.info("looking for a host: %s", reason)

    def _next_role(self) -> Role:
        """The next role; a peer that runs already outlives errors that may pass."""
        said = ""
        while True:
            running = self._ready.is_set()
            try:
                return find_role(self, float("inf") if running else self._deadline)
            except MemSyncError as error:
                if not running:
                    raise
                if str(error) != said:
                    log.error("peer %s of %r is without a host: %s", self.id, self.name, error)
                said = str(error)
            self.waker.pause(_RETRY)
            self.check_stop()

    def _close(self, role: Role) -> None:
        if isinstance(role, Host):
            role.close(clean=self.failure is None)
            return
        if self.stopping:
            role.leave()
        role.close()

    def _end(self) -> None:
        watcher.unwatch(self.folder.path, self.waker.wake)
        self._peer_file.close(remove=True)
        self.stopping = True
        with self.lock:
            orphans = list(self.writes.pending.values())
            self.writes.pending.clear()
            self._room.notify_all()
        for write in orphans:
            write.resolve(
                self.state.version,
                WriteTimeoutError("the peer stopped before the write was answered"),
            )
        self.waker.close()


class Stopped(Exception):
    """The peer ends while its driver waits; never leaves the package."""


class DocumentProxy:
    """What a plain manager client gets from ``manager.document()``."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def get(self, path: str | None = None) -> Any:
        """The detached value at a dotted path, None where there is none; without a path, all of it."""
        value: Any = self._node.state.document
        with self._node.guard:
            for part in path.split(".") if path else ():
                if isinstance(value, dict):
                    value = value.get(part)
                elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
                    value = value[int(part)]
                else:
                    return None
            return to_plain(value)

    def snapshot(self) -> dict[str, Any]:
        """The whole object, detached."""
        with self._node.guard:
            return to_plain(self._node.state.document)  # type: ignore[no-any-return]

    def version(self) -> int:
        """The version of the object."""
        return self._node.state.version

    def patch(self, update: Any, where: Any = None, timeout: float | None = None) -> int:
        """Write like `MemSync.patch`, as a write of the host's."""
        seconds = self._node.options.timeout if timeout is None else timeout
        return self._node.patch(update, where, None, seconds)
