"""The rendezvous folder: where peers find each other, and the locks that say who lives.

::

    <MEMSYNC_DIR or temp dir/memsync-uid>/       0700, ours, no link
      authkey                                    32 random bytes, 0600
      <object>/
        rendezvous.json                          who is host (for people and plain managers)
        epoch-7.lock                             held by the host of epoch 7 while it lives
        peer-<id>.json                           held by a peer while it lives
        7-<id>.sock                              the host's socket

A lock file is made under a temporary name, locked with ``flock`` and filled, then linked to its
real name: it appears complete and held, or not at all. Held means alive, free means dead; the
kernel frees a lock when its process ends, whatever ended it. Nobody locks an existing file to
*take* it: whoever tests one takes a shared lock for a moment, so testers do not disturb each other.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import secrets
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ProtocolError, RendezvousError
from ..replication.messages import PROTOCOL
from . import forks

log = logging.getLogger("memsync.folder")

KEY_BYTES = 32
SOCKET_PATH_MAX = 100  # bytes; the kernel takes 107 on Linux, 103 on macOS
_LOOKS_MAX = 1000  # attempts to read a lock file that is removed between listing and reading
_TEMPORARY_AGE = 60.0  # seconds
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


def open_root(root: Path) -> Path:
    """Make the folder where it is missing and make sure that it is private.

    Raises `RendezvousError` naming the folder, what is wrong with it and the way out.
    """
    way_out = "set MEMSYNC_DIR to a folder of your own"
    try:
        with contextlib.suppress(FileExistsError):
            root.mkdir(mode=0o700, parents=True)
        info = root.lstat()
    except OSError as error:
        raise RendezvousError(
            f"the rendezvous folder {root} cannot be made or read ({error.strerror}): {way_out}"
        ) from error
    if stat.S_ISLNK(info.st_mode) or not stat.S_ISDIR(info.st_mode):
        raise RendezvousError(f"the rendezvous folder {root} is a link or no folder: {way_out}")
    if info.st_uid != os.getuid():
        raise RendezvousError(
            f"the rendezvous folder {root} belongs to user {info.st_uid}, not to user "
            f"{os.getuid()}: {way_out}"
        )
    if info.st_mode & 0o077:
        raise RendezvousError(
            f"the rendezvous folder {root} is open to other users "
            f"(mode {stat.S_IMODE(info.st_mode):04o}): run 'chmod 700 {root}', or {way_out}"
        )
    if not os.access(root, os.W_OK | os.X_OK):
        raise RendezvousError(f"the rendezvous folder {root} cannot be written to: {way_out}")
    return root


@dataclass(frozen=True)
class Reign:
    """What a lock file says about an epoch, and whether its holder lives."""

    epoch: int
    held: bool
    peer: str
    pid: int
    address: Address


class HeldFile:
    """A file that was published locked; the lock lasts until `close` or the process's end."""

    def __init__(self, fd: int, path: Path) -> None:
        self.fd = fd
        self.path = path

    def rewrite(self, content: dict[str, Any]) -> None:
        """Replace the content in place, so that the lock stays."""
        data = _encode(content)
        os.pwrite(self.fd, data, 0)
        os.ftruncate(self.fd, len(data))

    def close(self, *, remove: bool) -> None:
        """Free the lock; with `remove` the name goes first, so it is never seen free."""
        if remove:
            _remove(self.path)
        forks.release(self)
        os.close(self.fd)


