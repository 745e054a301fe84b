"""The three forms of a change of a part, as updates of the whole object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..document import Operation, compile_update, to_plain
from ..errors import MemSyncError, UpdateError
from .served import ABSENT, value_at
from .target import Tokens, bad_request, pointer_text

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
OPERATORS = "application/vnd.memsync.update+json"


def json_patch(body: Any, part: Tokens, view: Any) -> Any:
    """RFC 6902 operations, whose pointers begin at the part.

    >>> json_patch([{"op": "add", "path": "/b", "value": 1}], ("a",), {})
    [{'op': 'add', 'path': '/a/b', 'value': 1}]
    """
    if not isinstance(body, list):
        raise bad_request(f"a body of {JSON_PATCH} is a list of operations")
    prefix = pointer_text(part)
    return [_moved(operation, prefix) for operation in body]


def _moved(operation: Any, prefix: str) -> Any:
    if not isinstance(operation, dict):
        return operation  # `patch` refuses it with its place
    pointers = {}
    for key in ("path", "from"):
        pointer = operation.get(key)
        if isinstance(pointer, str):
            if pointer and pointer[0] != "/":  # behind the prefix it would name another field
                raise UpdateError(f"{key} = {pointer!r:.80} is no pointer: it begins with '/'")
            pointers[key] = prefix + pointer
    return {**operation, **pointers}


def merge_patch(body: Any, part: Tokens, view: Any) -> list[Operation]:
    """An RFC 7396 merge as operations; they test that what they merge into is of the same kind.

    >>> merge_patch({"x": None, "y": {"z": 1}}, (), {"x": 1})[1:]  # doctest: +NORMALIZE_WHITESPACE
    [{'op': 'remove', 'path': '/x'}, {'op': 'test', 'path': '/y', 'absent': True},
     {'op': 'add', 'path': '/y', 'value': {'z': 1}}]
    """
    return list(_merged(value_at(view, part), body, pointer_text(part)))


def _merged(current: Any, patch: Any, pointer: str) -> Iterator[Operation]:
    if isinstance(patch, dict):
        yield _same_kind(current, pointer)
    if not isinstance(patch, dict) or not isinstance(current, dict):
        kind = "add" if pointer and current is ABSENT else "replace"
        yield {"op": kind, "path": pointer, "value": _without_nulls(patch)}
        return
    for key, value in patch.items():
        inner, there = pointer + pointer_text((key,)), dict.get(current, key, ABSENT)
        if value is None:
            if there is not ABSENT:
                yield {"op": "remove", "path": inner}
        elif isinstance(value, dict) and isinstance(there, dict):
            yield from _merged(there, value, inner)
        else:
            if isinstance(value, dict):
                yield _same_kind(there, inner)
            yield {"op": "add", "path": inner, "value": _without_nulls(value)}


def _same_kind(current: Any, pointer: str) -> Operation:
    """A test that fails if an object came to a place, or went, since the merge was computed."""
    test: Operation = {"op": "test", "path": pointer}
    if current is ABSENT:
        return {**test, "absent": True}
    if isinstance(current, (dict, list)):
        return {**test, "type": "object" if isinstance(current, dict) else "array"}
    return {**test, "value": current}


def _without_nulls(value: Any) -> Any:
    """A patch that is merged into nothing."""
    if not isinstance(value, dict):
        return value
    return {key: _without_nulls(each) for key, each in value.items() if each is not None}


def operators(body: Any, part: Tokens, view: Any) -> Any:
    """Update operators, whose paths begin at the part.

    >>> operators({"$inc": {"n": 1}, "$rename": {"x": "y"}}, ("a",), {})
    {'$inc': {'a.n': 1}, '$rename': {'a.x': 'a.y'}}
    """
    if not isinstance(body, dict) or not body:
        raise bad_request(f"a body of {OPERATORS} is an object like {{'$inc': {{'n': 1}}}}")
    if not part:
        return body
    for token in part:
        if not token or "." in token or token.startswith("$"):
            raise bad_request(
                f"update operators cannot name the field {token!r:.80}: use {JSON_PATCH}"
            )
    prefix = ".".join(part) + "."

    def moved(operator: str, operand: Any) -> Any:
        if not isinstance(operand, dict):
            return operand
        names_paths = operator == "$rename"
        return {
            prefix + key: prefix + value if names_paths and isinstance(value, str) else value
            for key, value in operand.items()
        }

    return {operator: moved(operator, operand) for operator, operand in body.items()}


FORMS: dict[str, Callable[[Any, Tokens, Any], Any]] = {
    JSON_PATCH: json_patch,
    MERGE_PATCH: merge_patch,
    OPERATORS: operators,
}


def guarded(update: Any, part: Tokens, view: Any) -> list[Operation]:
    """An update as operations that apply only while the part is what it is in the view."""
    value = value_at(view, part)
    pointer = pointer_text(part)
    test: Operation = {"op": "test", "path": pointer, "absent": True}
    if value is not ABSENT:
        test = {"op": "test", "path": pointer, "value": to_plain(value)}
    if isinstance(update, list):
        return [test, *update]
    try:
        return [test, *compile_update(view, update)]
    except MemSyncError:
        raise
    except Exception as error:
        raise UpdateError(f"the update cannot be compiled: {error!r}") from error
