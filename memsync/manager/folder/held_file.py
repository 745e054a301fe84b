"""Files that are held: what the rendezvous folder is made of.

A file is made under a temporary name, locked with ``flock`` and filled, then linked to its real
name: it appears complete and held, or not at all. Held means that its maker lives, free means that
it is dead; the kernel frees a lock when its process ends, whatever ended it. Nobody locks an
existing file to *take* it: whoever tests one takes a shared lock for a moment, so testers do not
disturb each other.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import secrets
import stat
import time
from pathlib import Path

from ...errors import RendezvousError
from ...runtime import forks
from ..platform.descriptors import hint, patiently
from ..timing import TIMING
from .mounts import network_file_system
from .paths import TEMPORARY

log = logging.getLogger("memsync.folder")

WITNESS_ROOTS = ("/dev/shm", "/var/tmp")
_MISSING = FileNotFoundError, NotADirectoryError  # the folder is none: nothing is in it either
_WAY_OUT = "set MEMSYNC_DIR to a folder of your own"


def open_root(root: Path) -> Path:
    """Make the rendezvous folder where it is missing, and make sure that it is private and local.

    Raises `RendezvousError` naming the folder, what is wrong with it and the way out.
    """
    check_local(root)
    return _open_private(root, f"the rendezvous folder {root}", parents=True)


def check_root(root: Path) -> None:
    """Raise what `open_root` would raise for a folder that exists; nothing is made."""
    check_local(root)
    _check_private(root, f"the rendezvous folder {root}")


def check_folder(path: Path) -> None:
    """Raise `RendezvousError` for a folder that is not private, like `Files.make_folder`."""
    _check_private(path, f"the folder {path}")


def check_local(root: Path) -> None:
    """Raise `RendezvousError` for a folder that is, or would be, on a network file system."""
    kind = network_file_system(root)
    if kind is not None:
        raise RendezvousError(
            f"the rendezvous folder {root} is on a network file system ({kind}), where a lock does "
            "not tell for certain who lives: set MEMSYNC_DIR to a folder on a local disk"
        )


def _open_private(path: Path, what: str, *, parents: bool = False) -> Path:
    """Make a folder where it is missing, and make sure that it is ours and nobody else's."""
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700, parents=parents)
    except OSError as error:
        raise RendezvousError(f"{what} cannot be made ({error.strerror}): {_WAY_OUT}") from error
    _check_private(path, what)
    return path


def _check_private(path: Path, what: str) -> None:
    try:
        info = path.lstat()
    except OSError as error:
        raise RendezvousError(f"{what} cannot be read ({error.strerror}): {_WAY_OUT}") from error
    if not stat.S_ISDIR(info.st_mode):
        raise RendezvousError(f"{what} is a link or no folder: {_WAY_OUT}")
    if info.st_uid != os.getuid():
        raise RendezvousError(
            f"{what} belongs to user {info.st_uid}, not to user {os.getuid()}: {_WAY_OUT}"
        )
    if info.st_mode & 0o077:
        raise RendezvousError(
            f"{what} is open to other users (mode {stat.S_IMODE(info.st_mode):04o}): "
            f"run 'chmod 700 {path}', or {_WAY_OUT}"
        )
    if not os.access(path, os.W_OK | os.X_OK):
        raise RendezvousError(f"{what} cannot be written to: {_WAY_OUT}")


