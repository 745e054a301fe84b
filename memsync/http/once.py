"""A write that is applied once, however often it is sent, and to whichever process.

The key of the request is the name of a lock, and travels as an event in the entry of the write. The
lock decides between two requests with one key. When it is granted, all that an earlier holder has
written is in the log, or will never be; so the log shows whether the write was applied.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from ..clocks import monotonic
from ..errors import LockTimeoutError, MemSyncError
from ..replication.codec import decode_entry
from ..runtime.call import Call
from ..runtime.lock_requests import requests_of
from ..runtime.logs import Logger
from ..runtime.own_threads import OwnThread

if TYPE_CHECKING:
    from ..runtime.participant import Participant

EVENT = "memsync.http.once"
log = Logger("memsync.http")


class Written(NamedTuple):
    """The version that has a write, and the digest of the request that has made it."""

    version: int
    digest: str
    repeated: bool


def write_once(
    participant: Participant, key: str, digest: str, update: Callable[[], Any], seconds: float
) -> Written:
    """Apply an update unless one with this key was applied; waits for the outcome.

    Raises what `MemSync.patch` raises, and `LockTimeoutError` where another request with the key
    does not end.
    """
    deadline = monotonic() + seconds
    name = sha256(key.encode()).hexdigest()[:40]
    dispatcher: Any = _Dispatcher()
    requests = requests_of(participant)
    request = requests.prepare(f"memsync.http.{name}", None, dispatcher)
    if not requests.acquire(request, deadline):
        raise LockTimeoutError("another request with this Idempotency-Key is under way: try again")
    try:
        found = _find(participant, name)
        if found is not None:
            return found
        proof = [f"memsync.http.{name}", request.number, request.token]
        call = Call(deadline=deadline, event=(EVENT, name, digest), lock=proof)
        left = max(deadline - monotonic(), 0.0)
        return Written(participant.writer.patch(update(), call, left), digest, False)
    finally:
        try:
            requests.release(request, max(deadline - monotonic(), 1.0))
        except MemSyncError as error:  # it ends with this peer
            log.debug("lock not given back name=%s: %s", request.wish.name, error)


def _find(participant: Participant, name: str) -> Written | None:
    """The write with this key in the log."""
    with participant.guard:
        bodies = participant.log.containing(name.encode())
    for body in bodies:
        entry = decode_entry(body)
        if entry.event is not None and entry.event[0] == EVENT and entry.event[1][0] == name:
            return Written(entry.version, entry.event[1][1], True)
    return None


class _Dispatcher:
    """Runs what an interrupted request leaves to do."""

    def call_surely(self, callback: Callable[..., Any], *args: Any) -> None:
        OwnThread(callback, "memsync-http-write", args).start()
