"""diskcache: SQLite and files. It pushes nothing: a process sees a write when it reads."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from .base import Client, System


class DiskCacheClient(Client):
    def __init__(self, folder: Path) -> None:
        diskcache: Any = import_module("diskcache")
        self.cache = diskcache.Cache(str(folder))

    def read_statement(self) -> tuple[str, dict[str, Any]]:
        return "cache['k']", {"cache": self.cache}

    def write(self, times: int) -> None:
        increment = self.cache.incr
        for _ in range(times):
            increment("n")

    def count(self) -> int:
        return int(self.cache["n"])

    def fill(self, keys: Mapping[str, Any]) -> None:
        with self.cache.transact():
            for key, value in keys.items():
                self.cache[key] = value

    def copy(self) -> Mapping[Any, Any]:
        return {key: self.cache[key] for key in self.cache}

    def write_text(self, text: str) -> None:
        self.cache["text"] = text

    def close(self) -> None:
        self.cache.close()


class DiskCache(System):
    name = "diskcache"
    packages = ("diskcache",)

    def serve(self) -> Client:
        client = DiskCacheClient(self.folder)
        client.fill(self.data)
        return client

    def connect(self, number: int) -> Client:
        return DiskCacheClient(self.folder)
