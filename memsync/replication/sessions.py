"""Writers' sessions: the part of the replicated state that makes writes exactly-once.

A session begins with a writer's first accepted proposal. It keeps the outcomes that the writer may
not have read yet. A proposal that is sent again gets its outcome again and is not applied again.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from .entries import Entry

SessionOutcome = list[Any]
"""``[version, error or None, whether it made an entry]``."""


class WriterSession:
    """The last decided number of one writer, and the outcomes that the writer may not know."""

    __slots__ = ("_acked_below", "last", "outcomes")

    def __init__(self, last: int = 0, outcomes: dict[int, SessionOutcome] | None = None) -> None:
        self.last = last
        self.outcomes = outcomes if outcomes is not None else {}
        self._acked_below = 0  # of the last entry

    def record(self, entry: Entry) -> None:
        """Add the outcomes in an entry; drop those that the writer has read."""
        number, acked_below, outcomes = entry.number, entry.acked_below, self.outcomes
        if number == acked_below:  # a writer that waits for each of its writes
            outcomes.clear()
        else:
            for decided, version, error in entry.decided:
                outcomes[decided] = [version, error, False]
            # A writer that does not wait reads many outcomes at once, and finding the first item of
            # a dict takes longer the more were deleted in front of it.
            if acked_below != self._acked_below:
                # Numbers are added in rising order, so those that go stand in front.
                for known in list(takewhile(acked_below.__gt__, outcomes)):
                    del outcomes[known]
        self._acked_below = acked_below
        outcomes[number] = [entry.version, None, True]
        self.last = number
