"""Files, sockets and processes of a round, and what is left when all have stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from memsync.manager.folder.held_file import Files

TEMPORARY = "tmp-"


class Process(NamedTuple):
    """A process, told apart from a later one with the same number."""

    pid: int
    started: str

    def is_running(self) -> bool:
        """Whether it has not ended; who is to reap it matters to nobody here."""
        found = _stat(self.pid)
        return found is not None and found[19] == self.started and found[0] not in "ZX"


def process(pid: int) -> Process:
    """The process of a number; one that never runs if there is none."""
    found = _stat(pid)
    return Process(pid, found[19] if found is not None else "")


def below(pid: int) -> Iterator[Process]:
    """All that a process has started, and what these have started."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, path.read_text().split()):
                yield process(child)
                yield from below(child)


def _stat(pid: int) -> list[str] | None:
    """The fields behind the name, the state first."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def host_pid(place: Path) -> int | None:
    """Who holds the highest epoch, as its lock file says."""
    locks = sorted(place.glob("epoch-*.lock"), key=lambda path: int(path.stem[6:]), reverse=True)
    for lock in locks:
        with suppress(FileNotFoundError):
            return int(json.loads(lock.read_text())["pid"])
    return None


def witnesses(place: Path) -> list[Path]:
    """Where the second locks of an object's folder are."""
    return Files().witness_folder(place)


def remove(root: Path) -> None:
    """Remove a round's folder, and what lies beside it."""
    for place in root.glob("*.d"):
        for folder in witnesses(place):
            shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(root, ignore_errors=True)


def files_left(root: Path, kills: int) -> Iterator[str]:
    """What is in the folders too much: one lock, rendezvous and witness and the key may stay.

    A process that was killed in the instant in which it made a file may leave a temporary one.
    """
    expected = {root / "authkey"}
    temporaries: list[Path] = []
    for place in root.glob("*.d"):
        expected.add(place)
        for folder in [place, *witnesses(place)]:
            locks = list(folder.glob("epoch-*.lock"))
            if len(locks) > 1:
                yield f"{len(locks)} locks in {folder}: {sorted(path.name for path in locks)}"
            expected |= {*locks, folder / "rendezvous.json"}
            temporaries += folder.glob(f"{TEMPORARY}*")
            yield from _unexpected(folder.iterdir(), expected | set(temporaries))
    yield from _unexpected(root.iterdir(), expected)
    if len(temporaries) > kills:
        yield f"{len(temporaries)} temporary files after {kills} kills"


def _unexpected(paths: Iterable[Path], expected: set[Path]) -> Iterator[str]:
    for path in paths:
        if path not in expected:
            yield f"{path} is left"


def sockets(root: Path) -> list[str]:
    """Sockets that somebody keeps open in the folder (where the system tells)."""
    table = Path("/proc/net/unix")
    lines = table.read_text().splitlines() if table.exists() else []
    return [f"socket {line.split()[-1]} is open" for line in lines if str(root) in line]
