"""Collect facts about the rendezvous folder, its objects and their processes.

Facts are plain dicts that can be encoded as JSON, without the key. Nothing is changed and no group
is joined. The lock of a file is tested with a shared lock for an instant, as every peer tests it.
Errors are recorded and do not hide the rest.
"""

from __future__ import annotations

import os
import platform
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...clocks import monotonic, wall
from ...errors import MemSyncError
from ...manager.folder.held_file import Files, check_folder, check_local, check_root
from ...manager.folder.key import KEY_BYTES
from ...manager.folder.own_folder import is_shared
from ...manager.folder.paths import (
    LOCK_NAME,
    PEER_NAME,
    SOCKET_NAME,
    TEMP_VARIABLES,
    TEMPORARY,
    folder_name,
    relative_root,
    root_folder,
    short_folder,
)
from ...manager.folder.records import decode, to_address
from ...manager.timing import TIMING
from ...manager.transport.channel import ChannelLost
from ...manager.transport.dial import knock
from ...manager.transport.messages import PROTOCOL
from ...options import load_options
from ...version import __version__

Facts = dict[str, Any]

TIMEOUT = 2.0  # seconds for each step of a handshake with a host
_PROC = Path("/proc")
_PROGRAM_MAX = 80  # characters


def collect(name: str | None = None, *, timeout: float = TIMEOUT) -> Facts:
    """The facts about one object, or all objects, in the folder that this process uses."""
    failures: list[str] = []

    def attempt(what: str, part: Callable[[], Any], default: Any) -> Any:
        try:
            return part()
        except (MemSyncError, OSError) as error:  # the other parts still run
            failures.append(f"{what}: {error}")
            return default

    root = attempt("the folder", root_folder, None)
    folder, key, key_problem, paths = None, None, None, []
    if root is not None:
        key, key_problem = attempt("the key", lambda: read_key(root), (None, None))
        folder = attempt("the folder", lambda: folder_facts(root), None)
        paths = attempt("the list of objects", lambda: _object_folders(root, name), [])
    if folder is None or folder["problem"]:
        key = None
    objects = [attempt(str(path), ObjectReader(path, key, timeout).facts, None) for path in paths]
    return {
        "versions": {
            "memsync": __version__,
            "protocol": PROTOCOL,
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "asked_for": name,
        "lease": attempt("the options", lambda: load_options(None).network.lease, 3.0),
        "folder": folder,
        "key_problem": key_problem,
        "objects": [each for each in objects if each is not None],
        "failures": failures,
    }


# -- the folder ------------------------------------------------------------------------------------


def folder_facts(root: Path) -> Facts:
    """The folder, the reason for its choice, and the problem with it, if any."""
    exists = root.is_symlink() or root.exists()
    others = {}  # folders of this user's processes that have another TMPDIR
    for base in dict.fromkeys(("/tmp", "/var/tmp", *_temp_folder())):
        other = Path(base) / f"memsync-{os.getuid()}"
        if other != root and (names := [path.stem for path in sorted(other.glob("*.d"))]):
            others[str(other)] = names
    return {
        "path": str(root),
        "reason": reason_for_folder(os.environ),
        "relative": relative_root(),
        "exists": exists,
        "problem": _complaint(check_root, root) if exists else _problem_of_missing(root),
        "others": others,
    }


def reason_for_folder(environ: Mapping[str, str]) -> str:
    """The variable that names the folder, or the reason for the default."""
    if environ.get("MEMSYNC_DIR"):
        return "named by MEMSYNC_DIR"
    variable = next((each for each in TEMP_VARIABLES if environ.get(each)), None)
    if variable is None:
        return "the default"
    if os.path.abspath(environ[variable]) in _temp_folder():
        return f"named by {variable}"
    return f"the default, because {variable}={environ[variable]} is not writable"


def _temp_folder() -> list[str]:
    try:
        return [os.path.abspath(tempfile.gettempdir())]
    except FileNotFoundError:  # there is none; MEMSYNC_DIR names another folder
        return []


def read_key(root: Path) -> tuple[bytes | None, str | None]:
    """The key, or None, and the problem with its file, or None."""
    path = root / "authkey"
    try:
        found = Files().inspect(path)
        mode = path.lstat().st_mode & 0o777 if found is not None else 0
    except (MemSyncError, OSError) as error:
        return None, str(error)
    if found is None:
        return None, None
    if len(found[1]) != KEY_BYTES:
        size = f"{len(found[1])} bytes instead of {KEY_BYTES}"
        return None, f"the key file {path} has {size}: a running peer or the next one repairs it"
    if mode & 0o077:
        return None, f"the key file {path} is open to other users: run 'chmod 600 {path}'"
    return found[1], None


def _problem_of_missing(root: Path) -> str | None:
    parent = next(each for each in root.parents if each.exists())
    if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        return _complaint(check_local, root)
    return (
        f"the folder {root} cannot be created in {parent}: set MEMSYNC_DIR to a folder of your own"
    )


def _object_folders(root: Path, name: str | None) -> list[Path]:
    if is_shared(root):
        return []  # what ends with ".d" there belongs to others
    if name is None:
        return sorted(root.glob("*.d"))
    path = root / folder_name(name)
    return [path] if path.is_symlink() or path.exists() else []


def _complaint(check: Callable[[Path], None], path: Path) -> str | None:
    try:
        check(path)
    except MemSyncError as error:
        return str(error)
    return None


# -- an object -------------------------------------------------------------------------------------


class ObjectReader:
    """Reads the folder of one object; contacts its host if the key is usable."""

    def __init__(self, path: Path, key: bytes | None, timeout: float) -> None:
        self._path = path
        self._key = key
        self._timeout = timeout
        self._unreadable: list[str] = []

    def facts(self) -> Facts:
        """The files, the processes that hold them, and the answer of the host."""
        path = self._path
        problem = _complaint(check_folder, path)
        witnesses = Files().existing_witnesses(path) if problem is None else []
        locks = [
            _lock_facts(file, int(epoch), file.parent != path, held, content)
            for file, epoch, held, content in self._read(LOCK_NAME, path, *witnesses)
        ]
        lock = max(locks, key=_rank, default=None)
        named = [content for *_, content in self._read(re.compile(r"(rendezvous)\.json"), path)]
        rendezvous = named[0] if named else {}
        peers = [
            _peer_facts(peer, held, content)
            for _, peer, held, content in self._read(PEER_NAME, path)
        ]
        sockets = self._matching(SOCKET_NAME, path, short_folder(path))
        temporaries = self._matching(re.compile(f"({TEMPORARY}).*"), path)
        names = [rendezvous.get("name"), *(each["name"] for each in locks)]
        answer = self._ask(lock) if lock is not None and problem is None else None
        return {
            "name": next((name for name in names if _is_name_of(path, name)), path.stem),
            "path": str(path),
            "lock": lock,
            "locks": locks,
            "peers": peers,
            "rendezvous": {each: _get(rendezvous, each, str) for each in _RENDEZVOUS},
            "sockets": {str(file): int(epoch) for file, epoch in sockets},
            "temporaries": [
                str(file) for file, _ in temporaries if _age(file) > TIMING.temporary_age
            ],
            "answer": answer,
            "named_locks": answer and answer.pop("locks"),
            "unreadable": [problem, *self._unreadable] if problem else self._unreadable,
        }

    def _matching(self, pattern: re.Pattern[str], *folders: Path) -> Iterator[tuple[Path, str]]:
        """The files with matching names, sorted, each with the first group of its match."""
        for folder in folders:
            names = sorted(Files().listing(folder))
            matches = ((name, pattern.fullmatch(name)) for name in names)
            yield from ((folder / name, match[1]) for name, match in matches if match)

    def _read(
        self, pattern: re.Pattern[str], *folders: Path
    ) -> Iterator[tuple[Path, str, bool, Facts]]:
        """As `_matching`; adds whether the file is held, and its content (empty if damaged)."""
        for path, match in self._matching(pattern, *folders):
            try:
                found = Files().inspect(path)
            except (MemSyncError, OSError) as error:
                self._unreadable.append(str(error))
            else:
                if found is not None:
                    yield path, match, found[0], decode(found[1]) or {}

    def _ask(self, lock: Facts) -> Facts | None:
        if self._key is None or not lock["held"] or lock["address"] is None:
            return None
        begin = monotonic()
        try:
            locks = knock(lock["address"], self._key, timeout=self._timeout)
        except (MemSyncError, ChannelLost, OSError) as error:
            return {"error": str(error), "seconds": None, "locks": None}
        locks = locks if isinstance(locks, dict) else None  # an older host says nothing
        return {"error": None, "seconds": monotonic() - begin, "locks": locks}


_RENDEZVOUS = ("id", "memsync", "python")


def _rank(lock: Facts) -> tuple[int, bool, bool]:
    """The highest lock counts; of one epoch the one that is held, as lock or as its witness."""
    return lock["epoch"], lock["held"], not lock["is_witness"]


def _lock_facts(path: Path, epoch: int, is_witness: bool, held: bool, content: Facts) -> Facts:
    address, pid = None, _get(content, "pid", int)
    with suppress(ValueError):
        address = to_address(content.get("address"))
    since = _get(content, "since", int | float)
    return {
        "epoch": epoch,
        "is_witness": is_witness,
        "held": held,
        "is_damaged": pid is None or address is None,
        "is_open": bool(content.get("open", True)),  # False: a candidate holds it
        "protocol": _get(content, "protocol", int),
        "name": _get(content, "name", str),
        "id": _get(content, "id", str),
        "address": address,
        "since": since if since and 0 < since < 1e11 else None,  # seconds since 1970
        "silent_for": _age(path),  # the holder touches its lock as a heartbeat
        "process": process_facts(pid) if held and pid is not None else None,
    }


def _peer_facts(peer: str, held: bool, content: Facts) -> Facts:
    pid = _get(content, "pid", int)
    return {
        "id": peer,
        "held": held,
        "roles": [str(role) for role in _get(content, "roles", list) or []],
        "max_writers": _get(content, "maxWriters", int),
        "stands_by": content.get("standsBy") is True,
        "client_only": content.get("clientOnly") is True,
        "server_only": content.get("serverOnly") is True,
        "obstacle": _get(content, "obstacle", str),
        "storage": _storage_facts(_get(content, "storage", dict) or {}),
        # The pid in a free file may belong to another process by now.
        "process": process_facts(pid) if held and pid is not None else None,
    }


def _storage_facts(content: Facts) -> Facts | None:
    """Where a host saves the object, and what prevents it; None for a peer that saves nothing."""
    names = ("url", "error", "fencing")
    if not content.get("url"):
        return None
    journal = _get(content, "journal", dict) or {}
    facts = {name: _get(content, name, str) for name in names}
    return {**facts, "journal_error": _get(journal, "error", str)}


def _is_name_of(path: Path, name: object) -> bool:
    return isinstance(name, str) and folder_name(name) == path.name


def _age(path: Path) -> float:
    """Seconds since the last change of a file; 0 if unknown."""
    with suppress(OSError):
        return max(wall() - path.lstat().st_mtime, 0.0)
    return 0.0


def _get(content: Facts, name: str, kind: Any) -> Any:
    """A value of the right type, or None: the file may be damaged."""
    value = content.get(name)
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


# -- processes -------------------------------------------------------------------------------------


def process_facts(pid: int) -> Facts:
    """The state and the program of a process; None where the system does not report them."""
    facts: Facts = {"pid": pid, "state": None, "program": None}
    with suppress(OSError, IndexError):
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
        facts["state"] = stat.rpartition(")")[2].split()[0]  # see proc_pid_stat(5)
        words = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        text = "".join(c if c.isprintable() else "?" for c in " ".join(words).strip())
        is_short = len(text) <= _PROGRAM_MAX
        facts["program"] = text if is_short else text[: _PROGRAM_MAX - 3] + "..."
    return facts