class ObjectFolder:
    """The sub-folder of one object."""

    def __init__(self, root: Path, name: str) -> None:
        self.root = open_root(root)
        self.name = name
        self.path = self.root / _folder_name(name)
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise RendezvousError(
                f"the folder {self.path} cannot be made ({error.strerror}): "
                "set MEMSYNC_DIR to a folder of your own"
            ) from error

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
        found = _inspect(path)
        if found is None:
            held = self._publish(path, secrets.token_bytes(KEY_BYTES))
            if held is not None:
                held.close(remove=False)
            found = _inspect(path)
        key = found[1] if found is not None else b""
        if len(key) != KEY_BYTES:
            raise RendezvousError(
                f"the key file {path} has {len(key)} bytes instead of {KEY_BYTES}: stop all peers "
                "of this folder, then delete the file"
            )
        return key

    # -- locks and peers -------------------------------------------------------------------------

    def publish_lock(self, epoch: int, peer: str, address: Address) -> HeldFile | None:
        """Take an epoch; None when somebody was faster, or the number is past."""
        content = {
            "protocol": PROTOCOL,
            "name": self.name,
            "epoch": epoch,
            "id": peer,
            "pid": os.getpid(),
            "address": address,
        }
        held = self._publish(self.path / f"epoch-{epoch}.lock", _encode(content))
        if held is None:
            return None
        if self._highest_epoch() != epoch:  # a late candidate may re-create a number long past
            held.close(remove=True)
            return None
        return held

    def publish_peer(self, peer: str, content: dict[str, Any]) -> HeldFile:
        """Make the peer's own file, held until it ends."""
        held = self._publish(self.path / f"peer-{peer}.json", _encode(content))
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
            path = self.path / f"epoch-{epoch}.lock"
            found = _inspect(path)
            if found is not None:
                return self._parse_reign(path, epoch, *found)
        raise RendezvousError(f"the lock files in {self.path} change too quickly to be read")

    def reigns_still(self, epoch: int) -> bool:
        """Whether the epoch is the highest one and its holder lives."""
        if self._highest_epoch() != epoch:
            return False
        found = _inspect(self.path / f"epoch-{epoch}.lock")
        return found is not None and found[0]

    def is_alive(self, peer: str) -> bool:
        """Whether a peer's file is held."""
        found = _inspect(self.path / f"peer-{peer}.json")
        return found is not None and found[0]

    def living_peers(self) -> dict[str, dict[str, Any]]:
        """The content of every held peer file, by peer id."""
        living = {}
        for name in self._listing():
            match = _PEER_NAME.fullmatch(name)
            found = _inspect(self.path / name) if match else None
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
        temporary = self.path / f"tmp-{secrets.token_hex(8)}"
        try:
            temporary.write_bytes(_encode(content))
            temporary.replace(self.rendezvous)
        except OSError as error:
            _remove(temporary)
            raise RendezvousError(
                f"the rendezvous file {self.rendezvous} cannot be written ({error.strerror}): "
                "remove what is there, or set MEMSYNC_DIR to a folder of your own"
            ) from error

    def remove_rendezvous(self) -> None:
        """The host stops: nobody is to be found here until the next one has come."""
        _remove(self.rendezvous)

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
        return read_rendezvous(self.rendezvous)

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
            path = open_root(short) / name
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
        for name in self._listing():
            lock = _LOCK_NAME.fullmatch(name)
            if (lock and int(lock[1]) < epoch) or _PEER_NAME.fullmatch(name):
                self._remove_if_free(name)
            elif name.startswith("tmp-"):
                self._remove_if_old(name)
        for folder in folders:
            for path in folder.iterdir():
                match = _SOCKET_NAME.fullmatch(path.name)
                if match and int(match[1]) < epoch:
                    _remove(path)

    # -- inside ----------------------------------------------------------------------------------

    def _publish(self, path: Path, data: bytes) -> HeldFile | None:
        temporary = self.path / f"tmp-{secrets.token_hex(8)}"
        try:
            with forks.opening:
                fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                held = HeldFile(fd, path)
                forks.register(held, lambda: os.close(fd))
        except OSError as error:
            raise RendezvousError(
                f"the rendezvous folder {self.path} cannot be written to ({error.strerror}): "
                "free it, or set MEMSYNC_DIR to a folder of your own"
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(fd, data)
            os.link(temporary, path)
        except FileExistsError:
            held.close(remove=False)
            return None
        except OSError as error:
            held.close(remove=False)
            raise RendezvousError(f"{path} cannot be made: {error.strerror}") from error
        finally:
            temporary.unlink(missing_ok=True)
        return held

    def _listing(self) -> list[str]:
        try:
            return os.listdir(self.path)
        except FileNotFoundError:
            return []

    def _highest_epoch(self) -> int | None:
        matches = map(_LOCK_NAME.fullmatch, self._listing())
        return max((int(match[1]) for match in matches if match), default=None)

    def _remove_if_free(self, name: str) -> None:
        found = _inspect(self.path / name)
        if found is not None and not found[0]:
            _remove(self.path / name)

    def _remove_if_old(self, name: str) -> None:
        """A temporary file lives for an instant, unless its maker was killed in it."""
        path = self.path / name
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _TEMPORARY_AGE:
                path.unlink()

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


def read_rendezvous(path: Path) -> dict[str, Any]:
    """The content of a rendezvous file (see `ObjectFolder.read_rendezvous`)."""
    found = _inspect(path)
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


def _encode(content: bytes | dict[str, Any]) -> bytes:
    if isinstance(content, bytes):
        return content
    return (json.dumps(content, indent=1) + "\n").encode()


def _decode(data: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _inspect(path: Path) -> tuple[bool, bytes] | None:
    """Whether a file is held, and its content; None when it does not exist."""
    try:
        with forks.opening:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise RendezvousError(
                f"{path} cannot be read ({error.strerror}): make it readable for user "
                f"{os.getuid()}, or set MEMSYNC_DIR to another folder"
            ) from error
        raise RendezvousError(
            f"{path} is a link: remove it, or set MEMSYNC_DIR to another folder"
        ) from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise RendezvousError(
                f"{path} is no regular file: remove it, or set MEMSYNC_DIR to another folder"
            )
        return _is_held(fd), os.read(fd, 65536)
    finally:
        os.close(fd)


def _remove(path: Path) -> None:
    """Remove a file; a lock that must be freed does not depend on it."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s could not be removed: %s", path, error.strerror)


def _is_held(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
