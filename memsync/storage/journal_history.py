"""Looking back in the journal of a file: which versions it has, and the object at one of them.

All lines are checked. The object is built with `jsonpatch` alone, from the last whole object before
the wanted version: a base of the journal, or the file itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..document import MISSING, Operation, to_plain
from ..errors import StorageError, UsageError
from .file_layer import FileLayer
from .journal_folder import JournalFolder
from .journal_line import NO_LINE, Line
from .local_file import LocalFile
from .segments import Base, contents, damage
from .snapshot_file import NOTHING, Pair, SavedObject, parse


class Run(NamedTuple):
    """Versions that can be had without a gap; `wholes` are the whole objects among them."""

    wholes: tuple[Pair, ...]
    end: Pair

    @property
    def start(self) -> Pair:
        """The first version."""
        return self.wholes[0]


class JournalHistory:
    """What a file and its journal have; all methods raise `StorageError` for what is damaged."""

    def __init__(
        self, path: str, files: FileLayer | None = None, *, leave_out: bool = False
    ) -> None:
        """With `leave_out`, segments whose head is damaged are left out."""
        self.path = path
        self.notes: list[str] = []
        """What is not as it should be, and is no reason to stop: after `lines`."""
        self.folder = JournalFolder(path, files, leave_out=leave_out)
        self._files = files or FileLayer()
        self.file = NOTHING
        text = LocalFile(path).read()
        if not self.folder.segments and not self.folder.bases:
            also = "" if text is not None else f"there is no file {path}, and "
            raise UsageError(
                f"{path} has no journal: {also}the folder {self.folder.path} is missing or empty; "
                "a host writes it with the option file.journal"
            )
        self.file_error: str | None = None
        try:
            self.file = NOTHING if text is None else parse(text, path)
        except StorageError as error:
            self.file_error = str(error)

    # -- reading and checking --------------------------------------------------------------------

    def lines(self) -> Iterator[Line]:
        """The heads and the entries that count, of all segments; every line is checked.

        Raises `StorageError` with the segment, the line and the fault.
        """
        folder = self.folder
        self.notes = [
            f"{folder.path_of(segment)}, line 1: it is torn, and nothing in this segment counts"
            for segment in contents(folder.path, self._files)[0]
            if segment not in folder.segments
        ]
        self._check_begin()
        last: Line | None = None
        for index in range(len(folder.segments)):
            if last is not None:
                folder.leads_on(index, last)
            end, lines = folder.end_of(index), folder.lines(index)
            for line in lines:
                if line.synced is None and (end is None or line.version <= end):
                    last = line
                    yield line
            if lines.cut is not None:
                if end is not None and (last is None or last.version < end):
                    raise damage(lines.path, lines.cut, last)
                self.notes.append(
                    f"{lines.path}, line {lines.cut.line}: it and what follows does not count: "
                    f"{lines.cut.why}"
                )
        if last is not None and self.file.pair[1] > last.version and not self._is_led_to(last):
            self.notes.append(
                f"{folder.path_of(folder.segments[-1])}: the journal ends with version "
                f"{last.version}, and the file has version {self.file.pair[1]}: lines are missing "
                "at its end, unless a host is about to write them, or goes on without a journal"
            )

    def _check_begin(self) -> None:
        """Whether the first segment follows a line that a base leads to, and that is not there."""
        folder = self.folder
        if not folder.segments or not folder.bases:
            return
        first, oldest = folder.head(0), folder.bases[0]
        if oldest.version < first.version and int(first.before, 16) != NO_LINE:
            raise StorageError(
                f"{folder.path_of(folder.segments[0])}, line 1: the journal is damaged: it follows "
                f"version {first.version} of a segment that is missing or has no first line"
            )

    def _is_led_to(self, last: Line) -> bool:
        """Whether another object begins behind the last line: it was restored, for example."""
        epoch = self.folder.segments[-1].epoch
        return any(last.version < b.version and epoch < b.epoch for b in self.folder.bases)

    def runs(self, until: int | None = None) -> list[Run]:
        """Check all lines; the versions that can be had, the oldest first.

        With `until`, in milliseconds since 1970, only those before the first entry that is later.
        """
        all_wholes = self._all_wholes()
        found: list[Run] = []
        wholes: list[Pair] = []  # in this part without a gap
        last = (0, 0)
        is_over = False
        for line in self.lines():
            is_late = until is not None and line.is_entry and line.timestamp > until
            if is_over or is_late:
                is_over = True  # the rest is only checked
                continue
            if line.is_entry or line.pair != last:
                if not line.is_entry and wholes:
                    found.append(Run(tuple(wholes), last))
                    wholes = []
                if line.pair in all_wholes:
                    wholes.append(line.pair)
            last = line.pair
        if wholes:
            found.append(Run(tuple(wholes), last))
        found = [run for run in found if self._is_as_old(run, until)]
        for whole in all_wholes.difference(*(run.wholes for run in found)):
            if self._is_its_own(whole, found, until):
                found.append(Run((whole,), whole))
        return sorted(found, key=lambda run: run.end[1])

    def _is_its_own(self, whole: Pair, found: list[Run], until: int | None) -> bool:
        """Whether a whole object counts to which no line leads, and is no replaced host's."""
        if any(run.start[1] <= whole[1] <= run.end[1] for run in found):
            return False
        return self._is_as_old(Run((whole,), whole), until)

    def _is_as_old(self, run: Run, until: int | None) -> bool:
        """Whether a part begins before a time: the time of its first entry, or of its object."""
        return until is None or self._has_time(run) or self.whole(run.start).timestamp <= until

    def _has_time(self, run: Run) -> bool:
        """Whether an entry behind the first version has a time; those of joins have none."""
        for line in self.folder.after(run.start) if run.start != run.end else ():
            if line.version > run.end[1]:
                return False
            if line.timestamp:
                return True
        return False

    def _all_wholes(self) -> set[Pair]:
        wholes = {base.pair for base in self.folder.bases}
        return wholes if self.file.data is None else {*wholes, self.file.pair}

    def whole(self, pair: Pair) -> SavedObject:
        """The whole object at a pair, from a base or the file."""
        base = Base(pair[1], pair[0])
        path = self.folder.path_of(base) if base in self.folder.bases else self.path
        saved = parse(LocalFile(path).read() or b"", path)
        if saved.pair != pair:
            raise StorageError(f"{path} has version {saved.pair[1]}, not version {pair[1]}")
        return saved

    # -- objects ---------------------------------------------------------------------------------

    def object_at(self, version: int | None = None, until: int | None = None) -> SavedObject:
        """The object at a version, or before the first entry after a time; else the newest one.

        Raises `UsageError` for what the journal has not.
        """
        runs = self.runs(until)
        if version is None and runs:
            version = runs[-1].end[1]
        for run in runs:
            if version is not None and run.start[1] <= version <= run.end[1]:
                return self._replayed(run, version)
        what = "an object as old as that" if version is None else f"version {version}"
        held = ", ".join(f"{run.start[1]} to {run.end[1]}" for run in runs or self.runs())
        raise UsageError(
            f"{self.path}: {what} cannot be had: its journal has the versions {held or 'none'}",
            oldest=runs[0].start[1] if runs else None,
            newest=runs[-1].end[1] if runs else None,
        )

    def object_near(self, version: int) -> SavedObject:
        """The object at a version; only lines that lead to it from a whole object are checked.

        Raises `UsageError` if none lead there.
        """
        failure: StorageError | None = None
        for start in sorted(self._all_wholes(), key=lambda pair: pair[1], reverse=True):
            if start[1] <= version:
                try:
                    return self._replayed(Run((start,), start), version)
                except StorageError as error:  # for example, of a host that was replaced
                    failure = failure or error
        why = f": {failure}" if failure else ", which begins later"
        raise UsageError(f"version {version} cannot be had from the journal of {self.path}{why}")

    def _replayed(self, run: Run, version: int) -> SavedObject:
        start = max(pair for pair in run.wholes if pair[1] <= version)
        saved = self.whole(start)
        replay = Replay(saved.data)
        pair, timestamp = start, saved.timestamp
        for line in self.folder.after(start) if version > start[1] else ():
            replay.apply(line)
            pair, timestamp = line.pair, max(timestamp, line.timestamp)
            if line.version == version:
                break
        if pair[1] != version:
            raise StorageError(f"{self.path}: no line leads from version {pair[1]} to {version}")
        return SavedObject(replay.document, pair, timestamp)


