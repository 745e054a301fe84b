"""Copy-on-write documents: independent, copied as little as possible, plain."""

from __future__ import annotations

from typing import Any

import jsonpatch
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memsync.document import apply_update, compile_update
from memsync.document.live.copy_on_write import CopyOnWrite
from memsync.errors import UpdateError

from .document_strategies import copied, documents, text, updates
from .operation_helpers import add, remove, replace


def containers(value: Any) -> list[Any]:
    """All containers in a value, itself included."""
    if isinstance(value, dict):
        return [value, *(inner for item in value.values() for inner in containers(item))]
    if isinstance(value, list):
        return [value, *(inner for item in value for inner in containers(item))]
    return []


def ids(value: Any) -> set[int]:
    return set(map(id, containers(value)))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents, st.lists(updates, max_size=6))
def test_a_copy_is_what_the_updates_make_of_the_document(document: Any, changes: Any) -> None:
    before, copy = text(document), CopyOnWrite(document)
    plain, given_values = copied(document), []
    for change in changes:
        filters = [{"i": {"$gte": 1}}] if "$[i]" in text(change) else None
        try:
            operations = compile_update(copy.root, change, array_filters=filters, now=None)
        except Exception:  # an update that this document does not accept, or one that wants a clock
            continue
        copy.replay(operations)
        given_values.append(operations)
        plain = jsonpatch.apply_patch(plain, copied(operations))
        assert text(copy.root) == text(plain)
    assert text(document) == before
    assert all(type(container) in (dict, list) for container in containers(copy.root))
    assert ids(copy.root).isdisjoint(ids(given_values))
    assert (copy.root is document) == (not any(given_values))


def test_until_the_first_change_a_copy_is_its_base() -> None:
    base: dict[str, Any] = {"a": {}}
    copy = CopyOnWrite(base)
    copy.replay([])
    assert copy.root is base


def test_only_the_containers_on_a_changed_path_are_copied_and_only_once() -> None:
    base: dict[str, Any] = {"a": {"b": [{"n": 1}, {"n": 2}], "c": {}}, "d": [[]]}
    copy = CopyOnWrite(base)
    copy.replay([replace("/a/b/1/n", 3)])
    assert copy.root == {"a": {"b": [{"n": 1}, {"n": 3}], "c": {}}, "d": [[]]}
    assert copy.root["d"] is base["d"]
    assert copy.root["a"]["c"] is base["a"]["c"]
    assert copy.root["a"]["b"][0] is base["a"]["b"][0]
    copies = containers(copy.root)
    copy.replay([replace("/a/b/1/n", 4), add("/a/b/2", 5), remove("/a/b/0")])
    assert copy.root["a"]["b"] == [{"n": 4}, 5]
    assert all(any(inner is other for other in copies) for inner in containers(copy.root))
    assert base == {"a": {"b": [{"n": 1}, {"n": 2}], "c": {}}, "d": [[]]}


def test_copies_of_one_base_do_not_see_each_other() -> None:
    base = {"a": {"n": 0}}
    one, other = CopyOnWrite(base), CopyOnWrite(base)
    one.replay([replace("/a/n", 1)])
    other.replay([replace("/a/n", 2)])
    assert (base, one.root, other.root) == ({"a": {"n": 0}}, {"a": {"n": 1}}, {"a": {"n": 2}})


def test_what_an_operation_brought_can_be_changed_without_changing_the_operation() -> None:
    copy = CopyOnWrite({})
    brought = add("/a", {"b": [{"n": 1}]})
    copy.replay([brought, replace("/a/b/0/n", 2), add("/a/b/1", 3)])
    assert copy.root == {"a": {"b": [{"n": 2}, 3]}}
    assert brought["value"] == {"b": [{"n": 1}]}


def test_an_operation_at_the_root_replaces_everything() -> None:
    base = {"a": 1}
    state: dict[str, Any] = {"b": {"n": 1}}
    copy = CopyOnWrite(base)
    copy.replay([replace("", state), replace("/b/n", 2)])
    assert copy.root == {"b": {"n": 2}}
    assert (base, state) == ({"a": 1}, {"b": {"n": 1}})


def test_an_id_that_is_used_again_does_not_make_a_container_the_copys_own() -> None:
    base: dict[str, Any] = {"a": {}, "b": []}
    copy = CopyOnWrite(base)
    copy.replay([replace("/a", {"n": 1}), replace("/a/n", 2), replace("/a", None)])
    # One of these comes to lie where the container lay which the copy has just given up.
    base["b"] += [{"n": 0} for _ in range(1000)]
    copy.replay([replace(f"/b/{index}/n", 1) for index in range(1000)])
    assert base["b"] == [{"n": 0}] * 1000


def test_updates_are_compiled_against_the_copy_as_against_any_document() -> None:
    copy = CopyOnWrite({"n": 1, "tags": ["a"]})
    for update in ({"$inc": {"n": 2}}, {"$push": {"tags": "b"}}, {"$rename": {"n": "m"}}):
        expected = apply_update(copy.root, update)
        copy.replay(compile_update(copy.root, update))
        assert text(copy.root) == text(expected)


@pytest.mark.parametrize(
    "operation",
    [
        remove(""),
        replace("", [1]),
        replace("/x", 1),
        remove("/x"),
        add("/x/y", 1),
        add("/n/y", 1),
        add("/n/y/z", 1),
        add("/a/3", 1),
        replace("/a/1", 1),
        remove("/a/x"),
        add("/a/x/y", 1),
        add("/a/5/y", 1),
        add("no pointer", 1),
        {"op": "move", "from": "/n", "path": "/m", "value": 1},
        {"op": "add", "path": "/m"},
        {"op": "add", "value": 1},
        {"op": "add", "path": 1, "value": 1},
        {"op": [], "path": "/n", "value": 1},
    ],
    ids=text,
)
def test_what_cannot_be_applied_is_refused(operation: Any) -> None:
    base = {"n": 1, "a": [0]}
    copy = CopyOnWrite(base)
    with pytest.raises(UpdateError):
        copy.replay([operation])
    assert copy.root == base == {"n": 1, "a": [0]}
