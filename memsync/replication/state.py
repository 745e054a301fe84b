"""The replicated state: the document and the system part, changed by entries only.

Every peer applies the same entries in the same order with this one class, the host included, so
all copies are equal at equal versions. The document in it is the *confirmed* one, plain and
private: what programs read is `replica`'s, which shows a peer's pending writes on top.

The system part holds what the group must not forget when its host dies: the members, for each
writer the outcomes of its proposals (the exactly-once table), who wrote where and when (the
conflict index), where the reigns began, the founder's options, and the id of the *network*: of the
founding from which all copies of the object come. Pairs ``(epoch, version)`` of two networks have
nothing to do with each other. Ids sort by when their networks were founded; where two meet, the
earlier one counts. A row of the table goes when its
peer is dead for certain, by an entry, so at the same version everywhere.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from ..document import replay, to_plain
from ..errors import ProtocolError
from .codec import decode_snapshot, encode_snapshot
from .conflicts import ConflictIndex
from .entries import Entry, Snapshot
from .group_options import group_value

Outcome = list[Any]  # [version, error or None, whether it made an entry]

_MAX_REIGNS = 64  # how many reigns back a base can be told


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
            outcomes[number] = [version, error, False]
        self.last = entry.number
        outcomes[entry.number] = [entry.version, None, True]
        if next(iter(outcomes)) < entry.settled:
            self.outcomes = {n: o for n, o in outcomes.items() if n >= entry.settled}


class State:
    """One peer's copy of the object and of the system part, at ``(epoch, version)``.

    It belongs to the thread that plays the peer's role; `guard` is held while the system part
    changes, which others read. `torn` is True while a change is under way: found True later, the
    change was interrupted and the copy must be replaced.
    """

    def __init__(self, guard: AbstractContextManager[Any]) -> None:
        self.guard = guard
        self.document: dict[str, Any] = {}
        self.epoch = 0
        self.version = 0
        self.network = ""
        self.host: str | None = None
        self.members: dict[str, dict[str, Any]] = {}
        self.table: dict[str, Row] = {}
        self.reigns: list[tuple[int, int]] = []
        self.options: dict[str, Any] = {}
        self.index = ConflictIndex(group_value({}, "network.max_index"))
        self.torn = False

    @property
    def pair(self) -> tuple[int, int]:
        """``(epoch, version)``, which never goes back within a network."""
        return self.epoch, self.version

    def found(self, data: dict[str, Any], options: dict[str, Any], network: str = "") -> None:
        """Become the state of a new object: version 0, before its first entry."""
        self.network = network
        self.document = to_plain(data)
        self.options = options
        self.index = ConflictIndex(group_value(options, "network.max_index"))

    def apply(self, entry: Entry, *, fit: bool = False) -> None:
        """Go one version on; with `fit` its patch was compiled against this very state.

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
                replay(self.document, entry.body, fit=fit)
                self.index.note(entry.version, entry.timestamp, entry.peer, entry.written)
            elif entry.kind == "member":
                self._change_members(entry.body)
            elif entry.kind == "reign":
                self._begin_reign(entry)
            if entry.number:
                row = self.table.get(entry.peer)
                if row is None:
                    row = self.table[entry.peer] = Row()
                row.record(entry)
            self.epoch = entry.epoch
            self.version = entry.version
            self.torn = False

    def common(self, epoch: int, version: int) -> int:
        """Up to which version a peer at the given pair has seen the history of this copy.

        What a peer of an earlier reign has beyond the end of that reign was lost with its host.
        """
        for reign, first in self.reigns:
            if reign > epoch:
                return min(version, first - 1)
        return version

    def _begin_reign(self, entry: Entry) -> None:
        self.host = entry.body["host"]
        self.reigns.append((entry.epoch, entry.version))
        del self.reigns[:-_MAX_REIGNS]

    def _change_members(self, body: dict[str, Any]) -> None:
        if "join" in body:
            member = body["join"]
            self.members[member["id"]] = member
            return
        self.members.pop(body["leave"], None)
        if not body.get("keepsRow"):
            self.table.pop(body["leave"], None)

    def encode(self) -> bytes:
        """The whole state as a snapshot."""
        return encode_snapshot(
            Snapshot(
                self.epoch,
                self.version,
                self.host,
                self.members,
                {peer: (row.last, list(row.outcomes.items())) for peer, row in self.table.items()},
                self.options,
                self.reigns,
                self.index.encode(),
                self.document,
                self.network,
            )
        )

    def restore(self, data: bytes) -> None:
        """Become the state of a snapshot.

        Raises `ProtocolError` when the snapshot is none, or is of this network and would go back;
        nothing changes then.
        """
        snapshot = decode_snapshot(data)
        pair = (snapshot.epoch, snapshot.version)
        if not self.torn and snapshot.network == self.network and pair < self.pair:
            raise ProtocolError(f"a snapshot of {pair} would go back behind {self.pair}")
        index = ConflictIndex.decode(
            group_value(snapshot.options, "network.max_index"), snapshot.index
        )
        with self.guard:
            self.torn = True
            self.document, self.network = snapshot.document, snapshot.network
            self.members, self.options = snapshot.members, snapshot.options
            self.reigns = snapshot.reigns
            self.index = index
            self.table = {
                peer: Row(last, dict(outcomes)) for peer, (last, outcomes) in snapshot.table.items()
            }
            self.host = snapshot.host
            self.epoch, self.version = pair
            self.torn = False
