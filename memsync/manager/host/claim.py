"""What makes a peer the host, or the candidate, of its epoch: the lock, the socket, no later epoch.

All of it lies in a folder where somebody may delete it, or take it while this process is frozen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from platform import python_version
from typing import Any

from ...errors import RendezvousError
from ...version import __version__
from ..context import PeerContext
from ..folder.epoch_lock import EpochLock
from ..folder.records import Address
from ..transport.messages import PROTOCOL
from ..transport.server import MemSyncServer

log = logging.getLogger("memsync.host")


class Deposed(Exception):
    """Another peer has taken this epoch or a later one."""


class EpochClaim:
    """The claim to one epoch, from the moment its lock is taken (driver only).

    `since` is when it was taken, in seconds since 1970.
    """

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
        self.is_offered = False  # to a successor, so that this is no surprise
        self._ctx = ctx
        self._folder = ctx.place.folder
        self._lock = lock
        self._listen = listen
        self._socket = self._folder.socket_identity(server.endpoint)
        self._platform = ctx.platform
        self._heartbeat_at = self._awake_at = ctx.platform.monotonic()

    def is_lost(self) -> bool:
        """Whether another peer has taken a later epoch, so that nothing counts that is done here.

        A host that was frozen finds out with this: before it reads anything, and again after
        ordering and before it sends or acknowledges anything. Nobody can have deposed a host that
        gave a sign of life within the last lease, so mostly a look at the clock will do; but where
        all files were deleted nobody knew of it, so it checks whenever it was away.
        """
        now = self._platform.monotonic()
        away, self._awake_at = now - self._awake_at, now
        if not self.deposed and (self._is_silent(now) or away > self._ctx.timing.blink):
            self.look()
        return self.deposed

    def look(self) -> None:
        """Check for a later epoch, or another holder of this one."""
        if self.deposed:
            return
        was_away = self._is_silent(self._platform.monotonic())
        if self._folder.still_hosts(self.epoch, self._ctx.id, if_missing=not was_away):
            return
        if not self.is_offered:
            log.warning("deposed %s: another process has this epoch or a later", self._ctx)
        self.deposed = True

    def _is_silent(self, now: float) -> bool:
        return now - self._heartbeat_at > self._ctx.lease.seconds / 2

    @property
    def next_heartbeat(self) -> float:
        """When the next sign of life is due (monotonic seconds)."""
        return self._heartbeat_at + self._ctx.lease.rhythm

    def heartbeat(self, now: float) -> None:
        """Give a sign of life, if it is time (monotonic seconds)."""
        if now >= self.next_heartbeat:
            self._lock.heartbeat()
            self.look()
            self._heartbeat_at = now

    def mark(self, *, is_open: bool) -> None:
        """See `EpochLock.mark`."""
        self._lock.mark(is_open=is_open)

    def write_rendezvous(self) -> None:
        """Say where the host is to be found."""
        self._folder.write_rendezvous(self._rendezvous())

    def _rendezvous(self) -> dict[str, Any]:
        participant = self._ctx.participant
        return {
            "protocol": PROTOCOL,
            "name": participant.name,
            "network": participant.state.cluster_id,
            "epoch": self.epoch,
            "id": self._ctx.id,
            "pid": self._platform.pid(),
            "address": self.server.endpoint,
            "python": python_version(),
            "memsync": __version__,
        }

    def repair(self) -> None:
        """Make again what a host or a candidate must have, to be found and to be known as alive."""
        if not self._lock.repair(self._folder.repaired):
            log.warning("deposed %s: another process holds this epoch", self._ctx)
            self.deposed = True
            return
        self._ctx.repair()
        if self._is_socket_gone():
            self._listen_again()

    def repair_as_host(self) -> None:
        """`repair`, and write the rendezvous file again if it is missing or damaged."""
        self.repair()
        if not self.deposed and not self._folder.rendezvous_names(self._ctx.id):
            self.write_rendezvous()
            log.warning("the rendezvous file was missing or damaged: it is written anew")

    def _is_socket_gone(self) -> bool:
        """Whether there is none, or something else in its place; a TCP port stays where it is."""
        if not isinstance(self.server.endpoint, str):
            return False
        found = self._folder.socket_identity(self.server.endpoint)
        return found is None or found != self._socket

    def _listen_again(self) -> None:
        """The socket's file was deleted: attached peers stay attached, but nobody finds us."""
        old = self.server.endpoint
        if self._folder.socket_identity(old) is not None:
            raise RendezvousError(f"{old} is not the host's socket: remove it")
        self.server.stop()
        # Asked for anew, because the folder that a short path leads to may be gone as well.
        self.server = self._listen(self._folder.socket_address(self.epoch, self._ctx.id))
        self._socket = self._folder.socket_identity(self.server.endpoint)
        self.server.start()
        log.warning("the socket %s was deleted: it is made again", old)

    def leave(self) -> None:
        """Nobody is to be found here any more."""
        if self._folder.rendezvous_names(self._ctx.id):
            self._folder.remove_rendezvous()

    def close(self) -> None:
        """Free the lock, and close the socket before."""
        self.server.stop()
        self._lock.close()
        self._folder.remove_short_folder(self.server.endpoint)