class Replay:
    """A document to which lines are applied with `jsonpatch` alone."""

    def __init__(self, document: Any) -> None:
        from jsonpatch import JsonPatch
        from jsonpointer import JsonPointer

        self.document = document
        self._patch, self._pointer = JsonPatch, JsonPointer

    def apply_one(self, operation: Operation) -> None:
        """Apply an operation that is known to fit."""
        self.document = self._patch([operation]).apply(self.document, in_place=True)

    def value_at(self, pointer: str) -> Any:
        """A copy of the value at an RFC 6901 pointer; MISSING where there is none."""
        return to_plain(self._pointer(pointer).resolve(self.document, MISSING))

    def is_in_array(self, pointer: str) -> bool:
        """Whether a pointer leads to an element of an array."""
        parent = pointer.rpartition("/")[0]
        return bool(pointer) and isinstance(
            self._pointer(parent).resolve(self.document, None), list
        )

    def apply(self, line: Line, patch: list[Operation] | None = None) -> None:
        """Apply a line, or a part of its patch; raises `StorageError` if it does not fit."""
        patch = line.patch if patch is None else patch
        if not patch:
            return
        try:
            self.document = self._patch(patch).apply(self.document, in_place=True)
        except Exception as error:
            raise StorageError(
                f"version {line.version} of the journal does not fit the version before it: {error}"
            ) from error
