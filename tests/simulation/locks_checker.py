"""G9: what writes with locks have left in the object, and what is left of the locks."""

from __future__ import annotations

from collections.abc import Iterator

from .history import History
from .lock_users import NAMES


def a_fenced_place_has_one_holder_after_the_other(history: History) -> Iterator[str]:
    """Tokens only grow, and each belongs to one request."""
    for final in history.finals:
        for name, writes in final.document.get("fence", {}).items():
            owners: dict[int, tuple[str, int]] = {}
            largest = 0
            for token, peer, number in writes:
                if NAMES[name] > 1:  # one entry may grant two places
                    continue
                if token < largest:
                    yield f"{name} has taken the token {token} after {largest}"
                largest = max(largest, token)
                if owners.setdefault(token, (peer, number)) != (peer, number):
                    yield f"{name} has taken the token {token} of two requests"


def nobody_keeps_a_lock(history: History) -> Iterator[str]:
    """When all users have ended, nobody who lives, or is known to be dead, has or wants a lock."""
    living = {final.peer for final in history.finals}
    for final in history.finals:
        for name, lock in final.locks.items():
            left = {each["id"] for each in [*lock["holders"], *lock["queue"]]}
            if left & (living | final.dead):
                yield f"{final.who} knows the lock {name}: {lock}"
