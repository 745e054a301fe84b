"""The wait for a writer's place: who ends it, and what an interrupt in between leaves."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest

from memsync.errors import MaxWritersError, NotStartedError
from memsync.replication.membership import Members, let_in, new_member, standing_by
from memsync.runtime.standby import FirstRole, Standby


def member(peer: str) -> dict[str, Any]:
    return new_member(peer, 7, ["writer"], max_writers=1)


WAITING: Members = {"a": member("a"), "b": standing_by(member("b"))}
LET_IN: Members = {"b": let_in(WAITING["b"], 1.0)}


def test_it_is_over_when_the_peer_has_its_place_and_the_engine_agrees() -> None:
    heard: list[Any] = []
    standby = Standby("b", lambda name, argument: heard.append((name, argument)))
    may_begin = False
    standby.may_begin = lambda: may_begin
    standby.began = lambda: standby.announce("connected", "host")
    for members in ({}, WAITING, LET_IN):
        standby.check(members)
        standby.announce("event", 1)
    assert not standby.is_over
    may_begin = True
    standby.check(LET_IN)
    standby.check(LET_IN)
    standby.announce("event", 2)
    assert heard == [("connected", "host"), ("event", 2)]


def test_an_interrupt_in_between_is_made_up_for() -> None:
    first = FirstRole()
    standby = Standby("b", lambda *_: None)
    standby.may_begin = first.take
    interrupts = [KeyboardInterrupt()]

    def began() -> None:
        if interrupts:
            raise interrupts.pop()
        first.begin("host")

    standby.began = began
    with pytest.raises(KeyboardInterrupt):
        standby.check(LET_IN)
    standby.check(LET_IN)
    first.wait(standby, lambda: LET_IN, 0.0)
    assert first.role("x") == "host"


def test_a_start_that_has_given_up_takes_no_place() -> None:
    first, standby = FirstRole(), Standby("b", lambda *_: None)
    first.has_stood_by = True
    with pytest.raises(MaxWritersError, match=r"no place in 0 s: .*process 7 \(peer a\)"):
        first.wait(standby, lambda: WAITING, 0.0)
    assert not first.take()


def test_the_engine_that_has_taken_the_place_is_waited_for() -> None:
    first, standby = FirstRole(), Standby("b", lambda *_: None)
    first.has_stood_by = True
    assert first.take()
    timer = threading.Timer(0.1, first.begin, ["client"])
    timer.start()
    first.wait(standby, lambda: WAITING, 0.0)
    assert first.role("x") == "client"
    timer.join()


def test_a_peer_that_was_stopped_has_no_role() -> None:
    first = FirstRole()
    first.end()
    first.wait(Standby("b", lambda *_: None), lambda: WAITING, math.inf)
    with pytest.raises(NotStartedError, match=r"MemSync\('x'\) was stopped"):
        first.role("x")
