"""The rendezvous folder: where peers find each other, and the locks that say who lives.

::

    <MEMSYNC_DIR or temp dir/memsync-uid>/       0700, ours, no link
      authkey                                    32 random bytes, 0600
      <object>/
        rendezvous.json                          who is host (for people and plain managers)
        epoch-7.lock                             held by the host of epoch 7 while it lives,
                                                 and a second time outside, as a *witness*
        peer-<id>.json                           held by a peer while it lives
        7-<id>.sock                              the host's socket

Held means alive, free means dead; how files are held is told in `files`. A file that is missing
says nothing: somebody may have deleted it, and its owner makes it again. So that nobody takes a
number meanwhile, each epoch's lock has its witness where another kind of cleaning goes on.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ...errors import ProtocolError, RendezvousError
from ..timing import TIMING
from ..transport.messages import PROTOCOL
from .epoch_lock import EpochLock
from .held_file import Files, HeldFile
from .key import AuthKey
from .paths import (
    LOCK_NAME,
    PEER_NAME,
    folder_name,
    lock_in,
    peer_file,
    root_folder,
    short_folder,
    takes_socket,
)
from .records import (
    Address,
    EpochRecord,
    decode,
    encode,
    parse_epoch_record,
    parse_rendezvous,
)

log = logging.getLogger("memsync.folder")


class ObjectFolder:
    """The sub-folder of one object."""

    def __init__(self, root: Path, name: str, files: Files | None = None) -> None:
        self.files = files or Files()
        self.root = self.files.open_root(root)
        self.name = name
        self.path = self.root / folder_name(name)
        self.files.make_folder(self.path)
        self._witnesses = self.files.witness_folder(self.path)
        self.key = AuthKey(self.files, self.root, self.path)

    @classmethod
    def existing(cls, name: str) -> ObjectFolder:
        """The sub-folder of an object that has been shared before; nothing is made.

        Raises `RendezvousError` when there is none.
        """
        root = root_folder()
        if not (root / folder_name(name)).is_dir():
            raise RendezvousError(
                f"nobody shares an object named {name!r} in {root}: start a peer first, or set "
                "MEMSYNC_DIR to the folder that peer uses"
            )
        return cls(root, name)

    # -- locks and peers -------------------------------------------------------------------------

    def publish_lock(
        self, epoch: int, peer: str, pid: int, address: Address, since: float = 0
    ) -> EpochLock | None:
        """Take an epoch; None when somebody was faster, or the number is past.

        `since` is the time of day, for people (seconds since 1970). Raises `RendezvousError`.
        """
        if not LOCK_NAME.fullmatch(lock_in(self.path, epoch).name):
            raise RendezvousError(
                f"there is no number after {lock_in(self.path, epoch - 1)}, which was not made by "
                "memsync: remove that file and its like"
            )
        content = {
            "protocol": PROTOCOL,
            "name": self.name,
            "epoch": epoch,
            "id": peer,
            "pid": pid,
            "address": address,
            "since": since,
            "open": 0,
        }
        taken: list[HeldFile] = []
        is_ours = False
        try:
            is_ours = self._take_lock(epoch, content, taken)
        finally:  # or this process would hold an epoch in which it does not host
            if not is_ours:
                for held in taken:
                    held.close(remove=True)
        return EpochLock(taken, content) if is_ours else None

    def _take_lock(self, epoch: int, content: dict[str, Any], taken: list[HeldFile]) -> bool:
        """Make lock and witness; whether the number is ours and not past."""
        for folder in self.lock_folders():
            try:
                held = self.files.publish(lock_in(folder, epoch), encode(content), folder)
            except RendezvousError as error:
                if not taken:
                    raise
                log.warning("epoch=%s has no witness: %s", epoch, error)
                continue
            if held is None:
                return False
            taken.append(held)
        return self.highest_epoch() == epoch  # a late candidate may take a number long past

    def forget_peer(self, peer: str) -> None:
        """Remove the file of a peer that has gone."""
        self.files.remove(peer_file(self.path, peer))

    def last_opened(self) -> int:
        """The last epoch that had a host, of those that the folder still knows; 0 is none."""
        for epoch in sorted(self.epochs(), reverse=True):
            found = self.inspect_lock(epoch)
            content = decode(found[1]) if found is not None else {}
            if content is None or content.get("open"):
                return epoch
        return 0

    def last_heartbeat(self, epoch: int) -> int:
        """A number that changes with each sign of life of the epoch's host."""
        return max(self.files.last_heartbeat(lock_in(f, epoch)) for f in self.lock_folders())

    def is_over(self, epoch: int) -> bool:
        """Whether there is, or was, a candidate for a later epoch."""
        return (self.highest_epoch() or 0) > epoch

    def repaired(self, held: HeldFile) -> HeldFile:
        """A held file, made again if somebody deleted or replaced it, and does not hold it.

        Raises `RendezvousError` if what is in its place is no regular file.
        """
        if held.is_in_place():
            held.restore()
            return held
        if self.is_held(held.path):
            return held
        folder = held.path.parent
        self.files.open_root(self.root)
        self.files.make_folder(self.path)
        if folder != self.path:
            self.files.witness_folder(self.path)  # whatever of it is missing
        self.files.remove(held.path)
        again = self.files.publish(held.path, held.data, folder)
        if again is None:
            return held  # somebody is at it this very moment: at the next look
        log.warning("%s was deleted or replaced: it is made again", held.path)
        held.close(remove=False)
        return again

    def publish_peer(self, peer: str, content: dict[str, Any]) -> HeldFile:
        """Make the peer's own file, held until it ends."""
        held = self.files.publish(peer_file(self.path, peer), encode(content), self.path)
        if held is None:
            raise RendezvousError(f"the peer file {self.path}/peer-{peer}.json exists already")
        return held

    def latest_epoch(self) -> EpochRecord | None:
        """The reign of the highest lock file, or None where there never was one.

        Raises `ProtocolError` when a living holder speaks another protocol number.
        """
        for _ in range(TIMING.lock_reads):
            epoch = self.highest_epoch()
            if epoch is None:
                return None
            found = self.inspect_lock(epoch)
            if found is not None:
                return parse_epoch_record(lock_in(self.path, epoch), epoch, *found)
        raise RendezvousError(f"the lock files in {self.path} change too quickly to be read")

    def still_reigns(self, epoch: int, peer: str, *, if_missing: bool = True) -> bool:
        """Whether there is no later epoch, and this one's holder, a peer, is not dead for certain.

        Where its lock was deleted, a peer that is connected to the holder knows better, unless
        somebody else holds the number now. Who was away does not (`if_missing`): there may have
        been a later epoch, and its lock be deleted as well.
        """
        if self.is_over(epoch):
            return False
        found = self.inspect_lock(epoch)
        if found is None:
            return if_missing
        return found[0] and (decode(found[1]) or {}).get("id", peer) == peer

    def is_alive(self, peer: str) -> bool | None:
        """Whether a peer's file is held; None where it is missing, which may mean anything."""
        found = self.files.inspect(peer_file(self.path, peer))
        return None if found is None else found[0]

    def living_peers(self) -> dict[str, dict[str, Any]]:
        """The content of every held peer file, by peer id."""
        living = {}
        for name in self.listing():
            match = PEER_NAME.fullmatch(name)
            found = self.files.inspect(self.path / name) if match else None
            if match and found is not None and found[0]:
                living[match[1]] = decode(found[1]) or {}
        return living

    # -- the rendezvous --------------------------------------------------------------------------

    @property
    def rendezvous(self) -> Path:
        """The file through which plain managers and people find the host."""
        return self.path / "rendezvous.json"

    def write_rendezvous(self, content: dict[str, Any]) -> None:
        """Replace the rendezvous atomically."""
        self.files.replace(self.rendezvous, encode(content))

    def remove_rendezvous(self) -> None:
        """The host stops: nobody is to be found here until the next one has come."""
        self.files.remove(self.rendezvous)

    def rendezvous_names(self, peer: str) -> bool:
        """Whether the rendezvous is whole and names this peer as host."""
        try:
            return bool(self.read_rendezvous()["id"] == peer)
        except (RendezvousError, ProtocolError):
            return False

    def read_rendezvous(self) -> dict[str, Any]:
        """What the rendezvous says.

        Raises `RendezvousError` when it is missing or damaged, `ProtocolError` when the host speaks
        another protocol number.
        """
        found = self.files.inspect(self.rendezvous)
        if found is None:
            raise RendezvousError(
                f"there is no rendezvous file {self.rendezvous}: no peer hosts this object now, or "
                "it was started with another MEMSYNC_DIR"
            )
        return parse_rendezvous(self.rendezvous, found[1])

    # -- sockets and cleaning --------------------------------------------------------------------

    def socket_address(self, epoch: int, peer: str) -> Address:
        """A path for a host's socket that the kernel can take, else loopback TCP on a free port."""
        name = f"{epoch}-{peer}.sock"
        path = self.path / name
        if takes_socket(path):
            return str(path)
        try:
            path = self.files.open_root(short_folder(self.path)) / name
        except RendezvousError:
            return ("127.0.0.1", 0)
        return str(path) if takes_socket(path) else ("127.0.0.1", 0)

    def socket_identity(self, address: Address) -> tuple[int, int] | None:
        """What tells a host's socket from what may come into its place; None where none is."""
        return self.files.identity(Path(address)) if isinstance(address, str) else None

    def remove_short_folder(self, address: Address) -> None:
        """Remove the folder of a socket that did not fit into this one, if it is empty."""
        if isinstance(address, str) and Path(address).parent != self.path:
            self.files.remove_folder(Path(address).parent)

    # -- inside ----------------------------------------------------------------------------------

    def listing(self) -> list[str]:
        """The names of the files in the folder."""
        return self.files.listing(self.path)

    def lock_folders(self) -> list[Path]:
        """Where each epoch has a lock: here, and where its witness is."""
        return [self.path, *self._witnesses]

    def inspect_lock(self, epoch: int) -> tuple[bool, bytes] | None:
        """Whether an epoch is held, here or by its witness, and what its lock says.

        Raises `RendezvousError` if one of them cannot be read and the other one is not there.
        """
        best: tuple[bool, bytes] | None = None
        unreadable: RendezvousError | None = None
        for folder in self.lock_folders():
            try:
                found = self.files.inspect(lock_in(folder, epoch))
            except RendezvousError as error:
                unreadable = error
                continue
            if found is not None and (best is None or found[0] > best[0]):
                best = found
            if best is not None and best[0]:
                return best
        if best is None and unreadable is not None:
            raise unreadable
        return best

    def epochs(self) -> set[int]:
        """The numbers of which there is a lock or a witness."""
        names = [name for folder in self.lock_folders() for name in self.files.listing(folder)]
        return {int(match[1]) for match in map(LOCK_NAME.fullmatch, names) if match}

    def highest_epoch(self) -> int | None:
        """The highest of them."""
        return max(self.epochs(), default=None)

    def is_held(self, path: Path) -> bool:
        """Whether a living process holds a file."""
        found = self.files.inspect(path)
        return found is not None and found[0]
