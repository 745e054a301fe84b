"""The claim of a host or candidate to its epoch: the lock, the socket, and no later epoch.

Somebody may delete the files, and while this process is frozen another peer may take a later epoch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from ...errors import RendezvousError
from ...runtime.logs import Logger
from ...version import __version__
from ..context import PeerContext
from ..folder.folder import EpochLock
from ..folder.records import Address
from ..folder.stamps import FolderStamps
from ..transport.messages import PROTOCOL
from ..transport.server import MemSyncServer

log = Logger("memsync.host")


class Deposed(Exception):
    """Another peer has taken this epoch or a later one."""


class EpochClaim:
    """The claim to one epoch, taken at `since`, in seconds since 1970 (driver only)."""

    def __init__(
        self,
        ctx: PeerContext,
        epoch: int,
        lock: EpochLock,
        server: MemSyncServer,
        listen: Callable[[Address], MemSyncServer],
        since: float,
    ) -> None:
        self.epoch = epoch
        self.server = server
        self.since = since
        self.deposed = False  # another peer has this epoch, or a later one
        self.is_offered = False  # to a successor
        self._ctx = ctx
        self._folder = ctx.place.folder
        self.lock = lock
        self._listen = listen
        self._socket = self._folder.socket_identity(server.endpoint)
        self._platform = ctx.platform
        self._heartbeat_at = self._awake_at = ctx.platform.monotonic()
        self._beat = 0  # the last heartbeat, in milliseconds of the wall clock or later
        self._stamps = self._new_stamps()

    def is_lost(self) -> bool:
        """Whether another peer has taken a later epoch, so that this host's work is void.

        The host asks before it reads anything, and again after ordering and before it sends or
        acknowledges anything. No peer deposes a host whose last heartbeat is within the lease, so
        the clock usually suffices. The files are read after every pause of the loop, because peers
        cannot see the heartbeat where all files were deleted.
        """
        now = self._platform.monotonic()
        away, self._awake_at = now - self._awake_at, now
        if not self.deposed and (self._is_silent(now) or away > self._ctx.timing.blink):
            self._check_what_changed(now)
        return self.deposed

    def _check_what_changed(self, now: float) -> None:
        if not self._stamps.are_in_order(now):
            self.check()

    def check(self) -> None:
        """Read the folder: is there a later epoch, or another holder of this one?"""
        if self.deposed:
            return
        was_away = self._is_silent(self._platform.monotonic())
        if self._folder.still_hosts(self.epoch, self._ctx.id, if_missing=not was_away):
            return
        if not self.is_offered:
            log.warning("deposed %s: another process has this epoch or a later one", self._ctx)
        self.depose()

    def depose(self) -> None:
        """Stop hosting: nothing that this host orders from now on counts."""
        self.deposed = True

    def offer(self) -> None:
        """The host hands its epoch over, so that a later one is no surprise."""
        self.is_offered = True

    def _is_silent(self, now: float) -> bool:
        return now - self._heartbeat_at > self._ctx.lease.seconds / 2

    @property
    def next_heartbeat(self) -> float:
        """When the next heartbeat is due (monotonic seconds)."""
        return self._heartbeat_at + self._ctx.lease.rhythm

    def heartbeat(self, now: float) -> None:
        """Send a heartbeat if it is due (monotonic seconds)."""
        if now >= self.next_heartbeat:
            self._touch()
            self._check_what_changed(now)
            self._heartbeat_at = now

    def _touch(self) -> None:
        # A wall clock that a test has stopped, or that was set back, does not stop the heart.
        self._beat = max(self._platform.wall_ms(), self._beat + 1)
        self.lock.heartbeat(self._beat * 1_000_000)

    def tend(self, now: float) -> None:
        """Restore what has changed in the folder of a host (monotonic seconds).

        A heartbeat that is due soon is sent along, so that it needs no wake of its own.
        """
        is_due_soon = now >= self.next_heartbeat - self._ctx.lease.rhythm / 2
        if is_due_soon:
            self._touch()
        if self._stamps.are_in_order(now):
            self.lock.restore()  # each heartbeat changes the stamps of the lock
        else:
            self.check()
            if not self.deposed and self._ctx.place.repair_or_log(self.repair_as_host):
                self._stamps.found_in_order()
        if is_due_soon:
            self._heartbeat_at = now

    def write_rendezvous(self) -> None:
        participant = self._ctx.participant
        self._folder.write_rendezvous(
            {
                "protocol": PROTOCOL,
                "name": participant.name,
                "network": participant.state.cluster_id,
                "epoch": self.epoch,
                "id": self._ctx.id,
                "pid": self._platform.pid(),
                "address": self.server.endpoint,
                "python": sys.version.partition(" ")[0],
                "memsync": __version__,
            }
        )

    def repair(self) -> bool:
        """Restore the files of a host or candidate: lock, peer file, key, socket.

        Returns whether all is in order.
        """
        if not self.lock.repair(self._folder.repaired):
            log.warning("deposed %s: another process holds this epoch", self._ctx)
            self.depose()
            return False
        is_whole = self._ctx.repair()
        if self._is_socket_gone():
            self._listen_again()
        return is_whole

    def repair_as_host(self) -> bool:
        """`repair`, and write the rendezvous file if it is missing or damaged."""
        is_whole = self.repair()
        if not self.deposed and not self._folder.rendezvous_names(self._ctx.id):
            self.write_rendezvous()
            log.warning("restored the rendezvous file, which was missing or damaged")
        return is_whole

    def _new_stamps(self) -> FolderStamps:
        endpoint = self.server.endpoint
        sockets = [Path(endpoint)] if isinstance(endpoint, str) else []
        witnesses = self._folder.lock_folders()[1:]
        return self._ctx.stamps(*witnesses, self._folder.rendezvous, *sockets)

    def _is_socket_gone(self) -> bool:
        """Whether the socket's file was deleted or replaced; a TCP port cannot be."""
        if not isinstance(self.server.endpoint, str):
            return False
        found = self._folder.socket_identity(self.server.endpoint)
        return found is None or found != self._socket

    def _listen_again(self) -> None:
        """Make a new socket: without its file no peer can join, though attached ones stay."""
        old = self.server.endpoint
        if self._folder.socket_identity(old) is not None:
            raise RendezvousError(f"{old} is not the socket of the host: remove it")
        self.server.stop()
        # This also restores the short folder, if the socket has one.
        self.server = self._listen(self._folder.socket_address(self.epoch, self._ctx.id))
        self._socket = self._folder.socket_identity(self.server.endpoint)
        self._stamps = self._new_stamps()
        self.server.start()
        log.warning("restored the socket %s, which was deleted", old)

    def remove_rendezvous(self) -> None:
        """Remove the rendezvous file if it is still this host's."""
        if self._folder.rendezvous_names(self._ctx.id):
            self._folder.files.remove(self._folder.rendezvous)

    def close(self) -> None:
        """Close the socket, then free the lock."""
        self.server.stop()
        self.lock.close()
        self._folder.remove_short_folder(self.server.endpoint)
