"""Folders that are not memsync's own: it makes no files in them, and nobody is to change them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from ...errors import RendezvousError

_SYSTEM = frozenset(
    {
        *("/", "/bin", "/boot", "/dev", "/dev/shm", "/etc", "/home", "/lib", "/lib64", "/media"),
        *("/mnt", "/opt", "/proc", "/root", "/run", "/run/lock", "/sbin", "/srv", "/sys", "/tmp"),
        *("/usr", "/usr/bin", "/usr/lib", "/usr/local", "/usr/sbin", "/usr/share", "/usr/tmp"),
        *("/var", "/var/cache", "/var/lib", "/var/lock", "/var/log", "/var/run", "/var/spool"),
        *("/var/tmp", "/Applications", "/Library", "/System", "/Users", "/Volumes", "/private"),
        *("/private/etc", "/private/tmp", "/private/var", "/private/var/tmp"),
    }
)
_TREES = ("/bin", "/boot", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr", "/System")


def check_own(root: Path) -> None:
    """Raise `RendezvousError` for a folder of the system, the temp folder or a home folder."""
    if is_shared(root):
        raise RendezvousError(
            f"the rendezvous folder {root} is a folder of the system or a home folder: "
            f"{advice_on_own(root)}"
        )


def is_shared(root: Path) -> bool:
    """Whether a folder is one that others use, too, so that it must stay as it is."""
    paths = {os.path.abspath(root), os.path.realpath(root)}
    if paths & _SYSTEM:
        return True
    known = [os.path.expanduser("~")]
    with contextlib.suppress(FileNotFoundError):  # there is none
        known.append(tempfile.gettempdir())
    return any(os.path.isabs(each) and os.path.realpath(each) in paths for each in known)


def is_made_by_memsync(root: Path) -> bool:
    """Whether a rendezvous folder has what a peer puts into it first."""
    try:
        return (root / "authkey").lstat().st_uid == os.getuid()
    except OSError:
        return False


def advice_on_own(root: Path) -> str:
    """Names a folder inside this one where this user may make one, or else in the temp folder."""
    is_system = str(root) in _SYSTEM or any(map(root.is_relative_to, _TREES))
    is_fit = not is_system or root.name in ("tmp", "shm")
    parent = root if is_fit and os.access(root, os.W_OK | os.X_OK) else Path("/tmp")
    own = parent / "memsync-x"
    return f"choose a folder of its own, for example {own}, and set MEMSYNC_DIR to it"
