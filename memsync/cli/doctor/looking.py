"""Looking into the folder: what is there, who holds it, does the host answer. Changes nothing.

A held file is told by a shared lock for an instant, as every peer does it. What cannot be read is
noted and does not keep the doctor from the rest.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ...errors import MemSyncError
from ...manager.contents import decode
from ...manager.files import WITNESS_ROOTS, Files, check_local, check_root, witness_root
from ...manager.folder import KEY_BYTES
from ...manager.messages import PROTOCOL
from ...manager.names import folder_name, root_folder
from ...options import load_options
from ...version import __version__
from .facts import Facts, Folder, Process, SharedObject, Versions
from .objects import ObjectLook, complaint
from .system import limits, process

T = TypeVar("T")

KNOCK_PATIENCE = 2.0  # seconds for each step of a handshake
_TMPDIRS = ("TMPDIR", "TEMP", "TMP")  # in the order in which Python looks at them


def look(name: str | None = None, *, patience: float = KNOCK_PATIENCE) -> Facts:
    """The facts of the folder that this process would use, of one object or of all.

    A host is given `patience` seconds for each step of a handshake.
    """
    failures: list[str] = []
    files = Files()
    root = root_folder()

    def seen(what: str, part: Callable[[], T]) -> T | None:
        try:
            return part()
        except Exception as error:  # an error of the doctor's must not hide what else there is
            failures.append(f"{what}: {type(error).__name__}: {error}")
            return None

    key, folder = seen("the folder", partial(_look_at_folder, root, files)) or (None, None)
    objects = []
    for place in seen("the list of objects", partial(_places, root, name)) or []:
        one = ObjectLook(place, files, name)
        found = seen(str(place), partial(one.look, key, patience))
        objects.append(found or SharedObject(name or place.name, str(place)))
    return Facts(
        versions=Versions(__version__, PROTOCOL, platform.python_version(), platform.platform()),
        folder=folder or Folder(str(root), _chosen_by(os.environ), root.exists()),
        objects=tuple(objects),
        asked_for=name,
        lease=seen("the options", _lease) or 3.0,
        limits=seen("the limits", partial(limits, root)) or (),
        orphans=seen("the witnesses", partial(_orphans, files)) or (),
        deleted=tuple(seen("what was deleted", lambda: [*_deleted(root, files)]) or ()),
        failures=tuple(failures),
    )


def _lease() -> float:
    return load_options(None).network.lease


# -- the folder ------------------------------------------------------------------------------------


def _look_at_folder(root: Path, files: Files) -> tuple[bytes | None, Folder]:
    """The key, if the folder may be trusted and it is whole, and what there is to say."""
    exists = root.is_symlink() or root.exists()
    problem = complaint(partial(check_root, root)) if exists else _complaint_of_missing(root)
    key, key_problem = _look_at_key(root, files) if exists else (None, None)
    folder = Folder(
        str(root),
        _chosen_by(os.environ),
        exists,
        problem,
        key_problem,
        _ignored(os.environ),
        tuple(_other_folders(root)),
    )
    return (None if problem else key), folder


def _complaint_of_missing(root: Path) -> str | None:
    problem = complaint(partial(check_local, root))
    if problem is not None:
        return problem
    above = root.parent
    while not above.exists() and above != above.parent:
        above = above.parent
    if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
        return None
    return f"the folder {root} cannot be made in {above}: set MEMSYNC_DIR to a folder of your own"


def _look_at_key(root: Path, files: Files) -> tuple[bytes | None, str | None]:
    path = root / "authkey"
    try:
        found = files.inspect(path)
        mode = path.lstat().st_mode & 0o777 if found is not None else 0
    except (MemSyncError, OSError) as error:
        return None, str(error)
    if found is None:
        return None, None
    if len(found[1]) != KEY_BYTES:
        return None, (
            f"the key file {path} has {len(found[1])} bytes instead of {KEY_BYTES}: a living peer "
            "mends it within its network.poll, or the next one that starts"
        )
    if mode & 0o077:
        return None, f"the key file {path} is open to others: run 'chmod 600 {path}'"
    return found[1], None


def _chosen_by(environ: Mapping[str, str]) -> str | None:
    if environ.get("MEMSYNC_DIR"):
        return "MEMSYNC_DIR"
    here = os.path.abspath(tempfile.gettempdir())
    named = [each for each in _TMPDIRS if environ.get(each)]
    return next((each for each in named if os.path.abspath(environ[each]) == here), None)


def _ignored(environ: Mapping[str, str]) -> str | None:
    """The temp folder that was wished for, if Python could not take it."""
    wished = next((environ[each] for each in _TMPDIRS if environ.get(each)), None)
    if wished is None or environ.get("MEMSYNC_DIR"):
        return None
    is_used = os.path.abspath(wished) == os.path.abspath(tempfile.gettempdir())
    return None if is_used else wished


def _other_folders(root: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where else processes of this user may meet, because they have another temp folder."""
    for base in dict.fromkeys(("/tmp", "/var/tmp", os.path.abspath(tempfile.gettempdir()))):
        other = Path(base) / f"memsync-{os.getuid()}"
        with suppress(OSError):
            if other != root and other.is_dir():
                names = sorted(path.name.removesuffix(".d") for path in other.glob("*.d"))
                if names:
                    yield str(other), tuple(names)


def _places(root: Path, name: str | None) -> list[Path]:
    if name is not None:
        place = root / folder_name(name)
        return [place] if place.is_symlink() or place.exists() else []
    return sorted(root.glob("*.d"))


def _rootless(files: Files) -> Iterator[tuple[Path, list[tuple[bool, dict[str, Any]]]]]:
    """Witnesses whose folder is gone: where they are, whether each is held, and what it says."""
    for place in [each for root in WITNESS_ROOTS for each in sorted(witness_root(root).glob("*"))]:
        found = [files.inspect(path) for path in place.glob("epoch-*.lock")]
        said = [(each[0], decode(each[1]) or {}) for each in found if each is not None]
        if said and not any(_has_folder(content) for _, content in said):
            yield place, said


def _orphans(files: Files) -> tuple[str, ...]:
    """Witnesses that nobody holds, and whose folder is gone."""
    return tuple(
        str(place) for place, said in _rootless(files) if not any(held for held, _ in said)
    )


def _deleted(root: Path, files: Files) -> Iterator[tuple[str, Process]]:
    """The objects of this folder whose files are all gone, while a process lives that hosts one."""
    for _, said in _rootless(files):
        for held, content in said:
            name, pid = content.get("name"), content.get("pid")
            is_here = Path(str(content.get("address"))).parent.parent == root
            if held and is_here and isinstance(name, str) and isinstance(pid, int):
                yield name, process(pid)


def _has_folder(content: dict[str, Any]) -> bool:
    address = content.get("address")
    if not isinstance(address, str):
        return True  # nobody knows
    folder = Path(address).parent
    return folder.exists() or folder.name.startswith("memsync-")  # a short one says nothing
