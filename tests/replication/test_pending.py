"""A peer's own writes: numbers without gaps, kept until the outcome is known."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsync.errors import UpdateError
from memsync.replication.entries import Propose
from memsync.replication.pending import PendingWrite, PendingWrites

from .builders import proposal


def add(writes: PendingWrites[PendingWrite]) -> PendingWrite:
    """One more write."""
    number = writes.next_number
    write = PendingWrite(Propose(number, writes.first_open, number, 1, 1, "patch", {}))
    writes.add(write)
    return write


def numbers(found: list[PendingWrite]) -> list[int]:
    """The numbers of writes."""
    return [write.proposal.number for write in found]


def filled(count: int, keep: int = 10) -> PendingWrites[PendingWrite]:
    """So many pending writes."""
    writes: PendingWrites[PendingWrite] = PendingWrites(keep)
    for _ in range(count):
        add(writes)
    return writes


def test_numbers_begin_at_one_and_have_no_gaps() -> None:
    writes = filled(3)
    assert numbers(list(writes.pending.values())) == [1, 2, 3]
    assert (writes.next_number, writes.first_open) == (4, 1)


def test_a_write_with_another_number_is_a_fault_of_ours() -> None:
    with pytest.raises(AssertionError):
        filled(1).add(PendingWrite(Propose(1, 1, 1, 1, 1, "patch", {})))


def test_the_lowest_unknown_number_follows_the_outcomes() -> None:
    writes = filled(3)
    completed = writes.complete(2, made_entry=True)
    assert completed is not None
    assert completed.proposal.number == 2
    assert writes.first_open == 1
    writes.complete(1, made_entry=False)
    assert writes.first_open == 3
    writes.complete(3, made_entry=True)
    assert writes.first_open == 4


def test_an_outcome_that_was_known_before_changes_nothing() -> None:
    writes = filled(1)
    assert writes.complete(1, made_entry=True) is not None
    assert writes.complete(1, made_entry=True) is None
    assert writes.complete(99, made_entry=True) is None


def test_a_host_gets_what_it_has_not_decided() -> None:
    writes = filled(3)
    assert numbers(writes.after(0)) == [1, 2, 3]
    assert numbers(writes.after(2)) == [3]
    assert numbers(writes.after(3)) == []


def test_an_accepted_write_which_the_next_host_lacks_is_pending_again_in_sequence() -> None:
    writes = filled(4)
    for number in (1, 2):
        writes.complete(number, made_entry=True)
    assert numbers(writes.after(0)) == [3, 4]
    writes.recall(1)
    assert numbers(writes.after(0)) == [2, 3, 4]
    assert writes.first_open == 2
    writes.recall(1)
    assert numbers(writes.after(0)) == [2, 3, 4]
    writes.recall(0)
    assert numbers(writes.after(0)) == [1, 2, 3, 4]


def test_a_refused_write_is_not_sent_again() -> None:
    writes = filled(3)
    writes.complete(1, made_entry=True)
    writes.complete(2, made_entry=False)
    writes.recall(0)
    assert numbers(writes.after(0)) == [1, 3]


def test_only_so_many_accepted_writes_are_remembered() -> None:
    writes = filled(5, keep=2)
    for number in range(1, 6):
        writes.complete(number, made_entry=True)
    writes.recall(0)
    assert numbers(writes.after(0)) == [4, 5]


def test_a_write_takes_its_outcome() -> None:
    write = add(PendingWrites(1))
    assert not write.done
    error = UpdateError("no")
    write.resolve(7, error)
    assert (write.done, write.version, write.error) == (True, 7, error)


@given(st.lists(st.sampled_from(["add", "accept", "refuse"]), max_size=40), st.integers(0, 40))
def test_it_agrees_with_a_plain_list(steps: list[str], last: int) -> None:
    writes: PendingWrites[PendingWrite] = PendingWrites(keep=100)
    fate: dict[int, str] = {}
    for step in steps:
        undecided = [number for number, what in fate.items() if what == "pending"]
        if step == "add":
            fate[add(writes).proposal.number] = "pending"
        elif undecided:
            fate[undecided[0]] = step
            assert writes.complete(undecided[0], made_entry=step == "accept") is not None
    undecided = [number for number, what in fate.items() if what == "pending"]
    assert writes.first_open == min(undecided, default=len(fate) + 1)
    writes.recall(last)
    assert numbers(writes.after(last)) == [
        number for number, what in fate.items() if what != "refuse" and number > last
    ]


def test_g2_a_recall_lowers_acked_below_of_later_proposals() -> None:
    writes: PendingWrites[PendingWrite] = PendingWrites(keep=10)
    for _ in range(3):
        writes.add(PendingWrite(proposal(writes.next_number, acked_below=writes.first_open)))
        if writes.next_number < 4:
            writes.complete(writes.next_number - 1, made_entry=True)
    assert [write.proposal.acked_below for write in writes.pending.values()] == [3]
    writes.recall(0)
    assert list(writes.pending) == [1, 2, 3]
    assert [write.proposal.acked_below for write in writes.pending.values()] == [1, 1, 1]


def test_g2_what_changed_nothing_is_not_brought_back() -> None:
    writes: PendingWrites[PendingWrite] = PendingWrites(keep=10)
    for _ in range(2):
        writes.add(PendingWrite(proposal(writes.next_number)))
    writes.complete(1, made_entry=False)
    writes.complete(2, made_entry=True)
    assert writes.recall(0) == 0
    assert list(writes.pending) == [2]


def test_what_was_accepted_in_a_network_that_gives_up_is_not_brought_back() -> None:
    writes = filled(5, keep=2)
    for number in (1, 2, 3, 4):
        write = writes.complete(number, made_entry=True)
        assert write is not None
        if number != 4:
            write.resolve(number, None)
    assert writes.forget_accepted() == 3  # of number 4 nobody was told
    assert writes.recall(0) == 0
    assert list(writes.pending) == [5]
    writes.reset_base()
    proposal = writes.pending[5].proposal
    assert (proposal.epoch, proposal.version) == (0, 0)


class _CountingDict(dict[int, PendingWrite]):
    """A dict that counts the keys that are passed over one by one."""

    passed = 0

    def __iter__(self) -> Iterator[int]:
        for key in super().__iter__():
            self.passed += 1
            yield key


@given(st.sets(st.integers(1, 40)), st.integers(0, 45))
def test_the_next_pending_number_is_found_with_and_without_gaps(
    decided: set[int], last: int
) -> None:
    writes = filled(40)
    for number in decided:
        writes.complete(number, made_entry=number % 3 > 0)
        assert writes.first_open == min(writes.pending, default=41)
    assert writes.first_after(last) == min((n for n in writes.pending if n > last), default=None)


def test_the_next_pending_number_is_found_without_passing_those_below() -> None:
    writes = filled(1000)
    writes.pending = counting = _CountingDict(writes.pending)
    assert [writes.first_after(last) for last in range(1001)] == [*range(1, 1001), None]
    assert not counting.passed
