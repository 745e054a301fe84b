"""What a disk may hold after the system has crashed in the middle of saves.

A recording layer in memory notes every call. At each point of the record the system may crash. What
was synced is there, and of the rest any part: sectors of 512 bytes that were written or not, and
changes of the folder that happened or not, whatever came before or after. Each state must load.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from zlib import crc32

from memsync.errors import StorageError
from memsync.storage.file_layer import FileLayer
from memsync.storage.local_file import LocalFile
from memsync.storage.snapshot_file import head, parse

FOLDER = "/nowhere"
PATH = f"{FOLDER}/state.json"
SECTOR = 512


class Call(NamedTuple):
    """One recorded call; `inode` is a number that no other file ever has."""

    kind: str  # write, sync, link, unlink, sync_folder, acknowledged
    name: str = ""
    inode: int = 0
    data: bytes = b""
    version: int = 0
    epoch: int = 0


class RecordingFiles(FileLayer):
    """Files in memory. Calls with the numbers `fails` fail as a broken disk makes them fail."""

    def __init__(self, fails: frozenset[int] = frozenset()) -> None:
        self.calls: list[Call] = []
        self._names: dict[str, int] = {}
        self._content: dict[int, bytearray] = {}
        self._fails, self._syncs = fails, 0

    def create(self, path: str, mode: int) -> int:
        inode = len(self.calls) + 100
        self._names[path], self._content[inode] = inode, bytearray()
        self.calls.append(Call("link", path, inode))
        return inode

    def resemble(self, descriptor: int, path: str) -> None:
        pass

    def write(self, descriptor: int, data: bytes | bytearray) -> None:
        self._content[descriptor] += data
        self.calls.append(Call("write", inode=descriptor, data=bytes(data)))

    def sync(self, descriptor: int) -> None:
        self._sync_or_fail()
        self.calls.append(Call("sync", inode=descriptor))

    def close(self, descriptor: int) -> None:
        pass

    def replace(self, old: str, new: str) -> None:
        inode = self._names.pop(old)
        self._names[new] = inode
        self.calls += [Call("link", new, inode), Call("unlink", old)]

    def remove(self, path: str) -> None:
        self._names.pop(path, None)
        self.calls.append(Call("unlink", path))

    def make_folder(self, path: str) -> None:
        pass

    def sync_folder(self, path: str) -> None:
        self._sync_or_fail()
        self.calls.append(Call("sync_folder"))

    def read(self, path: str, most: int = -1) -> bytes | None:
        inode = self._names.get(path)
        return None if inode is None else bytes(self._content[inode])[: None if most < 0 else most]

    def tail(self, path: str, most: int) -> bytes:
        return bytes(self._content[self._names[path]])[-most:]

    def names(self, folder: str) -> list[str]:
        return names_in(folder, self._names)

    def link(self, old: str, new: str) -> None:
        self._names[new] = self._names[old]
        self.calls.append(Call("link", new, self._names[new]))

    def checksum(self, path: str) -> int:
        return crc32(self._content[self._names[path]])

    def is_at(self, descriptor: int, path: str) -> bool:
        return self._names.get(path) == descriptor

    def size(self, path: str) -> int:
        return len(self._content[self._names[path]])

    @contextmanager
    def locked(self, folder: str) -> Iterator[None]:
        yield

    def _sync_or_fail(self) -> None:
        self._syncs += 1
        if self._syncs in self._fails:
            raise OSError(errno.EIO, "Input/output error")


def names_in(folder: str, paths: Iterable[str]) -> list[str]:
    """The names of files of a folder."""
    return [path.rpartition("/")[2] for path in paths if path.rpartition("/")[0] == folder]


def record(rng: random.Random, files: RecordingFiles, saves: int = 4) -> list[Call]:
    """The calls of some saves of growing versions; what is durable is noted as acknowledged."""
    target = LocalFile(PATH, files)
    for version in range(1, saves + 1):
        text = ",".join(f'"k{i}":"{rng.random()}"' for i in range(rng.randrange(1, 120)))
        whole = b"{" + text.encode() + b"}"
        cut = rng.randrange(len(whole))
        pieces = [head("c", 1, version, 0), whole[:cut], whole[cut:], b"}\n"]
        try:
            target.write(pieces, lambda start: None)
        except StorageError:
            continue  # the host tries again, with a later version
        files.calls.append(Call("acknowledged", version=version))
    return files.calls


def state_after(rng: random.Random, calls: list[Call]) -> dict[str, bytes]:
    """One state of the disk that a crash after these calls may leave."""
    names: dict[str, int] = {}
    synced_until: dict[int, int] = {}
    folder_synced = -1
    for number, call in enumerate(calls):
        if call.kind == "sync":
            synced_until[call.inode] = number
        elif call.kind == "sync_folder":
            folder_synced = number
    content: dict[int, bytearray] = {}
    sizes: dict[int, int] = {}
    for number, call in enumerate(calls):
        is_certain = number < folder_synced
        if call.kind in ("link", "unlink") and (is_certain or rng.random() < 0.5):
            if call.kind == "link":
                names[call.name] = call.inode
            else:
                names.pop(call.name, None)
        elif call.kind == "write":
            begin = sizes.get(call.inode, 0)
            sizes[call.inode] = begin + len(call.data)
            data = content.setdefault(call.inode, bytearray())
            if number < synced_until.get(call.inode, -1):
                _put(data, begin, call.data)
            else:
                for offset in range(0, len(call.data), SECTOR):
                    if rng.random() < 0.5:
                        _put(data, begin + offset, call.data[offset : offset + SECTOR])
    return {name: bytes(content.get(inode, b"")) for name, inode in names.items()}


def _put(data: bytearray, begin: int, piece: bytes) -> None:
    data.extend(b"\0" * (begin + len(piece) - len(data)))
    data[begin : begin + len(piece)] = piece


def fault(state: dict[str, bytes], calls: list[Call]) -> str | None:
    """What is wrong with a state: a file that does not load, or a durable version that is gone."""
    durable = max((c.version for c in calls if c.kind == "acknowledged"), default=0)
    if PATH not in state:
        return f"version {durable} is gone" if durable else None
    try:
        saved: Any = parse(state[PATH], PATH)
    except StorageError as error:
        return str(error)
    return f"version {durable} is gone" if saved.pair[1] < durable else None


def check(seed: int, states: int = 10, files: type[RecordingFiles] = RecordingFiles) -> list[str]:
    """Crash at random points of one record; returns what is wrong."""
    rng = random.Random(seed)
    fails = frozenset({rng.randrange(1, 9)}) if rng.random() < 0.5 else frozenset[int]()
    calls = record(rng, files(fails))
    found = []
    for _ in range(states):
        before = calls[: rng.randrange(len(calls) + 1)]
        wrong = fault(state_after(rng, before), before)
        if wrong is not None:
            found.append(f"seed {seed}: {wrong}")
    return found
