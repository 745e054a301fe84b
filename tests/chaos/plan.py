"""What happens in a round, drawn from its seed: the group, and the faults in their order."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, NamedTuple

METHODS = ("fork", "spawn", "forkserver")
LEASE = 0.5  # seconds
STEPS = 14
_PAUSE = 0.3  # seconds between two faults, at most

# How often each comes, in relation to the others.
FAULTS = {
    "kill_host": 4,
    "kill_any": 2,
    "freeze_host": 3,
    "freeze_any": 2,
    "thaw": 4,
    "stop_host": 2,
    "stop_any": 1,
    "restart": 1,
    "join": 2,
    "child": 2,
    "delete_one": 2,
    "delete_all": 1,
    "calm": 3,
}


class Step(NamedTuple):
    """Wait a time, then do something to somebody."""

    pause: float  # seconds
    fault: str
    seed: int  # of the choices that depend on who is there then


@dataclass(frozen=True)
class Plan:
    """All that a seed decides."""

    method: str
    members: int
    pace: float  # seconds
    options: dict[str, Any]
    steps: tuple[Step, ...]


def draw(seed: int, method: str | None = None) -> Plan:
    """The plan of a seed; the start methods take turns unless one is given."""
    rnd = random.Random(seed)
    network = {"lease": LEASE, "poll": rnd.choice([0.2, 1.0]), "recovery": rnd.choice([0.5, 1.0])}
    return Plan(
        method=method or METHODS[seed % len(METHODS)],
        members=rnd.randint(3, 5),
        pace=rnd.choice([0.002, 0.005, 0.02]),
        options={"network": network, "conflict": rnd.choice(["timestamp", "strict"])},
        steps=tuple(_step(rnd) for _ in range(STEPS)),
    )


def _step(rnd: random.Random) -> Step:
    # A freeze is of use only if it outlasts the lease now and then.
    pause = rnd.choice([0, rnd.uniform(0, _PAUSE), rnd.uniform(0, _PAUSE), 1.6 * LEASE])
    (fault,) = rnd.choices(list(FAULTS), list(FAULTS.values()))
    return Step(pause, fault, rnd.getrandbits(32))
