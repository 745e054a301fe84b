"""What has become of each writer's proposals: the exactly-once table of the replicated state.

A session begins with a writer's first accepted proposal. It keeps the outcomes that the writer may
not have read yet, so that a proposal which is sent again is answered and not run again.
"""

from __future__ import annotations

from typing import Any

from .entries import Entry

SessionOutcome = list[Any]
"""``[version, error or None, whether it made an entry]``."""


class WriterSession:
    """The last decided number of one writer, and the outcomes that it may not know."""

    __slots__ = ("last", "outcomes")

    def __init__(self, last: int = 0, outcomes: dict[int, SessionOutcome] | None = None) -> None:
        self.last = last
        self.outcomes = outcomes if outcomes is not None else {}

    def record(self, entry: Entry) -> None:
        """Note the outcomes that an entry brings; forget those that its writer has read."""
        outcomes = self.outcomes
        for number, version, error in entry.decided:
            outcomes[number] = [version, error, False]
        self.last = entry.number
        outcomes[entry.number] = [entry.version, None, True]
        if next(iter(outcomes)) < entry.acked_below:
            self.outcomes = {n: o for n, o in outcomes.items() if n >= entry.acked_below}
