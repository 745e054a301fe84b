"""Names that a program has bound to a shared object before a fork."""

from __future__ import annotations

from typing import Any, NamedTuple

from memsync import MemSync

CHANGED: dict[str, Any] = {
    "n": 5,
    "users": {"ann": {"age": 2}, "bob": 3},
    "rows": [{"x": 4}, 2, 6],
    "none": {},
    "new": True,
}
"""The object that the child reads through them."""


class Bound(NamedTuple):
    """Names that a program has bound to the object and its parts."""

    data: Any
    users: Any
    ann: Any
    rows: Any
    row: Any
    keys: Any


def bind(mem: MemSync[Any]) -> Bound:
    data: Any = mem.data
    users, rows = data["users"], data["rows"]
    return Bound(data, users, users["ann"], rows, rows[0], data.keys())
