"""The log: entries above a base, bounded, and the pairs its own history went through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsync.replication.codec import HEADER
from memsync.replication.entries import Entry
from memsync.replication.log import Log


def entry(epoch: int, version: int) -> Entry:
    """An entry of which only the place matters."""
    return Entry(epoch, version, "ab", 0, 0, "patch", [])


def body(version: int, size: int = 10) -> bytes:
    """What stands for an encoded entry: its version, in so many bytes."""
    return bytes([version]).ljust(size)[:size]


def filled(*epochs: int, max_entries: int = 100, max_bytes: int = 10_000, size: int = 10) -> Log:
    """A log from (0, 0) on with one entry of each epoch given."""
    log = Log(0, 0, max_entries=max_entries, max_bytes=max_bytes)
    for version, epoch in enumerate(epochs, 1):
        log.append(entry(epoch, version), body(version, size))
    return log


def versions(frames: list[bytes] | None) -> list[int] | None:
    """The versions of the entries in frames."""
    return None if frames is None else [each[HEADER] for each in frames]


def test_an_empty_log_holds_its_base_only() -> None:
    log = Log(3, 7, max_entries=5, max_bytes=100)
    assert (log.version, len(log)) == (7, 0)
    assert log.since(3, 7) == []
    assert log.since(2, 7) is None
    assert log.since(3, 6) is None
    assert log.since(3, 8) is None


def test_the_entries_above_a_held_pair_are_given_in_order() -> None:
    log = filled(1, 1, 1, 2, 2)
    assert versions(log.since(1, 1)) == [2, 3, 4, 5]
    assert versions(log.since(1, 3)) == [4, 5]
    assert versions(log.since(2, 4)) == [5]
    assert versions(log.since(2, 5)) == []
    assert versions(log.since(0, 0)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("pair", [(1, 4), (1, 5), (2, 3), (3, 5), (1, 0), (2, 6), (1, -1)])
def test_a_pair_of_another_history_is_not_held(pair: tuple[int, int]) -> None:
    assert filled(1, 1, 1, 2, 2).since(*pair) is None


def test_an_entry_that_does_not_follow_is_a_fault_of_ours() -> None:
    log = filled(1)
    for version in (1, 3):
        with pytest.raises(AssertionError):
            log.append(entry(1, version), body(version))


def test_the_oldest_entries_go_when_there_are_too_many() -> None:
    log = filled(1, 1, 2, 2, 3, max_entries=2)
    assert (len(log), log.base_version, log.version) == (2, 3, 5)
    assert versions(log.since(2, 3)) == [4, 5]
    assert log.since(1, 2) is None
    assert log.epoch_at(3) == 2
    assert log.epoch_at(2) is None


def test_the_oldest_entries_go_when_their_bytes_are_too_many() -> None:
    log = filled(1, 1, 1, max_bytes=25)
    assert versions(log.since(1, 1)) == [2, 3]
    assert log.since(0, 0) is None


def test_an_entry_larger_than_the_limit_leaves_its_pair_behind_as_the_base() -> None:
    log = filled(1, 2, max_bytes=5)
    assert (len(log), log.version) == (0, 2)
    assert log.since(2, 2) == []
    assert log.since(1, 2) is None


def test_after_a_reset_only_the_new_base_is_held_and_the_bytes_are_forgotten() -> None:
    log = filled(1, 1, max_bytes=25)
    log.reset(5, 40)
    assert log.since(1, 1) is None
    for version in (41, 42):
        log.append(entry(5, version), body(version))
    assert versions(log.since(5, 40)) == [41, 42]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 30)), max_size=40),
    st.integers(0, 12),
    st.integers(0, 120),
)
def test_it_holds_what_a_plain_list_of_all_entries_holds_within_its_limits(
    steps: list[tuple[int, int]], max_entries: int, max_bytes: int
) -> None:
    log = Log(1, 0, max_entries=max_entries, max_bytes=max_bytes)
    history, sizes = [(1, 0)], [0]
    for growth, size in steps:
        epoch, version = history[-1][0] + growth, history[-1][1] + 1
        log.append(entry(epoch, version), body(version, size))
        history.append((epoch, version))
        sizes.append(size)
    kept = 0
    while kept < min(len(steps), max_entries) and sum(sizes[len(sizes) - kept - 1 :]) <= max_bytes:
        kept += 1
    assert len(log) == kept
    base = len(history) - 1 - kept
    for epoch in range(history[-1][0] + 2):
        for version in range(-1, len(history) + 1):
            held = (epoch, version) in history[base:]
            expected = list(range(version + 1, len(history))) if held else None
            assert versions(log.since(epoch, version)) == expected


def test_the_next_entries_come_with_the_oldest_first_up_to_some_bytes() -> None:
    log = filled(1, 1, 1, 2, 2)
    assert [each[0] for each in log.next_above(1, 1, 1000) or ()] == [2, 3, 4, 5]
    assert [each[0] for each in log.next_above(1, 1, 25) or ()] == [2, 3]
    assert [each[0] for each in log.next_above(1, 1, 0) or ()] == [2]
    assert log.next_above(2, 5, 1000) == []
    assert log.next_above(1, 5, 1000) is None
