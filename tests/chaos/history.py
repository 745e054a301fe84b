"""What a round leaves behind for the checkers: what was done, what was noted, what is there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

NEVER = math.inf  # on the monotonic clock


@dataclass
class Write:
    """One write, as its writer noted it."""

    number: int
    kind: str  # see `writer`
    begun: float
    outcome: str = ""  # "" while nobody was told
    told: float = NEVER
    detail: str = ""


@dataclass
class Writer:
    """One peer's notes, and when it ended."""

    name: str
    gone: float = NEVER  # killed, or stopped before the round was over
    was_stopped: bool = False
    failure: str = ""  # of its start
    has_started: bool = False
    rolled_back: int = 0
    broken: list[str] = field(default_factory=list)
    writes: dict[int, Write] = field(default_factory=dict)

    def with_outcome(self, *outcomes: str) -> Iterator[Write]:
        """Its writes with one of the outcomes: ok, not_applied, applied, unknown."""
        return (each for each in self.writes.values() if each.outcome in outcomes)


class Hurt(NamedTuple):
    """A process that was killed, or frozen for a time: what only it had is missing meanwhile."""

    who: str
    begin: float
    end: float


class Calm(NamedTuple):
    """A time at whose end all these had confirmed all that each of them had written before it."""

    who: frozenset[str]
    begin: float
    end: float


@dataclass
class History:
    """All of a round."""

    writers: dict[str, Writer] = field(default_factory=dict)
    hurts: list[Hurt] = field(default_factory=list)
    calms: list[Calm] = field(default_factory=list)
    fewest: int = 0  # members there were at any time
    replicas: dict[str, str] = field(default_factory=dict)  # the text of each in the end
    document: dict[str, Any] = field(default_factory=dict)
    hosts: list[str] = field(default_factory=list)  # those that say in the end that they host
    trouble: list[str] = field(default_factory=list)  # what did not come to pass in time
    leftovers: list[str] = field(default_factory=list)  # what should have gone

    @property
    def tags(self) -> dict[str, list[int]]:
        """The numbers in the object, by writer."""
        found: dict[str, list[int]] = self.document.get("log", {})
        return found


def read_notes(path: Path, writer: Writer) -> None:
    """Add what a writer has noted."""
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        time, what, number, detail = f"{line} ".split(" ", 3)
        _read(writer, float(time), what, int(number), detail.strip())


def _read(writer: Writer, time: float, what: str, number: int, detail: str) -> None:
    match what:
        case "begun":
            writer.writes[number] = Write(number, detail, time)
        case "ok" | "not_applied" | "applied" | "unknown":
            write = writer.writes[number]
            write.outcome, write.told, write.detail = what, time, detail
        case "started":
            writer.has_started = True
        case "rolled_back":
            writer.rolled_back += 1
        case "failed":
            writer.failure = detail
        case "broken":
            writer.broken.append(f"{number}: {detail}")
