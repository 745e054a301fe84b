"""Who of the members lives, as the host of an epoch sees it, and whether one more has room.

A member that is attached lives. Of the others the folder tells: a peer file that is held, free or
missing (see `folder`). Who is dead leaves the group, and its file goes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from ...errors import MaxWritersError
from ...replication.membership import Members, check_room
from ..context import PeerContext


class MemberLiveness:
    """The members of a host's group (driver only); `leave` takes one out of it.

    The second argument of `leave` says whether its row in the exactly-once table stays.
    """

    def __init__(
        self, ctx: PeerContext, clients: Collection[str], leave: Callable[[str, bool], None]
    ) -> None:
        self._ctx = ctx
        self._state = ctx.participant.state
        self._folder = ctx.place.folder
        self._platform = ctx.platform
        self._clients = clients
        self._leave = leave
        self._gone: set[str] = set()  # no members any more; their files may still be held
        self._missing: dict[str, float] = {}  # since when the files of peers are
        self._unheard: Members = {}  # living, perhaps members: their places

    def begin(
        self, own: dict[str, Any], living: set[str], granted_by: str | None, unreported: Members
    ) -> list[str]:
        """The reign begins: returns the members that have gone, for the host to take out.

        Who lives, but was `unreported`, keeps the place that it may have had. Raises
        `MaxWritersError` when this peer (`own`) is a newcomer for whom there is no place.
        """
        members = self._state.members
        gone = [peer for peer in members if self._is_gone(peer, living, granted_by)]
        if self._ctx.id not in members:
            present = {peer: member for peer, member in members.items() if peer not in gone}
            check_room({**unreported, **present}, own)
        self._unheard = unreported
        return gone

    def _is_gone(self, peer: str, living: set[str], granted_by: str | None) -> bool:
        if peer == granted_by:
            return True
        is_here = peer == self._ctx.id or peer in living
        return not is_here and self._folder.is_alive(peer) is False

    def has_left(self, peer: str) -> None:
        """A peer is no member any more."""
        self._missing.pop(peer, None)
        self._gone.add(peer)

    def make_room(self, newcomer: dict[str, Any]) -> None:
        """Raise `MaxWritersError` unless there is a place, perhaps that of somebody who is dead."""
        try:
            self._check_room(newcomer)
        except MaxWritersError:
            self.remove_dead()
            is_alive = self._folder.is_alive
            self._unheard = {p: m for p, m in self._unheard.items() if is_alive(p)}
            self._check_room(newcomer)

    def _check_room(self, newcomer: dict[str, Any]) -> None:
        members = self._state.members
        if newcomer["id"] in self._unheard:  # it comes back to its place
            check_room(members, newcomer)
        else:
            check_room({**self._unheard, **members}, newcomer)

    def remove_dead(self) -> None:
        """Take the dead out of the group."""
        members = self._state.members
        absent = [p for p in members if p not in self._clients and p != self._ctx.id]
        for peer in absent:
            is_alive = self._folder.is_alive(peer)
            if is_alive is None:
                self._miss(peer)
                continue
            self._missing.pop(peer, None)
            if not is_alive:
                self._leave(peer, False)

    def _miss(self, peer: str) -> None:
        """The file of a peer that is not session is missing.

        Who lives makes a deleted file again. Who does not for a while is dead, or frozen: its place
        is free, but what became of its writes is remembered, for it might come back.
        """
        now = self._platform.monotonic()
        if now - self._missing.setdefault(peer, now) > self._ctx.timing.missing_grace:
            self._leave(peer, True)

    def forget_the_gone(self) -> None:
        """Remove the files of those that have gone, once they are free."""
        for peer in [p for p in self._gone if self._folder.is_alive(p) is not True]:
            self._folder.forget_peer(peer)
            self._gone.discard(peer)
