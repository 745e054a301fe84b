"""What a large object costs the garbage collector, and how it is spared that.

A full collection visits every container in the process: 20 to 100 ms at 1,000,000 keys, in which a
write waits. The containers of the object are in no cycle and are freed without the collector. So
once the object is large, all that lives is *frozen* (``gc.freeze``): the collector does not visit
it any more. What the program has in cycles by then stays until the process ends, also when it has
become garbage, or until the peer stops: then all is thawed, because a handle that is dropped is
itself in cycles. Freezing happens seldom: when the object is large, and when it has doubled.
"""

from __future__ import annotations

import gc
from typing import Any

from ..document import containers_in

LARGE = 10_000  # items of the object; a full collection visits them in less than a millisecond


class Freezer:
    """Freezes the process's containers when one object has become large."""

    def __init__(self) -> None:
        self._limit = LARGE
        self._has_frozen = False

    def look(self, view: dict[str, Any]) -> None:
        """Look at the root only: it may have grown. Costs nothing otherwise."""
        if len(view) > self._limit:
            self.look_inside(view)

    def look_inside(self, view: dict[str, Any]) -> None:
        """Look at the root and the containers in it."""
        size = len(view) + sum(map(len, containers_in(view).values()))
        if size > self._limit:
            self._limit = 2 * size
            gc.collect(1)  # what died young is not kept
            self._has_frozen = True
            gc.freeze()

    def thaw(self) -> None:
        """The peer has stopped: let the collector have the object, and all else that is frozen.

        Other large objects of this process are frozen again when they have doubled.
        """
        if self._has_frozen:
            self._has_frozen = False
            gc.unfreeze()
