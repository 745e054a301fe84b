"""The links that this peer has opened: one for each peer that it calls.

A link is opened at the first call. It ends with either peer, and when it was idle for a while or
when there are too many; the next call opens a new one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..clocks import monotonic
from ..errors import PeerLostError, RpcTimeoutError, WriteTimeoutError
from ..replication.kinds.method import Address, MethodKind, callable_peers, wanting
from ..runtime.call import Call as Write
from ..runtime.native import Lock
from .attempt import Attempt
from .caller import Caller
from .link import Link, Receiver
from .messages import Message
from .road import MemoryRoad, Road, Unreachable, open_pair
from .timers import Timers

if TYPE_CHECKING:
    from ..runtime.participant import Participant

IDLE_SECONDS = 60.0  # without a call, after which a link is closed; up to twice as long
CONNECTIONS_MAX = 64  # kept although they are idle
FAILURE_SECONDS = 5.0  # for which a peer that took too long is called last


class _Connection:
    """The link to one other peer, once there is one."""

    def __init__(self) -> None:
        self.lock = Lock()  # of what follows; held for a few steps
        self.caller: Caller | None = None
        self.attempt: Attempt | None = None
        self.failed_at = -FAILURE_SECONDS  # monotonic seconds
        self.last_number = -1  # of the calls, when idle links were last closed

    def is_idle(self) -> bool:
        """Whether there was no call since `last_number` was set."""
        return self.caller is None or self.caller.last_number == self.last_number

    def ended(self, attempt: Attempt) -> None:
        """An attempt to open the link has ended, or was given up."""
        with self.lock:
            if self.attempt is attempt:
                self.attempt = None


class _Receiver:
    """The receiver of a link that this peer has opened."""

    def __init__(self, caller: Caller, connection: _Connection) -> None:
        self.received: Callable[[Message], None] = caller.received
        self._caller = caller
        self._connection = connection

    def lost(self, reason: str) -> None:
        """The next call opens a new link."""
        self._caller.lost(reason)
        if self._connection.caller is self._caller:
            self._connection.caller = None


class Connections:
    """The connections of one peer; any thread may call any method."""

    def __init__(
        self,
        participant: Participant,
        road: Road,
        to_itself: MemoryRoad,
        new_caller: Callable[[Link], Caller],
        timers: Timers,
    ) -> None:
        self._participant = participant
        self._road = road
        self._to_itself = to_itself
        self._new_caller = new_caller
        self._timers = timers
        self._lock = Lock()  # of what follows
        self._is_watched = False
        self._connections: dict[str, _Connection] = {}

    def calls(self, peer: str) -> int:
        """The number of calls to a peer that are under way from here."""
        connection = self._connections.get(peer)
        caller = connection.caller if connection is not None else None
        return caller.calls if caller is not None else 0

    def has_failed(self, peer: str) -> bool:
        """Whether a peer was not reached in time, or did not answer in time, a moment ago."""
        connection = self._connections.get(peer)
        if connection is None:
            return False
        failed_at, caller = connection.failed_at, connection.caller
        if caller is not None and caller.expired_at is not None:
            failed_at = max(failed_at, caller.expired_at)
        return monotonic() - failed_at < FAILURE_SECONDS

    def note_failure(self, peer: str) -> None:
        """A peer was not reached in time."""
        connection = self._connections.get(peer)
        if connection is not None:
            connection.failed_at = monotonic()

    def has_caller(self, peer: str) -> bool:
        """Whether there is a link to a peer."""
        connection = self._connections.get(peer)
        return connection is not None and connection.caller is not None

    def caller(self, peer: str, deadline: float) -> Caller:
        """The caller of a peer, connected by now.

        Raises `PeerLostError` where the peer is gone, and `RpcTimeoutError` at the deadline
        (monotonic seconds). Nothing was run then.
        """
        connection = self._connections.get(peer)
        if connection is None:
            connection = self._connections.setdefault(peer, _Connection())
        last = connection.caller
        if last is not None and last.link.is_open:
            return last
        while True:
            attempt = self._attempt(peer, connection, deadline)
            if not attempt.wait(deadline):
                raise _too_late(peer)
            caller = connection.caller
            if caller is not None and caller.link.is_open:
                return caller
            if caller is not None and caller.is_retired:
                last = caller  # again
                continue
            if caller is not None and caller is not last:
                raise self._lost(peer, "it has closed the connection at once")
            error = attempt.error_to_raise()
            has_more_time = attempt.deadline < deadline and monotonic() < deadline
            if error is not None and not (isinstance(error, RpcTimeoutError) and has_more_time):
                raise error

    def close_idle(self) -> int:
        """Close the links without a call since the last time; returns the number of the others.

        Also forgets peers that are gone. On the thread of the timers.
        """
        kept = 0
        for peer, connection in list(self._connections.items()):
            caller = connection.caller
            if caller is None:
                if connection.attempt is None and peer not in self._participant.state.members:
                    self._connections.pop(peer, None)
            elif connection.is_idle() and caller.retire():
                connection.caller = None
            else:
                connection.last_number = caller.last_number
                kept += 1
        return kept

    def _close_too_many(self) -> None:
        """Have room for one more link, if others have no calls; those not used lately go first."""
        found = [each for each in list(self._connections.values()) if each.caller is not None]
        found.sort(key=lambda each: not each.is_idle())
        excess = len(found) + 1 - CONNECTIONS_MAX
        for connection in found:
            caller = connection.caller
            if excess > 0 and caller is not None and caller.retire():
                connection.caller = None
                excess -= 1

    def _watch(self) -> None:
        """Close idle links from time to time, while there are any."""
        with self._lock:
            if self._is_watched:
                return
            self._is_watched = True
        self._timers.at(monotonic() + IDLE_SECONDS, self._look)

    def _look(self) -> None:
        self._is_watched = False
        if self.close_idle():
            self._watch()

    def _attempt(self, peer: str, connection: _Connection, deadline: float) -> Attempt:
        """The attempt to connect that is under way, or a new one."""
        mine: Attempt | None = None
        try:
            with connection.lock:
                if connection.attempt is not None:
                    return connection.attempt
                mine = connection.attempt = Attempt(deadline)
            mine.start("memsync-connect", partial(self._open, peer, connection), connection.ended)
            return mine
        except BaseException:
            if mine is not None:
                connection.ended(mine)  # it may not have begun
            raise

    def _open(self, peer: str, connection: _Connection, attempt: Attempt) -> None:
        self._close_too_many()
        connection.last_number = -1  # the new link is in use
        connection.caller = self._connect(peer, connection, attempt.deadline)
        self._watch()

    def _connect(self, peer: str, connection: _Connection, deadline: float) -> Caller:
        made: list[Caller] = []

        def receiver(link: Link) -> Receiver:
            made.append(self._new_caller(link))
            return _Receiver(made[0], connection)

        if peer == self._participant.id:
            open_pair(self._to_itself, self._to_itself, receiver)
            return made[0]
        gone: Address | None = None
        while True:
            address = self._address(peer, gone, deadline)
            try:
                self._road.open(peer, address, receiver, deadline - monotonic())
            except Unreachable as error:
                if error.is_missing:  # somebody has deleted its socket, or it is dead
                    gone = address
                    continue
                if monotonic() >= deadline:
                    raise _too_late(peer) from error
                raise self._lost(peer, str(error)) from error
            return made[0]

    def _address(self, peer: str, gone: Address | None, deadline: float) -> Address:
        """The address of a peer, which opens its listener if need be.

        At `gone`, if it is its address, there is none any more.
        """
        participant = self._participant

        def found() -> Address | None:
            record = callable_peers(participant.state).get(peer)
            if record is None:
                raise self._lost(peer, "it is no member of the group")
            return record.address

        address = found()
        if address is not None and address != gone:
            return address
        left = max(deadline - monotonic(), 0)
        write = Write(deadline=monotonic() + left, kind=MethodKind.name)
        try:
            participant.writer.patch(wanting(peer, gone), write, left)
        except WriteTimeoutError as error:
            raise _too_late(peer) from error
        participant.entry_waiters.wait_until(
            lambda: found() is not None, max(deadline - monotonic(), 0)
        )
        address = found()
        if address is None:
            raise _too_late(peer)
        return address

    def _lost(self, peer: str, reason: str) -> PeerLostError:
        pid = self._participant.state.members.get(peer, {}).get("pid")
        return PeerLostError(
            f"peer {peer} cannot be called ({reason}), so nothing was run: mem.peers has the peers "
            "that can be",
            peer=peer,
            pid=pid,
            outcome="not_applied",
        )


def _too_late(peer: str) -> RpcTimeoutError:
    return RpcTimeoutError(
        f"peer {peer} was not reached in time, so nothing was run: allow the call more time "
        "(timeout=), or see whether the process is suspended",
        peer=peer,
        outcome="not_applied",
    )
