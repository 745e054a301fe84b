"""How a filter's dotted path reaches values: through objects, and into every element of arrays.

The rules are those by which MongoDB's server matches. An array in the middle of a path is entered:
each element that is an object is searched for the rest of the path, and a numeric part also selects
the element with that index. An array at the end of a path yields its elements and then itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .paths import Parts

if "MISSING" not in globals():  # `importlib.reload` keeps it
    MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING"})()

# A value, and the index of the outermost array element through which the path led to it.
ConcernProgress = tuple[Any, int | None]


def reach(node: Any, parts: Parts, start: int, into_leaf: bool) -> Iterator[ConcernProgress]:
    """Yield every value that ``parts[start:]`` reaches in `node`, `MISSING` where there is none.

    `into_leaf` says whether an array at the end of the path yields its elements too.
    """
    for position in range(start, len(parts)):
        if isinstance(node, list):
            yield from _reach_in_array(node, parts, position, into_leaf)
            return
        node = dict.get(node, parts[position], MISSING) if isinstance(node, dict) else MISSING
        if node is MISSING:
            yield MISSING, None
            return
    if into_leaf and isinstance(node, list):
        for index, item in enumerate(list.__iter__(node)):
            yield item, index
    yield node, None


def _reach_in_array(
    array: list[Any], parts: Parts, position: int, into_leaf: bool
) -> Iterator[ConcernProgress]:
    part = parts[position]
    is_last = position + 1 == len(parts)
    for index, item in enumerate(list.__iter__(array)):
        if isinstance(item, dict):
            for value, _ in reach(item, parts, position, into_leaf):
                yield value, index
        if part != str(index):
            continue
        # A numeric part selects this element itself; that is not an implicit traversal.
        if is_last:
            yield item, None
        elif isinstance(item, dict):
            yield from reach(item, parts, position + 1, into_leaf)
        elif isinstance(item, list):
            yield from _reach_in_array(item, parts, position + 1, into_leaf)
