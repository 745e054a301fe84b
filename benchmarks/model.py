"""What a workload is: series of values, and goals that the values have to reach."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import ClassVar

Values = Mapping[str, float]  # one value of each series
Measure = Callable[[], Values]


@dataclass(frozen=True)
class Goal:
    """A limit on `series`: on its ratio to the series `against`, or on the value itself.

    With `minus` it is a limit on the difference instead of the ratio.
    """

    series: str = "memsync"
    against: str = ""
    must: float | None = None
    aim: float | None = None
    minus: bool = False

    @property
    def title(self) -> str:
        if not self.against:
            return self.series
        return f"{self.series} {'less' if self.minus else 'to'} {self.against}"

    def value(self, values: Values) -> float | None:
        """The value of one round; None if a series of it was not measured."""
        own = values.get(self.series)
        if own is None or not self.against:
            return own
        other = values.get(self.against)
        if other is None or (other == 0 and not self.minus):
            return None
        return own - other if self.minus else own / other


@dataclass
class Bench:
    """What a workload gets: a folder, the scale of this run, and what ends with the workload."""

    folder: Path
    stack: ExitStack
    quick: bool = False
    base: Path | None = None  # another checkout of memsync to compare with
    skipped: dict[str, str] = field(default_factory=dict)  # series -> why it was left out
    _numbers: Iterator[int] = field(default_factory=count)

    def new_folder(self) -> Path:
        """The path of a folder that does not exist yet."""
        return self.folder / str(next(self._numbers))

    @contextmanager
    def part(self) -> Iterator[Bench]:
        """The same for a part of the workload: what is started in it ends with it."""
        with ExitStack() as stack:
            yield replace(self, stack=stack)

    def count(self, full: int, least: int = 1) -> int:
        """A number of repetitions, or a tenth of it in a quick run."""
        return max(full // 10, least) if self.quick else full

    def seconds(self, full: float) -> float:
        """A duration, or a tenth of it in a quick run."""
        return full / 10 if self.quick else full


class Workload(ABC):
    """One row of the report."""

    name: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[str]
    higher_is_better: ClassVar[bool] = False
    goals: ClassVar[Sequence[Goal]] = ()
    rounds: ClassVar[int] = 5
    warm_up: ClassVar[bool] = True  # one more round in front, which does not count
    worst: ClassVar[bool] = False  # the result is the worst round, not the median
    notes: ClassVar[Sequence[str]] = ()  # what the numbers do not say

    @abstractmethod
    def open(self, bench: Bench) -> list[Measure]:
        """Start what is measured; each function measures one round of one system."""


class Skipped(Exception):
    """The workload cannot run here; the text says why."""
