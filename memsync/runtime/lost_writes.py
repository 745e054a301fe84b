"""What a writer reports about acknowledged writes that no host has any more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import ConflictError
from ..replication.outcomes import Published


def losses(published: Published[Any], keep: int) -> Iterator[ConflictError]:
    """An error for each reason of a loss; the peer keeps `keep` of its own writes."""
    for count, why in (
        (
            published.forgotten,
            "this peer was frozen while its host died and the others went on, and it keeps no "
            f"more than network.maxLog ({keep}) of its own writes to send them again",
        ),
        (
            published.replaced,
            "the files of the object were deleted, the object was founded a second time, and "
            "the object that was founded first wins",
        ),
    ):
        if count:
            yield ConflictError(f"{count} or more acknowledged writes of this peer are lost: {why}")
