"""The object as of an older version: `MemSync.at`."""

from __future__ import annotations

import time
from typing import Any

from ..clocks import monotonic
from ..errors import UsageError
from ..options import check_path
from ..replication.compile_proposal import value_at
from ..replication.past_versions import Moment, moment_of
from .participant import Participant

_LOOK_AGAIN = 0.01  # seconds


def object_at(participant: Participant, version: Any, path: Any = None) -> Any:
    """See `MemSync.at`."""
    if isinstance(version, bool) or not isinstance(version, int) or version < 0:
        raise UsageError(f"a version is a whole number such as mem.version, not {version!r:.60}")
    field = None if path in (None, "") else check_path(path)[0]
    moment = _moment(participant, version, field)
    return value_at(moment.goes_back_to(version, participant.state.kinds), path or "")


def _moment(participant: Participant, version: int, field: str | None) -> Moment:
    """This copy as it is now; waits while a damaged one is replaced."""
    state, log = participant.state, participant.log
    deadline = monotonic() + participant.options.timeout
    while True:
        moment = participant.read(lambda _view: moment_of(state, log, version, field))
        if moment is not None:
            return moment
        if participant.view_waiters.ended or monotonic() > deadline:
            raise UsageError(
                "this copy of the object is damaged, and no other peer has replaced it: look back "
                "in another process, or call start() again"
            )
        time.sleep(_LOOK_AGAIN)
