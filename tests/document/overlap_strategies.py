"""Updates that often fit one document and often meet: what tests of concurrent writes draw from.

`document_strategies` draws anything, of which little fits; here most updates can be done, keys
come, go and move, and what one of them depends on is often what another one changes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from hypothesis import strategies as st

from memsync.document import (
    apply_patch,
    apply_update,
    check_filter,
    check_patch,
    check_update,
    matches,
)
from memsync.errors import ConditionError, UpdateError

from .document_strategies import OPERANDS, patches, updates, values

START = {
    "a": {"a": 1, "b": {"a": 1.0, "c": [1]}},
    "b": [1, {"a": 1}, [0], 2],
    "c": 1,
}

# Most of these can be done at any time, and many meet: keys that come, go and move, too.
_UPDATES = [
    *({"$inc": {path: 1}} for path in ["c", "a.a", "a.b.a", "b.0", "b.1.a", "b.$[i]"]),
    *({"$push": {path: 7}} for path in ["b", "a.b.c", "b.2", "d"]),
    *({"$set": {path: 1}} for path in ["d", "e", "a.x", "a.y", "b.1.z"]),
    *({"$unset": {path: ""}} for path in ["a", "b", "c", "d", "e", "a.x", "a.a", "b.0"]),
    *({"$set": {"c": value}} for value in [1, 1.0, True, -0.0, 0.0]),
    *({"$set": {"a": value}} for value in [{}, {"y": 1, "x": 1}, START["a"], [1]]),
    *({"$rename": {one: two}} for one, two in ["ad", "da", ("c", "a.x"), ("a.a", "e")]),
    {"$set": {"b": START["b"]}},
    {"$set": {"a.x": 1, "e": 1}},
    {"$push": {"b": {"$each": [7], "$position": 0}}},
    {"$push": {"b": {"$each": [{"a": 2}, {"a": 1}], "$slice": -4}}},
    {"$addToSet": {"b": 7}},
    {"$pop": {"b": -1}},
    {"$pop": {"b": 1}},
    {"$pull": {"b": 1}},
    {"$max": {"c": 5}},
    {"$mul": {"c": 2}},
    {"$currentDate": {"d": True}},
]
_LISTS = [
    *(
        [{"op": "move", "from": f"/b/{i}", "path": f"/b/{j}"}]
        for i, j in [("0", "-"), ("1", "0"), ("0", "2")]
    ),
    [{"op": "move", "from": "/a/a", "path": "/d"}],
    [{"op": "copy", "from": "/a/b", "path": "/e"}],
    [{"op": "copy", "from": "/c", "path": "/d"}],
    [{"op": "add", "path": "/b/0", "value": {"a": 5}}],
    [{"op": "remove", "path": "/b/0"}],
    [{"op": "replace", "path": "", "value": START}],
]

# Places that are there at first, and some that are not.
_numbers = st.sampled_from(["c", "a.a", "a.b.a", "b.0", "b.3", "b.1.a", "b.2.0", "b.$[i]", "a.n"])
_arrays = st.sampled_from(["b", "b", "a.b.c", "b.2", "b.$[i].l", "a.l"])
_places = st.sampled_from(["a", "b", "c", "a.a", "a.b", "a.b.c", "b.0", "b.1", "b.5", "d", "a.d.e"])
_matched = st.sampled_from(["b.$", "b.$.a", "b.$[]", "b.$[i]"])
_PLACES = {
    **dict.fromkeys(["$inc", "$mul", "$min", "$max", "$bit"], _numbers),
    **dict.fromkeys(["$push", "$addToSet", "$pop", "$pull", "$pullAll"], _arrays),
    **dict.fromkeys(["$unset", "$setOnInsert", "$currentDate"], _places),
    "$set": st.one_of(_places, _places, _matched),
    "$rename": st.sampled_from(["a", "c", "a.a", "a.b", "d"]),
}
_containers = st.sampled_from(
    [START["a"], START["b"], {}, [], {"b": {"a": 2}, "a": 1}, [2, 1, {"a": 0}]]
)
_OPERANDS = {
    **OPERANDS,
    "$set": st.one_of(st.integers(0, 3), _containers, values),
    "$rename": st.sampled_from(["a", "b", "d", "a.c", "a.b.d"]),
}


def _operator(name: str) -> st.SearchStrategy[Any]:
    fields = st.dictionaries(_PLACES[name], _OPERANDS[name], min_size=1, max_size=2)
    return fields.map(lambda chosen: (name, chosen))


_any_updates = st.one_of(
    st.lists(st.sampled_from(sorted(OPERANDS)).flatmap(_operator), min_size=1, max_size=2).map(
        dict
    ),
    updates,
)
# A key that goes and comes again stands elsewhere.
_moved_keys = st.sampled_from("abc").map(
    lambda name: [
        {"op": "copy", "from": f"/{name}", "path": "/x"},
        {"op": "remove", "path": f"/{name}"},
        {"op": "move", "from": "/x", "path": f"/{name}"},
    ]
)
_guards = st.sampled_from(
    [
        {"op": "test", "path": "/c", "value": 1},
        {"op": "test", "path": "/b/0", "value": 1},
        {"op": "test", "path": "/d", "absent": True},
        {"op": "test", "path": "/a", "absent": False},
    ]
)
_lists = st.one_of(st.sampled_from(_LISTS), _moved_keys, patches)
_guarded_lists = st.builds(lambda guard, rest: [guard, *rest], _guards, _lists)

_wheres = st.sampled_from(
    [
        {"c": {"$gte": 1}},
        {"a.a": 1},
        {"b": {"$gte": 1}},
        {"b": {"$elemMatch": {"a": 1}}},
        {"d": {"$exists": False}},
        {"$or": [{"c": 1}, {"a.b.a": {"$lt": 2}}]},
        {"b.0": 1, "c": {"$ne": 3}},
    ]
)


class Call(NamedTuple):
    """What a program asks for."""

    body: Any
    where: Any


_often = st.sampled_from(_UPDATES + _LISTS)
calls = st.builds(
    Call,
    st.one_of(_often, _often, _often, _any_updates, _moved_keys, _lists, _guarded_lists),
    st.one_of(st.none(), st.none(), _wheres),
)


def filters_of(body: Any) -> list[Any] | None:
    """What ``$[i]`` stands for, where it is used."""
    if isinstance(body, list):
        return None
    used = any("$[i]" in path for fields in body.values() for path in fields)
    return [{"i": {"$gte": 1}}] if used else None


def checked(call: Call) -> Call:
    """The call as a peer sends it; raises what its program is told at once."""
    body = call.body
    if isinstance(body, list):
        return Call(check_patch(body), call.where and check_filter(call.where))
    return Call(check_update(body, filters_of(body)), call.where and check_filter(call.where))


def applied(document: Any, call: Call, now: datetime) -> Any:
    """The document after a call, with nothing of replication involved; raises where it does not."""
    body, where = call
    if where is not None and not matches(document, where):
        raise ConditionError("not met")
    if isinstance(body, list):
        result = apply_patch(document, body)
        if not isinstance(result, dict):
            raise UpdateError("the shared object stays an object")
        return result
    return apply_update(document, body, array_filters=filters_of(body), filter=where, now=now)
