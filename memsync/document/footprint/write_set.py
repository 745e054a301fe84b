"""Where an update writes and how, as far as it can be told without the document.

Two writes conflict when they meet, one's path equal to, above or below the other's, and do not
commute. Both are judged by what the writers *said*, the paths and operators of the update, not by
what was compiled from it: that a missing parent is created is no wish of anybody's. So a `Written`
is one path of an update with the class of writes it belongs to.

Each kind is a class whose members commute with one another: ``$inc``, ``$push``, ... ``$set`` is
one only for equal values, so it carries its value as a tag. Everything else is ``other``. A path
ends at its first part that depends on the document: ``a.$[].n`` writes *inside* elements of ``a``
that exist, which the suffix ``[]`` says. Numbers with leading zeros end a path too (``a.01`` is
``a.1`` in an array and not in an object), as ``other``, because they may create the element.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

from msgspec import msgpack

from ..operations import Operation
from ..paths import is_digits, is_filtered, parse_path, pointer_of

OTHER = "other"
INSIDE = "[]"
"""Suffix of a kind: the write lies inside existing elements of the array at its pointer."""
CREATED = "+"
"""Suffix of a kind: the write may have created an array element on its path (`as_created`)."""


class Written(NamedTuple):
    """One path that is written: an RFC 6901 pointer, and the kind of write.

    `tag` is set for ``$set`` alone: two are equal exactly when the values are.
    """

    pointer: str
    kind: str
    tag: bytes | None = None


def written(body: dict[str, Any] | list[Operation]) -> list[Written]:
    """What a checked update, or a checked RFC 6902 list, writes; in the order in which it says so.

    The list may be shared between calls: do not change it.

    >>> written({"$push": {"a.$[].n": 1}})
    [Written(pointer='/a', kind='$push[]', tag=None)]
    >>> written([{"op": "add", "path": "/a/-", "value": 1}])
    [Written(pointer='/a', kind='$push', tag=None)]
    """
    if isinstance(body, list):
        return [name for operation in body for name in _operation_writes(operation)]
    shape: tuple[Any, ...] = (len(body),)
    for name in body:
        shape = (*shape, name, *body[name])
    known = _shapes.get(shape)
    if known is None:
        known = _analyse(body, shape)
    writes, varying = known
    if not varying:
        return writes
    writes = writes.copy()
    for index, name, field, end in varying:
        operand = body[name][field]
        if name == "$set":
            writes[index] = Written(end.pointer, name, _tag(operand))
        elif name == "$rename":
            writes[index] = _path_write(_end(operand), OTHER)
        else:
            writes[index] = _path_write(end, _kind(name, operand))
    return writes


def is_guarded(body: dict[str, Any] | list[Operation]) -> bool:
    """Whether a write carries its own guard: an RFC 6902 list with a ``test``.

    >>> is_guarded([{"op": "test", "path": "/a", "value": 1}])
    True
    """
    return isinstance(body, list) and any(operation["op"] == "test" for operation in body)


def as_created(names: list[Written], operations: list[Operation]) -> list[Written]:
    """`names` once it is known what the write did; the same list when that changes nothing.

    A write inside an existing element of an array commutes with a push to that array; one that
    created the element does not, and gets the suffix ``+``. With writes of its own kind it
    commutes as before. What cannot be told from the creation of an element counts as one: a key
    of digits in an object, a whole array or object that was put above the path.

    >>> as_created([Written("/a/1/n", "$inc")], [{"op": "add", "path": "/a/1", "value": {"n": 1}}])
    [Written(pointer='/a/1/n', kind='$inc+', tag=None)]
    """
    if len(operations) == 1 and len(names) == 1:
        operation = operations[0]
        if operation["op"] == "replace" and operation["path"] == names[0].pointer:
            return names
    added = {operation["path"] for operation in operations if operation["op"] == "add"}
    put = {operation["path"] for operation in operations if operation["op"] == "replace"} | added
    if not put:
        return names
    changed = [_created(n) if _creates(n.pointer, added, put) else n for n in names]
    return names if changed == names else changed


def _creates(pointer: str, added: set[str], put: set[str]) -> bool:
    """Whether values were added at a path of digits, or put anywhere above it."""
    if pointer in added and is_digits(pointer.rpartition("/")[2]):
        return True
    while pointer:
        pointer = pointer.rpartition("/")[0]
        if pointer in put:
            return True
    return False


def _created(name: Written) -> Written:
    # "other" commutes with nothing anyway, and "[]" reaches only what exists.
    if name.kind == OTHER or name.kind.endswith(INSIDE):
        return name
    return name._replace(kind=name.kind + CREATED)


class _End(NamedTuple):
    """Where a path ends, and what that makes of its kind: "" nothing, or `INSIDE`, or `OTHER`."""

    pointer: str
    effect: str


@lru_cache(maxsize=4096)
def _end(path: str) -> _End:
    parsed = parse_path(path)
    if not parsed.special:
        return _End(parsed.pointer, "")
    parts = parsed.parts
    # The document itself is an object: its first part is a name, whatever it looks like.
    for index, part in enumerate(parts[1:], 1):
        if part == "$" or is_filtered(part):
            return _End(pointer_of(parts[:index]), INSIDE)
        if part[0] == "0" and len(part) > 1 and is_digits(part):
            return _End(pointer_of(parts[:index]), OTHER)
    return _End(parsed.pointer, "")


@lru_cache(maxsize=4096)
def _path_write(end: _End, kind: str) -> Written:
    """A write of a kind; a ``$set`` has no tag yet."""
    if not end.effect:
        return Written(end.pointer, kind)
    if end.effect == OTHER:
        return Written(end.pointer, OTHER)
    # Whether two set or unset the same elements cannot be told.
    return Written(end.pointer, (OTHER if kind in ("$set", "$unset") else kind) + INSIDE)


_COMMUTING = frozenset({"$set", "$unset", "$inc", "$mul", "$min", "$max", "$addToSet"})
# Of these the operand says more than the shape does.
_VARYING = frozenset({"$set", "$bit", "$push", "$rename"})


def _kind(name: str, operand: Any) -> str:
    if name in _COMMUTING:
        return name
    if name == "$bit" and len(operand) == 1:
        return f"$bit {next(iter(operand))}"
    if name == "$push" and not (
        isinstance(operand, dict) and "$each" in operand and len(operand) > 1
    ):
        return name
    return OTHER


# A digest has its own length, so that it is never taken for the encoding of a short value.
_DIGEST = 16  # bytes
_encode = msgpack.Encoder().encode


def _tag(value: Any) -> bytes:
    encoded = _encode(value)
    return encoded if len(encoded) < _DIGEST else blake2b(encoded, digest_size=_DIGEST).digest()


_Varying = tuple[int, str, str, _End]  # index in the result, operator, field, end of the path
_Analysis = tuple[list[Written], list[_Varying]]

# Results by shape, as plans are cached in `plan`.
_shapes: dict[tuple[Any, ...], _Analysis] = {}
_MAX_SHAPES = 2048
_MAX_CACHED_PATHS = 32


def _analyse(body: dict[str, Any], shape: tuple[Any, ...]) -> _Analysis:
    writes: list[Written] = []
    varying: list[_Varying] = []
    for name, fields in body.items():
        if name == "$setOnInsert":
            continue  # the shared object is there, so nothing is ever inserted
        for field, operand in fields.items():
            end = _end(field)
            if name == "$rename":
                writes.append(Written(end.pointer, OTHER))
            if name in _VARYING and (name != "$set" or not end.effect):
                varying.append((len(writes), name, field, end))
                writes.append(Written("", OTHER))  # the place of what depends on the operand
            else:
                writes.append(_path_write(end, _kind(name, operand)))
    if len(writes) <= _MAX_CACHED_PATHS:
        if len(_shapes) >= _MAX_SHAPES:
            _shapes.clear()
        _shapes[shape] = writes, varying
    return writes, varying


def _operation_writes(operation: Operation) -> tuple[Written, ...]:
    kind, path = operation["op"], operation["path"]
    if kind == "move":
        return Written(operation["from"], OTHER), Written(path, OTHER)
    name = _writes_by_shape(kind, path)
    if name and name[0].kind == "$set":
        return (Written(path, "$set", _tag(operation["value"])),)
    return name


@lru_cache(maxsize=4096)
def _writes_by_shape(kind: str, path: str) -> tuple[Written, ...]:
    if kind == "test":
        return ()
    above, _, token = path.rpartition("/")
    if kind == "add" and token == "-":
        return (Written(above, "$push"),)
    # Adding and removing elements moves those behind them; what is copied depends on its source.
    if kind == "copy" or (kind != "replace" and is_digits(token)):
        return (Written(path, OTHER),)
    return (Written(path, "$unset" if kind == "remove" else "$set"),)
