"""`MemSync.edit` and `transact`: a change to a draft is sent with a test of every value read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from ..clocks import monotonic
from ..document import Draft
from ..errors import ConflictError, UsageError

TResult = TypeVar("TResult")
Send = Callable[[list[dict[str, Any]]], int]  # operations -> version


class Editor:
    """Creates the drafts of one object; each thread has at most one at a time."""

    def __init__(self) -> None:
        self._drafts = threading.local()

    def edit(self, root: Any, send: Send) -> Edit:
        """A ``with`` block around a draft of `root`."""
        return Edit(self._drafts, root, send)

    def transact(
        self, root: Any, send: Send, function: Callable[[Any], TResult], deadline: float
    ) -> TResult:
        """Repeat an edit with `function` until it is accepted.

        Raises the last `ConflictError` after the deadline (monotonic seconds), and what `function`
        raises.
        """
        while True:
            try:
                with self.edit(root, send) as draft:
                    result = function(draft)
                return result
            except ConflictError:
                if monotonic() >= deadline:
                    raise


class Edit:
    """The context manager around one draft; `drafts` knows whether the thread has another one."""

    def __init__(self, drafts: threading.local, root: Any, send: Send) -> None:
        self._drafts = drafts
        self._root = root
        self._send = send

    def __enter__(self) -> Any:
        if getattr(self._drafts, "is_open", False):
            raise UsageError(
                "edit() inside edit(): the inner draft would not see the outer one's changes; use "
                "one draft, or leave the outer block first"
            )
        self._draft = Draft(self._root)
        self._drafts.is_open = True
        return self._draft.root

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._drafts.is_open = False
        if kind is not None:
            return  # nothing is sent
        operations = self._draft.patch()
        if operations:
            self._send(operations)
