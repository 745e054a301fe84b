"""Write concern: the condition under which an accepted write counts as acknowledged.

The host *tracks* a write that asks for more than the default (host and writer). The number of
members that must have applied it is fixed when it is ordered, and only members of that moment
count. The host asks all peers to confirm (`Confirm`); each reports the version of its copy
(`Applied`). The writer's own answer is not awaited: the host's answer follows its entry in the same
stream. When members die and too few are left, the concern becomes impossible. With `journal`, the
entry must be on the host's disk as well, which `durable` reports.

Tracking ends when the concern is met or impossible, when the writer leaves, or with the epoch. A
writer that still waits asks the next host to continue (`ResumeConcern`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ..errors import UsageError
from ..lasting import lasting

MAX_MEMBERS = 65_535
"""More than any group has."""


@lasting
class ResumeConcern(msgspec.Struct, array_like=True, tag=16):
    """A writer asks a new host to track the concern of an accepted write."""

    number: int
    version: int
    w: int | str
    journal: bool


@lasting
class ConcernProgress(msgspec.Struct, array_like=True, tag=17):
    """The progress of a write's concern; it is met when `reached` equals `wanted`."""

    number: int
    reached: int
    wanted: int
    possible: bool  # False: there were fewer members than wanted


WriteConcern = int | str
"""A number of members, ``"majority"`` or ``"all"``."""


def check_write_concern(w: Any) -> WriteConcern | None:
    """The write concern as it travels, None for the default; raises `UsageError`.

    >>> check_write_concern(1), check_write_concern("majority"), check_write_concern(3)
    (None, 'majority', 3)
    """
    if w in ("majority", "all"):
        return str(w)
    if isinstance(w, int) and not isinstance(w, bool) and 1 <= w <= MAX_MEMBERS:
        return None if w == 1 else int(w)
    raise UsageError(
        f"w must be a whole number from 1 to {MAX_MEMBERS}, 'majority' or 'all', not {w!r:.60}"
    )


def wanted_members(w: WriteConcern | None, members: int) -> int:
    """The number of members that a concern asks for in a group of `members`.

    >>> wanted_members("majority", 4), wanted_members("all", 4), wanted_members(2, 4)
    (3, 4, 2)
    """
    if w == "majority":
        return members // 2 + 1
    if w == "all":
        return members
    return int(w) if w is not None else 1


class _Tracked(msgspec.Struct):
    writer: str
    number: int
    version: int
    wanted: int
    electorate: frozenset[str]
    missing: set[str]  # members that have not confirmed
    dead: set[str]  # the missing members that never will
    journal: bool

    @property
    def reached(self) -> int:
        return len(self.electorate) - len(self.missing)

    @property
    def is_possible(self) -> bool:
        return self.wanted <= len(self.electorate) - len(self.dead)


class WriteConcerns:
    """The tracked writes of one epoch; `host` has applied whatever it ordered."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._tracked: dict[tuple[str, int], _Tracked] = {}
        self._applied: dict[str, int] = {}
        self._durable = 0

    def __len__(self) -> int:
        return len(self._tracked)

    def track(
        self,
        writer: str,
        number: int,
        version: int,
        w: WriteConcern | None,
        journal: bool,
        members: Iterable[str],
    ) -> ConcernProgress:
        """Track a write; returns its progress.

        A write that is tracked already, for example because it was sent again, stays as it is.
        """
        known = self._tracked.get((writer, number))
        if known is not None:
            return self._progress(known)
        electorate = frozenset(members) | {self._host}
        missing = {
            peer
            for peer in electorate
            if peer not in (self._host, writer) and self._applied.get(peer, 0) < version
        }
        wanted = wanted_members(w, len(electorate))
        write = _Tracked(writer, number, version, wanted, electorate, missing, set(), journal)
        if not self._is_met(write) and write.is_possible:
            self._tracked[writer, number] = write
        return self._progress(write)

    def applied(self, peer: str, version: int) -> list[tuple[str, ConcernProgress]]:
        """A peer's copy has reached a version; returns the news, each with its writer."""
        if version <= self._applied.get(peer, 0):
            return []
        self._applied[peer] = version
        moved = [
            write
            for write in self._tracked.values()
            if write.version <= version and peer in write.missing
        ]
        for write in moved:
            write.missing.discard(peer)
        return self._news(moved)

    def durable(self, version: int) -> list[tuple[str, ConcernProgress]]:
        """The journal is on disk up to a version; returns the news, each with its writer."""
        self._durable = max(self._durable, version)
        return self._news([w for w in self._tracked.values() if w.journal])

    def forget(self, peer: str) -> list[tuple[str, ConcernProgress]]:
        """A peer is gone and confirms nothing more; returns the news, each with its writer."""
        self._applied.pop(peer, None)
        for key in [key for key in self._tracked if key[0] == peer]:
            del self._tracked[key]
        moved = [write for write in self._tracked.values() if peer in write.missing]
        for write in moved:
            write.dead.add(peer)
        return self._news([write for write in moved if not write.is_possible])

    def _news(self, moved: list[_Tracked]) -> list[tuple[str, ConcernProgress]]:
        for write in moved:
            if self._is_met(write) or not write.is_possible:
                del self._tracked[write.writer, write.number]
        return [(write.writer, self._progress(write)) for write in moved]

    def _is_met(self, write: _Tracked) -> bool:
        if write.journal and self._durable < write.version:
            return False
        return write.reached >= write.wanted

    def _progress(self, write: _Tracked) -> ConcernProgress:
        # While the journal is behind, "reached" stays below "wanted".
        reached = write.reached
        if reached >= write.wanted and not self._is_met(write):
            reached = write.wanted - 1
        return ConcernProgress(write.number, reached, write.wanted, write.is_possible)
