"""The places of a view that have changed, for drafts whose containers other code has read."""

from __future__ import annotations

from ..operations import Operation

_MAX_PLACES = 1000


class ChangedPlaces:
    """When each place of a view has changed last, as a count of changes.

    The writer of the view calls `add` after each change, with the guard of the view. All else may
    be called without it.

    >>> places = ChangedPlaces()
    >>> places.add([{"op": "replace", "path": "/a/l/0", "value": 8}])
    >>> places.count, places.has_changed("/a", since=0), places.has_changed("/a", since=1)
    (1, True, False)
    """

    __slots__ = ("_last", "_unknown", "count")

    def __init__(self) -> None:
        self.count = 0
        self._last: dict[str, int] = {}  # by pointer
        self._unknown = -1  # the last change of unknown places

    def add(self, operations: list[Operation] | None) -> None:
        """Note a change of the view; None: all of it may have changed."""
        count, last = self.count, self._last
        if operations is None or len(last) + len(operations) > _MAX_PLACES:
            self._unknown = count  # first, because `has_changed` reads it last
            self._last = {}
        else:
            for operation in operations:
                last[operation["path"]] = count
        self.count = count + 1

    def has_changed(self, pointer: str, since: int) -> bool:
        """Whether a value, or what contains it, may have changed after `count` was `since`."""
        inside = f"{pointer}/"
        last = list(self._last.items())
        return self._unknown >= since or any(
            when >= since and (f"{place}/".startswith(inside) or inside.startswith(f"{place}/"))
            for place, when in last
        )
