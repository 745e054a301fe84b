"""What makes a host, or a candidate, the one of its epoch: the lock, the socket, and no later one.

All of it lies in a folder where somebody may delete it, or take it while this process is frozen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import RendezvousError
from .contents import Address
from .folder import EpochLock
from .server import MemSyncServer

if TYPE_CHECKING:
    from .node import Node

log = logging.getLogger("memsync.host")

_BLINK = 0.1  # seconds without a step, in which the host waited, or was frozen


class Deposed(Exception):
    """The candidate was too slow, or its number too low: somebody has to take a later epoch."""


class Seat:
    """The seat of one epoch, from the moment its lock is taken (driver only)."""

    def __init__(
        self,
        node: Node,
        epoch: int,
        lock: EpochLock,
        server: MemSyncServer,
        listen: Callable[[Address], MemSyncServer],
    ) -> None:
        self.epoch = epoch
        self.server = server
        self.deposed = False  # somebody has taken the next epoch
        self.is_offered = False  # to a successor, so that this is no surprise
        self._node = node
        self._lock = lock
        self._listen = listen
        self._socket = node.folder.socket_identity(server.endpoint)
        self._machine = node.machine
        self._beat_at = self._awake_at = node.machine.monotonic()

    def is_lost(self) -> bool:
        """Whether somebody has taken a later epoch, so that nothing counts that is done here.

        A host that was frozen finds out with this: before it reads anything, and again after
        ordering and before it sends or acknowledges anything. Nobody can have deposed a host that
        has given a sign of life within the last lease, so mostly a look at the clock will do; but
        where all files were deleted nobody knew of it, so it looks whenever it was away.
        """
        now = self._machine.monotonic()
        away, self._awake_at = now - self._awake_at, now
        if not self.deposed and (self._is_silent(now) or away > _BLINK):
            self.look()
        return self.deposed

    def look(self) -> None:
        """Look for a later epoch, or somebody else who has this one."""
        if self.deposed:
            return
        folder = self._node.folder
        was_away = self._is_silent(self._machine.monotonic())
        if folder.reigns_still(self.epoch, self._node.id, if_missing=not was_away):
            return
        if not self.is_offered:
            log.warning("deposed %s: another process has this epoch or a later", self._node)
        self.deposed = True
        self._node.leaves_gap = not folder.is_over(self.epoch)

    def _is_silent(self, now: float) -> bool:
        return now - self._beat_at > self._node.lease.seconds / 2

    @property
    def next_beat(self) -> float:
        """When the next sign of life is due (monotonic seconds)."""
        return self._beat_at + self._node.lease.rhythm

    def beat(self, now: float) -> None:
        """Give a sign of life, if it is time (monotonic seconds)."""
        if now >= self.next_beat:
            self._lock.beat()
            self.look()
            self._beat_at = now

    def mark(self, network: str) -> None:
        """See `EpochLock.mark`."""
        self._lock.mark(network)

    def write_rendezvous(self) -> None:
        """Say where the host is to be found."""
        self._node.folder.write_rendezvous(self._node.rendezvous(self.epoch, self.server.endpoint))

    def mend(self) -> None:
        """Make again what a host or a candidate must have, to be found and to be known as alive."""
        node = self._node
        if not self._lock.mend(node.folder):
            log.warning("deposed %s: another process holds this epoch", node)
            self.deposed = node.leaves_gap = True
            return
        node.mend()
        if self._is_socket_gone():
            self._listen_again()

    def mend_as_host(self) -> None:
        """`mend`, and make the file again by which a host is found, if it is missing or damaged."""
        self.mend()
        if not self.deposed and not self._node.folder.rendezvous_names(self._node.id):
            self.write_rendezvous()
            log.warning("the rendezvous file was missing or damaged: it is written anew")

    def _is_socket_gone(self) -> bool:
        """Whether there is none, or something else in its place; a TCP port stays where it is."""
        if not isinstance(self.server.endpoint, str):
            return False
        found = self._node.folder.socket_identity(self.server.endpoint)
        return found is None or found != self._socket

    def _listen_again(self) -> None:
        """The socket's file was deleted: who is connected stays so, but nobody finds us."""
        old = self.server.endpoint
        if self._node.folder.socket_identity(old) is not None:
            raise RendezvousError(f"{old} is not the host's socket: remove it")
        self.server.stop()
        # Asked for anew, for the folder that a short path leads to may be gone as well.
        self.server = self._listen(self._node.folder.socket_address(self.epoch, self._node.id))
        self._socket = self._node.folder.socket_identity(self.server.endpoint)
        self.server.start()
        log.warning("the socket %s was deleted: it is made again", old)

    def leave(self) -> None:
        """Nobody is to be found here any more."""
        if self._node.folder.rendezvous_names(self._node.id):
            self._node.folder.remove_rendezvous()

    def close(self) -> None:
        """Free the lock, and close the socket before."""
        self.server.stop()
        self._lock.close()
