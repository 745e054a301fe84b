"""Entries of kind ``lock``: who holds a named lock, who waits for it, and what ran once.

The part of the state has the locks that somebody holds. A lock has a number of places: one for a
mutex, several for a semaphore. A peer *requests* a place under a number of its own. The request is
granted at once or waits in a queue, first in, first out. When a place becomes free, the entry that
frees it grants it to the head of the queue: a release, the end of a membership (`LockKind.left`),
or the end of a lease. So every copy knows the next holder without another message.

The *token* of a grant is made of the pair of the entry that granted it, and pairs never go back.
Each later grant has a larger token, after a change of host and after a new founding as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ...errors import LockLostError, ProtocolError, QueueFullError, TooLargeError, UsageError
from ..entries import Entry, Propose
from ..lock_part import Acquire, Hold, LockPart, NamedLock, lock_part
from ..state import Kind, Order, State

NAME_MAX = 300  # characters of a program's name
PREFIX_MAX = 20  # characters that memsync puts before it
PLACES_MAX = 1_000_000  # of one semaphore
REQUESTS_MAX = 10_000  # of one peer, held or waiting
SHORTEST_LEASE = 0.5  # seconds; a process that is merely busy must not look frozen
LONGEST_LEASE = 86_400.0  # seconds
RESULT_BYTES = 1 << 20  # of what one function returned
RESULTS_BYTES = 1 << 24  # of all of them


How = Literal["held", "held or not", "unless last"]


class _Snapshot(msgspec.Struct):
    locks: dict[str, NamedLock]
    results: dict[str, bytes]


class _Change(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """The body of a proposal and of its entry; one field is set."""

    acquire: Acquire | None = None
    release: tuple[int, How] | None = None  # a request of the peer
    settle: tuple[int, int, bytes] | None = None  # a request, its token, and a result
    expire: tuple[str, int] | None = None  # by the host: a peer and its request


_decoder = msgspec.msgpack.Decoder(_Snapshot)


def acquiring(request: Acquire) -> dict[str, Any]:
    """The update that asks for a place."""
    return {"acquire": msgspec.to_builtins(request)}


def releasing(request: int, how: How = "held") -> dict[str, Any]:
    """The update that gives a place back: one that is ``held``, or it is refused.

    With ``held or not`` it may be waiting or gone as well; with ``unless last`` it is kept if
    nobody else has one or waits for one.
    """
    return {"release": [request, how]}


def asks_whether_last(body: Any) -> bool:
    """Whether an update, as a peer has sent it, is a release ``unless last``."""
    release = body.get("release") if isinstance(body, dict) else None
    return isinstance(release, list | tuple) and "unless last" in release


def settling(request: int, token: int, result: bytes) -> dict[str, Any]:
    """The update with which the holder of a lock ends it for good, with a result."""
    return {"settle": [request, token, result]}


def expiring(peer: str, request: int) -> dict[str, Any]:
    """The body of the host's entry that ends a lease."""
    return {"expire": [peer, request]}


class LockKind(Kind):
    """A change of the locks."""

    name = "lock"
    needs_writer = False

    def begin(self, data: dict[str, Any], options: Mapping[str, Any]) -> LockPart:
        """No locks."""
        return LockPart({}, {})

    def check(self, body: Any, array_filters: Any) -> dict[str, Any]:
        """A detached copy of a change; raises `UsageError`."""
        plain: dict[str, Any] = msgspec.to_builtins(_checked(body), builtin_types=(bytes,))
        return plain

    def order(self, state: State, peer: str, proposal: Propose) -> Order | None:
        """Accept a change by a member.

        Raises `UsageError`, `QueueFullError`, `LockLostError`, `TooLargeError`, `ProtocolError`.
        """
        if peer not in state.members:
            raise ProtocolError(f"peer {peer} is no member, so it has no locks")
        body = self.check(proposal.body, None)
        change, part = _checked(body), lock_part(state)
        if change.acquire is not None:
            return Order(body) if _may_join(part, peer, change.acquire) else None
        if change.settle is not None:
            _check_result(part, peer, *change.settle)
            return Order(body)
        assert change.release is not None
        return Order(body) if _may_release(part, peer, *change.release) else None

    def apply(self, state: State, entry: Entry, *, fit: bool) -> None:
        """Change the locks."""
        # Without operations: the view may show a write that this entry reports as refused.
        state.document = state.replay(state.document, entry, [], fit)
        part, change = lock_part(state), _change_of(entry.body)
        part.served = []
        if change.acquire is not None:
            part.request(entry.peer, change.acquire, entry)
        elif change.settle is not None:
            part.settle(entry.peer, change.settle[0], change.settle[2])
        elif change.expire is not None:
            part.release(*change.expire, entry)
        else:
            assert change.release is not None
            part.release(entry.peer, change.release[0], entry)

    def left(self, state: State, peer: str, entry: Entry) -> None:
        """Free what a former member held, and its places in queues."""
        part = lock_part(state)
        part.served = []
        for request in list(part.by_peer.get(peer, ())):
            part.release(peer, request, entry)

    def encode(self, state: State) -> _Snapshot:
        """The part, without what belongs to this copy."""
        part = lock_part(state)
        return _Snapshot(part.locks, part.results)

    def decode(self, data: msgspec.Raw, options: Mapping[str, Any]) -> LockPart:
        """The part of a snapshot."""
        snapshot = _decoder.decode(data)
        return LockPart(snapshot.locks, snapshot.results)


