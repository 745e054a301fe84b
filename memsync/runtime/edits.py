"""`MemSync.edit` and `transact`: a change to a draft is sent with a test of every value read."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TypeVar

from ..clocks import monotonic
from ..document import Draft, without_drafts
from ..errors import ConflictError, UsageError
from .moved_watch import MovedWatch

TResult = TypeVar("TResult")
Send = Callable[[list[dict[str, Any]]], int]  # operations -> version


class Editor:
    """Creates the drafts of one object."""

    def __init__(self) -> None:
        # By id. An edit that an exception has interrupted may never end; it goes with its last
        # reference.
        self._open: dict[int, weakref.ref[Edit]] = {}

    def edit(self, watch: MovedWatch, send: Send) -> Edit:
        """A ``with`` block around a draft of the watched view."""
        return Edit(self, watch, send)

    def transact(
        self, watch: MovedWatch, send: Send, function: Callable[[Any], TResult], deadline: float
    ) -> TResult:
        """Repeat an edit with `function` until it is accepted.

        Raises the last `ConflictError` after the deadline (monotonic seconds), and what `function`
        raises.
        """
        while True:
            try:
                with self.edit(watch, send) as draft:
                    # Before the patch is made: what the result holds was read.
                    result: TResult = without_drafts(function(draft))
                return result
            except ConflictError:
                if monotonic() >= deadline:
                    raise

    def add(self, edit: Edit) -> None:
        """Note that an edit is open."""
        key = id(edit)
        self._open[key] = weakref.ref(edit, lambda _: self._open.pop(key, None))

    def remove(self, edit: Edit) -> None:
        """Note that an edit has ended."""
        self._open.pop(id(edit), None)

    def refuse_inside(self, frame: FrameType | None) -> None:
        """Raise `UsageError` if `frame` runs inside of the block of an edit."""
        blocks = [edit.block for edit in self._open_edits() if edit.is_used]
        while blocks and frame is not None:
            if any(frame is block for block in blocks):
                raise UsageError(
                    "edit() inside edit(): the inner draft would not see the outer one's changes; "
                    "use one draft, or leave the outer block first"
                )
            frame = frame.f_back

    def _open_edits(self) -> list[Edit]:
        edits = [reference() for reference in list(self._open.values())]
        return [edit for edit in edits if edit is not None]


class Edit:
    """The context manager around one draft.

    An edit belongs to the block that it is entered in, not to a thread: `block` is the frame of
    that block. Code runs *inside* of the block if this frame is among its callers. So a task, a
    generator or a thread that is suspended in a block of its own stands in nobody's way, and a
    block may be left in another thread than it was entered in.
    """

    block: FrameType | None = None

    def __init__(self, editor: Editor, watch: MovedWatch, send: Send) -> None:
        self._editor = editor
        self._watch = watch
        self._send = send
        self._draft: Draft | None = None

    @property
    def is_used(self) -> bool:
        """Whether the block has read or changed something.

        An edit that an exception interrupted while it was entered has no block; its draft is never
        used, so it is not in the way either.
        """
        draft = self._draft
        return draft is not None and draft.is_used

    def __enter__(self) -> Any:
        caller = sys._getframe(1)
        if self.is_used:
            raise UsageError("this edit() has a draft already: call edit() for each block")
        self._editor.refuse_inside(caller)
        self._draft = Draft(self._watch.view, self._watch.places)
        self.block = caller
        self._editor.add(self)
        return self._draft.root

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        draft, self._draft, self.block = self._draft, None, None
        self._editor.remove(self)
        if kind is not None or draft is None:
            return  # nothing is sent
        operations = draft.patch()
        if operations:
            self._send(operations)
