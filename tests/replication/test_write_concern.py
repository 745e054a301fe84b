"""Write concerns: what is asked for, who counts, and whom to tell what when it has come so far."""

from __future__ import annotations

from typing import Any

import pytest

from memsync.errors import UsageError
from memsync.replication.write_concern import (
    ConcernProgress,
    WriteConcern,
    WriteConcerns,
    check_write_concern,
    wanted_members,
)

MEMBERS = ["h", "w", "p", "q", "r"]  # the host, the writer, three others
VERSION = 10


@pytest.mark.parametrize(
    ("stated", "travels"),
    [(1, None), (2, 2), (100, 100), ("majority", "majority"), ("all", "all")],
)
def test_a_concern_travels_unless_it_is_the_usual_one(stated: Any, travels: Any) -> None:
    assert check_write_concern(stated) == travels


@pytest.mark.parametrize(
    "stated", [0, -1, True, False, 1.0, 2.5, None, "", "2", "ALL", "most", [2], {"w": 2}]
)
def test_what_is_no_concern_is_a_wrong_use(stated: Any) -> None:
    with pytest.raises(UsageError, match="'majority' or 'all', not "):
        check_write_concern(stated)


@pytest.mark.parametrize(
    ("w", "by_members"),
    [
        (None, {1: 1, 2: 1, 5: 1}),
        (3, {1: 3, 3: 3, 5: 3}),
        ("all", {1: 1, 2: 2, 5: 5}),
        ("majority", {1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 6: 4}),
    ],
)
def test_how_many_members_a_concern_asks_for(
    w: WriteConcern | None, by_members: dict[int, int]
) -> None:
    assert {members: wanted_members(w, members) for members in by_members} == by_members


@pytest.fixture
def concerns() -> WriteConcerns:
    """Nothing is watched yet."""
    return WriteConcerns("h")


def watch(
    concerns: WriteConcerns,
    w: WriteConcern | None,
    *,
    number: int = 1,
    version: int = VERSION,
    journal: bool = False,
    members: list[str] = MEMBERS,
    writer: str = "w",
) -> ConcernProgress:
    """Watch over a write of w's."""
    return concerns.track(writer, number, version, w, journal, members)


def test_host_and_writer_have_it_at_once(concerns: WriteConcerns) -> None:
    assert watch(concerns, 2) == ConcernProgress(1, 2, 2, True)
    assert watch(concerns, "majority", members=["h", "w", "p"]) == ConcernProgress(1, 2, 2, True)
    assert len(concerns) == 0


def test_the_host_counts_although_it_is_not_named(concerns: WriteConcerns) -> None:
    assert watch(concerns, "all", members=["w"]) == ConcernProgress(1, 2, 2, True)


def test_a_writer_that_is_the_host_counts_once(concerns: WriteConcerns) -> None:
    assert watch(concerns, 2, writer="h") == ConcernProgress(1, 1, 2, True)
    assert concerns.applied("p", VERSION) == [("h", ConcernProgress(1, 2, 2, True))]


def test_every_step_is_told_and_with_the_last_one_the_watch_ends(concerns: WriteConcerns) -> None:
    assert watch(concerns, 4) == ConcernProgress(1, 2, 4, True)
    assert concerns.applied("p", VERSION) == [("w", ConcernProgress(1, 3, 4, True))]
    assert len(concerns) == 1
    assert concerns.applied("q", VERSION + 5) == [("w", ConcernProgress(1, 4, 4, True))]
    assert len(concerns) == 0
    assert concerns.applied("r", VERSION) == []


def test_a_copy_that_has_not_come_so_far_does_not_count(concerns: WriteConcerns) -> None:
    watch(concerns, 3)
    assert concerns.applied("p", VERSION - 1) == []
    assert concerns.applied("p", VERSION) == [("w", ConcernProgress(1, 3, 3, True))]


def test_a_copy_counts_once_however_often_it_confirms(concerns: WriteConcerns) -> None:
    watch(concerns, 5)
    assert len(concerns.applied("p", VERSION)) == 1
    for version in (VERSION, VERSION - 3, VERSION + 1):
        assert concerns.applied("p", version) == []
    assert len(concerns) == 1


def test_what_was_confirmed_before_counts(concerns: WriteConcerns) -> None:
    concerns.applied("p", VERSION)
    concerns.applied("q", VERSION - 1)
    assert watch(concerns, 4) == ConcernProgress(1, 3, 4, True)
    assert concerns.applied("q", VERSION) == [("w", ConcernProgress(1, 4, 4, True))]


def test_who_was_no_member_when_it_was_ordered_does_not_count(concerns: WriteConcerns) -> None:
    watch(concerns, "all", members=["h", "w", "p"])
    assert concerns.applied("newcomer", VERSION) == []
    assert concerns.applied("p", VERSION) == [("w", ConcernProgress(1, 3, 3, True))]