def check_lock_name(name: Any, most: int = NAME_MAX) -> str:
    """The name itself; raises `UsageError`."""
    if not isinstance(name, str):
        raise UsageError(f"the name of a lock must be a str, not {name!r:.60}")
    if not 0 < len(name) <= most:
        raise UsageError(
            f"the name of a lock has 1 to {most} characters, not {len(name)}: {name!r:.60}"
        )
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the name of a lock must be Unicode, but is {name!r:.60}") from error
    return name


def check_proof(state: State, peer: str, proof: Any) -> None:
    """Raise `LockLostError` unless a write's ``[name, request, token]`` is a hold of its peer."""
    try:
        name, request, token = msgspec.convert(proof, tuple[str, int, int])
    except msgspec.ValidationError as error:
        raise UsageError(f"{proof!r:.60} does not name a lock: {error}") from error
    part = lock_part(state)
    hold = part.find(peer, request)
    if isinstance(hold, Hold) and hold.token == token and part.by_peer[peer][request] == name:
        return
    raise LockLostError(
        f"the write was refused: this peer's hold of the lock {name!r} with the token {token} is "
        f"over, {_holder(part, name)}; acquire the lock again, and decide on what is there now"
    )


def _holder(part: LockPart, name: str) -> str:
    lock = part.locks.get(name)
    if lock is None:
        return "and nobody holds it now"
    first = lock.holders[0]
    return f"and peer {first.peer} holds it now with the token {first.token}"


def _checked(body: Any) -> _Change:
    try:
        change = _change_of(body)
    except msgspec.ValidationError as error:
        raise UsageError(f"{body!r:.60} is no change of the locks: {error}") from error
    if change.expire is not None or sum(each is not None for each in _fields(change)) != 1:
        raise UsageError(f"{body!r:.60} must be one change of the locks")
    if change.acquire is not None:
        check_acquire(change.acquire)
    return change


def _change_of(body: Any) -> _Change:
    return msgspec.convert(body, _Change, builtin_types=(bytes,))  # so no text becomes bytes


def _fields(change: _Change) -> tuple[Any, ...]:
    return change.acquire, change.release, change.settle


def check_acquire(wanted: Acquire) -> None:
    """Raise `UsageError` for an invalid request."""
    check_lock_name(wanted.name, NAME_MAX + PREFIX_MAX)
    if not 0 < wanted.places <= PLACES_MAX:
        raise UsageError(
            f"the semaphore {wanted.name!r} must have 1 to {PLACES_MAX} places, not {wanted.places}"
        )
    lease = wanted.lease
    if lease is not None and not SHORTEST_LEASE <= lease <= LONGEST_LEASE:
        raise UsageError(
            f"the lease of the lock {wanted.name!r} must be {SHORTEST_LEASE:g} to "
            f"{LONGEST_LEASE:g} seconds, not {lease!r}"
        )


def _may_join(part: LockPart, peer: str, wanted: Acquire) -> bool:
    """Whether a request makes an entry; raises what refuses it."""
    own = part.by_peer.get(peer, {})
    if wanted.request in own:
        raise ProtocolError(f"peer {peer} has a request {wanted.request} already")
    if wanted.name in part.results:
        return False
    lock = part.locks.get(wanted.name)
    if lock is not None and lock.places != wanted.places:
        raise UsageError(
            f"{wanted.name!r} is in use with {_places(lock.places)}, not {wanted.places}: state "
            "the same number everywhere, or choose another name"
        )
    if lock is not None and not wanted.waits and len(lock.holders) >= lock.places:
        return False
    if len(own) >= REQUESTS_MAX:
        raise QueueFullError(
            f"this peer holds or awaits {REQUESTS_MAX} locks already: release some of them first"
        )
    return True


def _may_release(part: LockPart, peer: str, request: int, how: How) -> bool:
    """Whether a release makes an entry; raises `LockLostError`."""
    found = part.find(peer, request)
    if how == "held" and not isinstance(found, Hold):
        raise LockLostError(
            "the lock was lost before it was released: what was done since then was done without it"
        )
    if found is None:
        return False
    lock = part.locks[part.by_peer[peer][request]]
    return how != "unless last" or len(lock.requests()) > 1


def _places(number: int) -> str:
    return "1 place (a lock)" if number == 1 else f"{number} places"


def _check_result(part: LockPart, peer: str, request: int, token: int, result: bytes) -> None:
    name = part.by_peer.get(peer, {}).get(request, "")
    hold = part.find(peer, request)
    if not isinstance(hold, Hold) or hold.token != token:
        raise LockLostError(f"this peer's hold with the token {token} is over")
    size, total = len(result), sum(map(len, part.results.values()))
    if size > RESULT_BYTES or total + size > RESULTS_BYTES:
        raise TooLargeError(
            f"the result for {name!r} takes {size} bytes; one may take {RESULT_BYTES}, and all "
            f"together {RESULTS_BYTES}: put it into the object, and return where it is"
        )
