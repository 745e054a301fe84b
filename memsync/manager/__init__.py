"""The I/O of one platform: folder, election, connections, and the stdlib manager they build on."""

from .manager import MemSyncManager

__all__ = ["MemSyncManager"]
