"""Errors of the disk while a host saves: in each call of a save, and a disk that is full."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memsync import MemSync
from memsync.errors import StorageError
from memsync.storage.file_layer import FileLayer
from memsync.storage.snapshot_file import parse
from memsync.testing import until

SIZE = "2m"  # of the disk that becomes full
PATIENCE = 60.0  # seconds until saving resumes by itself, at most


class FailingFiles:
    """Has the calls of the saver fail while `fails` names one, and notes what was synced."""

    CALLS = ("create", "sync", "sync_folder")

    def __init__(self) -> None:
        self.fails: tuple[str, int] | None = None
        self.failed = 0
        self.synced_again = 0  # files whose sync was tried once more
        self._broken: set[int] = set()  # inodes
        self._originals = {call: getattr(FileLayer, call) for call in self.CALLS}

    def __enter__(self) -> FailingFiles:
        for call, original in self._originals.items():
            setattr(FileLayer, call, self._wrapped(call, original))
        return self

    def __exit__(self, *exc: object) -> None:
        for call, original in self._originals.items():
            setattr(FileLayer, call, original)

    def _wrapped(self, call: str, original: Any) -> Any:
        def wrapped(files: FileLayer, *args: Any) -> Any:
            if call == "create":  # perhaps with the number of a file that was removed
                descriptor = original(files, *args)
                self._broken.discard(os.fstat(descriptor).st_ino)
                return descriptor
            inode = os.fstat(args[0]).st_ino if call == "sync" else 0
            self.synced_again += inode in self._broken
            if self.fails is not None and self.fails[0] == call:
                if inode:
                    self._broken.add(inode)
                self.failed += 1
                raise OSError(self.fails[1], os.strerror(self.fails[1]))
            return original(files, *args)

        return wrapped


def fail_syncs(rounds: int, seed: int, folder: Path) -> tuple[str, list[str]]:
    """Fail a sync of a save, some times in a row; returns a line of figures, and what was wrong."""
    rng, path, wrong = random.Random(seed), folder / "state.json", list[str]()
    told = 0
    options = {"file": {"path": path, "debounce": 0}}
    with FailingFiles() as files, MemSync("failing", {"n": 0}, options) as mem:
        mem.flush()
        for number in range(1, rounds + 1):
            call = ("sync", "sync_folder")[number % 2]
            files.fails = (call, rng.choice([errno.EIO, errno.ENOSPC, errno.EDQUOT]))
            mem.patch({"$set": {"n": number, "text": "x" * rng.randrange(200_000)}})
            for _ in range(rng.randrange(1, 4)):
                try:
                    mem.flush()
                    wrong.append(f"round {number}: a flush without a sync")
                except StorageError:
                    told += 1
                saved = parse(path.read_bytes(), str(path)).data
                # With the folder not synced, either file may be there after a crash.
                allowed = (number - 1,) if call == "sync" else (number - 1, number)
                if saved is None or saved["n"] not in allowed:
                    wrong.append(f"round {number}: the file has {saved and saved['n']}")
            files.fails = None
            mem.flush()
            if parse(path.read_bytes(), str(path)).data != mem.snapshot():
                wrong.append(f"round {number}: what was flushed is not in the file")
            if os.listdir(folder) != [path.name]:
                wrong.append(f"round {number}: the folder has {os.listdir(folder)}")
    if files.synced_again:
        wrong.append(f"{files.synced_again} syncs of a file whose sync had failed")
    return (
        f"{rounds} rounds, {files.failed} syncs failed, {told} flushes raised, "
        f"{files.synced_again} syncs of the same file again, {len(wrong)} wrong"
    ), wrong


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of `SIZE` in memory; raises `OSError` if it may not be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise OSError(f"no small disk: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill_disk(rounds: int, seed: int, folder: Path) -> tuple[str, list[str]]:
    """Let the disk become full and be cleared; returns a line of figures, and what was wrong."""
    rng, wrong, writes, waits = random.Random(seed), list[str](), 0, list[float]()
    with small_disk(folder / "disk") as disk:
        path, rest = disk / "state.json", disk / "filler"
        with MemSync("full", {"n": 0}, {"file": {"path": path, "debounce": 0}}) as mem:
            mem.patch({"$set": {"text": "x" * 400_000}})
            mem.flush()
            for number in range(1, rounds + 1):
                before = parse(path.read_bytes(), str(path))
                fill(rest)
                for _ in range(rng.randrange(20, 60)):  # writes go on
                    mem.patch({"$inc": {"n": 1}})
                    writes += 1
                try:
                    mem.flush()
                    wrong.append(f"round {number}: a flush to a full disk")
                except StorageError as error:
                    if error.errno != errno.ENOSPC or "No space left" not in str(error):
                        wrong.append(f"round {number}: {error}")
                if "No space left" not in (mem.get_status()["storage"]["error"] or ""):
                    wrong.append(f"round {number}: the status does not say it")
                now = parse(path.read_bytes(), str(path))
                if now != before:
                    wrong.append(f"round {number}: the file has changed to {now.pair}")
                if sorted(os.listdir(disk)) != ["filler", "state.json"]:
                    wrong.append(f"round {number}: the disk has {os.listdir(disk)}")
                rest.unlink()
                waits.append(wait_until_saved(mem))
                if parse(path.read_bytes(), str(path)).data != mem.snapshot():
                    wrong.append(f"round {number}: saving has not resumed")
    return (
        f"{rounds} rounds, {writes} writes while the disk was full, saving resumed after at most "
        f"{max(waits):.1f} s, {len(wrong)} wrong"
    ), wrong


def fill(path: Path) -> None:
    """Leave no byte of its disk."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def wait_until_saved(mem: MemSync[Any]) -> float:
    """Wait until saving has resumed by itself; returns the seconds that it took."""
    begin, version = time.monotonic(), mem.version

    def is_saved() -> bool:
        storage = mem.get_status()["storage"]
        return storage["error"] is None and storage["saved_version"] >= version

    until(is_saved, timeout=PATIENCE)
    return time.monotonic() - begin
