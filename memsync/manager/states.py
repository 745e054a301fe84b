"""The states of a peer, and which event leads from one to the next.

::

                          +--------------------------- link lost, handed over ----------+
                          v                                                             |
    start --> searching --> joining ------------------------------- level ------> following
                 |  ^          | broke off                                               |
                 |  +----------+                                                         |
                 |  ^                                                                    |
                 |  +-- too late ---+-- deposed --+                                      |
                 |                  |             |                                      |
                 +-- may host --> campaigning -- lock taken --> recovering -- opened --> hosting
                                                                                         |
                 searching <--------------- deposed, stepped down ---------------------- +

    stop, or an error that a peer does not outlive: any state --> leaving --> stopped

A peer *searches* for a role in the folder. Where somebody hosts, it *joins* and then *follows*.
Where nobody does, it *campaigns*: it takes the next epoch's lock. The holder of that lock
*recovers* the best state that any peer holds, and then *hosts*.
"""

from __future__ import annotations

from enum import Enum


class PeerState(Enum):
    """Where a peer is on its way."""

    SEARCHING = "searching"
    JOINING = "joining"
    CAMPAIGNING = "campaigning"
    RECOVERING = "recovering"
    HOSTING = "hosting"
    FOLLOWING = "following"
    LEAVING = "leaving"
    STOPPED = "stopped"


class PeerEvent(Enum):
    """What leads a peer from one state to another."""

    HOST_FOUND = "host found"
    CAUGHT_UP = "caught up"  # this copy has caught up with the host's
    BROKE_OFF = "broke off"
    MAY_HOST = "may host"
    TOO_LATE = "too late"  # another peer took the epoch
    LOCK_TAKEN = "lock taken"
    OPENED = "opened"
    DEPOSED = "deposed"  # another peer took a later epoch
    ROLE_OVER = "role over"
    FAILED = "failed"  # an error that a running peer may outlive
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
        """Go where an event leads; an event that the table does not know here is a bug."""
        self.current = TRANSITIONS[self.current, event]
