"""Alignment of changed arrays with their original, by index and without comparing elements.

Two lists of operations start from one array and lead to two others. The elements that both results
share are found by their original indexes. An array is represented as runs of adjacent elements, so
a push to 100,000 elements costs as much as a push to three.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

NEW = -1
"""The original index of an element that the original array does not have."""


class Alignment:
    """The original indexes of the elements of a changed array.

    >>> array = Alignment(3)
    >>> array.insert(0)
    >>> array.remove(2)
    >>> [array.original_index(index) for index in range(3)]
    [-1, 0, 2]
    """

    __slots__ = ("runs",)

    def __init__(self, size: int) -> None:
        # Each run is the original index of its first element, or NEW for all of them, and a length.
        self.runs: list[tuple[int, int]] = [(0, size)]

    def _locate(self, index: int) -> tuple[int, int]:
        """Return the run that contains an index, or the end of the runs, and the offset in it."""
        for position, (_, length) in enumerate(self.runs):
            if index < length:
                return position, index
            index -= length
        return len(self.runs), index

    def original_index(self, index: int) -> int:
        """Return the index that an element had in the original array, or `NEW`."""
        position, offset = self._locate(index)
        original, _ = self.runs[position]
        return NEW if original == NEW else original + offset

    def insert(self, index: int) -> None:
        """Record that a new element was inserted at `index`."""
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
        """Record that the element at `index` was removed."""
        position, offset = self._locate(index)
        original, length = self.runs[position]
        if original == NEW:
            left = [(NEW, length - 1)]
        else:
            left = [(original, offset), (original + offset + 1, length - offset - 1)]
        self.runs[position : position + 1] = [run for run in left if run[1]]


class Block(NamedTuple):
    """Adjacent elements that two arrays share: index in each and in the original, and count."""

    left: int
    right: int
    original: int
    length: int


def common_blocks(left: Alignment, right: Alignment) -> Iterator[Block]:
    """Yield the elements that both arrays share, in order.

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
