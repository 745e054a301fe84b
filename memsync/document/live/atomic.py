"""Atomic changes of a dict or a list that other threads read without a lock.

Readers of ``mem.data`` take no lock: ``[]``, ``get`` and ``len`` are C methods. A change that must
be atomic for them is therefore one call into C, during which no bytecode runs, so the interpreter
does not switch threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any


def append_fields(fields: dict[str, Any], names: Sequence[str], fresh: dict[str, Any]) -> None:
    """Move or add `names` to the end of `fields`, in this order; readers never see one missing.

    A name gets its value in `fresh`, or keeps its present value.

    >>> document = {"a": 1, "b": 2}
    >>> append_fields(document, ["a", "c"], {"c": 3})
    >>> document
    {'b': 2, 'a': 1, 'c': 3}
    """
    old = {name: dict.__getitem__(fields, name) for name in names if name in fields}
    values = [fresh[name] if name in fresh else old[name] for name in names]
    # `pop` and `setdefault` allocate nothing that could start the garbage collector, which before
    # Python 3.12 runs finalizers immediately. `old` keeps replaced values alive, so that dropping
    # them runs no finalizer either.
    taken = map(dict.pop, repeat(fields), old)
    put = map(dict.setdefault, repeat(fields), names, values)
    deque(chain(taken, put), maxlen=0)


def count_in_order(fields: dict[str, Any], names: Sequence[str]) -> int:
    """Return how many leading `names` occur in `fields` in this order, with others in between.

    The remaining names must move to the end for `fields` to have the order of `names`.

    >>> count_in_order({"x": 0, "a": 1, "b": 2}, ["a", "b", "x"])
    2
    """
    count = 0
    for name in dict.keys(fields):
        if count < len(names) and name == names[count]:
            count += 1
    return count


def assign_slice(array: list[Any], start: int, stop: int, values: list[Any]) -> None:
    """Replace ``array[start:stop]`` with `values` by at most one assignment.

    The assignment leaves out identical objects at both ends of the slice.

    >>> array = [1, 2, 3]
    >>> assign_slice(array, 0, 3, [1, 3])
    >>> array
    [1, 3]
    """
    old = list.__getitem__(array, slice(start, stop))
    limit = min(len(old), len(values))
    front = 0
    while front < limit and old[front] is values[front]:
        front += 1
    back = 0
    while back < limit - front and old[-1 - back] is values[-1 - back]:
        back += 1
    if front + back < max(len(old), len(values)):
        span = slice(start + front, stop - back)
        list.__setitem__(array, span, values[front : len(values) - back])
