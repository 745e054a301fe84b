"""The replicated state: the document and the system part, changed by entries only.

Every peer applies the same entries in the same order with this one class, the host included, so
all copies are equal at equal versions. The system part holds what the group must not forget when
its host dies: the members, and for each writer the outcomes of its proposals (the exactly-once
table). A row of the table goes when its peer is dead for certain, by an entry, so at the same
version everywhere.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from ..document import ReadOnlyDict, install, make_live, replay, to_plain
from ..errors import ProtocolError
from .messages import Entry, Snapshot, decode_snapshot, encode_snapshot

Outcome = list[Any]  # [version, error or None]


class Row:
    """What has become of one writer's proposals."""

    __slots__ = ("last", "outcomes")

    def __init__(self, last: int = 0, outcomes: dict[int, Outcome] | None = None) -> None:
        self.last = last
        self.outcomes = outcomes if outcomes is not None else {}

    def record(self, entry: Entry) -> None:
        """Note the outcomes an entry brings; forget those its writer has read."""
        outcomes = self.outcomes
        for number, version, error in entry.decided:
            outcomes[number] = [version, error]
        self.last = entry.number
        outcomes[entry.number] = [entry.version, None]
        if next(iter(outcomes)) < entry.settled:
            self.outcomes = {n: o for n, o in outcomes.items() if n >= entry.settled}


class State:
    """One peer's copy of the object and of the system part, at ``(epoch, version)``.

    `guard` is held while the copy changes; whoever wants several values of one version holds it
    too. `torn` is True while a change is under way: found True later, the change was interrupted
    and the copy must be replaced.
    """

    def __init__(self, guard: AbstractContextManager[Any]) -> None:
        self.guard = guard
        self.document: ReadOnlyDict = make_live({}, guard)
        self.epoch = 0
        self.version = 0
        self.host: str | None = None
        self.members: dict[str, dict[str, Any]] = {}
        self.table: dict[str, Row] = {}
        self.options: dict[str, Any] = {}
        self.torn = False

    def found(self, data: dict[str, Any], options: dict[str, Any]) -> None:
        """Become the state of a new object: version 0, before its first entry."""
        with self.guard:
            install(self.document, data)
            self.options = options

    def apply(self, entry: Entry) -> None:
        """Go one version on.

        Raises `ProtocolError` when the entry is not the next one, or of a lower epoch.
        """
        if entry.version != self.version + 1 or entry.epoch < self.epoch:
            raise ProtocolError(
                f"entry ({entry.epoch}, {entry.version}) does not follow "
                f"({self.epoch}, {self.version})"
            )
        with self.guard:
            self.torn = True
            if entry.kind == "patch":
                replay(self.document, entry.body)
            elif entry.kind == "member":
                self._change_members(entry.body)
            elif entry.kind == "reign":
                self.host = entry.body["host"]
            if entry.number:
                row = self.table.get(entry.peer)
                if row is None:
                    row = self.table[entry.peer] = Row()
                row.record(entry)
            self.epoch = entry.epoch
            self.version = entry.version
            self.torn = False

    def _change_members(self, body: dict[str, Any]) -> None:
        if "join" in body:
            member = body["join"]
            self.members[member["id"]] = member
            return
        self.members.pop(body["leave"], None)
        self.table.pop(body["leave"], None)

    def encode(self) -> bytes:
        """The whole state as a snapshot."""
        with self.guard:
            table = {
                peer: (row.last, list(row.outcomes.items())) for peer, row in self.table.items()
            }
            return encode_snapshot(
                Snapshot(
                    self.epoch,
                    self.version,
                    self.host,
                    self.members,
                    table,
                    self.options,
                    to_plain(self.document),
                )
            )

    def restore(self, data: bytes) -> None:
        """Become the state of a snapshot; live containers stay the same objects where they can.

        Raises `ProtocolError` when the snapshot is none or would go back; nothing changes then.
        """
        snapshot = decode_snapshot(data)
        pair = (snapshot.epoch, snapshot.version)
        if not self.torn and pair < (self.epoch, self.version):
            raise ProtocolError(
                f"a snapshot of {pair} would go back behind {(self.epoch, self.version)}"
            )
        with self.guard:
            self.torn = True
            install(self.document, snapshot.document)
            self.members, self.options = snapshot.members, snapshot.options
            self.table = {
                peer: Row(last, dict(outcomes)) for peer, (last, outcomes) in snapshot.table.items()
            }
            self.host = snapshot.host
            self.epoch, self.version = pair
            self.torn = False
