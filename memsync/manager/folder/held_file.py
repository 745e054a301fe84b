"""Held files, of which the rendezvous folder consists, and checks of the folder itself.

A file is made under a temporary name, locked with ``flock`` and filled, then linked to its real
name, so it appears complete and held, or not at all. A held file means that its maker lives, a free
one that it is dead: the kernel frees a lock when its process ends, for whatever reason. No process
locks an existing file to *take* it. A test takes a shared lock for a moment, so concurrent tests do
not disturb each other.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import stat
from pathlib import Path

from ...clocks import wall
from ...errors import RendezvousError
from ...runtime import forks
from ...runtime.logs import Logger
from ..platform.descriptors import hint, patiently
from ..timing import TIMING
from .mounts import network_file_system
from .own_folder import advice_on_own, check_own, is_made_by_memsync
from .paths import TEMPORARY

log = Logger("memsync.folder")

WITNESS_ROOTS = ("/dev/shm", "/var/tmp")
_MISSING = FileNotFoundError, NotADirectoryError  # or a file stands where the folder was
Stamp = tuple[int, int, int]  # device, inode, time of the last change (nanoseconds)
_ADVICE = "set MEMSYNC_DIR to a folder of your own"


def check_root(root: Path) -> None:
    """Raise `RendezvousError` for a rendezvous folder that is not own, private and local."""
    check_own(root)
    check_local(root)
    _check_private(root, f"the rendezvous folder {root}", is_root=True)


def check_folder(path: Path) -> None:
    """Raise `RendezvousError` for a folder that is not private."""
    _check_private(path, f"the folder {path}")


def check_local(root: Path) -> None:
    """Raise `RendezvousError` for a folder that is, or would be, on a network file system."""
    kind = network_file_system(root)
    if kind is not None:
        raise RendezvousError(
            f"the rendezvous folder {root} is on a network file system ({kind}), where a lock does "
            "not prove that its holder lives: set MEMSYNC_DIR to a folder on a local disk"
        )


def _open_private(path: Path, what: str, *, is_root: bool = False) -> Path:
    """Make a folder where it is missing, and check that only this user has access to it."""
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700, parents=is_root)
    except OSError as error:
        raise RendezvousError(f"{what} cannot be made ({error.strerror}): {_ADVICE}") from error
    _check_private(path, what, is_root=is_root)
    return path


def _check_private(path: Path, what: str, *, is_root: bool = False) -> None:
    try:
        info = path.lstat()
    except OSError as error:
        raise RendezvousError(f"{what} cannot be read ({error.strerror}): {_ADVICE}") from error
    advice = _ADVICE
    if not stat.S_ISDIR(info.st_mode):
        problem = "is a link or not a folder"
    elif info.st_uid != os.getuid():
        problem = f"belongs to user {info.st_uid}, not to user {os.getuid()}"
    elif info.st_mode & 0o077:
        problem = f"is open to other users (mode {stat.S_IMODE(info.st_mode):04o})"
        if is_root and not is_made_by_memsync(path):
            advice = advice_on_own(path)
        else:
            advice = f"run 'chmod 700 {path}', or {_ADVICE}"
    elif not os.access(path, os.W_OK | os.X_OK):
        problem = "cannot be written to"
    else:
        return
    raise RendezvousError(f"{what} {problem}: {advice}")


class HeldFile:
    """A file that this process holds until `close`, or until the process ends."""

    def __init__(self, fd: int, path: Path, data: bytes) -> None:
        self.fd = fd
        self.path = path
        self.data = data

    def is_in_place(self) -> bool:
        """Whether the path still leads to this file."""
        try:
            found = self.path.lstat()
        except OSError:
            return False
        return os.path.samestat(found, os.fstat(self.fd))

    def rewrite(self, data: bytes) -> None:
        """Replace the content and keep the lock."""
        self.data = data
        os.pwrite(self.fd, data, 0)
        os.ftruncate(self.fd, len(data))

    def restore(self) -> None:
        """Write the content again if somebody has overwritten it."""
        if os.pread(self.fd, len(self.data) + 1, 0) != self.data:
            log.warning("restored the content of %s, which was overwritten", self.path)
            self.rewrite(self.data)

    def heartbeat(self, when: int) -> None:
        """Set the time of change (ns), which other processes read with `Files.last_heartbeat`."""
        try:
            os.utime(self.fd, ns=(when, when))
        except PermissionError:  # the process has changed its user; an open file can be written
            os.pwrite(self.fd, self.data[:1], 0)

    def close(self, *, remove: bool) -> None:
        """Free the lock; with `remove` the name goes first, so no process sees the file free."""
        if remove:
            _remove(self.path)
        forks.release(self)
        os.close(self.fd)


class Files:
    """The file system of the platform. Most calls raise `RendezvousError`."""

    # Seconds for which a call waits for a descriptor; a driver sets less than its group's lease.
    patience = TIMING.descriptors

    def open_root(self, root: Path) -> Path:
        """Make a rendezvous folder where it is missing, and check it as `check_root` does."""
        check_own(root)
        check_local(root)
        return _open_private(root, f"the rendezvous folder {root}", is_root=True)

    def witness_folder(self, folder: Path) -> list[Path]:
        """A folder outside the temp folder for the witnesses of a folder, if one can be made."""
        for root in WITNESS_ROOTS:
            if not os.access(root, os.W_OK | os.X_OK):
                continue
            try:
                own = self.open_root(witness_root(root)) / _witness_name(folder)
                self.make_folder(own)
            except (RendezvousError, OSError) as error:
                log.debug("no witnesses in %s: %s", root, error)
                continue
            return [own]
        return []

    def existing_witnesses(self, folder: Path) -> list[Path]:
        """The folder with the witnesses of a folder, if it exists; nothing is made."""
        with contextlib.suppress(OSError):
            name = _witness_name(folder)
            found = [witness_root(root) / name for root in WITNESS_ROOTS]
            return [path for path in found if path.is_dir()][:1]
        return []

    def make_folder(self, path: Path) -> None:
        _open_private(path, f"the folder {path}")

    def listing(self, folder: Path) -> list[str]:
        """The names in a folder; none when it is missing."""
        try:
            return patiently(self.patience, os.listdir, folder)
        except _MISSING:
            return []
        except OSError as error:
            raise _failure(f"the folder {folder} cannot be listed", error, _ADVICE) from error

    def inspect(self, path: Path) -> tuple[bool, bytes] | None:
        """Whether a file is held, and its content; None when it does not exist."""
        try:
            fd = patiently(self.patience, _open_to_read, path)
        except _MISSING:
            return None
        except OSError as error:
            if error.errno != errno.ELOOP:
                advice = f"make it readable for user {os.getuid()}, or {_ADVICE}"
                raise _failure(f"{path} cannot be read", error, advice) from error
            raise RendezvousError(f"{path} is a link: remove it, or {_ADVICE}") from error
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise RendezvousError(f"{path} is not a regular file: remove it, or {_ADVICE}")
            return _is_held(fd), os.read(fd, TIMING.file_bytes)
        finally:
            os.close(fd)

    def publish(self, path: Path, data: bytes, folder: Path) -> HeldFile | None:
        """Make a file that appears complete and held; None when the name is taken.

        Until then it has a temporary name in `folder`, which is on the same file system.
        """
        temporary = _temporary_in(folder)
        try:
            held = patiently(self.patience, _make, temporary, path, data)
        except OSError as error:
            what = f"the rendezvous folder {folder} cannot be written to"
            raise _failure(what, error, f"free some space, or {_ADVICE}") from error
        try:
            fcntl.flock(held.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(held.fd, data)
            os.link(temporary, path)
        except FileExistsError:
            held.close(remove=False)
            return None
        except OSError as error:
            held.close(remove=False)
            advice = f"free some space, or {_ADVICE}"
            raise _failure(f"{path} cannot be made", error, advice) from error
        finally:
            temporary.unlink(missing_ok=True)
        return held

    def check_secret(self, path: Path) -> None:
        """Raise `RendezvousError` for a file that other users can read or own."""
        with contextlib.suppress(FileNotFoundError):  # somebody has just deleted it
            info = path.lstat()
            if info.st_uid != os.getuid():
                raise RendezvousError(
                    f"{path} belongs to user {info.st_uid}, not to user {os.getuid()}: delete it "
                    f"when no peer of this folder runs, or {_ADVICE}"
                )
            if info.st_mode & 0o077:
                raise RendezvousError(
                    f"{path} may be read by others (mode {stat.S_IMODE(info.st_mode):o}): run "
                    f"'chmod 600 {path}', or delete it when no peer of this folder runs"
                )

    def identity(self, path: Path) -> tuple[int, int] | None:
        """Identifies a file, whatever its path; None where there is none."""
        try:
            found = path.lstat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def stamp(self, path: str) -> Stamp | None:
        """What another file, new content, or another name in a folder changes; None without one.

        It is the time of the last change of the inode, which no process can set.
        """
        try:
            found = os.lstat(path)
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_ctime_ns

    def last_heartbeat(self, path: Path) -> int:
        """A number that changes with each heartbeat; 0 where the file cannot be read."""
        try:
            return os.lstat(path).st_mtime_ns
        except OSError as error:
            log.debug("no heartbeat can be read from %s: %s", path, error)
            return 0

    def living_heartbeat(self, path: Path) -> int | None:
        """`last_heartbeat` of a held file; None for any other."""
        try:
            fd = _open_to_read(path)
        except OSError:
            return None
        try:
            return os.fstat(fd).st_mtime_ns if _is_held(fd) else None
        finally:
            os.close(fd)

    def replace(self, path: Path, data: bytes) -> None:
        """Make or replace, in one step, a file that is not held."""
        temporary = _temporary_in(path.parent)
        try:
            patiently(self.patience, temporary.touch, mode=0o600)
            patiently(self.patience, temporary.write_bytes, data)
            temporary.replace(path)
        except OSError as error:
            _remove(temporary)
            what, advice = f"{path} cannot be written", f"remove what is there, or {_ADVICE}"
            raise _failure(what, error, advice) from error

    def remove(self, path: Path) -> None:
        """Remove a file; a failure is only logged."""
        _remove(path)

    def remove_folder(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            path.rmdir()

    def remove_old_temporaries(self, folder: Path) -> None:
        """Remove temporary files; one that is not new was left by a process that was killed."""
        for name in self.listing(folder):
            if not name.startswith(TEMPORARY):
                continue
            path = folder / name
            made_at = self.last_heartbeat(path) / 1e9
            if made_at and wall() - made_at > TIMING.temporary_age:
                self.remove(path)


def _failure(what: str, error: OSError, advice: str) -> RendezvousError:
    effective = os.geteuid()
    if isinstance(error, PermissionError) and effective != os.getuid():
        advice = (
            f"this process has the effective user {effective} for now (os.seteuid): a peer needs "
            f"that of its start, or create the handle and start it after the change, with a "
            f"MEMSYNC_DIR that belongs to user {effective}"
        )
    return RendezvousError(f"{what} ({error.strerror}): {hint(error, advice)}")


def _witness_name(folder: Path) -> str:
    """A name for a folder's witnesses, by its path and by the devices and inodes above it.

    The path alone is not enough: for another process something else may be mounted there.
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
        log.warning("cannot remove %s: %s", path, error.strerror)


def _is_held(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
