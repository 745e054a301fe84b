"""The places of a view that have changed, asked while another thread notes a change."""

from __future__ import annotations

from typing import Any

from memsync.document import ChangedPlaces


def test_places_that_are_forgotten_meanwhile_hide_no_change() -> None:
    places = ChangedPlaces()

    class Since(int):
        """Too many places are noted while the last unknown change is compared with it."""

        def __le__(self, other: Any) -> bool:
            places.add(None)
            return bool(int(self) <= other)

    places.add([{"op": "replace", "path": "/a/l", "value": 8}])
    assert places.has_changed("/a", Since(0))
