"""Random programs that read and change an object, for a draft and for a plain value alike."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

from .document_strategies import NAMES, copied, scalars, values
from .document_strategies import documents as any_documents

_objects = st.dictionaries(st.sampled_from(NAMES[:4]), values, max_size=4)
_rows = st.lists(st.one_of(_objects, scalars, st.lists(scalars, max_size=3)), max_size=4)
documents = st.one_of(
    any_documents, st.fixed_dictionaries({"a": _objects, "b": _rows}, optional={"c": values})
)

keys = st.sampled_from([*NAMES[:4], *NAMES[:4], 0, 1, -1, 2])
slices = st.builds(slice, *[st.sampled_from([None, 0, 1, 2, -1])] * 2)
routes = st.one_of(
    st.lists(keys, max_size=3),
    st.sampled_from([[], ["a"], ["b"], ["b"], ["b", 0], ["b", 1], ["b", -1], ["a", "a"]]),
)
_NAMES = """
    get set set delete pop popitem setdefault update or ror ior in len iter keys values
    items reversed equal unequal less order repr copy clear append extend iadd insert
    remove reverse sort sort_key index count add radd mul imul slice set_slice delete_slice
    append pop_first json deepcopy rebuild pickled default mutate mutate put_kept put_kept
    match unpack
""".split()  # noqa: SIM905  # a list of one name a line is long
steps = st.tuples(
    routes,
    st.sampled_from(_NAMES),
    st.one_of(keys, slices),
    values,
    st.integers(0, 9),
)
programs = st.lists(steps, max_size=8)


class Program:
    """Runs steps on a root; `kept` holds what came out, so that later steps go on with it."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.kept: list[Any] = []
        self.seen: list[Any] = []

    def run(self, steps: Any) -> None:
        for step in steps:
            self.seen.append(self.outcome(step))

    def outcome(self, step: Any) -> Any:
        """What a step gives, as far as it can be told without reading a container; or its error."""
        route, name, key, value, number = step
        try:
            target = self.root
            for part in route:
                target = target[part]
            result = self.act(target, name, key, copied(value), number)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            return type(error)
        if isinstance(result, (dict, list)):
            self.kept.append(result)
            return isinstance(result, dict)
        return result

    def act(self, target: Any, name: str, key: Any, value: Any, number: int) -> Any:
        if name in ("mutate", "put_kept"):
            return self.act_on_kept(target, name, key, value, number)
        return ACTIONS[name](target, key, value, number)

    def act_on_kept(self, target: Any, name: str, key: Any, value: Any, number: int) -> Any:
        if not self.kept:
            return None
        kept = self.kept[number % len(self.kept)]
        if name == "mutate":
            if isinstance(kept, dict):
                kept["m"] = value
            else:
                kept.append(value)
        elif not any(inner is target for inner in containers(kept)):  # else: a circle
            if isinstance(target, list) and isinstance(key, int):
                target.insert(key, kept)
            elif isinstance(target, list) or isinstance(key, str):
                target[key] = kept
        return None


def containers(value: Any) -> Any:
    """All containers in a value, itself included."""
    if isinstance(value, (dict, list)):
        yield value
        for inner in list(value.values()) if isinstance(value, dict) else list(value):
            yield from containers(inner)


def set_item(target: Any, key: Any, value: Any) -> None:
    target[key] = value


def delete_item(target: Any, key: Any) -> None:
    del target[key]


def iadd(target: Any, value: Any) -> Any:
    before = target
    target += value
    return target is before


def ior(target: Any, value: Any) -> Any:
    before = target
    target |= value
    return target is before


def imul(target: Any, value: Any) -> Any:
    before = target
    target *= value
    return target is before


def fields(value: Any) -> Any:
    return value if isinstance(value, dict) else {"c": value}


def match(target: Any) -> Any:
    match target:
        case {"a": inner}:
            return inner
        case [first, *_]:
            return first
    return None


