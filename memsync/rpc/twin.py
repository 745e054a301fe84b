"""At the callee: an exception as a `Twin`, which always travels.

The twin has the text. Where pickles are allowed it also has what rebuilds the exception: its
pickle, if that gives back the same type and message here, or else the bare form (`bare`).
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from .bare import assemble, bare, dump_by_value, is_group, raw
from .messages import Frame, Payload, Twin
from .pickles import Pickles, cut, writer

MESSAGE_MAX = 1 << 14  # characters
TEXT_MAX = 1 << 16  # characters of a traceback with its chain
NAME_MAX = 1000  # characters of a file, a function, a class
NOTES_MAX = 20
FRAMES_MAX = 64
TWINS_MAX = 32  # exceptions in one tree of causes, contexts and members
DEPTH_MAX = 16  # of that tree
PICKLE_MAX = 1 << 18  # bytes of one exception

WHOLE, BARE = "whole", "bare"

_OWN_FOLDER = str(Path(__file__).parent)


def describe(error: BaseException, pickles: Pickles) -> Twin:
    """The twin of an exception; never raises, whatever the class of the exception does."""
    try:
        twin = _Describer(pickles).twin(error, 0)
        assert twin is not None
        twin.text = _text(error, twin)
    except BaseException as raised:  # on a thread of memsync, where no signal arrives
        note = f"describing it raised {type(raised).__name__}"
        return Twin(_type_name(type(error)), f"<{note}>", [], [], "", None)
    return twin


def shortest(twin: Twin) -> Twin:
    """A twin of less than a kilobyte."""
    return Twin(cut(twin.type, 100), cut(twin.message, 200), [], [], "", None)


class _Describer:
    """Describes a tree of exceptions, each once: a chain may be a circle."""

    def __init__(self, pickles: Pickles) -> None:
        self._pickles = pickles
        self._seen: set[int] = set()

    def twin(self, error: BaseException | None, depth: int) -> Twin | None:
        if error is None or id(error) in self._seen:
            return None
        if depth > DEPTH_MAX or len(self._seen) >= TWINS_MAX:
            return None
        self._seen.add(id(error))
        members, notes = None, _notes(error)
        if is_group(error):
            found = [self.twin(member, depth + 1) for member in raw(error, "exceptions")]
            members = [member for member in found if member is not None]
            if missing := len(found) - len(members):
                notes.append(f"memsync: {missing} of {len(found)} members of the group left out")
        return Twin(
            type=_type_name(type(error)),
            message=_message(error),
            notes=notes,
            frames=_frames(raw(error, "__traceback__")),
            text="",
            rebuild=_proved(error) if self._pickles.allowed else None,
            cause=self.twin(raw(error, "__cause__"), depth + 1),
            context=self.twin(raw(error, "__context__"), depth + 1),
            suppress_context=raw(error, "__suppress_context__"),
            members=members,
        )


def _type_name(kind: type[BaseException]) -> str:
    return cut(f"{kind.__module__}.{kind.__qualname__}", NAME_MAX)


def _message(error: BaseException) -> str:
    try:
        return cut(str(error), MESSAGE_MAX)
    except BaseException as raised:  # on a thread of memsync, where no signal arrives
        return f"<its __str__ raised {type(raised).__name__}>"


def _notes(error: BaseException) -> list[str]:
    notes = raw(error, "__dict__").get("__notes__")
    if not isinstance(notes, (list, tuple)):
        return []
    return [cut(note, MESSAGE_MAX) for note in notes[:NOTES_MAX] if isinstance(note, str)]


def _frames(trace: TracebackType | None) -> list[Frame]:
    frames = [
        Frame(cut(frame.f_code.co_filename, NAME_MAX), cut(frame.f_code.co_name, NAME_MAX), line)
        for frame, line in traceback.walk_tb(_without_own(trace))
    ]
    if len(frames) > FRAMES_MAX:
        half = FRAMES_MAX // 2
        frames = [*frames[:half], *frames[-half:]]
    return frames


def _without_own(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without memsync's own frames at its beginning."""
    inner = trace
    while inner is not None and inner.tb_frame.f_code.co_filename.startswith(_OWN_FOLDER):
        inner = inner.tb_next
    return inner or trace


def _text(error: BaseException, twin: Twin) -> str:
    try:
        trace = _without_own(raw(error, "__traceback__"))
        lines = traceback.TracebackException(type(error), error, trace).format()
        return cut("".join(lines), TEXT_MAX)
    except BaseException as raised:  # on a thread of memsync, where no signal arrives
        return f"{twin.type}: {twin.message}\n(formatting it raised {type(raised).__name__})"


def _proved(error: BaseException) -> Payload | None:
    """What rebuilds the exception, as a round trip has shown; None if nothing does.

    Classes that can be imported go by reference, so that `except` at the caller knows them.
    """
    for dumps in (pickle.dumps, dump_by_value):
        for prove in (_whole, _bare):
            try:
                data = prove(error, dumps)
            except BaseException:  # of the class; on a thread where no signal arrives
                continue
            if data is not None and len(data) <= PICKLE_MAX:
                return Payload(data, writer(data))
    return None


def _whole(error: BaseException, dumps: Callable[[Any], bytes]) -> bytes | None:
    if is_group(error):
        return None  # one member would spoil it
    data = dumps((WHOLE, error))
    if len(data) > PICKLE_MAX:
        return None
    copy = pickle.loads(data)[1]
    is_same = (
        type(copy) is type(error)
        and str(copy) == str(error)
        and len(copy.args) == len(error.args)
        and set(vars(error)) <= set(vars(copy))
    )
    return data if is_same else None


def _bare(error: BaseException, dumps: Callable[[Any], bytes]) -> bytes | None:
    form = bare(error)
    data = dumps((BARE, tuple(form)))
    members: list[BaseException] | None = None
    if is_group(error):
        members = [Exception() if issubclass(type(error), Exception) else BaseException()]
    copy = assemble(type(form)(*pickle.loads(data)[1]), members)
    return data if type(copy) is type(error) else None
