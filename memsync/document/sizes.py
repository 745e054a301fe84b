"""Estimates of encoded JSON size, used to choose the shorter of two patches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

# Bytes of an operation besides its pointer and its value: {"op":"replace","path":"","value":}
OPERATION_BYTES = 34


_END: Any = globals().get("_END") or object()  # `importlib.reload` keeps it


def estimated_size(values: Iterable[Any], limit: int) -> int:
    """Estimate how many bytes `values` take as JSON; stop once the estimate exceeds `limit`.

    `limit` therefore bounds the work, however large the values are.

    >>> estimated_size(["abc", {"n": 1}], 1000)
    17
    >>> estimated_size([["x" * 1000]] * 1000, 100) > 100
    True
    """
    size = 0
    waiting: list[Iterator[Any]] = [iter(values)]
    while waiting and size <= limit:
        value = next(waiting[-1], _END)
        if value is _END:
            waiting.pop()
        elif isinstance(value, str):
            size += len(value) + 3
        elif isinstance(value, dict):
            size += 2
            waiting.append(_names_and_values(value))
        elif isinstance(value, list):
            size += 2
            waiting.append(list.__iter__(value))
        else:
            size += 5
    return size


def _names_and_values(value: dict[str, Any]) -> Iterator[Any]:
    for name, item in dict.items(value):
        yield name
        yield item
