"""The managers of multiprocessing: one process holds the object, the others call it.

They replicate nothing and notify nobody, so their followers do nothing. The server runs in a
process of its own, as `multiprocessing.Manager` has it, on a Unix socket.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from multiprocessing import current_process
from multiprocessing.managers import DictProxy, SyncManager
from pathlib import Path
from typing import Any

from .base import Client, System

KEY = b"benchmark"


class Counters:
    """What a program that knows managers writes instead of a dict and a Lock."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = dict(data)
        self._lock = threading.Lock()

    def get(self, key: str) -> Any:
        return self._data[key]

    def increment(self, key: str) -> int:
        with self._lock:
            self._data[key] += 1
            return int(self._data[key])


class SharedManager(SyncManager): ...


_shared: dict[str, Any] = {}  # of the serving process


def _shared_dict() -> Any:
    return _shared["dict"]


def _shared_lock() -> Any:
    return _shared["lock"]


def _shared_counters() -> Any:
    return _shared["counters"]


SharedManager.register("shared_dict", _shared_dict, DictProxy)
SharedManager.register("shared_lock", _shared_lock, exposed=("acquire", "release"))
SharedManager.register("shared_counters", _shared_counters)


def _connect(folder: Path) -> Any:
    current_process().authkey = KEY
    manager = SharedManager(str(folder / "s"), KEY)
    manager.connect()
    return manager


class ManagerClient(Client):
    def __init__(self, folder: Path) -> None:
        self._manager = _connect(folder)
        self.dict = self._manager.shared_dict()

    def read_statement(self) -> tuple[str, dict[str, Any]]:
        return "d['k']", {"d": self.dict}

    def write(self, times: int) -> None:
        shared = self.dict
        for number in range(times):
            shared["n"] = number

    def count(self) -> int:
        return int(self.dict["n"])

    def fill(self, keys: Mapping[str, Any]) -> None:
        self.dict.update(keys)

    def copy(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.dict.copy()
        return found

    def write_text(self, text: str) -> None:
        self.dict["text"] = text


class LockClient(ManagerClient):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._lock = self._manager.shared_lock()

    def increment(self, times: int) -> None:
        acquire, release, shared = self._lock.acquire, self._lock.release, self.dict
        for _ in range(times):
            acquire()
            try:
                shared["n"] += 1
            finally:
                release()


class CountersClient(ManagerClient):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._counters = self._manager.shared_counters()

    def write(self, times: int) -> None:
        increment = self._counters.increment
        for _ in range(times):
            increment("n")

    def count(self) -> int:
        return int(self._counters.get("n"))


class ManagerDict(System):
    name = "Manager: dict"

    def serve(self) -> Any:
        current_process().authkey = KEY
        _shared.update(dict=dict(self.data), lock=threading.Lock(), counters=Counters(self.data))
        server = SharedManager(str(self.folder / "s"), KEY).get_server()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def connect(self, number: int) -> Client:
        return ManagerClient(self.folder)


class ManagerLock(ManagerDict):
    name = "Manager: dict with Lock"

    def connect(self, number: int) -> Client:
        return LockClient(self.folder)


class ManagerMethod(ManagerDict):
    name = "Manager: own class"

    def connect(self, number: int) -> Client:
        return CountersClient(self.folder)
