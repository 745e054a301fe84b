"""Which elements of an array are left after insertions and removals, and where they are now.

Two lists of operations start from one array and lead to two others. Elements that are in both are
found by where they came from, without looking at any of them: an array is described by runs of
neighbours, so that a push to 100,000 elements costs as much as one to three.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

NEW = -1
"""The original index of an element that was not in the original array."""


class Alignment:
    """Where the elements of an array were before it was changed.

    >>> array = Alignment(3)
    >>> array.insert(0)
    >>> array.remove(2)
    >>> [array.original_index(index) for index in range(3)]
    [-1, 0, 2]
    """

    __slots__ = ("runs",)

    def __init__(self, size: int) -> None:
        # Each run is an original index and a length. The elements of a new run are all new.
        self.runs: list[tuple[int, int]] = [(0, size)]

    def _locate(self, index: int) -> tuple[int, int]:
        """The run that an index falls into, and how far inside; behind the last one at the end."""
        for position, (_, length) in enumerate(self.runs):
            if index < length:
                return position, index
            index -= length
        return len(self.runs), index

    def original_index(self, index: int) -> int:
        """The index at which an element was at first, or `NEW`."""
        position, offset = self._locate(index)
        original, _ = self.runs[position]
        return NEW if original == NEW else original + offset

    def insert(self, index: int) -> None:
        """Say that a new element was put in at `index`."""
        position, offset = self._locate(index)
        runs = self.runs
        if not offset:
            if position and runs[position - 1][0] == NEW:
                runs[position - 1] = NEW, runs[position - 1][1] + 1
            else:
                runs.insert(position, (NEW, 1))
            return
        original, length = runs[position]
        if original == NEW:
            runs[position] = NEW, length + 1
        else:
            rest = original + offset, length - offset
            runs[position : position + 1] = [(original, offset), (NEW, 1), rest]

    def remove(self, index: int) -> None:
        """Say that the element at `index` was taken out."""
        position, offset = self._locate(index)
        original, length = self.runs[position]
        if original == NEW:
            left = [(NEW, length - 1)]
        else:
            left = [(original, offset), (original + offset + 1, length - offset - 1)]
        self.runs[position : position + 1] = [run for run in left if run[1]]


class Block(NamedTuple):
    """Neighbours that two arrays share: where they are in either, their original, how many."""

    left: int
    right: int
    original: int
    length: int


def common_blocks(left: Alignment, right: Alignment) -> Iterator[Block]:
    """The elements that are in both arrays, in order.

    >>> one, other = Alignment(3), Alignment(3)
    >>> one.remove(0)
    >>> other.insert(3)
    >>> list(common_blocks(one, other))
    [Block(left=0, right=1, original=1, length=2)]
    """
    # Elements are only inserted and removed, so original indexes rise from left to right.
    one = other = at = other_at = 0
    while one < len(left.runs) and other < len(right.runs):
        original, length = left.runs[one]
        source, size = right.runs[other]
        if original == NEW:
            one, at = one + 1, at + length
        elif source == NEW:
            other, other_at = other + 1, other_at + size
        else:
            start = max(original, source)
            stop = min(original + length, source + size)
            if start < stop:
                yield Block(at + start - original, other_at + start - source, start, stop - start)
            if original + length == stop:
                one, at = one + 1, at + length
            else:
                other, other_at = other + 1, other_at + size
