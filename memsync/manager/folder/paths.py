"""The names of the folders and of the files in them."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from functools import lru_cache
from pathlib import Path

_SOCKET_PATH_MAX = 100  # bytes; the kernel takes 107 on Linux, 103 on macOS
LOCK_NAME = re.compile(r"epoch-([1-9]\d{0,17})\.lock")
PEER_NAME = re.compile(r"peer-([0-9a-f]+)\.json")
TEMPORARY = "tmp-"  # the prefix of a file that is being made
SOCKET_NAME = re.compile(r"(\d+)-([0-9a-f]+)\.sock")


def root_folder() -> Path:
    """The folder that ``MEMSYNC_DIR`` names, else one per user in the temp folder."""
    stated = os.environ.get("MEMSYNC_DIR")
    if stated:
        return Path(stated).expanduser().absolute()
    return Path(tempfile.gettempdir()).absolute() / f"memsync-{os.getuid()}"


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
