"""Which places of a call are interrupted."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from .injector import Place

Choose = Callable[[Counter[Place]], list[Place]]
"""Which ones of the places that were found; it is told in how many calls each was."""


def every(places: Counter[Place]) -> list[Place]:
    """All of them."""
    return list(places)


def sample(number: int, seed: int) -> Choose:
    """At most so many of them, drawn from a seed: rather those that more calls have reached."""

    def choose(places: Counter[Place]) -> list[Place]:
        drawn = random.Random(seed)
        keys = {place: drawn.random() ** (1 / calls**2) for place, calls in places.items()}
        return sorted(places, key=keys.__getitem__)[-number:]

    return choose
