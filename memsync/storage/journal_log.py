"""Who wrote what, when, and over what: the entries of a journal with the values they replaced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..document import MISSING, Operation, identical, to_plain
from ..replication.compile_proposal import node_at
from ..replication.kinds.member import MemberKind
from .journal_history import JournalHistory, Replay
from .journal_line import Line, entry_of


class Logged(NamedTuple):
    """One change of a value, or an event; `old` and `new` are MISSING where there is no value.

    `is_known` says whether the journal knows the old value.
    """

    version: int
    epoch: int
    timestamp: int  # milliseconds since 1970
    peer: str
    pid: int | None
    path: str  # RFC 6901
    old: Any = MISSING
    new: Any = MISSING
    is_known: bool = True
    event: list[Any] | None = None


class JournalLog:
    """The changes in a journal, the oldest first; with a dotted `path`, those of the value there.

    All lines are checked: see `JournalHistory.lines`.
    """

    def __init__(self, history: JournalHistory, path: str | None = None) -> None:
        self._history = history
        self._path = path
        self._pointer = (
            ""
            if not path
            else "".join(
                f"/{part.replace('~', '~0').replace('/', '~1')}" for part in path.split(".")
            )
        )
        self._pids: dict[str, int] = {}
        self._replay: Replay | None = None

    def __iter__(self) -> Iterator[Logged]:
        """Raises `StorageError` for a damaged journal."""
        history = self._history
        wholes = {pair for run in history.runs() for pair in run.wholes}
        last = (0, 0)
        for line in history.lines():
            if line.is_entry:
                yield from self._of(line)
            elif line.pair != last:
                self._replay = None  # a gap
            if self._replay is None and line.pair in wholes:
                self._replay = Replay(history.whole(line.pair).data)
            last = line.pair

    def _of(self, line: Line) -> Iterator[Logged]:
        if line.kind == MemberKind.name:
            self._note_member(line)
        made = Logged(
            line.version, line.epoch, line.timestamp, line.peer, self._pids.get(line.peer), ""
        )
        if line.event is not None and self._path is None:
            yield made._replace(event=line.event)
        if not line.patch:
            return
        if self._path is None:
            yield from self._each(line, line.patch, made)
        elif any(_touches(operation["path"], self._pointer) for operation in line.patch):
            yield from self._at_path(line, self._path, made)
        elif self._replay is not None:
            self._replay.apply(line)

    def _each(self, line: Line, patch: list[Operation], made: Logged) -> Iterator[Logged]:
        for operation in patch:
            pointer = operation["path"]
            old: Any = MISSING
            if self._replay is not None:
                if operation["op"] != "add" or not self._replay.is_in_array(pointer):
                    old = self._replay.value_at(pointer)
                self._replay.apply(line, [operation])
            new = operation.get("value", MISSING)
            yield made._replace(path=pointer, old=old, new=new, is_known=self._replay is not None)

    def _at_path(self, line: Line, path: str, made: Logged) -> Iterator[Logged]:
        if self._replay is None:
            yield made._replace(path=self._pointer, is_known=False)
            return
        before = to_plain(_value(self._replay.document, path))
        self._replay.apply(line)
        after = to_plain(_value(self._replay.document, path))
        is_same = before is after if MISSING in (before, after) else identical(before, after)
        if not is_same:
            yield made._replace(path=self._pointer, old=before, new=after)

    def _note_member(self, line: Line) -> None:
        body = entry_of(line).body
        joined = body.get("join") if isinstance(body, dict) else None
        if isinstance(joined, dict) and isinstance(joined.get("pid"), int):
            self._pids[str(joined.get("id"))] = joined["pid"]


def _touches(pointer: str, wanted: str) -> bool:
    """Whether a change at a pointer may change the value at another one.

    An element that moves in an array changes what is at the indexes behind it.
    """
    array = pointer.rpartition("/")[0]
    inner = f"{wanted}/"
    return f"{pointer}/".startswith(inner) or inner.startswith((f"{pointer}/", f"{array}/"))


def _value(document: Any, path: str) -> Any:
    """The value at a dotted path; MISSING where there is none."""
    parent, _, last = path.rpartition(".")
    above = node_at(document, parent)
    if isinstance(above, list):
        return above[int(last)] if last.isdecimal() and int(last) < len(above) else MISSING
    return above.get(last, MISSING) if isinstance(above, dict) else MISSING
