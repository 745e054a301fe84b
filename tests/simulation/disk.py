"""The rendezvous folder of the virtual platform: files, their holders, and their watchers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memsync.manager.folder.held_file import Files, HeldFile, Stamp

if TYPE_CHECKING:
    from .process import Process
    from .world import World

ROOT = Path("/sim")
WITNESSES = Path("/witnesses")
TICK = 0.01  # seconds; what changes within one tick of the disk's clock has one stamp


class File:
    """A file; held while its holder has it open."""

    __slots__ = ("changed_at", "data", "heartbeat", "holder", "inode")

    inodes = itertools.count(1)

    def __init__(self, data: bytes, holder: Process | None) -> None:
        self.heartbeat = 1
        self.inode = next(self.inodes)
        self.changed_at = 0.0  # virtual seconds
        self.data = data
        self.holder = holder


class Names(dict[str, File]):
    """The files by their path, and when the names in each folder changed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.changed_at: dict[str, float] = {}  # virtual seconds, by folder

    def __setitem__(self, path: str, file: File) -> None:
        file.changed_at = self._world.now
        self._changes(path)
        super().__setitem__(path, file)

    def __delitem__(self, path: str) -> None:
        self._changes(path)
        super().__delitem__(path)

    def pop(self, path: str, default: Any = None) -> Any:
        if path not in self:
            return default
        file = self[path]
        del self[path]
        return file

    def _changes(self, path: str) -> None:
        self.changed_at[path.rpartition("/")[0]] = self._world.now


class Disk:
    """All files, by their path."""

    def __init__(self, world: World) -> None:
        self.files = Names(world)
        self._world = world
        self._wakes: list[tuple[Process, Callable[[], None]]] = []
        self.observed = True

    def names(self, folder: str) -> list[str]:
        """What is in a folder."""
        start = f"{folder}/"
        found = [path.removeprefix(start) for path in self.files if path.startswith(start)]
        return [name for name in found if "/" not in name]

    def stamp(self, path: str) -> Stamp | None:
        """The stamp of a file or a folder."""
        file = self.files.get(path)
        if file is not None:
            return 0, file.inode, int(file.changed_at / TICK)
        changed_at = self.files.changed_at.get(path)
        return None if changed_at is None else (0, 0, int(changed_at / TICK))

    def changed(self) -> None:
        """A file appeared or went: the watching processes are woken some time later."""
        if not self.observed or self._world.buggify("a watch event is lost"):
            return
        for process, wake in self._wakes:
            delay = 0.001 + self._world.latency()
            self._world.after(delay, lambda p=process, w=wake: p.when_running(w))  # type: ignore[misc]

    def watch(self, process: Process, wake: Callable[[], None]) -> None:
        if (process, wake) not in self._wakes:
            self._wakes.append((process, wake))

    def unwatch(self, process: Process) -> None:
        self._wakes = [each for each in self._wakes if each[0] is not process]


class Held(HeldFile):
    """A held file of a process."""

    def __init__(self, process: Process, path: Path, file: File) -> None:
        self.path = path
        self.data = file.data
        self._process = process
        self._file = file

    def rewrite(self, data: bytes) -> None:
        self._process.call("rewrite")
        self._file.data = self.data = data
        self._file.changed_at = self._process.world.now

    def is_in_place(self) -> bool:
        self._process.call("lstat")
        return self._process.disk.files.get(str(self.path)) is self._file

    def restore(self) -> None:
        """No file is overwritten here."""

    def heartbeat(self, when: int) -> None:
        self._process.call("utime")
        self._file.heartbeat = when

    def close(self, *, remove: bool) -> None:
        self._process.call("release")
        if remove:
            ProcessFiles(self._process).remove(self.path)
        self._file.holder = None


class ProcessFiles(Files):
    """The disk as one process sees it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._disk = process.world.disk

    def open_root(self, root: Path) -> Path:
        return root

    def witness_folder(self, folder: Path) -> list[Path]:
        return [WITNESSES]

    def make_folder(self, path: Path) -> None:
        self._process.call("mkdir")

    def listing(self, folder: Path) -> list[str]:
        self._process.call("listdir")
        return self._disk.names(str(folder))

    def inspect(self, path: Path) -> tuple[bool, bytes] | None:
        self._process.call("inspect")
        file = self._disk.files.get(str(path))
        if file is None:
            return None
        return file.holder is not None, file.data

    def publish(self, path: Path, data: bytes, folder: Path) -> HeldFile | None:
        self._process.call("publish")
        if str(path) in self._disk.files:
            return None
        file = self._disk.files[str(path)] = File(data, self._process)
        self._process.held.append(file)
        self._disk.changed()
        self._process.call("published")
        return Held(self._process, path, file)

    def check_secret(self, path: Path) -> None:
        """Every file belongs to this user."""

    def identity(self, path: Path) -> tuple[int, int] | None:
        self._process.call("lstat")
        file = self._disk.files.get(str(path))
        return (0, file.inode) if file is not None else None

    def stamp(self, path: str) -> Stamp | None:
        self._process.call("stat")
        return self._disk.stamp(path)

    def last_heartbeat(self, path: Path) -> int:
        self._process.call("stat")
        file = self._disk.files.get(str(path))
        return file.heartbeat if file is not None else 0

    def living_heartbeat(self, path: Path) -> int | None:
        self._process.call("inspect")
        file = self._disk.files.get(str(path))
        return file.heartbeat if file is not None and file.holder is not None else None

    def replace(self, path: Path, data: bytes) -> None:
        self._process.call("replace")
        self._disk.files[str(path)] = File(data, None)
        self._disk.changed()

    def remove(self, path: Path) -> None:
        self._process.call("remove")
        if self._disk.files.pop(str(path), None) is not None:
            self._disk.changed()

    def remove_folder(self, path: Path) -> None:
        """There are no folders here."""

    def remove_old_temporaries(self, folder: Path) -> None:
        """There are none: publishing is one step here."""
