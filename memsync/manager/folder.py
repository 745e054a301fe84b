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

import hashlib
import json
import logging
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ProtocolError, RendezvousError
from ..replication.messages import PROTOCOL
from .files import Files, HeldFile, is_unfit

log = logging.getLogger("memsync.folder")

KEY_BYTES = 32
SOCKET_PATH_MAX = 100  # bytes; the kernel takes 107 on Linux, 103 on macOS
_NETWORK_WIDTH = 32  # characters; an id has 29
_LOOKS_MAX = 1000  # attempts to read a lock file that is removed between listing and reading
LOCK_NAME = re.compile(r"epoch-([1-9]\d{0,17})\.lock")
PEER_NAME = re.compile(r"peer-([0-9a-f]+)\.json")
SOCKET_NAME = re.compile(r"(\d+)-([0-9a-f]+)\.sock")

Address = str | tuple[str, int]


def root_folder() -> Path:
    """The folder which ``MEMSYNC_DIR`` names, else one per user in the temp folder."""
    stated = os.environ.get("MEMSYNC_DIR")
    if stated:
        return Path(stated).expanduser().absolute()
    return Path(tempfile.gettempdir()).absolute() / f"memsync-{os.getuid()}"


@dataclass(frozen=True)
class Reign:
    """What a lock file says about an epoch, and whether its holder lives."""

    epoch: int
    held: bool
    peer: str
    pid: int
    address: Address
    since: float  # seconds since 1970; 0 where the lock does not say
    is_damaged: bool = False  # who holds it cannot be read; a living holder is about to mend that


class Opened(NamedTuple):
    """An epoch in which there was a host."""

    epoch: int  # 0 is none
    network: str  # of the object that it had; "" where the lock cannot be read


class EpochLock:
    """The lock of an epoch and its witness, as its holder has them."""

    def __init__(self, files: list[HeldFile], content: dict[str, Any]) -> None:
        self._held = files
        self._content = content

    def beat(self) -> None:
        """Give a sign of life."""
        for held in self._held:
            held.beat()

    def mark(self, network: str) -> None:
        """Say of which network there is something that survivors of its holder may hold.

        "" before the holder is host, and again when it leaves as the last one.
        """
        self._content["open"] = int(bool(network))
        self._content["network"] = _padded(network)
        for held in self._held:
            held.rewrite(encode(self._content))

    def mend(self, folder: ObjectFolder) -> bool:
        """Make again what somebody deleted; False when somebody else holds the number now."""
        self._held = [folder.mended(held) for held in self._held]
        return all(held.is_in_place() for held in self._held)

    def close(self) -> None:
        """Free it; what stays tells which numbers were used."""
        for held in self._held:
            held.close(remove=False)


