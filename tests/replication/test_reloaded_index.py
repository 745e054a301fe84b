"""A conflict index that is older than its modules, because they were reloaded."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest

from memsync.document import MOVED, PathWrite
from memsync.replication import conflicts, marks

SHARED = marks.CHILDLESS


@pytest.fixture
def index() -> Iterator[conflicts.ConflictIndex]:
    """An index with nodes of the old class."""
    kept = [(module, dict(vars(module))) for module in (marks, conflicts)]
    index = conflicts.ConflictIndex(3)
    index.note(1, 500, "A", [PathWrite("/a", MOVED, b"0"), PathWrite("/b", "$inc")])
    for module, _ in kept:
        importlib.reload(module)
    yield index
    for module, names in kept:
        vars(module).update(names)


def test_elements_that_have_moved_are_found(index: conflicts.ConflictIndex) -> None:
    assert index.find_moved(0, "B", {"/a": 2})


def test_a_path_that_is_dropped_raises_the_floor(index: conflicts.ConflictIndex) -> None:
    index.note_sets(2, 600, "A", ["/c", "/d", "/e"], [b"1", b"2", b"3"])
    assert index.floors.keys() == {MOVED, "$inc"}


def test_nodes_do_not_share_their_children(index: conflicts.ConflictIndex) -> None:
    index.note(2, 600, "A", [PathWrite("/b/x", "$inc")])
    assert not SHARED
