"""What runs once for all processes of a group: `MemSync.once` and `MemSync.last_out`.

Both are a named lock underneath, under a name that programs cannot use, so the death of the process
that runs the function is the end of a hold. The result of `once` is part of the replicated state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from .clocks import monotonic
from .errors import LockLostError, MemSyncError, TooLargeError, UsageError
from .locks import RESERVED, timed_out
from .replication.kinds.lock import PLACES_MAX, RESULT_BYTES, check_lock_name
from .replication.lock_part import lock_part
from .rpc.messages import Payload, Twin
from .rpc.pickles import Pickles, UnpackError
from .rpc.rebuild import rebuild
from .rpc.twin import describe, shortest
from .runtime.callbacks import check_callback
from .runtime.lock_request import LockRequest
from .runtime.lock_requests import requests_of
from .runtime.logs import Logger
from .runtime.own_threads import refuse_waiting

if TYPE_CHECKING:
    from .lifecycle import Lifecycle
    from .runtime.participant import Participant

log = Logger("memsync.locks")

_ONCE = f"{RESERVED}once."
_OUT = f"{RESERVED}out."
_EXIT_PATIENCE = 2.0  # seconds for the host's answer to a peer that leaves


class _Outcome(msgspec.Struct, array_like=True):
    """What the function has returned, or raised."""

    value: Payload | None
    error: Twin | None


_decoder = msgspec.msgpack.Decoder(_Outcome)


def once(mem: Lifecycle, name: str, function: Callable[[], Any], timeout: float | None) -> Any:
    """See `MemSync.once`."""
    _check("once()", name, function)
    seconds = mem._seconds(timeout)
    deadline = monotonic() + seconds
    participant = mem._participating()
    pickles = Pickles(participant.options.rpc.pickles)
    full = _ONCE + name
    if (encoded := lock_part(participant.state).results.get(full)) is not None:
        return _result(encoded, full, pickles)
    requests = requests_of(participant)
    request = requests.prepare(full, mem._use, mem._dispatcher)
    try:
        if requests.acquire(request, deadline):
            return _run(mem, participant, request, function, pickles)
    except BaseException:  # Ctrl-C at any moment: without a result, another process runs it
        if full not in lock_part(participant.state).results:
            requests.give_up_soon(request)
        raise
    if (encoded := lock_part(participant.state).results.get(full)) is not None:
        return _result(encoded, full, pickles)
    raise timed_out(participant, "result of once()", full, seconds, request)


def _run(
    mem: Lifecycle,
    participant: Participant,
    request: LockRequest,
    function: Callable[[], Any],
    pickles: Pickles,
) -> Any:
    """Run the function as the only one, and state what came of it."""
    raised: Exception | None = None
    try:
        value = function()
    except Exception as error:
        raised = error
    else:
        try:
            outcome = _Outcome(_packed(value, pickles), None)
        except MemSyncError as error:
            raised = error
    if raised is not None:
        outcome = _Outcome(None, _described(raised, pickles))
    encoded, full = msgspec.msgpack.encode(outcome), request.wish.name
    try:
        requests_of(request.participant).settle(request, encoded, mem._seconds(None))
    except LockLostError:  # it was frozen, and another peer has run it
        if (theirs := lock_part(participant.state).results.get(full)) is None:
            raise
        encoded, raised = theirs, None
    if raised is not None:
        raise raised
    return _result(encoded, full, pickles)


def _described(error: Exception, pickles: Pickles) -> Twin:
    twin = describe(error, pickles)
    is_large = len(msgspec.msgpack.encode(twin)) > RESULT_BYTES // 2
    return shortest(twin) if is_large else twin


def _packed(value: Any, pickles: Pickles) -> Payload:
    payload = pickles.pack(value, "what the function of once() has returned")
    if len(payload.data) > RESULT_BYTES // 2:
        raise TooLargeError(
            f"what the function of once() has returned takes {len(payload.data)} bytes, over "
            f"{RESULT_BYTES // 2}: put it into the object, and return where it is"
        )
    return payload


def _result(encoded: bytes, full: str, pickles: Pickles) -> Any:
    outcome = _decoder.decode(encoded)
    name = full.removeprefix(_ONCE)
    if outcome.error is not None:
        raise rebuild(outcome.error, pickles, f"the function of once({name!r})")
    assert outcome.value is not None
    try:
        return pickles.unpack(outcome.value)
    except UnpackError as error:
        raise UsageError(f"the result of once({name!r}) cannot be read here: {error}") from error


class LastOut:
    """A function that this peer runs if it is the last one of those that registered the name."""

    def __init__(self, request: LockRequest, function: Callable[[], object]) -> None:
        self.name = request.wish.name.removeprefix(_OUT)
        self._request = request
        self._function = function

    def leave(self) -> None:
        """This peer leaves: run the function if the host says that nobody else is left."""
        request = self._request
        if not request.is_held:
            return
        try:
            if not requests_of(request.participant).release_unless_last(request, _EXIT_PATIENCE):
                return
        except MemSyncError as error:
            log.warning(
                "whether this peer is the last one is unknown name=%r: %s", self.name, error
            )
            return
        try:
            self._function()
        except (Exception, SystemExit):  # the peer leaves all the same
            log.exception("the function of last_out() failed: %r", self._function)


def last_out(mem: Lifecycle, name: str, function: Callable[[], object]) -> LastOut:
    """See `MemSync.last_out`."""
    _check("last_out()", name, function)
    seconds = mem._seconds(None)
    participant, deadline = mem._participating(), monotonic() + seconds
    requests = requests_of(participant)
    full = _OUT + name
    request = requests.prepare(full, mem._use, mem._dispatcher, places=PLACES_MAX)
    if not requests.acquire(request, deadline):
        raise timed_out(participant, "list of last_out()", full, seconds, request)
    return LastOut(request, function)


def _check(call: str, name: str, function: Any) -> None:
    refuse_waiting(call)
    check_lock_name(name)
    check_callback(f"the function of {call}", function)
