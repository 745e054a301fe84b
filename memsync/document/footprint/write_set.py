"""Write sets: where an update writes and how, as far as the update alone determines it.

Two writes conflict if their paths overlap (one equals or contains the other) and the writes do not
commute. Both are judged by the *intent* of the writers, that is by the paths and operators of the
updates, not by the compiled operations: nobody intends to create a missing parent. A `PathWrite` is
therefore one path of an update together with its kind of write.

Writes of the same kind commute with one another: ``$inc``, ``$push``, and so on. Two ``$set``
commute only if their values are equal, so a ``$set`` carries its value as a tag. Everything else is
of the kind ``other``.

A path ends at its first part that depends on the document: ``a.$[].n`` writes *inside* existing
elements of ``a``, which the suffix ``[]`` marks. A number with leading zeros also ends a path
(``a.01`` is ``a.1`` in an array but not in an object). The kind is then ``other``, because the
write may create the element.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache, partial
from hashlib import sha1
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple

from msgspec import msgpack

from ..encoding import encoded
from ..operations import Operation
from ..paths import above, are_plain, common_prefix, is_digits, is_filtered, parse_once, pointer_of

OTHER = "other"
INSIDE = "[]"
"""Suffix of a kind: the write lies inside existing elements of the array at its pointer."""
CREATED = "+"
"""Suffix of a kind: the write may have created an array element; see `refine_write_set`."""


class PathWrite(NamedTuple):
    """One path that an update writes: an RFC 6901 pointer and the kind of write.

    Only ``$set`` has a `tag`; two tags are equal exactly if the values are.
    """

    pointer: str
    kind: str
    tag: bytes | None = None


def write_set(body: dict[str, Any] | list[Operation]) -> list[PathWrite]:
    """Return the write set of a checked update or RFC 6902 list, in the order of its parts.

    The list may be shared between calls; do not modify it.

    >>> write_set({"$push": {"a.$[].n": 1}})
    [PathWrite(pointer='/a', kind='$push[]', tag=None)]
    >>> write_set([{"op": "add", "path": "/a/-", "value": 1}])
    [PathWrite(pointer='/a', kind='$push', tag=None)]
    """
    if isinstance(body, list):
        return [write for operation in body for write in _operation_writes(operation)]
    shape: tuple[Any, ...] = (len(body),)
    for name in body:
        if len(body[name]) > _MAX_CACHED_PATHS and all(map(are_plain, body.values())):
            return _plain_writes(body)
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
            writes[index] = PathWrite(end.pointer, name, _tag(operand))
        elif name == "$rename":
            writes[index] = _path_write(_end(operand), OTHER)
        else:
            writes[index] = _path_write(end, _kind(name, operand))
    return writes


def written_pointers(body: dict[str, Any]) -> list[str]:
    """Return the pointers of the write set of a checked update, which is less work.

    >>> written_pointers({"$set": {"a.b": 1}, "$rename": {"c": "d"}})
    ['/a/b', '/c', '/d']
    """
    pointers: list[str] = []
    for name, fields in body.items():
        if name == "$setOnInsert":
            continue
        if len(fields) > _MAX_CACHED_PATHS and name != "$rename" and are_plain(fields):
            pointers += [f"/{path.replace('.', '/')}" for path in fields]
            continue
        for field, operand in fields.items():
            pointers.append(_end(field).pointer)
            if name == "$rename":
                pointers.append(_end(operand).pointer)
    return pointers


def _plain_writes(body: dict[str, Any]) -> list[PathWrite]:
    """Return the write set of an update whose paths need no parsing."""
    writes: list[PathWrite] = []
    for name, fields in body.items():
        if name == "$setOnInsert":
            continue
        if name == "$set" and fields:
            writes += _plain_set(fields)
            continue
        for path, operand in fields.items():
            pointer = f"/{path.replace('.', '/')}"
            writes.append(PathWrite(pointer, _kind(name, operand)))
            if name == "$rename":
                writes.append(_path_write(_end(operand), OTHER))
    return writes


def _plain_set(fields: dict[str, Any]) -> Iterator[PathWrite]:
    pointers = [f"/{path.replace('.', '/')}" for path in fields]
    new = partial(tuple.__new__, PathWrite)  # as the class does it, by a loop in C
    return map(new, zip(pointers, repeat("$set"), tags_of(fields.values()), strict=False))


def tags_of(values: Collection[Any]) -> list[bytes]:
    """Return the tags of some ``$set``, by their values.

    >>> tags_of([1, None])
    [b'\\x01', b'\\xc0']
    """
    numbers = _NUMBERS.issuperset(map(type, values))
    return list(map(_encode if numbers else _tag, values))


def is_guarded(body: dict[str, Any] | list[Operation]) -> bool:
    """Whether a write has a guard of its own, as an RFC 6902 list with a ``test`` has.

    >>> is_guarded([{"op": "test", "path": "/a", "value": 1}])
    True
    """
    return isinstance(body, list) and any(operation["op"] == "test" for operation in body)


def refine_write_set(writes: list[PathWrite], operations: list[Operation]) -> list[PathWrite]:
    """Refine a write set with the operations it compiled to; return the same list if unchanged.

    A write inside an existing element of an array commutes with a push to that array. A write that
    created the element does not, and gets the suffix ``+``; it still commutes with writes of its
    own kind. A change that is indistinguishable from the creation of an element is treated as one:
    a key of digits in an object, or a whole array or object that was written above the path.

    >>> increment = PathWrite("/a/1/n", "$inc")
    >>> refine_write_set([increment], [{"op": "add", "path": "/a/1", "value": {"n": 1}}])
    [PathWrite(pointer='/a/1/n', kind='$inc+', tag=None)]
    """
    if len(operations) == 1 and len(writes) == 1:
        operation = operations[0]
        if operation["op"] == "replace" and operation["path"] == writes[0].pointer:
            return writes
    if len(writes) > _MAX_CACHED_PATHS and _are_siblings(writes, operations):
        return writes
    added = {operation["path"] for operation in operations if operation["op"] == "add"}
    put = {operation["path"] for operation in operations if operation["op"] == "replace"} | added
    if not put:
        return writes
    refined: list[PathWrite] = []
    inside: dict[str, bool] = {}  # by pointer of a container: whether it lies in a written value
    for write in writes:
        pointer = write.pointer
        container, _, token = pointer.rpartition("/")
        is_inside = inside.get(container)
        if is_inside is None:
            is_inside = inside[container] = any(
                place in put for place in (container, *above(container))
            )
        if pointer and (is_inside or (token.isdigit() and is_digits(token) and pointer in added)):
            write = _created(write)
        refined.append(write)
    return writes if refined == writes else refined


def _are_siblings(writes: list[PathWrite], operations: list[Operation]) -> bool:
    """Whether the writes are names in one container, which the operations do not put there."""
    pointers = list(map(_POINTER, writes))
    prefix = common_prefix(pointers, "/")
    if not prefix or any(map(str.isdigit, [pointer[len(prefix) :] for pointer in pointers])):
        return False
    return {prefix[:-1], *above(prefix[:-1])}.isdisjoint(map(_PATH, operations))


_POINTER, _PATH = itemgetter(0), itemgetter("path")


def _created(write: PathWrite) -> PathWrite:
    # "other" commutes with nothing anyway, and "[]" reaches only existing elements.
    if write.kind == OTHER or write.kind.endswith(INSIDE):
        return write
    return write._replace(kind=write.kind + CREATED)


class _End(NamedTuple):
    """Where a path ends, and how that changes its kind: "" (not at all), `INSIDE` or `OTHER`."""

    pointer: str
    effect: str


@lru_cache(maxsize=4096)
def _end(path: str) -> _End:
    parsed = parse_once(path)
    if not parsed.special:
        return _End(parsed.pointer, "")
    parts = parsed.parts
    # The document itself is an object, so the first part is a name even if it consists of digits.
    for index, part in enumerate(parts[1:], 1):
        if part == "$" or is_filtered(part):
            return _End(pointer_of(parts[:index]), INSIDE)
        if part[0] == "0" and len(part) > 1 and is_digits(part):
            return _End(pointer_of(parts[:index]), OTHER)
    return _End(parsed.pointer, "")


@lru_cache(maxsize=4096)
def _path_write(end: _End, kind: str) -> PathWrite:
    """Return a write of a kind; a ``$set`` has no tag yet."""
    if not end.effect:
        return PathWrite(end.pointer, kind)
    if end.effect == OTHER:
        return PathWrite(end.pointer, OTHER)
    # Two of these may set or unset the same elements.
    return PathWrite(end.pointer, (OTHER if kind in ("$set", "$unset") else kind) + INSIDE)


_COMMUTING = frozenset({"$set", "$unset", "$inc", "$mul", "$min", "$max", "$addToSet"})
# Operators whose kind or path depends on the operand, not only on the shape.
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


# Shorter values are encoded as they are, so a digest never equals the encoding of a value.
_DIGEST = 16  # bytes
# `encode` grows no buffer for these, so it does not crash where `encoded` raises `MemoryError`.
_NUMBERS = frozenset({int, float, bool, type(None)})
_encode = msgpack.Encoder().encode


def _tag(value: Any) -> bytes:
    content = encoded(value)
    if len(content) < _DIGEST:
        return bytes(content)
    # Twice as fast as BLAKE2 where the processor knows it. Peers trust each other, so nobody makes
    # two values with one digest.
    return sha1(content, usedforsecurity=False).digest()[:_DIGEST]


_Varying = tuple[int, str, str, _End]  # index in the result, operator, field, end of the path
_Analysis = tuple[list[PathWrite], list[_Varying]]

# Write sets by shape of the update, like the cache of plans in `update.plan`.
_shapes: dict[tuple[Any, ...], _Analysis] = {}
_MAX_SHAPES = 2048
_MAX_CACHED_PATHS = 32


def _analyse(body: dict[str, Any], shape: tuple[Any, ...]) -> _Analysis:
    writes: list[PathWrite] = []
    varying: list[_Varying] = []
    for name, fields in body.items():
        if name == "$setOnInsert":
            continue  # the shared object exists, so nothing is ever inserted
        for field, operand in fields.items():
            end = _end(field)
            if name == "$rename":
                writes.append(PathWrite(end.pointer, OTHER))
            if name in _VARYING and (name != "$set" or not end.effect):
                varying.append((len(writes), name, field, end))
                writes.append(PathWrite("", OTHER))  # a placeholder for what the operand says
            else:
                writes.append(_path_write(end, _kind(name, operand)))
    if len(writes) <= _MAX_CACHED_PATHS:
        if len(_shapes) >= _MAX_SHAPES:
            _shapes.clear()
        _shapes[shape] = writes, varying
    return writes, varying


def _operation_writes(operation: Operation) -> tuple[PathWrite, ...]:
    kind, path = operation["op"], operation["path"]
    if kind == "move":
        return PathWrite(operation["from"], OTHER), PathWrite(path, OTHER)
    writes = _writes_by_shape(kind, path)
    if writes and writes[0].kind == "$set":
        return (PathWrite(path, "$set", _tag(operation["value"])),)
    return writes


@lru_cache(maxsize=4096)
def _writes_by_shape(kind: str, path: str) -> tuple[PathWrite, ...]:
    if kind == "test":
        return ()
    container, _, token = path.rpartition("/")
    if kind == "add" and token == "-":
        return (PathWrite(container, "$push"),)
    # Adding or removing an element moves the later ones; the value of a copy depends on its source.
    if kind == "copy" or (kind != "replace" and is_digits(token)):
        return (PathWrite(path, OTHER),)
    return (PathWrite(path, "$unset" if kind == "remove" else "$set"),)
