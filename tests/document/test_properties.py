"""Properties: compile = apply = replay = jsonpatch, undo restores, disjoint updates commute.

And the fuzz target: whatever JSON comes in, only our own errors come out.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict, defaultdict
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

import jsonpatch
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from memsync.document import (
    apply_patch,
    apply_update,
    check_filter,
    check_patch,
    check_update,
    compile_patch,
    compile_update,
    invert,
    make_live,
    matches,
    normalize,
    replace_content,
    replay,
)
from memsync.document.order import (
    equal,
    equal_positions,
    equality_key,
    equality_keys,
    identical,
)
from memsync.errors import ConflictError, MemSyncError, UpdateError

from .document_strategies import (
    NAMES,
    OPERANDS,
    arbitrary,
    documents,
    operations,
    patches,
    text,
    updates,
    values,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FILTERS = [{"i": {"$gte": 1}}]
slow = settings(
    deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)


def arguments_of(update: Any) -> dict[str, Any]:
    names = [path for fields in update.values() for path in fields]
    return {"now": NOW, "array_filters": FILTERS if any("$[i]" in n for n in names) else None}


def compiled(document: Any, update: Any) -> Any:
    try:
        return compile_update(document, update, **arguments_of(update))
    except UpdateError:
        return None


@slow
@given(documents, updates)
def test_all_ways_of_applying_an_update_agree(document: Any, update: Any) -> None:
    operations = compiled(document, update)
    assume(operations is not None)
    before = text(document)
    after = jsonpatch.apply_patch(document, operations)
    live = make_live(document, None)
    assert compiled(live, update) == operations
    replay(live, operations)
    assert text(live) == text(after)
    assert text(apply_update(document, update, **arguments_of(update))) == text(after)
    assert text(apply_patch(document, operations)) == text(after)
    assert (operations == []) == identical(document, after)
    # Nothing that comes out needs to be reduced further.
    assert text(apply_patch(document, compile_patch(document, operations))) == text(after)
    assert text(document) == before


@slow
@given(documents, updates)
def test_undo_restores_everything_order_of_keys_included(document: Any, update: Any) -> None:
    operations = compiled(document, update)
    assume(operations is not None)
    after = jsonpatch.apply_patch(document, operations)
    undo = invert(document, operations)
    assert text(jsonpatch.apply_patch(after, undo)) == text(document)
    live = make_live(after, None)
    replay(live, undo)
    assert text(live) == text(document)


@slow
@given(documents, st.sampled_from(sorted(OPERANDS)), st.sampled_from(sorted(OPERANDS)), st.data())
def test_updates_on_disjoint_paths_commute(
    document: Any, first: str, second: str, data: Any
) -> None:
    assume("$rename" not in (first, second))
    one = {first: {"a.b": data.draw(OPERANDS[first])}}
    two = {second: {"c.d": data.draw(OPERANDS[second])}}
    # Both parents exist, so no key of the root is created and order cannot differ.
    document = {**document, "a": {"b": data.draw(values)}, "c": {"d": data.draw(values)}}
    try:
        together = apply_update(
            document,
            {**one, **two} if first != second else {first: {**one[first], **two[second]}},
            now=NOW,
        )
    except UpdateError:
        together = None
    for earlier, later in ((one, two), (two, one)):
        try:
            result = apply_update(apply_update(document, earlier, now=NOW), later, now=NOW)
        except UpdateError:
            result = None
        assert text(result) == text(together)


@slow
@given(documents, updates)
def test_what_the_client_checks_is_what_the_host_refuses(document: Any, update: Any) -> None:
    arguments = arguments_of(update)
    try:
        assert text(check_update(update, arguments["array_filters"])) == text(update)
        return
    except UpdateError as error:
        refused = (str(error), error.kind)
    with pytest.raises(UpdateError) as caught:
        compile_update(document, update, **arguments)
    assert (str(caught.value), caught.value.kind) == refused


@slow
@given(documents, patches)
def test_patches_are_applied_as_jsonpatch_does(document: Any, patch: Any) -> None:
    before = text(document)
    try:
        reduced = compile_patch(document, patch)
    except (UpdateError, ConflictError):
        # What we refuse, jsonpatch refuses too, unless the object became something else.
        try:
            theirs = jsonpatch.apply_patch(document, patch)
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError):
            return
        assert not isinstance(theirs, dict)
        return
    theirs = jsonpatch.apply_patch(document, patch)
    assert text(apply_patch(document, patch)) == text(theirs)
    live = make_live(document, None)
    replay(live, reduced)
    assert text(live) == text(theirs)
    undo = invert(document, patch)
    assert text(jsonpatch.apply_patch(theirs, undo)) == before
    assert (reduced == []) == identical(document, theirs)
    assert text(document) == before


@slow
@given(documents, documents)
def test_install_makes_equal(document: Any, state: Any) -> None:
    live = make_live(document, None)
    replace_content(live, state)
    assert text(live) == text(state)


@slow
@given(values)
def test_normalizing_changes_nothing_that_is_allowed(value: Any) -> None:
    assert text(normalize(value)) == text(value)


def only_our_errors(attempt: Any) -> None:
    with contextlib.suppress(MemSyncError):
        attempt()


nested_updates = st.dictionaries(
    st.one_of(st.sampled_from(sorted(OPERANDS)), st.text(max_size=4)),
    st.one_of(arbitrary, st.dictionaries(st.text(max_size=6), arbitrary, max_size=3)),
    max_size=3,
)
OPERATORS = [
    "$all", "$and", "$elemMatch", "$eq", "$exists", "$gt", "$gte", "$in", "$lt", "$lte", "$mod",
    "$ne", "$nin", "$nor", "$not", "$options", "$or", "$regex", "$size", "$type",
]  # fmt: skip
nested_filters = st.recursive(
    arbitrary,
    lambda inner: st.dictionaries(
        st.one_of(st.sampled_from(OPERATORS), st.sampled_from(["a", "a.0", "b.c", ""])),
        st.one_of(inner, st.lists(inner, max_size=2)),
        max_size=3,
    ),
    max_leaves=8,
)


@slow
@given(documents, st.one_of(arbitrary, nested_updates), arbitrary)
@example({"a": 1}, {"$inc": {"a": 1e308}, "$mul": {"a": 1e308}}, None)
@example({}, {"$push": {"a": {"$each": [1, None], "$sort": {"\ud800": 1}}}}, None)
def test_fuzz_updates(document: Any, update: Any, filters: Any) -> None:
    before = text(document)
    only_our_errors(lambda: check_update(update))
    only_our_errors(lambda: compile_update(document, update, array_filters=filters, now=NOW))
    only_our_errors(lambda: compile_update(document, update, filter=filters, now=NOW))
    only_our_errors(lambda: apply_update(document, update, insert=True, now=NOW))
    assert text(document) == before


@slow
@given(documents, nested_filters)
@example({"a": "x"}, {"a": {"$regex": "(" * 500}})
@example({"a": "x"}, {"a": {"$regex": "x{99999999999}"}})
def test_fuzz_filters(document: Any, filter: Any) -> None:
    only_our_errors(lambda: check_filter(filter))
    only_our_errors(lambda: matches(document, filter))
    only_our_errors(lambda: apply_update(document, {"$pull": {"a": filter}}))
    only_our_errors(lambda: compile_update(document, {"$set": {"a.$": 1}}, filter=filter))


class Level(IntEnum):
    ONE = 1


odd_values = st.recursive(
    st.one_of(
        values,
        st.floats(),
        st.integers(),
        st.sampled_from([Level.ONE, (1,), b"x", {1}, frozenset({2}), object(), 10**400]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.sampled_from(NAMES), st.integers(0, 2)), inner, max_size=3),
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=3).map(OrderedDict),
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=3).map(
            lambda fields: defaultdict(dict, fields)
        ),
    ),
    max_leaves=8,
)
odd_documents = st.one_of(
    st.dictionaries(st.one_of(st.sampled_from(NAMES), st.integers(0, 2)), odd_values, max_size=4),
    odd_values,
)


@slow
@given(odd_documents, updates, nested_filters, patches)
@example({"a": [object()]}, {"$set": {"a": [1]}}, {}, [])
@example({"a": {0: 1}}, {"$max": {"a": {"b": 1}}}, {}, [])
def test_fuzz_documents(document: Any, update: Any, filter: Any, patch: Any) -> None:
    before = describe(document)
    only_our_errors(lambda: compile_update(document, update, **arguments_of(update)))
    only_our_errors(lambda: apply_update(document, update, **arguments_of(update)))
    only_our_errors(lambda: compile_update(document, {"$set": {"a.$": 1}}, filter=filter))
    only_our_errors(lambda: matches(document, filter))
    only_our_errors(lambda: compile_patch(document, patch))
    only_our_errors(lambda: apply_patch(document, patch))
    only_our_errors(lambda: invert(document, patch))
    assert describe(document) == before


def describe(value: Any) -> Any:
    """A document as something to compare, types and order of keys included."""
    if isinstance(value, dict):
        return (type(value), [(name, describe(item)) for name, item in value.items()])
    if isinstance(value, (list, tuple)):
        return (type(value), [describe(item) for item in value])
    return (type(value), hex(value) if isinstance(value, int) else repr(value))


members = st.dictionaries(
    st.sampled_from(["op", "path", "from", "value", "absent", "x"]),
    st.one_of(arbitrary, st.sampled_from(["add", "move", "copy", "test", "/a", "/a/0", "~", ""])),
    max_size=5,
)


@slow
@given(documents, st.one_of(arbitrary, st.lists(st.one_of(operations, members), max_size=4)))
@example({"a": []}, [{"op": "add", "path": "/a/1e0", "value": 1}])
@example({"a": []}, [{"op": "add", "path": "/a/²", "value": 1}])
def test_fuzz_patches(document: Any, patch: Any) -> None:
    before = text(document)
    only_our_errors(lambda: check_patch(patch))
    only_our_errors(lambda: compile_patch(document, patch))
    only_our_errors(lambda: apply_patch(document, patch))
    only_our_errors(lambda: invert(document, patch))
    live = make_live(document, None)
    if isinstance(patch, list):
        try:
            replay(live, patch)
        except MemSyncError:
            assert text(live) == before
    assert text(document) == before


def deep(inner: Any, wrap: Any) -> Any:
    for _ in range(2000):
        inner = wrap(inner)
    return inner


def test_values_nested_far_beyond_the_limit() -> None:
    for value in (deep(1, lambda inner: [inner]), deep(1, lambda inner: {"a": inner})):
        for attempt in (
            lambda value=value: check_update(value),
            lambda value=value: check_update({"$set": {"a": value}}),
            lambda value=value: check_update({"$pull": {"a": value}}),
            lambda value=value: compile_update({}, {"$bit": {"a": value}}),
            lambda value=value: compile_update({}, {"$set": value}),
            lambda value=value: compile_update({}, {"$set": {"a.$[i]": 1}}, array_filters=value),
            lambda value=value: check_filter(value),
            lambda value=value: check_filter({"a": {"$not": value}}),
            lambda value=value: check_patch(value),
            lambda value=value: check_patch([{"op": "add", "path": "/a", "value": value}]),
            lambda value=value: check_patch([{"op": value, "path": "/a"}]),
        ):
            with pytest.raises(MemSyncError):
                attempt()


def test_filters_nested_to_the_limit_of_values() -> None:
    for name in ("$and", "$or", "$nor"):
        nested: Any = {"a": 1}
        for _ in range(49):
            nested = {name: [nested]}
        assert matches({"a": 1}, nested) in (True, False)
    nested = {"$gt": 1}
    for _ in range(97):
        nested = {"$not": nested}
    assert matches({"a": 1}, {"a": nested}) is True
    nested = {"$elemMatch": {"$gt": 1}}
    for _ in range(97):
        nested = {"$elemMatch": nested}
    assert matches({"a": [[2]]}, {"a": nested}) is False


@given(st.lists(values, max_size=8), values)
@example([1, True, 1.0, "1", None, {"a": 1}, {"a": True}], 1)
@example([{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": True, "b": 2}], {"a": 1.0, "b": 2})
def test_equal_elements_are_found(array: list[Any], value: Any) -> None:
    expected = [index for index, item in enumerate(array) if equal(item, value)]
    live = make_live({"a": array}, None)["a"]
    assert equal_positions(array, value) == equal_positions(live, value) == expected
    key = equality_key(value)
    assert [at for at, each in enumerate(equality_keys(live)) if each == key] == expected
    for update in ({"$addToSet": {"a": value}}, {"$addToSet": {"a": {"$each": [value, *array]}}}):
        slow = compile_update({"a": array}, update)
        assert compile_update({"a": array}, update, is_json=True) == slow
    each_equal = {"$or": [{"a": item} for item in [value, 7]]}
    assert matches({"a": array}, {"a": {"$in": [value, 7]}}) == matches({"a": array}, each_equal)
    for item in array:
        assert matches({"a": item}, {"a": {"$in": [7, value]}}) == matches({"a": item}, each_equal)
