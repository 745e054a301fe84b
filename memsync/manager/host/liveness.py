"""Which members live, as the host of an epoch sees it, and whether there is room for another one.

An attached member lives. For the others the host reads the peer files: held, free or missing (see
`folder`). A dead member leaves the group, and its file is removed a second later.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from ...errors import MaxWritersError
from ...replication.membership import Members, check_room, stands_by
from ..context import PeerContext
from ..folder.cleaning import dead_peers


class MemberLiveness:
    """The members of a host's group (driver only); `leave` takes one out of it.

    The second argument of `leave` says whether the exactly-once table keeps the member's session.
    """

    def __init__(
        self, ctx: PeerContext, clients: Collection[str], leave: Callable[[str, bool], None]
    ) -> None:
        self._ctx = ctx
        self._state = ctx.participant.state
        self._folder = ctx.place.folder
        self._clients = clients
        self._leave = leave
        self._gone: dict[str, float] = {}  # peers whose files are to be removed, and since when
        self._has_looked = False  # for files that others left
        self._missing: dict[str, float] = {}  # when the host first missed a file
        self._unreported: Members = {}  # living peers that may have places

    def begin(
        self, own: dict[str, Any], living: set[str], granted_by: str | None, unreported: Members
    ) -> list[str]:
        """Begin the epoch: returns the members that have gone, which the host takes out.

        An `unreported` living peer keeps the writer's slot that it may have. Raises
        `MaxWritersError` if this peer (`own`) has no slot, and there is none for it, and it does
        not stand by.
        """
        members = self._state.members
        gone = [peer for peer in members if self._is_gone(peer, living, granted_by)]
        if self.lacks_place(self._ctx.id) and not self._ctx.stands_by:
            present = {peer: member for peer, member in members.items() if peer not in gone}
            check_room({**present, **unreported}, own)
        self._unreported = unreported
        return gone

    def lacks_place(self, peer: str) -> bool:
        """Whether a peer is no member, or one that stands by."""
        member = self._state.members.get(peer)
        return member is None or stands_by(member)

    @property
    def has_unreported(self) -> bool:
        """Whether there are living peers that may have places, and have not reported."""
        return bool(self._unreported)

    def has_attached(self, peer: str) -> None:
        """A peer has reported: what it has is known now."""
        self._unreported.pop(peer, None)

    def _is_gone(self, peer: str, living: set[str], granted_by: str | None) -> bool:
        if peer == granted_by:
            return True
        is_here = peer == self._ctx.id or peer in living
        return not is_here and self._folder.is_alive(peer) is False

    def has_left(self, peer: str) -> None:
        """A peer is no longer a member."""
        self._missing.pop(peer, None)
        self._gone[peer] = self._ctx.platform.monotonic()

    def make_room(self, newcomer: dict[str, Any]) -> None:
        """Raise `MaxWritersError` unless there is a writer's slot, perhaps a dead member's."""
        try:
            self._check_room(newcomer)
        except MaxWritersError:
            self.remove_dead()
            is_alive = self._folder.is_alive
            self._unreported = {p: m for p, m in self._unreported.items() if is_alive(p)}
            self._check_room(newcomer)

    def _check_room(self, newcomer: dict[str, Any]) -> None:
        members, unreported = self._state.members, self._unreported
        if newcomer["id"] in unreported:  # the slot is its own, and others may have none
            unreported = {peer: each for peer, each in unreported.items() if peer in members}
        check_room({**members, **unreported}, newcomer)

    def check(self) -> None:
        """Take out the dead, and remove the files of those that have gone."""
        self.remove_dead()
        self._forget_the_gone()

    def remove_dead(self) -> None:
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
        """The file of a peer that is not attached is missing.

        A living peer restores its file. One that does not for a while is dead or frozen: it loses
        its membership, but its session is kept, because it may come back.
        """
        now = self._ctx.platform.monotonic()
        if now - self._missing.setdefault(peer, now) > self._ctx.timing.missing_grace:
            self._leave(peer, True)

    def _forget_the_gone(self) -> None:
        """Remove the files of former members once they are free, and others know that they left.

        A host that lacked the entry and found no file would take the peer for one that may live.
        """
        now = self._ctx.platform.monotonic()
        if not self._has_looked:
            self._has_looked = True
            self._gone = {**dict.fromkeys(dead_peers(self._folder), now), **self._gone}
        before = now - self._ctx.timing.gone_file
        for peer in [peer for peer, since in self._gone.items() if since < before]:
            if self._folder.is_alive(peer) is not True:
                self._folder.forget_peer(peer)
                del self._gone[peer]
