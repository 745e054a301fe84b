"""What each worker of the demo does: claim a file, count its words, write the counts, again.

A claim is one update, and so is a result: the counts and "done" go in together, guarded by a
``where`` on the file's state. So each file counts once, however many hosts die meanwhile, and the
file of a worker that died in the middle is simply claimed by another one.

The shared object::

    files     [{"path", "state": "free", the id of the peer that has it in hand, or "done"}, ...]
    counts    {word: how often}
    done      number of files that are done         words   number of words in them
    done_by   {process id: files it has done}, with a 0 from each worker that has joined
    stage     "joining" -> "before" -> "held" -> "after" -> "over"
    held      index of the file which the host has in hand while it is killed
    problem   what a worker could not go on with, or null

The stages make sure that the host is killed with a file in hand, even if there is only one file.
The parent begins "before" when all have joined. The last file is then left for the host. Once half
of the files are done, the host's next claim begins "held", in which it waits for its end. The
parent kills it and begins "after". Without a kill, "after" comes at once.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from ..errors import ConditionError
from ..peer import MemSync
from .pool import end_with_parent, set_up_logging
from .words import count_words, decode_path, encode_path, field_for

FREE, DONE = "free", "done"
NET = 0.2  # seconds between looks; a member that leaves is no patch, so nothing else would wake us


def shared_object(paths: list[Path]) -> dict[str, Any]:
    """The object as the first worker founds it."""
    return {
        "files": [{"path": encode_path(path), "state": FREE} for path in paths],
        "counts": {},
        "done": 0,
        "words": 0,
        "done_by": {},
        "stage": "joining",
        "held": None,
        "problem": None,
    }


def work(mem: MemSync[Any], verbose: bool, number: int, workers: int) -> None:
    """Run a worker: the handle came by pickle, and joins as a peer of its own."""
    set_up_logging(verbose)
    end_with_parent()
    with mem:
        Worker(mem, first=len(mem.data["files"]) * number // workers).run()


class Worker:
    """A loop of claims and results; `first` is the index of the file to begin with."""

    def __init__(self, mem: MemSync[Any], first: int) -> None:
        self._mem = mem
        self._total = len(mem.data["files"])
        self._cursor = first  # workers begin at different files, so they rarely want the same one
        self._changed = threading.Event()

    def run(self) -> None:
        """Count files until the parent says that it is over."""
        with (
            self._mem.on("received_patches", self._wake),
            self._mem.on("host_changed", self._wake),
        ):
            self._mem.patch({"$set": {f"done_by.{os.getpid()}": 0}})
            while (stage := self._mem.data["stage"]) != "over":
                claim = self._next_claim() if stage != "joining" else None
                if claim is None:
                    self._wait_for_change()
                elif self._claim(*claim):
                    self.count(claim[0])

    def _wake(self, _: object) -> None:
        self._changed.set()

    def _wait_for_change(self) -> None:
        self._changed.wait(NET)
        self._changed.clear()  # the caller looks after this, so no change is missed

    def _next_claim(self) -> tuple[int, str] | None:
        """The index and state of a file to claim: a free one, or one that a dead worker had."""
        files = self._mem.data["files"]
        for step in range(self._total):
            index = (self._cursor + step) % self._total
            if files[index]["state"] == FREE and not self._is_reserved(index):
                self._cursor = index
                return index, FREE
        states = [file["state"] for file in files]
        # The members are read last: whoever has a file above had joined before.
        others = {FREE, DONE, self._mem.id, *(peer["id"] for peer in self._mem.peers)}
        return next(((i, state) for i, state in enumerate(states) if state not in others), None)

    def _is_reserved(self, index: int) -> bool:
        last = index == self._total - 1
        return last and self._mem.data["stage"] == "before" and not self._is_doomed()

    def _is_doomed(self) -> bool:
        """Whether this worker is the one to be killed, with its next file in hand."""
        data = self._mem.data
        if data["stage"] != "before" or data["done"] < self._total // 2:
            return False
        return bool(self._mem.get_status()["status"] == "host")

    def _claim(self, index: int, state: str) -> bool:
        """Make a file ours; False when another worker was faster."""
        where = {f"files.{index}.state": state}
        change: dict[str, Any] = {f"files.{index}.state": self._mem.id}
        if doomed := self._is_doomed():
            where["stage"] = "before"
            change |= {"stage": "held", "held": index}
        try:
            self._mem.patch({"$set": change}, where=where)
        except ConditionError:
            return False
        while doomed and self._mem.data["stage"] == "held":
            self._wait_for_change()
        return True

    def count(self, index: int) -> None:
        """Count the words of a file that is ours, and write the result.

        Raises `ConditionError` when the file is not ours any more; nothing is written then.
        """
        path = decode_path(self._mem.data["files"][index]["path"])
        try:
            counts = count_words(path)
        except OSError as error:
            problem = f"{encode_path(path)} cannot be read: {error.strerror}"
            self._mem.patch({"$set": {"problem": problem}})
            return
        changes = {f"counts.{field_for(word)}": number for word, number in counts.items()}
        changes |= {"done": 1, "words": counts.total(), f"done_by.{os.getpid()}": 1}
        self._mem.patch(
            {"$inc": changes, "$set": {f"files.{index}.state": DONE}},
            where={f"files.{index}.state": self._mem.id},
        )
