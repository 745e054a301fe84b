"""What a run of the demo came to, and how that is printed."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

TOP = 10
SHOWN_DIFFERENCES = 5


@dataclass(frozen=True)
class Report:
    """The outcome of a run; `counts` is the shared table, `plain` that of a single process."""

    files: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    plain: dict[str, int] = field(default_factory=dict)
    changes: int = 0
    seconds_without_host: float = 0.0
    writes_per_second: float = 0.0

    @property
    def equal(self) -> bool:
        """Whether both tables hold the same words with the same counts."""
        return self.counts == self.plain


def print_report(report: Report) -> None:
    """Print the most frequent words, the figures, and the words that differ, if any."""
    top = heapq.nsmallest(TOP, report.counts.items(), key=lambda item: (-item[1], item[0]))
    for word, number in top:
        print(f"{number:>10} {word}")
    if not report.files:
        print("there is no text file")
    print(f"files: {report.files}")
    print(f"words: {sum(report.counts.values())}")
    print(f"changes of host: {report.changes}")
    print(f"milliseconds without a host: {round(report.seconds_without_host * 1000)}")
    print(f"writes per second: {round(report.writes_per_second)}")
    for line in _differences(report):
        print(line)
    print(f"equal: {'yes' if report.equal else 'NO'}")


def _differences(report: Report) -> list[str]:
    shared, plain = report.counts, report.plain
    words = sorted(w for w in shared.keys() | plain.keys() if shared.get(w) != plain.get(w))
    return [
        f"different: {word} {shared.get(word, 0)} times in the shared object, "
        f"{plain.get(word, 0)} times in the plain count"
        for word in words[:SHOWN_DIFFERENCES]
    ]
