"""The object as of an older version, from the memory of this peer or from the journal."""

from __future__ import annotations

from typing import Any

from .errors import StorageError, UsageError
from .options.load import is_url
from .replication.compile_proposal import value_at
from .replication.group_options import group_value
from .runtime.looking_back import object_at as object_in_memory
from .runtime.participant import Participant


def object_at(participant: Participant, version: Any, path: Any = None) -> Any:
    """See `MemSync.at`."""
    try:
        return object_in_memory(participant, version, path)
    except UsageError as error:
        file = group_value(participant.state.options, "file.path")
        is_older = error.oldest is not None and version < error.oldest
        if not is_older or file is None or is_url(file):
            raise
        return value_at(_in_journal(file, version, error), path or "")


def _in_journal(file: str, version: int, failure: UsageError) -> Any:
    from .storage.journal_history import JournalHistory

    try:
        return JournalHistory(file).object_near(version).data
    except (UsageError, StorageError) as error:
        text = f"{failure}; {error}"
        raise UsageError(text, oldest=failure.oldest, newest=failure.newest) from None