def test_more_than_there_are_members_can_never_be_and_is_not_watched(
    concerns: WriteConcerns,
) -> None:
    assert watch(concerns, 6) == ConcernProgress(1, 2, 6, False)
    assert len(concerns) == 0


def test_one_confirmation_moves_all_watches_below_it(concerns: WriteConcerns) -> None:
    for number in (1, 2, 3):
        watch(concerns, 3, number=number, version=VERSION + number)
    watch(concerns, 3, number=1, version=VERSION, writer="r")
    told = concerns.applied("p", VERSION + 2)
    assert sorted(told, key=repr) == [
        ("r", ConcernProgress(1, 3, 3, True)),
        ("w", ConcernProgress(1, 3, 3, True)),
        ("w", ConcernProgress(2, 3, 3, True)),
    ]
    assert len(concerns) == 1


class TestJournal:
    """The entry must be on the host's disk as well."""

    def test_the_disk_holds_the_last_step_back(self, concerns: WriteConcerns) -> None:
        assert watch(concerns, 3, journal=True) == ConcernProgress(1, 2, 3, True)
        assert concerns.applied("p", VERSION) == [("w", ConcernProgress(1, 2, 3, True))]
        assert concerns.applied("q", VERSION) == [("w", ConcernProgress(1, 2, 3, True))]
        assert concerns.durable(VERSION - 1) == [("w", ConcernProgress(1, 2, 3, True))]
        ((writer, reached),) = concerns.durable(VERSION)
        assert (writer, reached.wanted, len(concerns)) == ("w", 3, 0)
        assert reached.reached >= reached.wanted

    def test_the_copies_hold_it_back_too(self, concerns: WriteConcerns) -> None:
        watch(concerns, 3, journal=True)
        assert concerns.durable(VERSION) == [("w", ConcernProgress(1, 2, 3, True))]
        assert concerns.applied("p", VERSION) == [("w", ConcernProgress(1, 3, 3, True))]

    def test_it_can_be_all_that_is_asked_for(self, concerns: WriteConcerns) -> None:
        assert watch(concerns, None, journal=True) == ConcernProgress(1, 0, 1, True)
        ((_, reached),) = concerns.durable(VERSION)
        assert reached.reached >= reached.wanted == 1

    def test_what_is_on_disk_already_is_not_watched(self, concerns: WriteConcerns) -> None:
        assert concerns.durable(VERSION) == []
        concerns.durable(VERSION - 5)  # it does not go back
        reached = watch(concerns, 2, journal=True)
        assert (reached.reached, len(concerns)) == (2, 0)

    def test_the_disk_is_nothing_to_those_that_did_not_ask_for_it(
        self, concerns: WriteConcerns
    ) -> None:
        watch(concerns, 3)
        assert concerns.durable(VERSION) == []
        assert len(concerns) == 1


class TestWhoIsGone:
    """A peer that is dead counts where it has confirmed, and nowhere else."""

    def test_nobody_waits_for_the_writes_of_a_dead_writer(self, concerns: WriteConcerns) -> None:
        watch(concerns, "all")
        watch(concerns, 4, writer="p")
        assert concerns.forget("w") == []
        assert len(concerns) == 1

    def test_it_counts_where_it_has_confirmed(self, concerns: WriteConcerns) -> None:
        watch(concerns, 4)
        concerns.applied("p", VERSION)
        assert concerns.forget("p") == []
        assert concerns.applied("q", VERSION) == [("w", ConcernProgress(1, 4, 4, True))]

    def test_others_may_do_without_it(self, concerns: WriteConcerns) -> None:
        watch(concerns, 4)
        assert concerns.forget("p") == []
        assert len(concerns) == 1
        concerns.applied("q", VERSION)
        assert concerns.applied("r", VERSION) == [("w", ConcernProgress(1, 4, 4, True))]

    def test_a_concern_that_can_no_longer_be_met_is_told_and_ends(
        self, concerns: WriteConcerns
    ) -> None:
        watch(concerns, "all")
        concerns.applied("q", VERSION)
        assert concerns.forget("p") == [("w", ConcernProgress(1, 3, 5, False))]
        assert len(concerns) == 0
        assert concerns.applied("r", VERSION) == []

    def test_a_peer_that_comes_again_confirms_anew(self, concerns: WriteConcerns) -> None:
        concerns.applied("p", VERSION)
        concerns.forget("p")
        assert watch(concerns, 3) == ConcernProgress(1, 2, 3, True)
        assert concerns.applied("p", VERSION) == [("w", ConcernProgress(1, 3, 3, True))]


def test_a_write_that_is_sent_again_keeps_the_number_it_was_given() -> None:
    concerns = WriteConcerns("h")
    first = concerns.track("w", 1, 5, "majority", False, ["h", "w", "x", "y"])
    assert (first.reached, first.wanted) == (2, 3)
    again = concerns.track("w", 1, 5, "majority", False, ["h", "w"])
    assert (again.reached, again.wanted) == (2, 3)
