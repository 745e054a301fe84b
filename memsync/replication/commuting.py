"""Which kinds of writes commute, by the kinds and by how their paths lie to each other."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

from ..document import CREATED, INSIDE, MOVED, OTHER
from ..lasting import lasting

# Two of one such kind commute or fail, wherever their paths lie; a $min above another may not.
ANYWHERE = ("$inc", "$mul", "$bit", "$unset")

REPLACING = ("$set", "$unset", "$min", "$max")
"""The kinds of writes after which a container may be another one."""


@lasting
class Where(Enum):
    """The position of a recorded path relative to the proposal's."""

    ABOVE = 1
    SAME = 2
    BELOW = 3


@lasting
class Verdict(Enum):
    """When two kinds of overlapping writes commute."""

    NEVER = 1
    ALWAYS = 2
    EQUAL = 3  # if their tags are equal
    ELEMENT = 4  # if the lower one lies inside an existing element of the pushed array


@lru_cache(maxsize=4096)
def verdict(recorded: str, proposed: str, where: Where) -> Verdict:
    """Whether a recorded kind commutes with a proposed one."""
    if recorded == MOVED:
        return Verdict.ALWAYS  # only elements that a list names by index are compared with it
    if OTHER in (recorded, proposed):
        return Verdict.NEVER
    kind = plain_kind(recorded)
    if kind == plain_kind(proposed) != OTHER:
        if kind == "$set":
            return Verdict.EQUAL if where is Where.SAME else Verdict.NEVER
        upper = recorded if where is Where.ABOVE else proposed
        # A value contains the values below it, so only removals commute. A path that is cut at a
        # positional part is in truth longer.
        if where is Where.SAME or kind == "$unset" or upper.endswith(INSIDE):
            return Verdict.ALWAYS
    return _verdict_on_push(recorded, proposed, where)


def _verdict_on_push(recorded: str, proposed: str, where: Where) -> Verdict:
    """A push commutes with a write inside an existing element of its array."""
    pushed = {"$push", "$push" + CREATED}
    if where is Where.SAME:
        inside = (recorded in pushed and proposed.endswith(INSIDE)) or (
            proposed in pushed and recorded.endswith(INSIDE)
        )
        return Verdict.ALWAYS if inside else Verdict.NEVER
    upper, lower = (recorded, proposed) if where is Where.ABOVE else (proposed, recorded)
    inside = upper in pushed and not lower.endswith(CREATED)
    return Verdict.ELEMENT if inside else Verdict.NEVER


@lru_cache(maxsize=256)
def plain_kind(kind: str) -> str:
    """The kind without its suffixes."""
    return kind.removesuffix(INSIDE).removesuffix(CREATED)


def replaces(kind: str) -> bool:
    """Whether a recorded write puts another value at its path, or leaves none there.

    What moves elements inside an array, or is of the kind ``other``, has notes of its own.
    """
    return kind.removesuffix(CREATED) in REPLACING
