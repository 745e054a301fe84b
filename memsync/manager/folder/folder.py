"""The rendezvous folder: peers find each other there, and locks show which of them live.

::

    <MEMSYNC_DIR or temp dir/memsync-uid>/       0700, ours, no link
      authkey                                    32 random bytes, 0600
      <object>.d/
        rendezvous.json                          names the host (for people and plain managers)
        epoch-7.lock                             held by the host of epoch 7 while it lives,
                                                 with a second copy outside, its *witness*
        peer-<id>.json                           held by a peer while it lives
        7-<id>.sock                              the host's socket
        calls-<id>.sock                          the socket at which a peer can be called

A held file means that its owner lives, a free one that it is dead (see `held_file`). A missing file
proves nothing: somebody may have deleted it, and its owner restores it. Meanwhile the witness keeps
others from taking the epoch; it is in a folder that the cleaners of the temp folder do not reach.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import ProtocolError, RendezvousError
from ...runtime.logs import Logger
from ..timing import TIMING
from ..transport.messages import PROTOCOL
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
from .records import Address, EpochRecord, decode, encode, parse_epoch_record, parse_rendezvous

log = Logger("memsync.folder")


class EpochLock:
    """A held lock file and its witness."""

    def __init__(self, files: list[HeldFile], content: dict[str, Any]) -> None:
        self._held = files
        self._content = content

    def heartbeat(self, when: int) -> None:
        """Give the files one time of change (see `ObjectFolder.last_heartbeat`)."""
        for held in self._held:
            held.heartbeat(when)

    def mark(self, *, is_open: bool) -> None:
        """Record whether the epoch's host may have survivors that hold the object.

        That is so from the moment it opens until it leaves as the last peer.
        """
        self._content["open"] = int(is_open)
        for held in self._held:
            held.rewrite(encode(self._content))

    def repair(self, repaired: Callable[[HeldFile], HeldFile]) -> bool:
        """Restore deleted files; False when another process holds the epoch now."""
        self._held = [repaired(held) for held in self._held]
        return self.is_in_place()

    def is_in_place(self) -> bool:
        return all(held.is_in_place() for held in self._held)

    def restore(self) -> None:
        """Write the content of files that are in place again if somebody has overwritten it."""
        for held in self._held:
            held.restore()

    def close(self) -> None:
        """Free the lock; its files stay, because they show which numbers were used."""
        for held in self._held:
            held.close(remove=False)


class ObjectFolder:
    """The subfolder of one object."""

    def __init__(self, root: Path, name: str, files: Files | None = None) -> None:
        self.files = files or Files()
        self.root = self.files.open_root(root)
        self.name = name
        self.path = self.root / folder_name(name)
        self.rendezvous = self.path / "rendezvous.json"
        self.files.make_folder(self.path)
        self._witnesses = self.files.witness_folder(self.path)
        self.key = AuthKey(self.files, self.root, self.path)

    @classmethod
    def existing(cls, name: str) -> ObjectFolder:
        """The subfolder of an object, which must exist; raises `RendezvousError`."""
        root = root_folder()
        if not (root / folder_name(name)).is_dir():
            raise RendezvousError(
                f"no peer shares an object named {name!r} in {root}: start a peer first, or set "
                "MEMSYNC_DIR to the folder of a running one"
            )
        return cls(root, name)

    # -- locks and peers -------------------------------------------------------------------------

    def publish_lock(
        self, epoch: int, peer: str, pid: int, address: Address, since: float = 0
    ) -> EpochLock | None:
        """Take an epoch; None when another peer has taken it, or a later one.

        `since` is the time of day in seconds since 1970. Raises `RendezvousError`.
        """
        if not LOCK_NAME.fullmatch(lock_in(self.path, epoch).name):
            raise RendezvousError(
                f"there is no epoch after {lock_in(self.path, epoch - 1)}, which memsync has not "
                "made: remove that file"
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
        finally:  # this process must not hold an epoch that it does not host
            if not is_ours:
                for held in taken:
                    held.close(remove=True)
        return EpochLock(taken, content) if is_ours else None

    def _take_lock(self, epoch: int, content: dict[str, Any], taken: list[HeldFile]) -> bool:
        """Make lock and witness; returns whether the epoch is ours and the highest."""
        for folder in self.lock_folders():
            try:
                held = self.files.publish(lock_in(folder, epoch), encode(content), folder)
            except RendezvousError as error:
                if not taken:
                    raise
                log.warning("epoch %s has no second lock outside the folder: %s", epoch, error)
                continue
            if held is None:
                return False
            taken.append(held)
        return self.highest_epoch() == epoch  # a late candidate may take a past number

    def forget_peer(self, peer: str) -> None:
        """Remove the files of a dead peer."""
        self.files.remove(peer_file(self.path, peer))
        calls = calls_address(self, peer)
        if isinstance(calls, str):
            self.files.remove(Path(calls))

    def last_opened(self) -> int:
        """The last epoch that had a host, by the locks that are left; 0 for none."""
        for epoch in sorted(self.epochs(), reverse=True):
            found = self.inspect_lock(epoch)
            content = decode(found[1]) if found is not None else {}
            if content is None or content.get("open"):
                return epoch
        return 0

    def last_heartbeat(self, epoch: int) -> int:
        """A number that changes with each heartbeat of the epoch's host."""
        return max(self.files.last_heartbeat(lock_in(f, epoch)) for f in self.lock_folders())

    def heartbeat_in_place(self, epoch: int) -> int:
        """`last_heartbeat` of the lock that is in its place; 0 without one."""
        return self.files.last_heartbeat(lock_in(self.path, epoch))

    def living_heartbeat(self, epoch: int) -> int | None:
        """`last_heartbeat` while the lock is in its place; None where nobody is known to hold it.

        It reads one file only, and leaves all errors to those who read more.
        """
        return self.files.living_heartbeat(lock_in(self.path, epoch))

    def is_over(self, epoch: int) -> bool:
        """Whether a later epoch has been taken."""
        return (self.highest_epoch() or 0) > epoch

    def repaired(self, held: HeldFile) -> HeldFile:
        """Restore a held file that somebody deleted or replaced, unless another process holds it.

        Raises `RendezvousError` if something other than a regular file has taken its name.
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
            self.files.witness_folder(self.path)  # restores it as well
        self.files.remove(held.path)
        again = self.files.publish(held.path, held.data, folder)
        if again is None:
            return held  # another process was faster: the next check decides
        log.warning("restored %s, which was deleted or replaced", held.path)
        held.close(remove=False)
        return again

    def publish_peer(self, peer: str, content: dict[str, Any]) -> HeldFile:
        """Make the peer's own file, which it holds until it ends."""
        held = self.files.publish(peer_file(self.path, peer), encode(content), self.path)
        if held is None:
            raise RendezvousError(f"the peer file {peer_file(self.path, peer)} exists: remove it")
        return held

    def latest_epoch(self) -> EpochRecord | None:
        """The record of the highest lock file, or None where there is none.

        Raises `ProtocolError` when its living holder has another protocol number.
        """
        for _ in range(TIMING.lock_reads):
            epoch = self.highest_epoch()
            if epoch is None:
                return None
            found = self.inspect_lock(epoch)
            if found is not None:
                return parse_epoch_record(lock_in(self.path, epoch), epoch, *found)
        raise RendezvousError(f"the lock files in {self.path} change too quickly to be read")

    def still_hosts(self, epoch: int, peer: str, *, if_missing: bool = True) -> bool:
        """Whether this is the last epoch, and nothing proves that its holder, a peer, is dead.

        If the epoch's lock is missing the answer is `if_missing`. A peer that is connected to the
        holder passes True. A peer that was frozen passes False, because a later epoch may have
        begun whose lock is missing as well.
        """
        if self.is_over(epoch):
            return False
        found = self.inspect_lock(epoch)
        if found is None:
            return if_missing
        return found[0] and (decode(found[1]) or {}).get("id", peer) == peer

    def is_alive(self, peer: str) -> bool | None:
        """Whether a peer's file is held; None where it is missing, which proves nothing."""
        found = self.files.inspect(peer_file(self.path, peer))
        return None if found is None else found[0]

    def long_step(self, peer: str) -> float:
        """Seconds for which a peer may be silent, by its file: it applies a large write."""
        found = self.files.inspect(peer_file(self.path, peer))
        seconds = (decode(found[1]) or {}).get("longStep") if found is not None else 0
        return min(seconds, TIMING.longest_step) if isinstance(seconds, int | float) else 0.0

    def long_step_of_host(self, epoch: int) -> float:
        """`long_step` of the holder of an epoch's lock."""
        found = self.inspect_lock(epoch)
        holder = (decode(found[1]) or {}).get("id") if found is not None else None
        return self.long_step(holder) if isinstance(holder, str) else 0.0

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

    def write_rendezvous(self, content: dict[str, Any]) -> None:
        self.files.replace(self.rendezvous, encode(content))

    def rendezvous_names(self, peer: str) -> bool:
        """Whether the rendezvous file is valid and names this peer as host."""
        try:
            return bool(self.read_rendezvous()["id"] == peer)
        except (RendezvousError, ProtocolError):
            return False

    def read_rendezvous(self) -> dict[str, Any]:
        """The content of the rendezvous file.

        Raises `RendezvousError` when it is missing or damaged, `ProtocolError` when the host has
        another protocol number.
        """
        found = self.files.inspect(self.rendezvous)
        if found is None:
            raise RendezvousError(
                f"there is no rendezvous file {self.rendezvous}: start a peer, or set MEMSYNC_DIR "
                "to the folder of a running one"
            )
        return parse_rendezvous(self.rendezvous, found[1])

    # -- sockets and cleaning --------------------------------------------------------------------

    def socket_address(self, epoch: int, peer: str) -> Address:
        """A path for a host's socket, or loopback TCP with a free port where paths are too long."""
        return _socket_address(self, f"{epoch}-{peer}.sock")

    def socket_identity(self, address: Address) -> tuple[int, int] | None:
        """Identifies the file of a socket; None where there is none."""
        return self.files.identity(Path(address)) if isinstance(address, str) else None

    def remove_short_folder(self, address: Address) -> None:
        """Remove the short folder of a socket, if it has one and the folder is empty."""
        if isinstance(address, str) and Path(address).parent != self.path:
            self.files.remove_folder(Path(address).parent)

    # -- inside ----------------------------------------------------------------------------------

    def listing(self) -> list[str]:
        return self.files.listing(self.path)

    def lock_folders(self) -> list[Path]:
        """The folders of the locks: this one, and that of the witnesses."""
        return [self.path, *self._witnesses]

    def inspect_lock(self, epoch: int) -> tuple[bool, bytes] | None:
        """Whether the lock or the witness of an epoch is held, and its content.

        Raises `RendezvousError` if one of them cannot be read and the other is missing.
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
        """The epochs that have a lock or a witness."""
        names = [name for folder in self.lock_folders() for name in self.files.listing(folder)]
        return {int(match[1]) for match in map(LOCK_NAME.fullmatch, names) if match}

    def highest_epoch(self) -> int | None:
        return max(self.epochs(), default=None)

    def is_held(self, path: Path) -> bool:
        """Whether a living process holds a file."""
        found = self.files.inspect(path)
        return found is not None and found[0]


def calls_address(folder: ObjectFolder, peer: str) -> Address:
    """The address at which a peer can be called; like `ObjectFolder.socket_address`."""
    return _socket_address(folder, f"calls-{peer}.sock")


def _socket_address(folder: ObjectFolder, name: str) -> Address:
    path = folder.path / name
    if takes_socket(path):
        return str(path)
    try:
        path = folder.files.open_root(short_folder(folder.path)) / name
    except RendezvousError:
        return ("127.0.0.1", 0)
    return str(path) if takes_socket(path) else ("127.0.0.1", 0)
