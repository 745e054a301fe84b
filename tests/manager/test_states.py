"""The table of a peer's states: every road through it, and what it refuses."""

from __future__ import annotations

from itertools import product

import pytest

from memsync.manager.states import TRANSITIONS, PeerEvent, PeerState, PeerStates

S, E = PeerState, PeerEvent
UNKNOWN = sorted(set(product(S, E)) - TRANSITIONS.keys(), key=str)
ROADS = {
    "join, follow, lose the host": [
        (E.HOST_FOUND, S.JOINING),
        (E.CAUGHT_UP, S.FOLLOWING),
        (E.ROLE_OVER, S.SEARCHING),
    ],
    "join in vain": [(E.HOST_FOUND, S.JOINING), (E.BROKE_OFF, S.SEARCHING)],
    "campaign, host, step down": [
        (E.MAY_HOST, S.CAMPAIGNING),
        (E.LOCK_TAKEN, S.RECOVERING),
        (E.OPENED, S.HOSTING),
        (E.ROLE_OVER, S.SEARCHING),
    ],
    "campaign too late": [(E.MAY_HOST, S.CAMPAIGNING), (E.TOO_LATE, S.SEARCHING)],
    "be deposed while recovering": [
        (E.MAY_HOST, S.CAMPAIGNING),
        (E.LOCK_TAKEN, S.RECOVERING),
        (E.DEPOSED, S.SEARCHING),
    ],
    "stop": [(E.STOP, S.LEAVING), (E.STOP, S.LEAVING), (E.LEFT, S.STOPPED)],
}


def in_state(state: PeerState) -> PeerStates:
    """A peer in a given state."""
    states = PeerStates()
    states.current = state
    return states


@pytest.mark.parametrize("road", ROADS)
def test_a_road_through_the_states(road: str) -> None:
    states = PeerStates()
    assert states.current is S.SEARCHING
    for event, state in ROADS[road]:
        states.on(event)
        assert states.current is state


@pytest.mark.parametrize("state", [state for state in S if state not in (S.LEAVING, S.STOPPED)])
def test_after_an_error_and_at_a_stop_every_state_is_left(state: PeerState) -> None:
    for event, expected in ((E.FAILED, S.SEARCHING), (E.STOP, S.LEAVING)):
        states = in_state(state)
        states.on(event)
        assert states.current is expected


def test_the_roads_and_the_errors_are_all_there_is() -> None:
    walked = set()
    for road in ROADS.values():
        before = S.SEARCHING
        for event, after in road:
            walked.add((before, event))
            before = after
    rest = TRANSITIONS.keys() - walked
    assert {event for _, event in rest} == {E.FAILED, E.STOP}


@pytest.mark.parametrize(("state", "event"), UNKNOWN)
def test_an_event_that_the_table_does_not_know_raises(state: PeerState, event: PeerEvent) -> None:
    states = in_state(state)
    with pytest.raises(KeyError):
        states.on(event)
    assert states.current is state