class ObjectFolder:
    """The sub-folder of one object."""

    def __init__(self, root: Path, name: str, files: Files | None = None) -> None:
        self._files = files or Files()
        self.root = self._files.open_root(root)
        self.name = name
        self.path = self.root / folder_name(name)
        self._files.make_folder(self.path)
        self._witnesses = self._files.witness_folder(self.path)

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

    # -- the key ---------------------------------------------------------------------------------

    def authkey(self) -> bytes:
        """The folder's key; made by whoever needs it first, and anew where it is damaged.

        Raises `RendezvousError` when the file is not for this user alone.
        """
        fresh = secrets.token_bytes(KEY_BYTES)
        self._key_in_place(fresh)
        self._files.check_secret(self._key)
        return self.kept_key(fresh)

    def kept_key(self, own: bytes) -> bytes:
        """The folder's key as it is now, for a peer that knows it from before.

        What was deleted or damaged is put back. Where a newcomer was faster with a key of its own,
        that one counts: the key is what the file says, at any time and for all groups.
        """
        try:
            key = self._key_in_place(own)
        except RendezvousError as error:
            if not is_unfit(error):
                raise
            log.warning("the key is put back: %s", error)
            self._files.remove(self._key)
            key = self._key_in_place(own)
        if len(key) != KEY_BYTES:
            log.warning("the key file %s was damaged: it is written anew", self._key)
            self._files.replace(self._key, own)
            return own
        return key

    @property
    def _key(self) -> Path:
        return self.root / "authkey"

    def _key_in_place(self, if_missing: bytes) -> bytes:
        found = self._files.inspect(self._key)
        if found is None:
            held = self._files.publish(self._key, if_missing, self.path)
            if held is not None:
                held.close(remove=False)
            found = self._files.inspect(self._key)
        return found[1] if found is not None else b""

    # -- locks and peers -------------------------------------------------------------------------

    def publish_lock(
        self, epoch: int, peer: str, pid: int, address: Address, since: float = 0
    ) -> EpochLock | None:
        """Take an epoch; None when somebody was faster, or the number is past.

        `since` is the time of day, for people (seconds since 1970).
        """
        content = {
            "protocol": PROTOCOL,
            "name": self.name,
            "epoch": epoch,
            "id": peer,
            "pid": pid,
            "address": address,
            "since": since,
            "open": 0,
            "network": _padded(""),
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
        for folder in self._lock_folders():
            try:
                held = self._files.publish(_lock_in(folder, epoch), encode(content), folder)
            except RendezvousError as error:
                if not taken:
                    raise
                log.warning("epoch=%s has no witness: %s", epoch, error)
                continue
            if held is None:
                return False
            taken.append(held)
        return self._highest_epoch() == epoch  # a late candidate may take a number long past

    def forget_peer(self, peer: str) -> None:
        """Remove the file of a peer that has gone."""
        self._files.remove(_peer_file(self.path, peer))

    def opened(self) -> Opened:
        """The last epoch in which there was a host, of those that the folder still knows."""
        for epoch in sorted(self._epochs(), reverse=True):
            found = self._inspect_lock(epoch)
            content = decode(found[1]) if found is not None else {}
            if content is None or content.get("open"):
                network = (content or {}).get("network")
                return Opened(epoch, network.strip() if isinstance(network, str) else "")
        return Opened(0, "")

    def last_beat(self, epoch: int) -> int:
        """A number that changes with each sign of life of the epoch's host."""
        return max(self._files.last_beat(_lock_in(f, epoch)) for f in self._lock_folders())

    def is_over(self, epoch: int) -> bool:
        """Whether there is, or was, a candidate for a later epoch."""
        return (self._highest_epoch() or 0) > epoch

    def has_lock(self, epoch: int) -> bool:
        """Whether an epoch's lock, or its witness, is there: held or free."""
        return self._inspect_lock(epoch) is not None

    def mended(self, held: HeldFile) -> HeldFile:
        """A held file, made again if somebody deleted or replaced it, and does not hold it."""
        if held.is_in_place():
            held.restore()
            return held
        if self._is_held(held.path):
            return held
        log.warning("%s was deleted or replaced: it is made again", held.path)
        folder = held.path.parent
        self._files.open_root(self.root)
        self._files.make_folder(self.path)
        if folder != self.path:
            self._files.witness_folder(self.path)  # whatever of it is missing
        self._files.remove(held.path)
        again = self._files.publish(held.path, held.data, folder)
        if again is None:
            return held  # somebody is at it this very moment: at the next look
        held.close(remove=False)
        return again

    def publish_peer(self, peer: str, content: dict[str, Any]) -> HeldFile:
        """Make the peer's own file, held until it ends."""
        held = self._files.publish(_peer_file(self.path, peer), encode(content), self.path)
        if held is None:
            raise RendezvousError(f"the peer file {self.path}/peer-{peer}.json exists already")
        return held

    def reign(self) -> Reign | None:
        """The reign of the highest lock file, or None where there never was one.

        Raises `ProtocolError` when a living holder speaks another protocol number.
        """
        for _ in range(_LOOKS_MAX):
            epoch = self._highest_epoch()
            if epoch is None:
                return None
            found = self._inspect_lock(epoch)
            if found is not None:
                return self._parse_reign(_lock_in(self.path, epoch), epoch, *found)
        raise RendezvousError(f"the lock files in {self.path} change too quickly to be read")

    def reigns_still(self, epoch: int, peer: str, *, if_missing: bool = True) -> bool:
        """Whether there is no later epoch, and this one's holder, a peer, is not dead for certain.

        Where its lock was deleted, a peer that is connected to the holder knows better, unless
        somebody else holds the number now. Who was away does not (`if_missing`): there may have
        been a later epoch, and its lock be deleted as well.
        """
        if self.is_over(epoch):
            return False
        found = self._inspect_lock(epoch)
        if found is None:
            return if_missing
        return found[0] and (decode(found[1]) or {}).get("id", peer) == peer

    def is_alive(self, peer: str) -> bool | None:
        """Whether a peer's file is held; None where it is missing, which may mean anything."""
        found = self._inspect_peer(_peer_file(self.path, peer))
        return None if found is None else found[0]

    def living_peers(self) -> dict[str, dict[str, Any]]:
        """The content of every held peer file, by peer id."""
        living = {}
        for name in self._listing():
            match = PEER_NAME.fullmatch(name)
            found = self._inspect_peer(self.path / name) if match else None
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
        self._files.replace(self.rendezvous, encode(content))

    def remove_rendezvous(self) -> None:
        """The host stops: nobody is to be found here until the next one has come."""
        self._files.remove(self.rendezvous)

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
        return read_rendezvous(self.rendezvous, self._files)

    # -- sockets and cleaning --------------------------------------------------------------------

    def socket_address(self, epoch: int, peer: str) -> Address:
        """A path for a host's socket that the kernel can take, else loopback TCP on a free port."""
        name = f"{epoch}-{peer}.sock"
        path = self.path / name
        if len(os.fsencode(path)) <= SOCKET_PATH_MAX:
            return str(path)
        try:
            path = self._files.open_root(short_folder(self.path)) / name
        except RendezvousError:
            return ("127.0.0.1", 0)
        return str(path) if len(os.fsencode(path)) <= SOCKET_PATH_MAX else ("127.0.0.1", 0)

    def socket_identity(self, address: Address) -> tuple[int, int] | None:
        """What tells a host's socket from what may come into its place; None where none is."""
        return self._files.identity(Path(address)) if isinstance(address, str) else None

    def make_way_for_socket(self, address: Address) -> None:
        """Remove what is in a socket's place."""
        if isinstance(address, str):
            self._files.remove(Path(address))

    def remove_short_folder(self, address: Address) -> None:
        """Remove the folder of a socket that did not fit into this one, if it is empty."""
        if isinstance(address, str) and Path(address).parent != self.path:
            self._files.remove_folder(Path(address).parent)

    def clean_if_deserted(self, known: int) -> None:
        """Remove what the dead left behind, if no peer is left whose matter that is.

        `known` is the last epoch in which the caller has seen a host. The lock of a later candidate
        that never was one says from now on what those below it say: that there may be survivors.
        """
        epoch = self._highest_epoch()
        found = self._inspect_lock(epoch) if epoch is not None else None
        if epoch is None or found is None or found[0] or self.living_peers():
            return
        opened = self.opened()
        if epoch > known and opened.epoch not in (0, epoch):
            facts = {"open": 1, "network": _padded(opened.network)}
            content = encode({**(decode(found[1]) or {}), **facts})
            for folder in self._lock_folders():
                self._files.replace(_lock_in(folder, epoch), content)
        self.clean(epoch, is_over=True)
        self.remove_short_folder(self.socket_address(epoch, "0"))

    def clean(self, epoch: int, *, is_over: bool = False) -> None:
        """Remove what the dead left behind; called by the host of `epoch`, unless that is over."""
        folders = {self.path}
        current = self.socket_address(epoch, "0")
        if isinstance(current, str):
            folders.add(Path(current).parent)
        was_held = False
        for lower in sorted(each for each in self._epochs() if each < epoch):
            found = self._inspect_lock(lower)
            is_held = found is not None and found[0]
            # A frozen host that wakes up must find the next epoch taken, or it goes on.
            if not is_held and not was_held:
                for folder in self._lock_folders():
                    self._files.remove(_lock_in(folder, lower))
            was_held = is_held
        for name in self._listing():
            if PEER_NAME.fullmatch(name) and not self._is_held(self.path / name):
                self._files.remove(self.path / name)
        self._files.remove_old_temporaries(self.path)
        for folder in folders:
            for name in self._files.listing(folder):
                match = SOCKET_NAME.fullmatch(name)
                if match and int(match[1]) < epoch + is_over:
                    self._files.remove(folder / name)

    # -- inside ----------------------------------------------------------------------------------

    def _listing(self) -> list[str]:
        return self._files.listing(self.path)

    def _lock_folders(self) -> list[Path]:
        return [self.path, *self._witnesses]

    def _inspect_lock(self, epoch: int) -> tuple[bool, bytes] | None:
        """Whether an epoch is held, here or by its witness, and what its lock says."""
        best: tuple[bool, bytes] | None = None
        unfit: RendezvousError | None = None
        for folder in self._lock_folders():
            try:
                found = self._files.inspect(_lock_in(folder, epoch))
            except RendezvousError as error:
                if not is_unfit(error):
                    raise
                unfit = error  # the other one may say that its holder lives, who mends it
                continue
            if found is not None and (best is None or found[0] > best[0]):
                best = found
            if best is not None and best[0]:
                return best
        if unfit is not None:
            raise unfit
        return best

    def _inspect_peer(self, path: Path) -> tuple[bool, bytes] | None:
        """Like `Files.inspect`; what is unfit says no more than a file that was deleted."""
        try:
            return self._files.inspect(path)
        except RendezvousError as error:
            if not is_unfit(error):
                raise
            log.debug("its peer, if it lives, makes it again: %s", error)
            return None

    def _epochs(self) -> set[int]:
        names = [name for folder in self._lock_folders() for name in self._files.listing(folder)]
        return {int(match[1]) for match in map(LOCK_NAME.fullmatch, names) if match}

    def _highest_epoch(self) -> int | None:
        return max(self._epochs(), default=None)

    def _is_held(self, path: Path) -> bool:
        found = self._inspect_peer(path)
        return found is not None and found[0]

    def _parse_reign(self, path: Path, epoch: int, held: bool, text: bytes) -> Reign:
        if not held:
            return Reign(epoch, False, "", 0, "", 0)
        content = decode(text) or {}
        if isinstance(content.get("protocol"), int):
            check_protocol(content, path)
        try:
            address = to_address(content["address"])
            since = content.get("since", 0)
            return Reign(epoch, True, content["id"], content["pid"], address, since)
        except (KeyError, ValueError):
            return Reign(epoch, True, "", 0, "", 0, is_damaged=True)


def _padded(network: str) -> str:
    """Of one length always, so that a lock is rewritten in place and never read in half."""
    return network.ljust(_NETWORK_WIDTH)


@lru_cache(maxsize=256)  # the host asks before each batch
def _lock_in(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch}.lock"


@lru_cache(maxsize=256)
def _peer_file(folder: Path, peer: str) -> Path:
    return folder / f"peer-{peer}.json"


def short_folder(folder: Path) -> Path:
    """Where the sockets of a folder are whose own path is too long for them."""
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path("/tmp") / f"memsync-{os.getuid()}-{digest}"


def read_rendezvous(path: Path, files: Files) -> dict[str, Any]:
    """The content of a rendezvous file (see `ObjectFolder.read_rendezvous`)."""
    found = files.inspect(path)
    if found is None:
        raise RendezvousError(
            f"there is no rendezvous file {path}: no peer hosts this object now, or it was started "
            "with another MEMSYNC_DIR"
        )
    content = decode(found[1])
    damaged = RendezvousError(
        f"the rendezvous file {path} is damaged: a living host mends it within its "
        "network.poll, the next host replaces it; if nobody hosts the object, delete it"
    )
    if content is None or not {"protocol", "epoch", "id", "pid", "address"} <= content.keys():
        raise damaged
    check_protocol(content, path)
    try:
        return {**content, "address": to_address(content["address"])}
    except ValueError:
        raise damaged from None


def to_address(value: Any) -> Address:
    """An address as JSON has it; raises `ValueError` when it is none."""
    match value:
        case str():
            return value
        case [str(host), int(port)]:
            return (host, port)
    raise ValueError(f"{value!r} is no address")


def check_protocol(content: dict[str, Any], path: Path) -> None:
    """Raise `ProtocolError` when a file was written by a peer of another protocol number."""
    have = content.get("protocol")
    if have != PROTOCOL:
        raise ProtocolError(
            f"the host named in {path} (process {content.get('pid')}) speaks protocol {have!r}, "
            f"this process protocol {PROTOCOL}: use one version of memsync in all processes"
        )


def folder_name(name: str) -> str:
    """A folder name that differs for different objects, also where case does not count."""
    if len(name) <= 100 and name == name.lower():
        return f"{name}.d"
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{name[:80]}~{digest}.d"


def encode(content: dict[str, Any]) -> bytes:
    """The content of a file as people can read it."""
    return (json.dumps(content, indent=1) + "\n").encode()


def decode(data: bytes) -> dict[str, Any] | None:
    """What such a file says; None when it is damaged."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
