"""`ViewListener`: what a replica reports of its view, in the step that changes it."""

from __future__ import annotations

from ..document import Operation


class ViewListener:
    """Called with the replica's guard held; this base class ignores everything.

    A *batch* is what the view shows between two calls of `Replica.publish`. A new write of this
    peer is a batch of its own, at the moment in which it is shown.
    """

    batch: list[Operation] | None = None
    """Reported by `changed` in the batch that has not ended; `publish` ends one that has any."""

    def changed(self, operations: list[Operation] | None, own: bool) -> None:
        """The operations have changed the view; None: anything in it may have changed.

        `own` says that it is a new write of this peer, so that the batch ends here. So does None.
        """

    def end_batch(self) -> None:
        """All of the batch is shown."""
