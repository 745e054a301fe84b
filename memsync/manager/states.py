"""The states of a peer, and the events that lead from one to the next.

::

    start -> searching -- host found -> joining -- caught up -> following
              searching -- may host -> campaigning -- lock taken -> recovering -- opened -> hosting

    back to searching:  joining (broke off), campaigning (too late), recovering (deposed),
                        following and hosting (role over), each of them (failed)
    to the end:         any state -- stop -> leaving -- left -> stopped

A peer *searches* for a role in the folder. If there is a host, the peer *joins* and then *follows*
it. Otherwise it *campaigns*: it tries to take the next epoch's lock. The holder of that lock
*recovers* the best state of any peer, and then *hosts*.
"""

from __future__ import annotations

from enum import StrEnum


class PeerState(StrEnum):
    """A state of a peer."""

    SEARCHING = "searching"
    JOINING = "joining"
    CAMPAIGNING = "campaigning"
    RECOVERING = "recovering"
    HOSTING = "hosting"
    FOLLOWING = "following"
    LEAVING = "leaving"
    STOPPED = "stopped"


class PeerEvent(StrEnum):
    """An event that leads a peer from one state to another."""

    HOST_FOUND = "host found"
    CAUGHT_UP = "caught up"
    BROKE_OFF = "broke off"
    MAY_HOST = "may host"
    TOO_LATE = "too late"  # another peer took the epoch
    LOCK_TAKEN = "lock taken"
    OPENED = "opened"
    DEPOSED = "deposed"  # another peer took a later epoch
    ROLE_OVER = "role over"
    FAILED = "failed"  # an error that a running peer may survive
    STOP = "stop"
    LEFT = "left"


S, E = PeerState, PeerEvent

TRANSITIONS: dict[tuple[PeerState, PeerEvent], PeerState] = {
    (S.SEARCHING, E.HOST_FOUND): S.JOINING,
    (S.SEARCHING, E.MAY_HOST): S.CAMPAIGNING,
    (S.JOINING, E.CAUGHT_UP): S.FOLLOWING,
    (S.JOINING, E.BROKE_OFF): S.SEARCHING,
    (S.CAMPAIGNING, E.TOO_LATE): S.SEARCHING,
    (S.CAMPAIGNING, E.LOCK_TAKEN): S.RECOVERING,
    (S.RECOVERING, E.OPENED): S.HOSTING,
    (S.RECOVERING, E.DEPOSED): S.SEARCHING,
    (S.HOSTING, E.ROLE_OVER): S.SEARCHING,
    (S.FOLLOWING, E.ROLE_OVER): S.SEARCHING,
    (S.LEAVING, E.LEFT): S.STOPPED,
    **{(state, E.FAILED): S.SEARCHING for state in S if state not in (S.LEAVING, S.STOPPED)},
    **{(state, E.STOP): S.LEAVING for state in S if state is not S.STOPPED},
}


class PeerStates:
    """The state of one peer, which only its driver changes."""

    def __init__(self) -> None:
        self.current = PeerState.SEARCHING

    def on(self, event: PeerEvent) -> None:
        """Follow an event; a `KeyError` shows a bug: the table has no such event in this state."""
        self.current = TRANSITIONS[self.current, event]
