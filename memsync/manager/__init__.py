"""The engine for the processes of one machine: folder, election, connections, roles."""

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from .manager import MemSyncManager

__all__ = ["MemSyncManager"]

if not TYPE_CHECKING:  # a type checker that sees __getattr__ accepts every name
    # Some of the command's first looks need the folder and a connection only.
    __getattr__, __dir__ = lazy_names(__name__, {"MemSyncManager": "manager"})
