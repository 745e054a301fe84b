"""Write concern: what must have happened before an accepted write counts as acknowledged.

A write that asks for more than the usual (host and writer) is *watched* at the host. How many
members must have applied it is fixed when it is ordered, and only those that were members then
count. The host asks all peers to confirm (`Confirm`); each answers, behind all entries below, how
far its copy has come (`Applied`). The writer needs no asking: what it is told comes behind its own
entry. A member that dies first makes a concern impossible if too few are left. With `journal`, the
entry must be on the host's disk as well; `durable` is told so by whoever writes the journal.

A watch ends when its concern is met, when its writer leaves, or with the record. A writer that
still waits asks the next host to watch anew (`ResumeConcern`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from ..errors import UsageError

MAX_MEMBERS = 65_535
"""More than any group has; what is above is a mistake."""


class ResumeConcern(msgspec.Struct, array_like=True, tag=16):
    """A writer asks a new host to go on watching over an accepted write's concern."""

    number: int
    version: int
    w: int | str
    journal: bool


class ConcernProgress(msgspec.Struct, array_like=True, tag=17):
    """How far a write's concern has come; it is met when `reached` is `wanted`."""

    number: int
    reached: int
    wanted: int
    possible: bool  # False: there were fewer members than wanted


WriteConcern = int | str
"""A number of members, ``"majority"`` or ``"all"``."""


def check_write_concern(w: Any) -> WriteConcern | None:
    """The write concern as it travels; None for the usual one.

    Raises `UsageError` for what is none.

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
    """How many members a concern asks for when there are so many.

    >>> wanted_members("majority", 4), wanted_members("all", 4), wanted_members(2, 4)
    (3, 4, 2)
    """
    if w == "majority":
        return members // 2 + 1
    if w == "all":
        return members
    return int(w) if w is not None else 1


@dataclass
class _Watch:
    writer: str
    number: int
    version: int
    wanted: int
    electorate: frozenset[str]
    missing: set[str]  # those that have not confirmed
    dead: set[str]  # those among them that never will
    journal: bool

    @property
    def reached(self) -> int:
        return len(self.electorate) - len(self.missing)

    @property
    def is_possible(self) -> bool:
        return self.wanted <= len(self.electorate) - len(self.dead)


class WriteConcerns:
    """The watched writes of one reign; `host` has applied whatever it ordered."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._watches: dict[tuple[str, int], _Watch] = {}
        self._applied: dict[str, int] = {}
        self._durable = 0

    def __len__(self) -> int:
        return len(self._watches)

    def watch(
        self,
        writer: str,
        number: int,
        version: int,
        w: WriteConcern | None,
        journal: bool,
        members: Iterable[str],
    ) -> ConcernProgress:
        """Watch over a write; returns how far it has come already.

        Asked again, for example because its writer has sent it again, it stays as it was.
        """
        known = self._watches.get((writer, number))
        if known is not None:
            return self._told(known)
        electorate = frozenset(members) | {self._host}
        missing = {
            peer
            for peer in electorate
            if peer not in (self._host, writer) and self._applied.get(peer, 0) < version
        }
        wanted = wanted_members(w, len(electorate))
        watch = _Watch(writer, number, version, wanted, electorate, missing, set(), journal)
        if not self._is_met(watch) and watch.is_possible:
            self._watches[writer, number] = watch
        return self._told(watch)

    def applied(self, peer: str, version: int) -> list[tuple[str, ConcernProgress]]:
        """A peer's copy has reached a version; returns whom to tell what."""
        if version <= self._applied.get(peer, 0):
            return []
        self._applied[peer] = version
        moved = [
            watch
            for watch in self._watches.values()
            if watch.version <= version and peer in watch.missing
        ]
        for watch in moved:
            watch.missing.discard(peer)
        return self._tell(moved)

    def durable(self, version: int) -> list[tuple[str, ConcernProgress]]:
        """The journal is on disk up to a version; returns whom to tell what."""
        self._durable = max(self._durable, version)
        return self._tell([w for w in self._watches.values() if w.journal])

    def forget(self, peer: str) -> list[tuple[str, ConcernProgress]]:
        """A peer is gone: it counts only where it has confirmed; returns whom to tell what."""
        self._applied.pop(peer, None)
        for key in [key for key in self._watches if key[0] == peer]:
            del self._watches[key]
        moved = [watch for watch in self._watches.values() if peer in watch.missing]
        for watch in moved:
            watch.dead.add(peer)
        return self._tell([watch for watch in moved if not watch.is_possible])

    def _tell(self, moved: list[_Watch]) -> list[tuple[str, ConcernProgress]]:
        for watch in moved:
            if self._is_met(watch) or not watch.is_possible:
                del self._watches[watch.writer, watch.number]
        return [(watch.writer, self._told(watch)) for watch in moved]

    def _is_met(self, watch: _Watch) -> bool:
        if watch.journal and self._durable < watch.version:
            return False
        return watch.reached >= watch.wanted

    def _told(self, watch: _Watch) -> ConcernProgress:
        # A journal that is behind holds the last step back, so that "reached" means all of it.
        reached = watch.reached
        if reached >= watch.wanted and not self._is_met(watch):
            reached = watch.wanted - 1
        return ConcernProgress(watch.number, reached, watch.wanted, watch.is_possible)
