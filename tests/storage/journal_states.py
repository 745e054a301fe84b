"""What a disk may hold after a crash in the middle of a journal (see `crash_states`).

Hosts of growing epochs journal, save, take over from each other and fail. Wherever the system
crashes, the file and the journal must load, and lead at least to the last acknowledged version. A
host may have the copy of a survivor that was behind, and what the journal has beyond it.
"""

from __future__ import annotations

import copy
import random
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any
from unittest import mock

from memsync.document import replay
from memsync.errors import StorageError
from memsync.options.keep import Keep
from memsync.replication.codec import HEADER, decode_entry, frame
from memsync.replication.entries import Entry
from memsync.replication.log import Log
from memsync.storage import journal as journal_module
from memsync.storage.bases import Bases
from memsync.storage.file_layer import FileLayer
from memsync.storage.journal import Journal
from memsync.storage.journal_folder import JournalFolder
from memsync.storage.loading import journalled, with_journal
from memsync.storage.local_file import LocalFile
from memsync.storage.snapshot_file import NOTHING, Pair, head, parse
from memsync.storage.targets import NotHost

from .crash_states import PATH, Call, RecordingFiles, names_in, state_after

SEGMENT_BYTES = 900
KEEP = Keep(6000, None)


class StateFiles(FileLayer):
    """The files of one state, for reading."""

    def __init__(self, state: dict[str, bytes]) -> None:
        self._state = state

    def read(self, path: str, most: int = -1) -> bytes | None:
        text = self._state.get(path)
        return text if text is None or most < 0 else text[:most]

    def names(self, folder: str) -> list[str]:
        return names_in(folder, self._state)


class NotedJournal(Journal):
    """Notes where it begins behind a gap."""

    gap = 0

    def _begin_at(self, pair: Pair) -> None:
        self.gap = pair[1]
        super()._begin_at(pair)


class Life:
    """The hosts of one object, in one process, step by step and without threads."""

    def __init__(self, rng: random.Random, files: RecordingFiles) -> None:
        self.documents: dict[tuple[int, int], dict[str, Any]] = {(0, 0): {}}
        self._rng = rng
        self._files = files
        self._document: dict[str, Any] = {}
        self._epoch = self._version = 0
        self._log = Log(0, 0, max_entries=rng.choice([3, 1000]), max_bytes=1 << 20)
        self._gap = 0  # no survivor is behind the last gap
        self._epochs = [0]  # of the versions that lead to the present one
        self.histories = {(0, 0): self._epochs}
        self.take_over()

    def take_over(self) -> None:
        """The next host begins: a survivor, which may have missed what was ordered last."""
        if self._epoch:
            self._survive(self._version - self._rng.choice([0, 0, 1, 6]))
        self._epoch += 1
        participant: Any = SimpleNamespace(
            name="crash",
            guard=nullcontext(),
            log=self._log,
            state=SimpleNamespace(pair=(self._epoch - 1, self._version), cluster_id="c"),
        )
        self._participant = participant
        self._bases = Bases(PATH, KEEP, 1500, self._files)
        self._order("epoch", {})
        self._journal = NotedJournal(
            participant,
            PATH,
            self._epoch,
            lambda: True,
            self._acknowledge,
            lambda: None,
            lambda: None,
            self._files,
        )
        self._journal._log = self._log.copy()

    def _survive(self, version: int) -> None:
        """Go on with the copy of a survivor, and what the journal has behind it."""
        held, folder = self._log, JournalFolder(PATH, self._files)
        first = folder.head(0).version if folder.segments else 0
        self._gap = max(self._gap, self._journal.gap)
        version = max(version, held.base_version, first, self._gap)
        epoch = held.epoch_at(held.base_version) or 0
        self._log = Log(
            epoch, held.base_version, max_entries=held.max_entries, max_bytes=held.max_bytes
        )
        history = held.history(0)
        entries = [decode_entry(body) for body in history.bodies] if history else []
        entries = [each for each in entries if each.version <= version]
        entries += journalled(PATH, (held.epoch_at(version) or 0, version), "c", self._files)
        for entry in entries:
            self._log.append(entry, frame(entry)[HEADER:])
        self._version = self._log.version
        pair = self._log.epoch_at(self._version) or 0, self._version
        self._document = copy.deepcopy(self.documents[pair])
        self._epochs = self.histories[pair]

    def _acknowledge(self, version: int) -> None:
        epoch = self._epochs[version]
        self._files.calls.append(Call("acknowledged", version=version, epoch=epoch))

    def _order(self, kind: str, body: Any) -> Entry:
        self._version += 1
        entry = Entry(self._epoch, self._version, "p", 0, self._version << 16, kind, body)
        self._log.append(entry, frame(entry)[HEADER:])
        self._participant.state.pair = (self._epoch, self._version)
        self.documents[self._epoch, self._version] = copy.deepcopy(self._document)
        self._epochs = self.histories[self._epoch, self._version] = [*self._epochs, self._epoch]
        return entry

    def write(self) -> None:
        key = f"k{self._rng.randrange(6)}"
        value = "x" * self._rng.choice([1, 20, 700])
        operations = [{"op": "add", "path": f"/{key}", "value": f"{self._version}{value}"}]
        replay(self._document, operations)
        self._journal.append(frame(self._order("patch", operations)))

    def advance(self, *, wants: bool) -> None:
        """One step of the journal's thread."""
        if wants:
            self._journal.want(self._version)
        try:
            self._journal._advance()
        except (OSError, StorageError):
            self._journal._close_segment()

    def save(self) -> None:
        pair = self._epoch, self._version
        text = repr(self._document).replace("'", '"').encode()
        pieces = [head("c", *pair, 0), text, b"}\n"]
        try:
            LocalFile(PATH, self._files).write(pieces, lambda start: None)
        except StorageError:
            return
        begins_at = self._journal.begins_at
        begins = begins_at is not None and pair >= begins_at
        self._bases.saved(pair, self._files.checksum(PATH), begins=begins)
        self._journal.saved(pair)
        self.advance(wants=False)


