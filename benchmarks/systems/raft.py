"""PySyncObj: a replicated counter and dict by Raft, over TCP on the loopback interface."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from .base import Client, System

PATIENCE = 20.0


class RaftClient(Client):
    def __init__(self, own: str, others: list[str], data: Mapping[str, Any]) -> None:
        core: Any = import_module("pysyncobj")
        batteries: Any = import_module("pysyncobj.batteries")
        self.counter, self.dict = batteries.ReplCounter(), batteries.ReplDict()
        logging.disable()  # it logs a line for many of the writes
        # Batches wait for the next period of 0.1 s, so that a single write takes 100 to 200 ms.
        settings = core.SyncObjConf(appendEntriesUseBatch=False)
        self.object = core.SyncObj(own, others, settings, consumers=[self.counter, self.dict])
        deadline = time.monotonic() + PATIENCE
        while not self.object.isReady():
            if time.monotonic() > deadline:
                raise TimeoutError("the group finds no leader")
            time.sleep(0.01)
        self.dict.set("k", data["k"], sync=True, timeout=PATIENCE)

    def read_statement(self) -> tuple[str, dict[str, Any]]:
        return "d['k']", {"d": self.dict}

    def write(self, times: int) -> None:
        increment = self.counter.inc
        for _ in range(times):
            increment(sync=True, timeout=PATIENCE)

    def increment_pipelined(self, times: int) -> None:
        is_over = threading.Event()

        def is_acknowledged(result: Any, error: Any) -> None:
            is_over.set()

        for _ in range(times - 1):
            self.counter.inc(callback=_ignored)
        self.counter.inc(callback=is_acknowledged)
        if not is_over.wait(PATIENCE):
            raise TimeoutError("the last increment is not acknowledged")

    def count(self) -> int:
        return int(self.counter.get())

    def fill(self, keys: Mapping[str, Any]) -> None:
        self.dict.update(keys, sync=True, timeout=PATIENCE)

    def copy(self) -> Mapping[Any, Any]:
        found: Mapping[Any, Any] = self.dict.rawData()
        return found

    def write_text(self, text: str) -> None:
        self.dict.set("text", text, sync=True, timeout=PATIENCE)

    def close(self) -> None:
        self.object.destroy()


def _ignored(result: Any, error: Any) -> None: ...


class PySyncObj(System):
    name = "PySyncObj"
    packages = ("pysyncobj",)

    def prepare(self, folder: Path, size: int) -> None:
        super().prepare(folder, size)
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(size + 1)]
        self._addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
        for each in sockets:
            each.close()

    def serve(self) -> Client:
        return self._join(0)

    def connect(self, number: int) -> Client:
        return self._join(number + 1)

    def _join(self, place: int) -> Client:
        own = self._addresses[place]
        return RaftClient(own, [each for each in self._addresses if each != own], self.data)
