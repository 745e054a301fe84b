"""The rendezvous folder: where peers find each other, and the locks that say who lives.

::

    <MEMSYNC_DIR or temp dir/memsync-uid>/       0700, ours, no link
      authkey                                    32 random bytes, 0600
      <object>/
        rendezvous.json                          who is host (for people and plain managers)
        epoch-7.lock                             held by the host of epoch 7 while it lives
        peer-<id>.json                           held by a peer while it lives
        7-<id>.sock                              the host's socket

Held means alive, free means dead; how files are held is told in `files`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ProtocolError, RendezvousError
from ..replication.messages import PROTOCOL
from .files import Files, HeldFile

KEY_BYTES = 32
SOCKET_PATH_MAX = 100  # bytes; the kernel takes 107 on Linux, 103 on macOS
_LOOKS_MAX = 1000  # attempts to read a lock file that is removed between listing and reading
_LOCK_NAME = re.compile(r"epoch-([1-9]\d{0,17})\.lock")
_PEER_NAME = re.compile(r"peer-([0-9a-f]+)\.json")
_SOCKET_NAME = re.compile(r"(\d+)-([0-9a-f]+)\.sock")

Address = str | tuple[str, int]


def root_folder() -> Path:
    """The folder which ``MEMSYNC_DIR`` names, else one per user in the temp folder."""
    stated = os.environ.get("MEMSYNC_DIR")
    if stated:
        return Path(stated).absolute()
    return Path(tempfile.gettempdir()).absolute() / f"memsync-{os.getuid()}"


@dataclass(frozen=True)
class Reign:
    """What a lock file says about an epoch, and whether its holder lives."""

    epoch: int
    held: bool
    peer: str
    pid: int
    address: Address


class ObjectFolder:
    """The sub-folder of one object."""

    def __init__(self, root: Path, name: str, files: Files | None = None) -> None:
        self._files = files or Files()
        self.root = self._files.open_root(root)
        self.name = name
        self.path = self.root / _folder_name(name)
        self._files.make_folder(self.path)

    @classmethod
    def existing(cls, name: str) -> ObjectFolder:
        """The sub-folder of an object that has been shared before; nothing is made.

        Raises `RendezvousError` when there is none.
        """
        root = root_folder()
        if not (root / _folder_name(name)).is_dir():
            raise RendezvousError(
                f"nobody shares an object named {name!r} in {root}: start a peer first, or set "
                "MEMSYNC_DIR to the folder that peer uses"
            )
        return cls(root, name)

    # -- the key ---------------------------------------------------------------------------------

    def authkey(self) -> bytes:
        """The folder's key; made by whoever needs it first.

        Raises `RendezvousError` when the file is damaged.
        """
        path = self.root / "authkey"
        found = self._files.inspect(path)
        if found is None:
            held = self._files.publish(path, secrets.token_bytes(KEY_BYTES), self.path)
            if held is not None:
                held.close(remove=False)
            found = self._files.inspect(path)
        key = found[1] if found is not None else b""
        if len(key) != KEY_BYTES:
            raise RendezvousError(
                f"the key file {path} has {len(key)} bytes instead of {KEY_BYTES}: stop all peers "
                "of this folder, then delete the file"
            )
        return key

    # -- locks and peers -------------------------------------------------------------------------

    def publish_lock(self, epoch: int, peer: str, pid: int, address: Address) -> HeldFile | None:
        """Take an epoch; None when somebody was faster, or the number is past."""
        content = self._lock_content(epoch, peer, pid, address, is_open=False)
        held = self._files.publish(self._lock(epoch), content, self.path)
        if held is None:
            return None
        if self._highest_epoch() != epoch:  # a late candidate may re-create a number long past
            held.close(remove=True)
            return None
        return held

    def open_lock(self, held: HeldFile, epoch: int, peer: str, pid: int, address: Address) -> None:
        """Say in the lock that its holder is host now: before, it held nothing of its own."""
        held.rewrite(self._lock_content(epoch, peer, pid, address, is_open=True))

    def _lock_content(
        self, epoch: int, peer: str, pid: int, address: Address, *, is_open: bool
    ) -> bytes:
        content = {
            "protocol": PROTOCOL,
            "name": self.name,
            "epoch": epoch,
            "id": peer,
            "pid": pid,
            "address": address,
            "open": int(is_open),  # either way of the same length, for it is replaced in place
        }
        return encode(content)

    def opened_epoch(self) -> int:
        """The last epoch in which there was a host, of those that the folder still knows."""
        for epoch in sorted(self._epochs(), reverse=True):
            found = self._files.inspect(self._lock(epoch))
            content = _decode(found[1]) if found is not None else {}
            if content is None or content.get("open"):
                return epoch
        return 0

    def last_beat(self, epoch: int) -> int:
        """A number that changes with each sign of life of the epoch's host."""
        return self._files.last_beat(self._lock(epoch))

    def is_taken(self, epoch: int) -> bool:
        """Whether there is, or was, a candidate for an epoch."""
        return self._files.exists(self._lock(epoch))

    def publish_peer(self, peer: str, content: dict[str, Any]) -> HeldFile:
        """Make the peer's own file, held until it ends."""
        held = self._files.publish(self.path / f"peer-{peer}.json", encode(content), self.path)
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
            path = self._lock(epoch)
            found = self._files.inspect(path)
            if found is not None:
                return self._parse_reign(path, epoch, *found)
        raise RendezvousError(f"the lock files in {self.path} change too quickly to be read")

    def reigns_still(self, epoch: int) -> bool:
        """Whether the epoch is the highest one and its holder lives."""
        if self._highest_epoch() != epoch:
            return False
        return self._is_held(self._lock(epoch))

    def is_alive(self, peer: str) -> bool:
        """Whether a peer's file is held."""
        return self._is_held(self.path / f"peer-{peer}.json")

    def living_peers(self) -> dict[str, dict[str, Any]]:
        """The content of every held peer file, by peer id."""
        living = {}
        for name in self._listing():
            match = _PEER_NAME.fullmatch(name)
            found = self._files.inspect(self.path / name) if match else None
            if match and found is not None and found[0]:
                living[match[1]] = _decode(found[1]) or {}
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
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        short = Path("/tmp") / f"memsync-{os.getuid()}-{digest}"
        try:
            path = self._files.open_root(short) / name
        except RendezvousError:
            return ("127.0.0.1", 0)
        return str(path) if len(os.fsencode(path)) <= SOCKET_PATH_MAX else ("127.0.0.1", 0)

    def remove_short_folder(self, address: Address) -> None:
        """Remove the folder of a socket that did not fit into this one, if it is empty."""
        if isinstance(address, str) and Path(address).parent != self.path:
            with contextlib.suppress(OSError):  # a successor's socket is in it already
                Path(address).parent.rmdir()

    def clean(self, epoch: int) -> None:
        """Remove what the dead left behind; called by the host of `epoch`."""
        folders = {self.path}
        current = self.socket_address(epoch, "0")
        if isinstance(current, str):
            folders.add(Path(current).parent)
        was_held = False
        for lower in sorted(each for each in self._epochs() if each < epoch):
            is_held = self._is_held(self._lock(lower))
            # A frozen host that wakes up must find the next epoch taken, or it goes on.
            if not is_held and not was_held:
                self._files.remove(self._lock(lower))
            was_held = is_held
        for name in self._listing():
            if _PEER_NAME.fullmatch(name) and not self._is_held(self.path / name):
                self._files.remove(self.path / name)
        self._files.remove_old_temporaries(self.path)
        for folder in folders:
            for name in self._files.listing(folder):
                match = _SOCKET_NAME.fullmatch(name)
                if match and int(match[1]) < epoch:
                    self._files.remove(folder / name)

    # -- inside ----------------------------------------------------------------------------------

    def _listing(self) -> list[str]:
        return self._files.listing(self.path)

    def _lock(self, epoch: int) -> Path:
        return self.path / f"epoch-{epoch}.lock"

    def _epochs(self) -> list[int]:
        matches = map(_LOCK_NAME.fullmatch, self._listing())
        return [int(match[1]) for match in matches if match]

    def _highest_epoch(self) -> int | None:
        return max(self._epochs(), default=None)

    def _is_held(self, path: Path) -> bool:
        found = self._files.inspect(path)
        return found is not None and found[0]

    def _parse_reign(self, path: Path, epoch: int, held: bool, text: bytes) -> Reign:
        if not held:
            return Reign(epoch, False, "", 0, "")
        content = _decode(text) or {}
        check_protocol(content, path)
        try:
            return Reign(epoch, True, content["id"], content["pid"], to_address(content["address"]))
        except (KeyError, ValueError) as error:
            raise RendezvousError(
                f"the lock file {path} is held by a living process, but its content is damaged: "
                "end that process"
            ) from error


def read_rendezvous(path: Path, files: Files) -> dict[str, Any]:
    """The content of a rendezvous file (see `ObjectFolder.read_rendezvous`)."""
    found = files.inspect(path)
    if found is None:
        raise RendezvousError(
            f"there is no rendezvous file {path}: no peer hosts this object now, or it was started "
            "with another MEMSYNC_DIR"
        )
    content = _decode(found[1])
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


def _folder_name(name: str) -> str:
    """A folder name that differs for different objects, also where case does not count."""
    if len(name) <= 100 and name == name.lower():
        return f"{name}.d"
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{name[:80]}~{digest}.d"


def encode(content: dict[str, Any]) -> bytes:
    """The content of a file as people can read it."""
    return (json.dumps(content, indent=1) + "\n").encode()


def _decode(data: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
