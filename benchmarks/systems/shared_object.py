"""memsync itself: the first process hosts, the others are clients."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from memsync import MemSync
from memsync.manager.folder.held_file import Files

from .base import Client, System

NAME = "benchmark"


class Handle(Client):
    def __init__(self, mem: MemSync[Any]) -> None:
        self.mem = mem
        mem.start()

    def read_statement(self) -> tuple[str, dict[str, Any]]:
        return "mem.data['k']", {"mem": self.mem}

    def write(self, times: int) -> None:
        patch = self.mem.patch
        for _ in range(times):
            patch({"$inc": {"n": 1}})

    def increment_pipelined(self, times: int) -> None:
        submit = self.mem.submit
        last: Future[int] | None = None
        for _ in range(times):
            last = submit({"$inc": {"n": 1}})
        if last is not None:  # the outcomes of one process have one order
            last.result()

    def count(self) -> int:
        return int(self.mem.data["n"])

    def fill(self, keys: Mapping[str, Any]) -> None:
        self.mem.patch({"$set": keys})

    def copy(self) -> Mapping[str, Any]:
        data: Mapping[str, Any] = self.mem.data  # it is here already
        return data

    def write_text(self, text: str) -> None:
        self.mem.patch({"$set": {"text": text}})

    def close(self) -> None:
        self.mem.stop()


class SharedObject(System):
    name = "memsync"

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        self.options = options

    def of_checkout(self, folder: Path, checkout: Path, name: str) -> SharedObject:
        """The same with memsync from a checkout; in the new folder only this is to be found."""
        folder.mkdir()
        (folder / "memsync").symlink_to(checkout.resolve() / "memsync")
        found = SharedObject(self.options)
        found.name, found.path = name, folder
        return found

    def environment(self) -> dict[str, str]:
        return {"MEMSYNC_DIR": str(self.folder)}

    def serve(self) -> Client:
        return Handle(MemSync(NAME, self.data, self.options))

    def connect(self, number: int) -> Client:
        return Handle(MemSync(NAME, None, self.options))

    def remove_files(self) -> None:
        remove_witnesses(self.folder)


def remove_witnesses(folder: Path) -> None:
    """Remove the second locks of the objects in a folder, which are outside of it."""
    for place in folder.glob("*.d"):
        for witnesses in Files().existing_witnesses(place):
            shutil.rmtree(witnesses, ignore_errors=True)
