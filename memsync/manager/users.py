"""A process that changes its user after the start has lost its private folder."""

from __future__ import annotations

from collections.abc import Set

from ..errors import RendezvousError


def check_user(before: Set[int], now: Set[int], where: str, error: Exception) -> None:
    """Raise `RendezvousError` if this process has given up its user, whose folder is private.

    A process that only lends itself another user for a while (`os.seteuid`) tries again.
    """
    if before & now:
        return
    raise RendezvousError(
        f"this process has changed its user from {min(before)} to {min(now)} after start(), and "
        f"the rendezvous folder {where} belongs to the former: create the handle and start it "
        "after the change, with a MEMSYNC_DIR that belongs to the latter"
    ) from error
