"""Which peer runs a call: read from the directory that every replica has."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from ..clocks import monotonic
from ..errors import MemSyncError, NoSuchMethodError, PeerLostError, WriteTimeoutError
from ..options.hints import similar
from ..replication.kinds.method import (
    MethodKind,
    PeerRecord,
    callable_peers,
    directory,
    stating,
)
from ..runtime.call import Call as Write
from .connections import Connections
from .functions import RUN, listed
from .messages import published_of
from .request import Request

if TYPE_CHECKING:
    from ..runtime.participant import Participant

HOST = "host"


class Choice:
    """Chooses for one peer.

    Other peers come first, those with the fewest calls of this peer before the others, and equal
    ones take turns. The peer itself comes after them, and peers that took too long a moment ago
    come last.
    """

    def __init__(self, participant: Participant, connections: Connections) -> None:
        self._participant = participant
        self._connections = connections
        self._turn = 0

    def target(self, request: Request, peer: str | None) -> str:
        """The peer for the next attempt of a request; `peer` where the program has named it.

        Raises `NoSuchMethodError` where nobody has the method, and the last error where all that
        have it were tried: before others that of an attempt which may have run.
        """
        if peer == HOST:
            return self._host(request)
        if peer is not None:
            self._check(request, peer)
            return peer
        found = self._untried(request)
        if not found:
            if request.failed:
                error = request.may_have_run() or list(request.failed.values())[-1]
                return self._last_resort(request, error)
            return self._first(self.having(request))
        return self._first(found)

    def _last_resort(self, request: Request, error: MemSyncError) -> str:
        """A peer of which this one has not heard yet, where all known ones were tried."""
        if error.outcome == "not_applied":
            self._ask_host(request)
            found = self._untried(request)
            if found:
                return self._first(found)
            if not self._having(request.method):
                raise self._nobody(request.method) from error  # the last one has just left
        raise error

    def having(self, request: Request) -> list[str]:
        """All members that can run a request; raises `NoSuchMethodError` where there is none."""
        found = self._having(request.method)
        if not found:
            self._ask_host(request)
            found = self._having(request.method)
        if not found:
            raise self._nobody(request.method)
        return found

    def has_another(self, request: Request, peer: str) -> bool:
        """Whether some other peer could run a request as well."""
        return any(other != peer for other in self._untried(request))

    def may_repeat(self, request: Request) -> bool:
        """Whether a request that may have run may run again, and there is time for it."""
        part, method = directory(self._participant.state), request.method
        flags = [each.methods.get(method) for each in part.peers.copy().values()]
        stated = [each for each in flags if each is not None]
        function = part.published.get(method)
        if function is not None and not stated:
            with suppress(msgspec.MsgspecError):  # it cannot be loaded either
                stated = [published_of(function).flags]
        return "i" in "".join(stated) and request.left() > 0

    def _first(self, peers: list[str]) -> str:
        if len(peers) == 1:
            return peers[0]
        own, links = self._participant.id, self._connections
        others = [peer for peer in peers if peer != own]
        self._turn += 1
        turn = self._turn % len(others)  # without this peer, or the one after it has its turns, too
        in_turn = others[turn:] + others[:turn] + [peer for peer in peers if peer == own]
        return min(
            in_turn, key=lambda peer: (links.has_failed(peer), peer == own, links.calls(peer))
        )

    def _untried(self, request: Request) -> list[str]:
        return [peer for peer in self._having(request.method) if peer not in request.failed]

    def _having(self, method: str) -> list[str]:
        state = self._participant.state
        if method != RUN:
            part, members = directory(state), state.members
            records = part.peers.copy().items()
            found = [peer for peer, each in records if method in each.methods and peer in members]
            if found or method not in part.published:
                return found
        return [peer for peer, record in callable_peers(state).items() if record.pickles]

    def _check(self, request: Request, peer: str) -> None:
        """Raise `NoSuchMethodError` if a peer is known not to have a method."""
        method = request.method
        if peer in self._having(method):
            return
        self._ask_host(request)
        state = self._participant.state
        if peer not in state.members or peer in self._having(method):
            return
        record = directory(state).peers.get(peer) or PeerRecord()
        if method == RUN or method in directory(state).published:
            what = "functions of others" if method == RUN else f"the published {method!r}"
            raise NoSuchMethodError(
                f"peer {peer} cannot run {what}, as rpc.pickles is false there: set it to true, or "
                "give that peer a method (rpc=)"
            )
        raise NoSuchMethodError(
            f"peer {peer} has no method {method!r}{_advice(method, list(record.methods))}"
        )

    def _host(self, request: Request) -> str:
        """The host, or the next one where that was tried."""
        state = self._participant.state

        def has_another() -> bool:
            return state.host in state.members and state.host not in request.failed

        self._participant.entry_waiters.wait_until(has_another, request.left())
        if state.host is None or not has_another():
            raise PeerLostError(
                "there is no host that can run the call, so nothing was run: allow it more time "
                "(timeout=), or let any peer run it",
                peer=state.host,
                method=request.method,
                outcome="not_applied",
            )
        return state.host

    def _ask_host(self, request: Request) -> None:
        """Catch up with the host: a method may have been stated that this peer does not know yet.

        To state again what is known makes no entry, and its answer comes after all entries.
        """
        participant, left = self._participant, request.left()
        record = directory(participant.state).peers.get(participant.id) or PeerRecord()
        write = Write(deadline=monotonic() + left, kind=MethodKind.name)
        with suppress(WriteTimeoutError):  # without a host nobody can state anything
            participant.writer.patch(stating(record), write, left)

    def _nobody(self, method: str) -> NoSuchMethodError:
        part = directory(self._participant.state)
        names = {name for record in part.peers.copy().values() for name in record.methods}
        if method == RUN:
            return NoSuchMethodError("no peer runs functions of others: rpc.pickles is false")
        return NoSuchMethodError(
            f"no peer has a method {method!r}{_advice(method, [*names, *part.published])}"
        )


def _advice(method: str, names: list[str]) -> str:
    nearest = similar(method, names)
    if nearest is not None:
        return f"; did you mean {nearest!r}?"
    if not names:
        return ": no method is offered; a peer offers its methods with MemSync(..., rpc={...})"
    return f"; the methods are {listed(names)}"
