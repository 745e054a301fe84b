"""memsync and its alternatives behind one interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model import Bench
from ..processes import METHOD, WorkerFailed
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
            bench.skipped[system.name] = f"it does not start: {str(error).splitlines()[-1]}"
        else:
            groups.append(group)
    return groups


def installed(bench: Bench, systems: list[System]) -> list[System]:
    """The systems that can run here; the others are noted as skipped."""
    found = []
    for system in systems:
        if missing := system.missing():
            bench.skipped[system.name] = f"{missing} is not installed"
        else:
            found.append(system)
    return found
