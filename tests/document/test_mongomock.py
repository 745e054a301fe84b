"""A differential run against mongomock: every disagreement has a rule that says who is right.

The rules are the server's, as the shared data and MongoDB's manual give them; `docs/updates.md`
repeats this table. mongomock is an independent implementation, so agreement means something.
"""

from __future__ import annotations

import random
import warnings
from collections import Counter
from typing import Any

import pytest

from memsync.document import apply_update
from memsync.errors import UpdateError

from .document_strategies import copied, same

mongomock = pytest.importorskip("mongomock", reason="mongomock is not installed")

CASES = 5000

# operator, our outcome, mongomock's outcome -> the rule of the server that decides, for us
RULES = {
    ("any", "path_not_viable", "result"): "a path through a scalar, null or a name in an array is "
    "error 28; mongomock ignores the write",
    ("any", "not_array", "result"): "an array operator on something else is an error; mongomock "
    "ignores it, or makes a list of it",
    ("$inc", "type_mismatch", "result"): "true is not a number: error 14; mongomock adds to it",
    ("$rename", "bad_value", "result"): "renaming to itself is an error",
    ("$rename", "result", "error"): "paths with dots can be renamed; mongomock does not do it",
    ("$min", "result", "error"): "BSON orders values of different types; mongomock raises",
    ("$max", "result", "error"): "BSON orders values of different types; mongomock raises",
    ("$min", "result", "result"): "bool is above number, an index behind the end pads the array",
    ("$max", "result", "result"): "bool is above number, an index behind the end pads the array",
    ("$pop", "result", "error"): "a missing field is a no-op; mongomock raises KeyError",
    ("$push", "result", "error"): "$sort takes any values, missing ones as null; an index behind "
    "the end pads the array",
    ("$addToSet", "result", "error"): "a numeric part is an index in an array",
    ("$addToSet", "result", "result"): "$each adds equal values once, true is not 1, and the order "
    "of fields counts",
    ("$pull", "result", "result"): "a numeric part is an index, also of a nested array",
    ("$pullAll", "result", "result"): "a missing field is not created, true is not 1, a numeric "
    "part is an index",
    ("$unset", "result", "result"): "an element of an array becomes null",
}

OPERATORS = [
    "$set", "$unset", "$inc", "$min", "$max", "$rename", "$push", "$addToSet", "$pop", "$pull",
    "$pullAll", "$setOnInsert",
]  # fmt: skip
PATHS = ["a", "b", "a.x", "a.0", "b.y", "b.1", "a.x.y", "c"]


class Cases:
    """Random documents and updates, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, depth: int = 0) -> Any:
        if depth > 1 or self.random.random() < 0.6:
            return self.random.choice([0, 1, 2, 5, 1.0, 2.5, True, False, None, "s", "t"])
        if self.random.random() < 0.5:
            names = self.random.choices("xy", k=self.random.randint(0, 2))
            return {name: self.value(depth + 1) for name in names}
        return self.several(depth + 1, 3)

    def several(self, depth: int, most: int) -> list[Any]:
        return [self.value(depth) for _ in range(self.random.randint(0, most))]

    def document(self) -> dict[str, Any]:
        names = self.random.sample("abc", self.random.randint(0, 3))
        return {name: self.value() for name in names}

    def operand(self, name: str) -> Any:
        pick = self.random.choice
        if name == "$push":
            return pick([self.value(1), self.push()])
        if name == "$addToSet":
            return pick([self.value(1), {"$each": self.several(1, 3)}])
        if name == "$pull":
            return pick([self.value(1), {"$gte": 1}, {"x": 1}, {"$in": [1, "s"]}])
        if name == "$pullAll":
            return self.several(1, 2)
        fixed: dict[str, list[Any]] = {
            "$inc": [1, 2, -1, 1.5],
            "$unset": [""],
            "$rename": ["d", "e", "d.z", "b"],
            "$pop": [1, -1],
        }
        return pick(fixed[name]) if name in fixed else self.value()

    def push(self) -> dict[str, Any]:
        operand: dict[str, Any] = {"$each": self.several(1, 3)}
        if self.random.random() < 0.4:
            operand["$position"] = self.random.randint(-3, 3)
        if self.random.random() < 0.4:
            operand["$slice"] = self.random.randint(-3, 3)
        if self.random.random() < 0.3:
            operand["$sort"] = self.random.choice([1, -1, {"x": 1}, {"x": 1, "y": -1}])
        return operand


def ours(document: Any, update: Any) -> tuple[str, Any]:
    try:
        return "result", apply_update(document, update)
    except UpdateError as error:
        return error.kind, None


def theirs(collection: Any, document: Any, update: Any) -> tuple[str, Any]:
    collection.drop()
    collection.insert_one({"_id": 1, **copied(document)})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mongomock's own, of Python's calendar
            collection.update_one({"_id": 1}, update)
    except Exception:  # whatever mongomock raises: KeyError and TypeError are common
        return "error", None
    found = collection.find_one({"_id": 1})
    del found["_id"]
    return "result", found


def test_every_disagreement_with_mongomock_is_known() -> None:
    cases, collection = Cases(7), mongomock.MongoClient().database.collection
    agreed: Counter[str] = Counter()
    used: Counter[Any] = Counter()
    for _ in range(CASES):
        name = cases.random.choice(OPERATORS)
        document = cases.document()
        update = {name: {cases.random.choice(PATHS): cases.operand(name)}}
        mine, other = ours(document, update), theirs(collection, document, update)
        failed = mine[0] != "result" and other[0] == "error"
        if failed or (mine[0] == other[0] == "result" and same(mine[1], other[1], True)):
            agreed[name] += 1
            continue
        specific = (name, mine[0], other[0])
        rule = specific if specific in RULES else ("any", mine[0], other[0])
        assert rule in RULES, (document, update, mine, other)
        used[rule] += 1
    # Every operator was really compared, and no rule is only an excuse.
    assert set(agreed) == set(OPERATORS)
    assert set(used) == set(RULES)
    assert sum(agreed.values()) > CASES / 2
