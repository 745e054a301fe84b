"""A writer's session keeps what the writer may not know, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from memsync.replication.entries import Entry
from memsync.replication.sessions import SessionOutcome, WriterSession


@dataclass
class Model:
    """The rule, in the plainest form."""

    outcomes: dict[int, SessionOutcome] = field(default_factory=dict)

    def record(self, entry: Entry) -> None:
        for number, version, error in entry.decided:
            self.outcomes[number] = [version, error, False]
        self.outcomes[entry.number] = [entry.version, None, True]
        self.outcomes = {n: o for n, o in self.outcomes.items() if n >= entry.acked_below}


def entry_of(version: int, number: int, acked_below: int, decided: list[list[Any]]) -> Entry:
    return Entry(1, version, "w", number, version, "patch", [], acked_below, decided)


# How many numbers before an entry made none, and how far its writer has read; now and then a number
# that was read becomes unread again, by a recall.
steps = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.booleans()), max_size=30)


@given(steps, st.integers(0, 30))
def test_it_agrees_with_the_plain_rule_also_after_a_snapshot(
    taken: list[tuple[int, int, bool]], snapshot_at: int
) -> None:
    session, model = WriterSession(), Model()
    number, acked_below = 0, 1
    for version, (gap, read, recalled) in enumerate(taken, 1):
        decided: list[list[Any]] = [[number + each, version, None] for each in range(1, gap + 1)]
        number += gap + 1
        acked_below = max(1, acked_below - read) if recalled else min(acked_below + read, number)
        decided = [each for each in decided if each[0] >= acked_below]  # as the host does
        entry = entry_of(version, number, acked_below, decided)
        if version == snapshot_at:
            session = WriterSession(session.last, dict(session.outcomes))
        session.record(entry)
        model.record(entry)
        assert session.outcomes == model.outcomes
        assert list(session.outcomes) == sorted(session.outcomes)
        assert session.last == number


def test_outcomes_that_no_entry_makes_read_are_not_looked_for() -> None:
    class Unread(dict[int, SessionOutcome]):
        def __iter__(self) -> Any:
            raise AssertionError("nothing was read since the last entry")

    session = WriterSession()
    session.record(entry_of(1, 5, 1, []))
    session.outcomes = Unread(session.outcomes)
    for number in range(6, 100):
        session.record(entry_of(number, number, 1, []))
    assert len(session.outcomes) == 95
