"""Which places of a call are interrupted."""

from __future__ import annotations

import random
from collections.abc import Callable

from .injector import Place

Choose = Callable[[list[Place]], list[Place]]


def every(places: list[Place]) -> list[Place]:
    """All of them."""
    return places


def sample(number: int, seed: int) -> Choose:
    """At most so many of them, drawn from a seed."""

    def choose(places: list[Place]) -> list[Place]:
        return random.Random(seed).sample(places, min(number, len(places)))

    return choose