class HeldFile:
    """A file that was published locked; the lock lasts until `close` or the process's end."""

    def __init__(self, fd: int, path: Path, data: bytes) -> None:
        self.fd = fd
        self.path = path
        self.data = data

    def is_in_place(self) -> bool:
        """Whether nobody has deleted or replaced it."""
        try:
            found = self.path.lstat()
        except OSError:
            return False
        return os.path.samestat(found, os.fstat(self.fd))

    def rewrite(self, data: bytes) -> None:
        """Replace the content in place, so that the lock stays."""
        self.data = data
        os.pwrite(self.fd, data, 0)
        os.ftruncate(self.fd, len(data))

    def restore(self) -> None:
        """Write the content again if somebody has changed it in place."""
        if os.pread(self.fd, len(self.data) + 1, 0) != self.data:
            log.warning("%s was overwritten: its content is restored", self.path)
            self.rewrite(self.data)

    def heartbeat(self) -> None:
        """Give a sign of life, which `Files.last_heartbeat` shows to others."""
        os.utime(self.fd)

    def close(self, *, remove: bool) -> None:
        """Free the lock; with `remove` the name goes first, so it is never seen free."""
        if remove:
            _remove(self.path)
        forks.release(self)
        os.close(self.fd)


class Files:
    """The files in folders of this platform."""

    patience = (
        TIMING.descriptors
    )  # seconds for which a call waits for a descriptor; less than the group's lease

    def open_root(self, root: Path) -> Path:
        """See `open_root`."""
        return open_root(root)

    def witness_folder(self, folder: Path) -> list[Path]:
        """A folder beside the temp folder for what must outlive its cleaning, if there is one."""
        for root in WITNESS_ROOTS:
            if not os.access(root, os.W_OK | os.X_OK):
                continue
            try:
                digest = _place(folder)
                own = open_root(witness_root(root)) / digest
                self.make_folder(own)
            except (RendezvousError, OSError) as error:
                log.debug("no witness in %s: %s", root, error)
                continue
            return [own]
        return []

    def existing_witnesses(self, folder: Path) -> list[Path]:
        """Where the witnesses of a folder's locks are; nothing is made."""
        with contextlib.suppress(OSError):
            digest = _place(folder)
            places = [witness_root(root) / digest for root in WITNESS_ROOTS]
            return [place for place in places if place.is_dir()][:1]
        return []

    def make_folder(self, path: Path) -> None:
        """Make a folder if it is missing; raises `RendezvousError`, also if it is not private."""
        _open_private(path, f"the folder {path}")

    def listing(self, folder: Path) -> list[str]:
        """The names in a folder; none when it is missing. Raises `RendezvousError`."""
        try:
            return patiently(self.patience, os.listdir, folder)
        except _MISSING:
            return []
        except OSError as error:
            raise RendezvousError(
                f"the folder {folder} cannot be listed ({error.strerror}): {hint(error, _WAY_OUT)}"
            ) from error

    def inspect(self, path: Path) -> tuple[bool, bytes] | None:
        """Whether a file is held, and its content; None when it does not exist.

        Raises `RendezvousError` when it cannot be read, is a link or no regular file.
        """
        try:
            fd = patiently(self.patience, _open_to_read, path)
        except _MISSING:
            return None
        except OSError as error:
            if error.errno != errno.ELOOP:
                advice = f"make it readable for user {os.getuid()}, or set MEMSYNC_DIR to another"
                raise RendezvousError(
                    f"{path} cannot be read ({error.strerror}): {hint(error, advice)}"
                ) from error
            raise RendezvousError(
                f"{path} is a link: remove it, or set MEMSYNC_DIR to another folder"
            ) from error
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise RendezvousError(
                    f"{path} is no regular file: remove it, or set MEMSYNC_DIR to another folder"
                )
            return _is_held(fd), os.read(fd, TIMING.file_bytes)
        finally:
            os.close(fd)

    def publish(self, path: Path, data: bytes, folder: Path) -> HeldFile | None:
        """Make a file that appears complete and held; None when the name is taken.

        Until then it has a temporary name in `folder`, which is on the same file system. Raises
        `RendezvousError` when the folder cannot be written to.
        """
        temporary = _temporary_in(folder)
        try:
            held = patiently(self.patience, _make, temporary, path, data)
        except OSError as error:
            raise RendezvousError(
                f"the rendezvous folder {folder} cannot be written to ({error.strerror}): "
                f"{hint(error, f'free it, or {_WAY_OUT}')}"
            ) from error
        try:
            fcntl.flock(held.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(held.fd, data)
            os.link(temporary, path)
        except FileExistsError:
            held.close(remove=False)
            return None
        except OSError as error:
            held.close(remove=False)
            raise RendezvousError(
                f"{path} cannot be made ({error.strerror}): "
                f"{hint(error, f'free the folder, or {_WAY_OUT}')}"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
        return held

    def check_secret(self, path: Path) -> None:
        """Raise `RendezvousError` for a file that others may read, or that is somebody else's."""
        with contextlib.suppress(FileNotFoundError):  # deleted this very moment
            info = path.lstat()
            if info.st_uid != os.getuid():
                raise RendezvousError(
                    f"{path} belongs to user {info.st_uid}, not to user {os.getuid()}: delete it "
                    f"when no peer of this folder runs, or {_WAY_OUT}"
                )
            if info.st_mode & 0o077:
                raise RendezvousError(
                    f"{path} may be read by others (mode {stat.S_IMODE(info.st_mode):o}): run "
                    f"chmod 600, or delete it when no peer of this folder runs"
                )

    def identity(self, path: Path) -> tuple[int, int] | None:
        """What tells a file from all others that may come into its place; None where none is."""
        try:
            found = path.lstat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def last_heartbeat(self, path: Path) -> int:
        """A number that changes with each sign of life; 0 where none can be seen."""
        try:
            return path.lstat().st_mtime_ns
        except OSError as error:
            log.debug("no sign of life can be seen in %s: %s", path, error)
            return 0

    def replace(self, path: Path, data: bytes) -> None:
        """Make or replace a file that nobody holds, in one step; raises `RendezvousError`."""
        temporary = _temporary_in(path.parent)
        try:
            patiently(self.patience, temporary.touch, mode=0o600)
            patiently(self.patience, temporary.write_bytes, data)
            temporary.replace(path)
        except OSError as error:
            _remove(temporary)
            raise RendezvousError(
                f"the rendezvous file {path} cannot be written ({error.strerror}): "
                f"{hint(error, f'remove what is there, or {_WAY_OUT}')}"
            ) from error

    def remove(self, path: Path) -> None:
        """Remove a file, where that can be done; nothing that must be depends on it."""
        _remove(path)

    def remove_folder(self, path: Path) -> None:
        """Remove a folder, if it is empty."""
        with contextlib.suppress(OSError):
            path.rmdir()

    def remove_old_temporaries(self, folder: Path) -> None:
        """A temporary file lives for an instant, unless its maker was killed in it."""
        for name in self.listing(folder):
            if not name.startswith(TEMPORARY):
                continue
            path = folder / name
            made_at = self.last_heartbeat(path) / 1e9
            if made_at and time.time() - made_at > TIMING.temporary_age:
                self.remove(path)


def _place(folder: Path) -> str:
    """What tells a folder in a root apart from all others, also when it was made anew.

    The path alone does not: another process may have something else mounted there.
    """
    root = folder.resolve().parent
    inside, beside = root.stat(), root.parent.stat()
    facts = f"{inside.st_dev} {beside.st_dev} {beside.st_ino} ".encode()
    return hashlib.sha256(facts + os.fsencode(root / folder.name)).hexdigest()[:24]


def witness_root(root: str) -> Path:
    """This user's folder of witnesses in one of `WITNESS_ROOTS`."""
    return Path(root) / f"memsync-{os.getuid()}"


def _open_to_read(path: Path) -> int:
    with forks.opening:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)


def _make(temporary: Path, path: Path, data: bytes) -> HeldFile:
    with forks.opening:
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        held = HeldFile(fd, path, data)
        forks.register(held, lambda: os.close(fd))
        return held


def _temporary_in(folder: Path) -> Path:
    return folder / f"{TEMPORARY}{secrets.token_hex(8)}"


def _remove(path: Path) -> None:
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
