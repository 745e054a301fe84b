"""Who gets a free writer's place, on a clock of its own; and places that only their peer knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from memsync.errors import MaxWritersError
from memsync.manager.context import PeerContext
from memsync.manager.host.liveness import MemberLiveness
from memsync.manager.host.standbys import Standbys
from memsync.manager.timing import TIMING
from memsync.manager.transport.messages import Ping, parse
from memsync.options import load_options
from memsync.replication.codec import HEADER
from memsync.replication.membership import Members, check_room, new_member, standing_by, stands_by

from .builders import new_context

PATIENCE = TIMING.standby_answer


def member(peer: str, limit: int | None = 1) -> dict[str, Any]:
    return new_member(peer, 7, ["writer"], max_writers=limit)


class Group:
    """A host's group as `Standbys` sees it."""

    def __init__(self, *waiting: str, own: str = "host") -> None:
        self.now = 0.0
        self.let_in: list[str] = []
        self.pinged: list[str] = []
        self.members = {"writer": member("writer")}
        self.members |= {peer: standing_by(member(peer)) for peer in waiting}
        self.state = SimpleNamespace(members=self.members, notices=0)
        self.clients = {peer: SimpleNamespace(peer=peer) for peer in waiting if peer != own}
        self._token = 0
        ctx: Any = SimpleNamespace(
            id=own,
            participant=SimpleNamespace(state=self.state, name="obj"),
            platform=SimpleNamespace(wall_ms=lambda: 5000),
            timing=TIMING,
            waker=SimpleNamespace(wake=lambda: None),
        )
        fanout: Any = SimpleNamespace(
            clients=self.clients, answer=self._ping, flush_soon=lambda session: None
        )
        ordering: Any = SimpleNamespace(append=self._append)
        liveness: Any = SimpleNamespace(
            make_room=lambda newcomer: check_room(self.members, newcomer), has_unreported=False
        )
        self.standbys = Standbys(ctx, fanout, ordering, liveness)

    def _ping(self, session: Any, encoded: bytes) -> None:
        message = parse(encoded[HEADER:])
        assert isinstance(message, Ping)
        assert message.token < 0
        self._token = message.token
        self.pinged.append(session.peer)

    def _append(self, kind: str, body: Any) -> None:
        self.let_in.append(body["join"]["id"])
        assert body["join"]["since"] == 5.0
        self.members[body["join"]["id"]] = body["join"]
        self.state.notices += 1

    def leaves(self, peer: str) -> None:
        del self.members[peer]
        self.state.notices += 1
        self.check()

    def check(self, seconds: float = 0.0) -> list[str]:
        """Let time pass; returns those that were let in so far."""
        self.now += seconds
        for _ in range(10):
            self.standbys.check(self.now)
        return self.let_in

    def answers(self, peer: str) -> list[str]:
        self.standbys.answered(peer, self._token)
        return self.check()


def test_nobody_is_asked_while_there_is_no_room() -> None:
    group = Group("a", "b")
    assert group.check(100.0) == []
    assert group.pinged == []
    assert group.standbys.next_check == float("inf")


def test_the_first_one_is_let_in_when_it_answers_and_the_others_stay() -> None:
    group = Group("a", "b")
    group.leaves("writer")
    assert group.pinged == ["a", "b"]
    assert group.answers("b") == []  # a may still answer
    assert group.answers("a") == ["a"]
    assert group.check(100.0) == ["a"]
    assert stands_by(group.members["b"])


def test_one_that_does_not_answer_in_time_is_passed_over() -> None:
    group = Group("a", "b", "c")
    group.leaves("writer")
    group.answers("b")
    assert group.check(PATIENCE * 0.9) == []
    assert group.check(PATIENCE * 0.2) == ["b"]


def test_if_nobody_answers_they_are_asked_again() -> None:
    group = Group("a", "b")
    group.leaves("writer")
    group.check(PATIENCE * 1.1)
    assert group.pinged == ["a", "b", "a", "b"]
    assert group.answers("a") == ["a"]


def test_a_late_answer_to_an_earlier_question_counts_for_nothing() -> None:
    group = Group("a")
    group.leaves("writer")
    earlier = group._token
    group.check(PATIENCE * 1.1)
    group.standbys.answered("a", earlier)
    assert group.check() == []


def test_a_host_that_stands_by_needs_no_question() -> None:
    group = Group("host", "a")
    group.leaves("writer")
    assert group.let_in == ["host"]


def test_two_places_go_to_two() -> None:
    group = Group("a", "b")
    for each in group.members.values():
        each["maxWriters"] = 2
    group.check()
    assert group.answers("a") == ["a"]
    group.leaves("writer")
    assert group.answers("b") == ["a", "b"]


@pytest.fixture
def ctx(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PeerContext]:
    """A peer that stands by."""
    options = load_options({"onMaxWriters": "wait"}, environ={})
    monkeypatch.setattr(f"{new_context.__module__}.load_options", lambda *_, **__: options)
    with new_context(folder, "0" * 16) as made:
        yield made


def stated(ctx: PeerContext) -> Any:
    return ctx.place.folder.living_peers()[ctx.id]["standsBy"]


def test_a_peer_takes_its_place_unless_a_later_epoch_has_begun(ctx: PeerContext) -> None:
    assert stated(ctx) is True
    assert ctx.stands_by
    lock = ctx.place.folder.publish_lock(3, "host", 7, "/x")
    assert lock is not None
    assert ctx.place.take_place(3)
    assert stated(ctx) is False
    assert not ctx.place.take_place(2)
    assert stated(ctx) is True
    lock.close()


def test_the_place_of_one_that_has_not_reported_is_kept_until_it_does(ctx: PeerContext) -> None:
    members = ctx.participant.state.members
    members |= {"a": standing_by(member("a")), "b": standing_by(member("b"))}
    alive = {"a": True}
    liveness = MemberLiveness(ctx, {"b"}, lambda peer, keeps: None)
    unreported: Members = {"a": member("a")}  # its file says that it has a place
    liveness._folder = SimpleNamespace(is_alive=alive.get)  # type: ignore[assignment]
    liveness.begin(member(ctx.id), {"a", "b"}, None, unreported)
    assert liveness.has_unreported
    with pytest.raises(MaxWritersError):
        liveness.make_room(member("b"))
    with pytest.raises(MaxWritersError):
        liveness.make_room(member("newcomer"))
    liveness.make_room(member("a"))  # the place is its own
    liveness.has_attached("a")
    liveness.make_room(member("b"))
