"""What the system tells: processes, and the limits that memsync may meet. Only looks."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .facts import Limit, Process

PROC = Path("/proc")
_INOTIFY = PROC / "sys/fs/inotify"
_MIB = 1024 * 1024
_PROGRAM_MAX = 80  # characters


def process(pid: int) -> Process:
    """What is known of a process."""
    place = PROC / str(pid)
    return Process(pid, _state(place), _program(place), _open_files(place), _most_files(place))


def _state(place: Path) -> str | None:
    with suppress(OSError, IndexError):
        return (place / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    return None


def _program(place: Path) -> str | None:
    with suppress(OSError):
        words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
        text = "".join(c if c.isprintable() else "?" for c in " ".join(words).strip())
        return text if len(text) <= _PROGRAM_MAX else text[: _PROGRAM_MAX - 3] + "..."
    return None


def _open_files(place: Path) -> int | None:
    with suppress(OSError):
        return len(os.listdir(place / "fd"))
    return None


def _most_files(place: Path) -> int | None:
    with suppress(OSError, IndexError, ValueError):
        for line in (place / "limits").read_text().splitlines():
            if line.startswith("Max open files"):
                return int(line.split()[3])
    return None


def limits(folder: Path) -> tuple[Limit, ...]:
    """What there is of what memsync needs on this machine."""
    return (*_open_files_of_ours(), *_file_events(), *_space(folder), *_space(Path("/dev/shm")))


def _open_files_of_ours() -> Iterator[Limit]:
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return
    yield Limit(
        "open files of a process started from here (ulimit -n)",
        _open_files(PROC / "self"),
        most,
        spare=128,
        consequence="a host needs one for each peer",
        advice="raise it with 'ulimit -n 1024', or for good in /etc/security/limits.conf",
    )


def _file_events() -> Iterator[Limit]:
    instances, watches = _used_inotify()
    for name, used, spare in (
        ("max_user_instances", instances, 2),
        ("max_user_watches", watches, 16),
    ):
        with suppress(OSError, ValueError):
            yield Limit(
                f"fs.inotify.{name}",
                used,
                int((_INOTIFY / name).read_text()),
                spare=spare,
                consequence="folders are polled instead, all works a little later",
                advice=f"raise it with 'sysctl fs.inotify.{name}=...'",
            )


def _used_inotify() -> tuple[int, int]:
    """Instances and watches of this user's processes, as far as they may be looked into."""
    instances = watches = 0
    for place in PROC.glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile, or is somebody else's
            if place.stat().st_uid != os.getuid():
                continue
            for number in os.listdir(place / "fd"):
                with suppress(OSError):
                    if os.readlink(place / "fd" / number) == "anon_inode:inotify":
                        instances += 1
                        watches += (place / "fdinfo" / number).read_text().count("inotify wd:")
    return instances, watches


def _space(folder: Path) -> Iterator[Limit]:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    with suppress(OSError):
        found = os.statvfs(folder)
        if not found.f_blocks:
            return
        size = found.f_frsize
        yield Limit(
            f"space in {folder} (MiB)",
            (found.f_blocks - found.f_bavail) * size // _MIB,
            found.f_blocks * size // _MIB,
            spare=1,
            consequence="no lock and no peer's file can be made there",
            advice="free some, or set MEMSYNC_DIR to a folder with room",
        )
        if found.f_files:
            yield Limit(
                f"files in {folder}",
                found.f_files - found.f_favail,
                found.f_files,
                spare=64,
                consequence="no lock and no peer's file can be made there",
                advice="remove some, or set MEMSYNC_DIR to another folder",
            )