ACTIONS: dict[str, Any] = {
    "get": lambda t, k, v, n: t.get(k) if isinstance(t, dict) else t[k],
    "set": lambda t, k, v, n: set_item(
        t, k if isinstance(t, list) or isinstance(k, str) else "a", v
    ),
    "delete": lambda t, k, v, n: delete_item(t, k if not isinstance(k, slice) else "a"),
    "pop": lambda t, k, v, n: (
        t.pop("a" if isinstance(k, slice) else k) if n % 2 else t.pop("c", None)
    ),
    "pop_first": lambda t, k, v, n: t.pop(0) if n % 2 else t.pop(),
    "popitem": lambda t, k, v, n: t.popitem()[1],
    "setdefault": lambda t, k, v, n: t.setdefault("b", v),
    "default": lambda t, k, v, n: t.setdefault("m"),
    "update": lambda t, k, v, n: t.update(fields(v), c=n),
    "or": lambda t, k, v, n: t | v,
    "ror": lambda t, k, v, n: v | t,
    "ior": lambda t, k, v, n: ior(t, fields(v)),
    "in": lambda t, k, v, n: (
        (k in t) if isinstance(t, dict) and not isinstance(k, slice) else v in t
    ),
    "len": lambda t, k, v, n: len(t),
    "iter": lambda t, k, v, n: list(t),
    "keys": lambda t, k, v, n: list(t.keys()),
    "values": lambda t, k, v, n: list(t.values()),
    "items": lambda t, k, v, n: dict(t.items()),
    "reversed": lambda t, k, v, n: list(reversed(t)),
    "equal": lambda t, k, v, n: t == v,
    "unequal": lambda t, k, v, n: v != t,
    "less": lambda t, k, v, n: t < v,
    "order": lambda t, k, v, n: (t >= v, v <= t, t > v),
    "repr": lambda t, k, v, n: repr(t),
    "copy": lambda t, k, v, n: t.copy() if n % 2 else copy.copy(t),
    "clear": lambda t, k, v, n: t.clear(),
    "append": lambda t, k, v, n: t.append(v),
    "extend": lambda t, k, v, n: t.extend([v, n]) if n % 3 else t.extend(t),
    "iadd": lambda t, k, v, n: iadd(t, [v]),
    "insert": lambda t, k, v, n: t.insert(n - 4, v),
    "remove": lambda t, k, v, n: t.remove(v),
    "reverse": lambda t, k, v, n: t.reverse(),
    "sort": lambda t, k, v, n: t.sort(reverse=n % 2 == 1),
    "sort_key": lambda t, k, v, n: t.sort(key=repr, reverse=n % 2 == 1),
    "index": lambda t, k, v, n: t.index(v),
    "count": lambda t, k, v, n: t.count(v),
    "add": lambda t, k, v, n: t + [v],  # noqa: RUF005
    "radd": lambda t, k, v, n: [v] + t,  # noqa: RUF005
    "mul": lambda t, k, v, n: (t * (n % 3)) if n % 2 else (n % 3) * t,
    "imul": lambda t, k, v, n: imul(t, n % 3),
    "slice": lambda t, k, v, n: t[k if isinstance(k, slice) else slice(n)],
    "set_slice": lambda t, k, v, n: set_item(
        t, "b" if isinstance(t, dict) else k if isinstance(k, slice) else slice(n, None), [v]
    ),
    "delete_slice": lambda t, k, v, n: delete_item(t, k if isinstance(k, slice) else slice(n)),
    # The encoder in C takes an empty container without a call (docs/conflicts.md, "Code in C").
    "json": lambda t, k, v, n: json.dumps(t) if t else "",
    "deepcopy": lambda t, k, v, n: copy.deepcopy(t),
    "rebuild": lambda t, k, v, n: type(t)(t),
    "pickled": lambda t, k, v, n: json.loads(json.dumps(t, sort_keys=True)) if t else None,
    "match": lambda t, k, v, n: match(t),
    "unpack": lambda t, k, v, n: {**t} if isinstance(t, dict) else [*t],
}

# One change that another peer makes meanwhile; it does not change the order of fields, which a
# test does not compare.
foreign_changes = st.tuples(routes, st.sampled_from(["set", "delete", "append"]), keys, values)


def change(document: Any, one: Any) -> Any:
    """A copy of a document with a change of another peer."""
    route, name, key, value = one
    document = copied(document)
    target = document
    try:
        for part in route:
            target = target[part]
        if name == "append":
            target.append(value)
        elif name == "delete":
            del target[key]
        elif isinstance(target, list) or isinstance(key, str):
            target[key] = value
    except (KeyError, IndexError, TypeError, AttributeError):
        pass
    return document
