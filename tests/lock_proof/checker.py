"""Whether what the processes have seen of a mutex is one order that fits to time (Wing and Gong).

Tokens are that order: an acquire is before another one, in real time, only if its token is smaller,
and a hold ends before the next one has begun. A hold that was never released ends with its process,
or when it was lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Hold(NamedTuple):
    """One hold as its process has logged it; times in monotonic seconds, of the machine."""

    token: int
    pid: int
    asked: float
    acquired: float
    releasing: float | None = None  # when the release was called; None: killed, frozen or lost


def holds_of(lines: Sequence[str]) -> list[Hold]:
    """The holds in a log of lines ``acquired TOKEN PID ASKED AT`` and ``releasing TOKEN AT``."""
    found: dict[int, Hold] = {}
    for line in lines:
        what, token, *rest = line.split()
        if what == "acquired":
            pid, asked, at = rest
            assert int(token) not in found, f"two processes have got the token {token}"
            found[int(token)] = Hold(int(token), int(pid), float(asked), float(at))
        else:
            found[int(token)] = found[int(token)]._replace(releasing=float(rest[0]))
    return [found[token] for token in sorted(found)]


def violations(holds: Sequence[Hold]) -> Iterator[str]:
    """What is no history of a mutex; the holds are in the order of their tokens."""
    latest_end, last = 0.0, None
    for hold in holds:
        if last is not None and hold.acquired < latest_end:
            yield f"{hold} began before {last} had ended"
        if hold.releasing is not None and hold.releasing > latest_end:
            latest_end, last = hold.releasing, hold
    earliest_return, first = float("inf"), None
    for hold in reversed(holds):
        if first is not None and earliest_return < hold.asked:
            yield f"{first} was acquired before {hold} was asked for, with a larger token"
        if hold.acquired < earliest_return:
            earliest_return, first = hold.acquired, hold


def fence_violations(writes: Sequence[tuple[int, int]]) -> Iterator[str]:
    """What a fenced place must not have taken: pairs of token and process, in its order."""
    largest, owners = 0, dict[int, int]()
    for token, pid in writes:
        if token < largest:
            yield f"the token {token} was taken after {largest}"
        largest = max(largest, token)
        if owners.setdefault(token, pid) != pid:
            yield f"the token {token} was taken of {owners[token]} and of {pid}"