def record(rng: random.Random, files: RecordingFiles) -> Life:
    """Some steps of some hosts; `files.calls` has the record."""
    with mock.patch.object(journal_module, "SEGMENT_BYTES", SEGMENT_BYTES):
        life = Life(rng, files)
        for _ in range(rng.randrange(5, 60)):
            match rng.choice("wwwwwaddddst" if rng.random() < 0.9 else "t"):
                case "w":
                    life.write()
                case "a":
                    life.advance(wants=False)
                case "d":
                    life.advance(wants=True)
                case "s":
                    life.save()
                case "t":
                    life.take_over()
    return life


def fault(state: dict[str, bytes], calls: list[Call], life: Life) -> str | None:
    """What is wrong with a state of the disk."""
    durable = {c.version: c.epoch for c in calls if c.kind == "acknowledged"}
    try:
        saved = parse(state[PATH], PATH) if PATH in state else NOTHING
        saved = with_journal(saved, PATH, StateFiles(state))
    except StorageError as error:
        return str(error)
    history = life.histories[saved.pair]
    for version, epoch in durable.items():
        if history[version : version + 1] != [epoch]:
            return f"version {version} of epoch {epoch} is gone, there is {saved.pair}"
    if saved.data is not None and saved.data != life.documents[saved.pair]:
        return f"version {saved.pair} is another object"
    return None


def check(seed: int, states: int = 10, files: type[RecordingFiles] = RecordingFiles) -> list[str]:
    """Crash at random points of one record; returns what is wrong."""
    rng = random.Random(seed)
    fails = frozenset(rng.sample(range(1, 40), rng.choice([0, 0, 1, 3])))
    recorder = files(fails)
    try:
        life = record(rng, recorder)
    except NotHost:
        return [f"seed {seed}: the host ended"]
    calls, found = recorder.calls, []
    for _ in range(states):
        before = calls[: rng.randrange(len(calls) + 1)]
        wrong = fault(state_after(rng, before), before, life)
        if wrong is not None:
            found.append(f"seed {seed}: {wrong}")
    return found
