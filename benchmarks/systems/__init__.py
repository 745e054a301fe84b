"""memsync and its alternatives behind one interface."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..model import Bench
from ..processes import METHOD, BrokeOff, WorkerFailed
from ..results import FAILED
from .base import Client, Group, System
from .disk_cache import DiskCache
from .managers import ManagerDict, ManagerLock, ManagerMethod
from .raft import PySyncObj
from .redis_server import Redis, RedisScript
from .shared_memory import UltraDict
from .shared_object import SharedObject

__all__ = [
    "Client",
    "DiskCache",
    "Group",
    "ManagerDict",
    "ManagerLock",
    "ManagerMethod",
    "PySyncObj",
    "Redis",
    "RedisScript",
    "SharedObject",
    "System",
    "UltraDict",
    "installed",
    "open_groups",
]


OWN = Path(__file__).parents[2]
BASE = "memsync, base"


def open_groups(
    bench: Bench,
    systems: list[System],
    size: int,
    *,
    data: Mapping[str, Any] | None = None,
    method: str = METHOD,
) -> list[Group]:
    """A group of each system that is installed; the others are noted as skipped."""
    groups = []
    for system in installed(bench, systems):
        try:
            group = Group(system, size, bench.new_folder(), bench.stack, data=data, method=method)
        except WorkerFailed as error:
            if isinstance(system, SharedObject):
                raise
            broke_off = isinstance(error, BrokeOff)
            what = f"{FAILED}: it started, then broke off" if broke_off else "it does not start"
            bench.skipped[system.name] = f"{what}: {str(error).splitlines()[-1]}"
        else:
            groups.append(group)
    return groups


def installed(bench: Bench, systems: list[System]) -> list[System]:
    """The systems that can run here; the others are noted as skipped.

    Where there is a base to compare with, memsync is in it twice.
    """
    found: list[System] = []
    for system in systems:
        if isinstance(system, SharedObject) and bench.base is not None:
            for name, checkout in (("memsync", OWN), (BASE, bench.base)):
                found.append(system.of_checkout(bench.new_folder(), checkout, name))
        elif missing := system.missing():
            bench.skipped[system.name] = f"{missing} is not installed"
        else:
            found.append(system)
    return found
