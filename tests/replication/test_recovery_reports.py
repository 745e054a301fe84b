"""RecoveryReports: who is waited for, and whose state is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsync.replication.recovery_reports import Pair, RecoveryReports


def test_alone_the_candidate_has_the_best_there_is() -> None:
    recovery = RecoveryReports("me", (2, 5), set())
    assert recovery.best() == ("me", (2, 5))
    assert recovery.unreported == set()


def test_nobody_is_taken_who_holds_only_as_much() -> None:
    recovery = RecoveryReports("me", (2, 5), {"a", "b"})
    recovery.report("a", (2, 5))
    recovery.report("b", (1, 900))
    assert recovery.best() == ("me", (2, 5))


def test_the_greatest_pair_wins_the_epoch_before_the_version() -> None:
    recovery = RecoveryReports("me", (0, 0), {"a", "b", "c"})
    recovery.report("a", (1, 900))
    recovery.report("b", (2, 7))
    recovery.report("c", (2, 6))
    assert recovery.best() == ("b", (2, 7))


def test_who_has_reported_or_is_lost_is_not_waited_for() -> None:
    recovery = RecoveryReports("me", (0, 0), {"a", "b", "c"})
    recovery.report("a", (1, 1))
    recovery.lost("b")
    assert recovery.unreported == {"c"}
    recovery.unreported.clear()  # a copy
    assert recovery.unreported == {"c"}


def test_a_lost_peers_report_counts_no_more() -> None:
    recovery = RecoveryReports("me", (1, 1), {"a"})
    recovery.report("a", (1, 9))
    recovery.lost("a")
    recovery.lost("a")
    assert recovery.best() == ("me", (1, 1))


def test_a_peer_that_lost_its_link_but_lives_is_waited_for_again() -> None:
    recovery = RecoveryReports("me", (1, 1), {"a"})
    recovery.report("a", (1, 9))
    recovery.expect("a")
    assert recovery.unreported == {"a"}
    assert recovery.best() == ("me", (1, 1))
    recovery.report("a", (1, 9))
    assert recovery.best() == ("a", (1, 9))


def test_a_peer_nobody_expected_may_report() -> None:
    recovery = RecoveryReports("me", (1, 1), set())
    recovery.report("late", (1, 2))
    assert recovery.best() == ("late", (1, 2))


def test_once_level_with_the_best_the_candidate_is_the_best() -> None:
    recovery = RecoveryReports("me", (1, 1), {"a"})
    recovery.report("a", (1, 9))
    recovery.advanced((1, 9))
    assert recovery.best() == ("me", (1, 9))


pairs = st.tuples(st.integers(0, 3), st.integers(0, 5))


@given(pairs, st.dictionaries(st.sampled_from("abcdef"), pairs))
def test_the_best_is_at_least_what_anybody_reported(own: Pair, reports: dict[str, Pair]) -> None:
    recovery = RecoveryReports("me", own, set(reports))
    for peer, pair in reports.items():
        recovery.report(peer, pair)
    peer, pair = recovery.best()
    assert pair == max([own, *reports.values()])
    assert (peer == "me") == (own == pair)


A, B = "018b-early", "018c-late"


@pytest.mark.parametrize(
    ("own", "reports", "best"),
    [
        ((B, (9, 9)), {"a": (A, (1, 1))}, "a"),
        ((A, (1, 1)), {"a": (B, (9, 9))}, "me"),
        ((A, (1, 1)), {"a": (B, (9, 9)), "b": (A, (1, 2))}, "b"),
        (("", (0, 0)), {"a": (B, (1, 1)), "b": (B, (1, 2))}, "b"),
        (("", (0, 0)), {"a": ("", (0, 0)), "b": (A, (1, 1)), "c": (B, (2, 1))}, "b"),
        ((A, (1, 1)), {"a": ("", (0, 0))}, "me"),
        (("", (0, 0)), {"a": ("", (0, 0))}, "me"),
        ((A, (1, 1)), {"a": (B, (1, 1))}, "me"),
        ((B, (1, 1)), {"a": (A, (1, 1))}, "a"),
    ],
)
def test_of_several_networks_the_one_founded_first_counts(
    own: tuple[str, Pair], reports: dict[str, tuple[str, Pair]], best: str
) -> None:
    recovery = RecoveryReports("me", own[1], set(reports), own[0])
    for peer, (cluster_id, pair) in reports.items():
        recovery.report(peer, pair, cluster_id)
    pair = own[1] if best == "me" else reports[best][1]
    assert recovery.best() == (best, pair)
    recovery.advanced(pair, reports.get(best, own)[0])
    assert recovery.best() == ("me", pair)


def test_the_oldest_version_of_a_cluster_is_what_a_candidate_asks_for() -> None:
    recovery = RecoveryReports("me", (2, 9), {"a", "b", "c"}, A)
    assert recovery.oldest(A) == 9
    recovery.report("a", (0, 0), A)  # it holds nothing
    recovery.report("b", (1, 7), A)
    recovery.report("c", (1, 3), B)
    assert (recovery.oldest(A), recovery.oldest(B), recovery.oldest("")) == (7, 3, 0)
    recovery.lost("b")
    assert recovery.oldest(A) == 9
