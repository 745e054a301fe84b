"""The names of the folders and of the files in them."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path

from ...errors import RendezvousError

_SOCKET_PATH_MAX = 100  # bytes; the kernel takes 107 on Linux, 103 on macOS
LOCK_NAME = re.compile(r"epoch-([1-9]\d{0,17})\.lock")
PEER_NAME = re.compile(r"peer-([0-9a-f]+)\.json")
TEMPORARY = "tmp-"  # the prefix of a file that is being made
TEMP_VARIABLES = ("TMPDIR", "TEMP", "TMP")  # in the order in which `tempfile` reads them
_TEMP_FOLDERS = ("/tmp", "/var/tmp", "/usr/tmp")  # what it tries after them
SOCKET_NAME = re.compile(r"(\d+)-([0-9a-f]+)\.sock")
CALLS_NAME = re.compile(r"calls-([0-9a-f]+)\.sock")


def root_folder() -> Path:
    """The folder that ``MEMSYNC_DIR`` names, else one per user in the temp folder.

    Raises `RendezvousError` where there is none, and for a name that is not UTF-8, which the files
    in it could not hold.
    """
    stated = os.environ.get("MEMSYNC_DIR")
    root = _stated_folder(stated) if stated else _temp_folder() / f"memsync-{os.getuid()}"
    try:
        str(root).encode()
    except UnicodeEncodeError as error:
        raise RendezvousError(
            f"the rendezvous folder {os.fsencode(root)!r} has a name that is not UTF-8: set "
            "MEMSYNC_DIR to a folder with another name, for example /tmp/memsync-x"
        ) from error
    return root


def relative_root() -> str | None:
    """The value of ``MEMSYNC_DIR`` if it names another folder for each current folder."""
    stated = os.environ.get("MEMSYNC_DIR", "")
    return stated if stated and not os.path.isabs(os.path.expanduser(stated)) else None


def root_with_warning() -> Path:
    """`root_folder` for a new handle; warns if processes elsewhere would not meet in it."""
    root = root_folder()
    relative = relative_root()
    if relative is not None:
        warnings.warn(
            f"MEMSYNC_DIR is the relative path {relative!r}: only processes that start in "
            f"{Path.cwd()} meet in {root}, so set it to an absolute path",
            stacklevel=6,  # the line that creates the handle
        )
    return root


def _stated_folder(stated: str) -> Path:
    try:
        return Path(stated).expanduser().absolute()
    except (RuntimeError, FileNotFoundError) as error:
        problem = "the home folder that it begins with is not known"
        if isinstance(error, FileNotFoundError):
            problem = "it is relative to the current folder, which has been deleted"
        raise RendezvousError(
            f"MEMSYNC_DIR is {stated!r}, but {problem}: set it to an absolute path, for example "
            "/tmp/memsync-x"
        ) from error


def _temp_folder() -> Path:
    """The temp folder of this process; the current folder, Python's last resort, is none."""
    try:
        found = tempfile.gettempdir()
    except FileNotFoundError:
        found = ""
    stated = [os.environ.get(variable, "") for variable in TEMP_VARIABLES]
    usual = {os.path.abspath(each) for each in (*stated, *_TEMP_FOLDERS) if each}
    if found and (found in usual or not _is_current(found)):
        return Path(found).absolute()
    raise RendezvousError(
        f"no temp folder can be written to (of {', '.join(sorted(usual))}), so processes cannot "
        "meet there: set MEMSYNC_DIR to a folder that all of them can write to"
    )


def _is_current(folder: str) -> bool:
    try:
        return os.path.samefile(folder, os.curdir)
    except OSError:
        return not os.path.isabs(folder)


def folder_name(name: str) -> str:
    """The name of an object's folder, unique also on file systems that ignore case."""
    if len(name) <= 100 and name == name.lower():
        return f"{name}.d"
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{name[:80]}~{digest}.d"


def short_folder(folder: Path) -> Path:
    """The folder for the sockets of a folder whose own path is too long for them."""
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path("/tmp") / f"memsync-{os.getuid()}-{digest}"


@lru_cache(maxsize=256)  # the host needs it for each batch
def lock_in(folder: Path, epoch: int) -> Path:
    """The lock of an epoch, or its witness."""
    return folder / f"epoch-{epoch}.lock"


@lru_cache(maxsize=256)
def peer_file(folder: Path, peer: str) -> Path:
    return folder / f"peer-{peer}.json"


def takes_socket(path: Path) -> bool:
    """Whether a path is short enough for the address of a socket."""
    return len(os.fsencode(path)) <= _SOCKET_PATH_MAX
