"""The engine for the processes of one machine: folder, election, connections, roles."""

from .manager import MemSyncManager

__all__ = ["MemSyncManager"]
