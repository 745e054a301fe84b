"""`difference`: applied to the old value, the operations give the new one."""

from __future__ import annotations

from typing import Any

import jsonpatch
import pytest
from hypothesis import given

from memsync.document import difference

from .document_strategies import copied, text, values
from .operation_helpers import add, remove, replace


@given(values, values)
def test_it_turns_one_value_into_the_other(old: Any, new: Any) -> None:
    patch = difference(old, new)
    assert text(jsonpatch.apply_patch(copied(old), copied(patch))) == text(new)
    assert difference(new, copied(new)) == []


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        (1, 2, [replace("", 2)]),
        (None, {"a": 1}, [replace("", {"a": 1})]),
        ({"a": 1}, None, [replace("", None)]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, [replace("/a/c", 3)]),
        ({"a/b": 1}, {}, [remove("/a~1b")]),
        (
            {"a": 1, "b": 2},
            {"b": 2, "a": 1},
            [remove("/a"), remove("/b"), add("/b", 2), add("/a", 1)],
        ),
        ([{"n": 1}, {"n": 2}], [{"n": 1}, {"n": 3}], [replace("/1/n", 3)]),
        ([1, 2, 3], [1, 3], [remove("/1")]),
    ],
)
def test_the_operations_are_few(old: Any, new: Any, patch: list[Any]) -> None:
    assert difference(old, new) == patch
