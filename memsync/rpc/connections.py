"""The links that this peer has opened: one for each peer that it calls.

A link is opened at the first call and kept. It ends with either peer, and the next call opens a new
one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..clocks import monotonic
from ..errors import MemSyncError, PeerLostError, RpcTimeoutError, WriteTimeoutError
from ..manager.platform.threads import launch_thread
from ..replication.kinds.method import Address, MethodKind, callable_peers, wanting
from ..runtime.call import Call as Write
from ..runtime.logs import Logger
from ..runtime.native import Lock
from ..runtime.own_threads import OwnThread
from ..runtime.wakeup import Wakeup
from .caller import Caller
from .link import Link, Receiver
from .messages import Message
from .road import MemoryRoad, Road, Unreachable, open_pair

if TYPE_CHECKING:
    from ..runtime.participant import Participant

log = Logger("memsync.rpc")


class _Attempt:
    """A thread that opens a link, and those that wait for it."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.is_begun = False
        self.is_over = False
        self.error: Exception | None = None
        self._waiting: list[Wakeup] = []  # changed by single steps in C

    def wait(self, deadline: float) -> bool:
        """Wait for its end; returns False at the deadline (monotonic seconds)."""
        wakeup = Wakeup()
        self._waiting.append(wakeup)
        while not self.is_over:
            if not wakeup.wait(deadline - monotonic()) and monotonic() >= deadline:
                return False
        return True

    def end(self) -> None:
        """It has ended, with or without success."""
        self.is_over = True
        for wakeup in list(self._waiting):
            wakeup.set()


class _Connection:
    """The link to one other peer, once there is one."""

    def __init__(self) -> None:
        self.lock = Lock()  # of what follows; held for a few steps
        self.caller: Caller | None = None
        self.attempt: _Attempt | None = None


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
    ) -> None:
        self._participant = participant
        self._road = road
        self._to_itself = to_itself
        self._new_caller = new_caller
        self._connections: dict[str, _Connection] = {}

    def calls(self, peer: str) -> int:
        """The number of calls to a peer that are under way from here."""
        connection = self._connections.get(peer)
        caller = connection.caller if connection is not None else None
        return caller.calls if caller is not None else 0

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
        caller = connection.caller
        if caller is not None and caller.link.is_open:
            return caller
        while True:
            attempt = self._attempt(peer, connection, deadline)
            if not attempt.wait(deadline):
                raise _too_late(peer)
            caller = connection.caller
            if caller is not None and caller.link.is_open:
                return caller
            error = attempt.error
            has_more_time = attempt.deadline < deadline and monotonic() < deadline
            if error is not None and not (isinstance(error, RpcTimeoutError) and has_more_time):
                raise _copy(error)

    def _attempt(self, peer: str, connection: _Connection, deadline: float) -> _Attempt:
        """The attempt that is under way, or a new one.

        It has a thread of its own, because an exception out of a signal handler could come between
        any two steps of a handshake here.
        """
        mine: _Attempt | None = None
        try:
            with connection.lock:
                if connection.attempt is not None:
                    return connection.attempt
                mine = connection.attempt = _Attempt(deadline)
            work = partial(self._open, peer, connection, mine)
            launch_thread(OwnThread(work, "memsync-connect"), partial(self._not_begun, mine))
            return mine
        except BaseException:
            if mine is not None and not mine.is_begun:
                self._end(connection, mine)
            raise

    def _open(self, peer: str, connection: _Connection, attempt: _Attempt) -> None:
        attempt.is_begun = True
        try:
            connection.caller = self._connect(peer, connection, attempt.deadline)
        except Exception as error:  # those that wait raise it
            attempt.error = error
        finally:
            self._end(connection, attempt)

    def _end(self, connection: _Connection, attempt: _Attempt) -> None:
        with connection.lock:
            if connection.attempt is attempt:
                connection.attempt = None
        attempt.end()

    def _not_begun(self, attempt: _Attempt, error: BaseException) -> None:
        """There is no thread left; the attempt ends with the deadlines of those that wait."""
        log.error("a connection for calls waits, its thread cannot be started: %s", error)

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


def _copy(error: Exception) -> Exception:
    """An error for one of several threads that raise it."""
    if isinstance(error, MemSyncError):
        return type(error)(str(error), **error.fields)
    return error
