"""How much of a stream may be under way: sent by the callee, and not consumed by the caller."""

from __future__ import annotations

from collections import deque

ITEMS_MAX = 16
BYTES_MAX = 1 << 20
"""Reached by one large item, or by 16 of 64 KiB; the next one waits."""

CREDIT_ITEMS = ITEMS_MAX // 2  # that are consumed before the callee is informed
CREDIT_BYTES = BYTES_MAX // ITEMS_MAX
"""Of one item, after which the callee is informed at once, as fewer than 16 are under way."""


class StreamWindow:
    """At the callee. Not for several threads."""

    def __init__(self) -> None:
        self._sent = 0
        self._consumed = 0
        self._sizes = deque[int]()  # of the items that are under way
        self._bytes = 0  # of them

    @property
    def is_full(self) -> bool:
        """Whether the next item waits; none waits while none is under way."""
        return len(self._sizes) >= ITEMS_MAX or self._bytes >= BYTES_MAX

    def sent(self, size: int) -> None:
        """An item of this many bytes was sent; perhaps it is consumed already."""
        self._sent += 1
        if self._sent > self._consumed:
            self._sizes.append(size)
            self._bytes += size

    def consumed(self, count: int) -> None:
        """The caller has consumed this many items in all."""
        while self._consumed < count:
            self._consumed += 1
            if not self._sizes:
                self._consumed = count
            else:
                self._bytes -= self._sizes.popleft()
