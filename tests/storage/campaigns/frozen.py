"""Hosts that are suspended in the middle of a save, and wake up when another one has saved."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

from memsync import MemSync
from memsync.errors import StorageError
from memsync.storage.file_layer import FileLayer
from memsync.storage.local_file import LocalFile
from memsync.storage.object_store import StoredObject
from memsync.storage.snapshot_file import SavedObject, parse
from memsync.testing import Cluster, until

from ..moto_server import environment, moto_server

BUCKET = "memsync-frozen"
LEASE = 1.0  # seconds
AWAKE = 60.0  # seconds in which a host that goes on becomes a client, at most

CALLS: dict[str, tuple[type[Any], str]] = {
    "writing": (FileLayer, "write"),
    "syncing": (FileLayer, "sync"),
    "before the lock": (FileLayer, "locked"),
    "under the lock": (FileLayer, "replace"),  # the one in which no other host can save
    "before the put": (StoredObject, "_put"),
}
"""Where a host is suspended: immediately before a call."""


def suspend_before(mem: MemSync[Any], point: str) -> None:
    """Suspend this process when its next save comes to a point."""
    owner, name = CALLS[point]
    original = getattr(owner, name)

    def suspend(self: Any, *args: Any) -> Any:
        setattr(owner, name, original)
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(0.1)  # it may take effect a moment later
        return original(self, *args)

    setattr(owner, name, suspend)


def keep_temporary_files(mem: MemSync[Any]) -> None:
    """Or the save of the host that wakes up fails because its file is gone."""
    LocalFile.prepare = lambda self: None  # type: ignore[method-assign]


def submit(mem: MemSync[Any], update: Any) -> None:
    mem.submit(update)


def flush(mem: MemSync[Any]) -> None:
    mem.flush(timeout=20)


def savers(mem: MemSync[Any]) -> int:
    """The threads of this process that save."""
    return sum(thread.name == "memsync-saver" for thread in threading.enumerate())


class Frozen:
    """A group whose host is suspended at one point of a save."""

    def __init__(self, point: str, url: str, read: Callable[[], bytes | None]) -> None:
        self.point = point
        self._url, self._read = url, read
        self._cluster = Cluster("frozen-" + point.replace(" ", "-"))
        options = {"file": {"path": url, "debounce": 0}, "network": {"lease": LEASE}}
        self._host = self._cluster.peer({"n": 0}, options)
        self._client = self._cluster.peer()
        self._n = 1

    def begin(self) -> None:
        """Suspend the host, and have another one save, if it can."""
        self._client.run(flush)
        self._client.run(keep_temporary_files)
        self._host.run(suspend_before, self.point)
        self._client.run(submit, {"$set": {"n": 1}})
        until(self._is_suspended, timeout=AWAKE)
        self.write()

    def write(self) -> None:
        """Write, and save if the suspended host does not keep the lock."""
        self._n += 1
        self._client.patch({"$set": {"n": self._n}}, timeout=AWAKE)
        if self.point != "under the lock":
            self._client.run(flush)

    def end(self) -> list[str]:
        """Let the host go on; returns what is wrong."""
        wrong, before = [], self._saved()
        is_kept = self.point == "under the lock"
        if is_kept == (before.data == {"n": self._n}):
            wrong.append(f"{self.point}: the next host has saved {before.data}")
        if is_kept:
            until(self._says_who_is_in_the_way, timeout=AWAKE)
        self._host.resume()
        until(lambda: self._host.status()["status"] == "client", timeout=AWAKE)
        until(lambda: self._host.run(savers) == 0, timeout=AWAKE)
        if is_kept:
            until(lambda: self._saved().data == {"n": self._n}, timeout=AWAKE)
        elif self._saved() != before:
            wrong.append(f"{self.point}: {self._saved()} has replaced {before}")
        self.write()
        self._client.run(flush)
        if self._saved().data != {"n": self._n}:
            wrong.append(f"{self.point}: the next host does not go on saving")
        return wrong

    def close(self) -> None:
        self._cluster.close()

    def _says_who_is_in_the_way(self) -> bool:
        return "lock of this folder" in str(self._client.status()["storage"]["error"])

    def _saved(self) -> SavedObject:
        text = self._read()
        assert text is not None
        return parse(text, self._url)

    def _is_suspended(self) -> bool:
        with open(f"/proc/{self._host.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"


def run(
    seconds: int, seed: int, folder: Path, points: Iterable[str] = CALLS
) -> tuple[str, list[str]]:
    """Suspend a host at each point for so long; returns a line of figures, and what was wrong."""
    wrong = []
    with ExitStack() as stack:
        groups = []
        for point in points:
            if CALLS[point][0] is StoredObject:
                groups.append(_in_a_bucket(stack, point))
                continue
            path = folder / point.replace(" ", "-") / "state.json"  # the lock is the folder's
            groups.append(Frozen(point, str(path), path.read_bytes))
            stack.callback(groups[-1].close)
        for group in groups:
            group.begin()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(1)
            for group in groups:
                group.write()
        for group in groups:
            try:
                wrong += group.end()
            except (AssertionError, StorageError) as error:
                wrong.append(f"{group.point}: {error}")
    names = ", ".join(group.point for group in groups)
    return (
        f"hosts suspended for {seconds} s at {len(groups)} points ({names}), {len(wrong)} wrong",
        wrong,
    )


def _in_a_bucket(stack: ExitStack, point: str) -> Frozen:
    import boto3

    address = f"http://127.0.0.1:{stack.enter_context(moto_server())}"
    stack.enter_context(mock.patch.dict(os.environ, environment(address)))
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket=BUCKET)
    url = f"s3://{BUCKET}/state.json"
    frozen = Frozen(point, url, StoredObject(url, fenced=True).read)
    stack.callback(frozen.close)
    return frozen
