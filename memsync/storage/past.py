"""The object as of an older version, from the memory of this peer or from the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import StorageError, UsageError
from ..options.load import is_url
from ..replication.compile_proposal import value_at
from ..replication.group_options import group_value
from ..runtime.forks import importing
from ..runtime.looking_back import object_at as object_in_memory
from ..runtime.participant import Participant

if TYPE_CHECKING:  # most programs never read a journal
    from .snapshot_file import SavedObject


def object_at(participant: Participant, version: Any, path: Any = None) -> Any:
    """See `MemSync.at`."""
    try:
        return object_in_memory(participant, version, path)
    except UsageError as error:
        return value_at(_in_journal(participant, version, error).data, path or "")


def epoch_and_object_at(participant: Participant, version: int) -> tuple[int, Any]:
    """The whole object at a version, and the epoch of that version; raises `UsageError`."""
    try:
        value = object_in_memory(participant, version)
    except UsageError as error:
        saved = _in_journal(participant, version, error)
        return saved.pair[0], saved.data
    with participant.guard:
        epoch = participant.log.epoch_at(version)
    return epoch or 0, value


def _in_journal(participant: Participant, version: int, failure: UsageError) -> SavedObject:
    """What the journal has of a version that is not in memory; raises `failure` if nothing."""
    file = group_value(participant.state.options, "file.path")
    is_older = failure.oldest is not None and version < failure.oldest
    if not is_older or file is None or is_url(file):
        raise failure
    with importing:
        from .journal_history import JournalHistory

    try:
        return JournalHistory(file).object_near(version)
    except (UsageError, StorageError) as error:
        text = f"{failure}; {error}"
        raise UsageError(text, oldest=failure.oldest, newest=failure.newest) from None
