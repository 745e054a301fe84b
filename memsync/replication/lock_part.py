"""The locks of the replicated state: who holds them, and who waits in which order.

See `kinds.lock` for what the entries mean. Everything here is decided by entries, so all copies
are equal.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any

import msgspec

from ..lasting import lasting
from .clock import COUNTER_BITS
from .entries import Entry
from .state import State

_TOUCHED_MAX = 1000  # changes of requests that are remembered
_VERSION_BITS = 40  # of a token; the rest is the epoch


class Place(msgspec.Struct, array_like=True):
    """A request: its peer, its number there, and its lease in seconds."""

    peer: str
    request: int
    lease: float | None = None


class Hold(msgspec.Struct, array_like=True):
    """A granted request; `since` is in milliseconds since 1970."""

    peer: str
    request: int
    token: int
    since: int
    lease: float | None = None


class NamedLock(msgspec.Struct, array_like=True):
    """A lock that somebody holds."""

    places: int
    holders: list[Hold] = []
    queue: list[Place] = []

    def requests(self) -> list[Hold | Place]:
        """Those that hold a place and those that wait for one."""
        return [*self.holders, *self.queue]


@lasting
class Acquire(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A request for a place; without `waits` it is dropped unless a place is free."""

    name: str
    request: int
    places: int = 1
    lease: float | None = None
    waits: bool = True


@lasting
class LockPart:
    """The locks and the results by name; `revision` grows with each change of a request."""

    __slots__ = ("_touched", "by_peer", "leased", "locks", "results", "revision", "served")

    def __init__(self, locks: dict[str, NamedLock], results: dict[str, bytes]) -> None:
        self.locks = locks
        self.results = results
        self.revision = 0
        self.served: list[str] = []
        """The peers for which the last change has ended a wait."""
        self.by_peer: dict[str, dict[int, str]] = {}
        """The name of each request, by peer and number."""
        self.leased: dict[tuple[str, int], Hold] = {}
        """What is held with a lease, by peer and number."""
        self._touched: deque[tuple[str, int]] = deque(maxlen=_TOUCHED_MAX)
        for name, lock in locks.items():
            self.leased |= {(each.peer, each.request): each for each in lock.holders if each.lease}
            for each in lock.requests():
                self.by_peer.setdefault(each.peer, {})[each.request] = name

    def touched_since(self, revision: int) -> set[tuple[str, int]] | None:
        """The requests that were made, granted or ended since then; None if they are too many."""
        count = self.revision - revision
        if not 0 <= count <= len(self._touched):
            return None
        return set(islice(reversed(self._touched), count))

    def _touch(self, peer: str, request: int) -> None:
        self._touched.append((peer, request))
        self.revision += 1

    def find(self, peer: str, request: int) -> Hold | Place | None:
        """What is there of a request."""
        lock = self.locks.get(self.by_peer.get(peer, {}).get(request, ""))
        if lock is None:
            return None
        for each in lock.requests():
            if each.peer == peer and each.request == request:
                return each
        return None

    def request(self, peer: str, wanted: Acquire, entry: Entry) -> None:
        """Put a request into the queue, and grant it if there is room."""
        lock = self.locks.setdefault(wanted.name, NamedLock(wanted.places))
        self.by_peer.setdefault(peer, {})[wanted.request] = wanted.name
        lock.queue.append(Place(peer, wanted.request, wanted.lease))
        self._touch(peer, wanted.request)
        self._grant(lock, entry)

    def release(self, peer: str, request: int, entry: Entry) -> None:
        """End a request, held or waiting; without effect where there is none."""
        name = self._forget(peer, request)
        lock = self.locks.get(name)
        if lock is None:
            return
        lock.holders = [each for each in lock.holders if not _is(each, peer, request)]
        lock.queue = [each for each in lock.queue if not _is(each, peer, request)]
        self._grant(lock, entry)
        if not lock.holders:
            del self.locks[name]

    def settle(self, peer: str, request: int, result: bytes) -> None:
        """End a lock for good; those that wait for it find the result."""
        name = self.by_peer[peer][request]
        for each in self.locks.pop(name).requests():
            self._forget(each.peer, each.request)
            self.served.append(each.peer)
        self.results[name] = result

    def _grant(self, lock: NamedLock, entry: Entry) -> None:
        """Give free places to the head of the queue."""
        while lock.queue and len(lock.holders) < lock.places:
            first = lock.queue.pop(0)
            token = token_of(entry.epoch, entry.version)
            since = entry.timestamp >> COUNTER_BITS
            hold = Hold(first.peer, first.request, token, since, first.lease)
            lock.holders.append(hold)
            if first.lease:
                self.leased[first.peer, first.request] = hold
            self.served.append(first.peer)
            self._touch(first.peer, first.request)

    def _forget(self, peer: str, request: int) -> str:
        own = self.by_peer.get(peer, {})
        name = own.pop(request, "")
        if not own:
            self.by_peer.pop(peer, None)
        self.leased.pop((peer, request), None)
        self._touch(peer, request)
        return name


def lock_part(state: State) -> LockPart:
    """The locks, which nobody may change."""
    part: LockPart = state.parts["lock"]
    return part


def token_of(epoch: int, version: int) -> int:
    """The token of the grants that an entry makes."""
    return (epoch << _VERSION_BITS) + version


def pair_of(token: int) -> tuple[int, int]:
    """The pair of the entry that made a token."""
    return token >> _VERSION_BITS, token & ((1 << _VERSION_BITS) - 1)


def lock_facts(state: State) -> dict[str, dict[str, Any]]:
    """The locks that somebody holds, as `MemSync.locks` returns them; the guard is held."""
    members = state.members

    def peer_facts(peer: str) -> dict[str, Any]:
        return {"id": peer, "pid": members.get(peer, {}).get("pid")}

    def hold_facts(hold: Hold) -> dict[str, Any]:
        facts = {"since": hold.since / 1000, "token": hold.token, "lease": hold.lease}
        return peer_facts(hold.peer) | facts

    return {
        name: {
            "places": lock.places,
            "holders": [hold_facts(each) for each in lock.holders],
            "queue": [peer_facts(each.peer) for each in lock.queue],
        }
        for name, lock in lock_part(state).locks.items()
    }


def _is(each: Hold | Place, peer: str, request: int) -> bool:
    return each.peer == peer and each.request == request
