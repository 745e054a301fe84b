"""UltraDict: a dict in shared memory. It pushes nothing: a process sees a write when it reads."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from .base import Client, System

BUFFER = 1 << 20  # bytes


class UltraDictClient(Client):
    def __init__(self, name: str, data: Mapping[str, Any] | None = None) -> None:
        module: Any = import_module("UltraDict")
        create = data is not None
        self.dict = module.UltraDict(
            data or {}, name=name, create=create, shared_lock=True, buffer_size=BUFFER
        )

    def read_statement(self) -> tuple[str, dict[str, Any]]:
        return "d['k']", {"d": self.dict}

    def write(self, times: int) -> None:
        shared = self.dict
        for number in range(times):
            shared["n"] = number

    def increment(self, times: int) -> None:
        shared = self.dict
        for _ in range(times):
            with shared.lock:
                shared["n"] += 1

    def count(self) -> int:
        return int(self.dict["n"])

    def fill(self, keys: Mapping[str, Any]) -> None:
        self.dict.update(keys)

    def copy(self) -> Mapping[str, Any]:
        return dict(self.dict)

    def write_text(self, text: str) -> None:
        self.dict["text"] = text

    def close(self) -> None:
        self.dict.close()


class UltraDict(System):
    name = "UltraDict"
    packages = ("UltraDict", "atomics")

    def serve(self) -> Client:
        return UltraDictClient(self._name(), self.data)

    def connect(self, number: int) -> Client:
        return UltraDictClient(self._name())

    def _name(self) -> str:
        return f"{self.folder.parent.name}-{self.folder.name}"
