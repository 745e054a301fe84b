"""Loading: what the founder of an object finds in its file."""

from __future__ import annotations

from collections.abc import Callable

from ..runtime.own_threads import OwnThread
from ..runtime.participant import Participant
from .open_target import open_target
from .snapshot_file import NOTHING, SavedObject, parse


def load(participant: Participant) -> SavedObject:
    """What the file of the founder holds; `NOTHING` without a file, and where there is none yet.

    Raises `StorageError` for a file that cannot be read, and for a place that has no fence.
    """
    options = participant.options.file
    if options.path is None:
        return NOTHING
    target = open_target(options.path, fenced=options.fencing != "off")
    target.prepare()
    text = target.read()
    return NOTHING if text is None else parse(text, target.url)


class Loading:
    """`load` on a thread of its own, which calls `on_end` at its end."""

    def __init__(self, participant: Participant, on_end: Callable[[], None]) -> None:
        self.is_over = False
        self._participant = participant
        self._on_end = on_end
        self._saved = NOTHING
        self._error: BaseException | None = None
        OwnThread(self._run, "memsync-loading").start()

    def _run(self) -> None:
        try:
            self._saved = load(self._participant)
        except BaseException as error:
            self._error = error
        self.is_over = True
        self._on_end()

    def result(self) -> SavedObject:
        """What `load` returns or raises."""
        if self._error is not None:
            raise self._error
        return self._saved
