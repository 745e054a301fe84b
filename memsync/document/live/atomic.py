"""Changing a dict or a list that other threads read natively, without a moment in between.

Readers of ``mem.data`` take no lock: ``[]``, ``get`` and ``len`` are C methods. What must look like
one step to them is therefore done by one call into C, in which no bytecode is evaluated, so that
no other thread gets its turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any


def append_fields(fields: dict[str, Any], names: Sequence[str], fresh: dict[str, Any]) -> None:
    """Put `names` at the end of `fields`, in this order; none that it has is missing for a moment.

    A name gets its value in `fresh`, or keeps the one it has.

    >>> document = {"a": 1, "b": 2}
    >>> append_fields(document, ["a", "c"], {"c": 3})
    >>> document
    {'b': 2, 'a': 1, 'c': 3}
    """
    old = {name: dict.__getitem__(fields, name) for name in names if name in fields}
    values = [fresh[name] if name in fresh else old[name] for name in names]
    # `pop` and `setdefault`, because calling them allocates nothing that could start the garbage
    # collector, which before Python 3.12 runs finalizers there and then. Values that are replaced
    # live on in `old`, so that their end does not run anything either.
    taken = map(dict.pop, repeat(fields), old)
    put = map(dict.setdefault, repeat(fields), names, values)
    deque(chain(taken, put), maxlen=0)


def count_in_order(fields: dict[str, Any], names: Sequence[str]) -> int:
    """How many of `names`, from the first on, `fields` has in this order, others in between.

    The rest has to go to the end for `fields` to have the order of `names`.

    >>> count_in_order({"x": 0, "a": 1, "b": 2}, ["a", "b", "x"])
    2
    """
    count = 0
    for name in dict.keys(fields):
        if count < len(names) and name == names[count]:
            count += 1
    return count


def assign_slice(array: list[Any], start: int, stop: int, values: list[Any]) -> None:
    """Put `values` in the place of ``array[start:stop]`` by one assignment, or by none.

    Elements at either end of it that are the same objects are left alone.

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
