"""Replay: bringing the operations which the host has compiled into a live object, in place.

The cost follows the patch, not the object. It is all or nothing: several operations are tried on an
overlay before the first of them is done, so nothing is ever undone where a reader could see it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from memsync.document.containers import ReadOnlyDict, to_live, to_plain
from memsync.document.difference import Operation
from memsync.document.failures import patch_failure
from memsync.document.install import install
from memsync.document.paths import Parts, parse_pointer, pointer_index
from memsync.document.trial import Trial, child
from memsync.errors import UpdateError

Convert = Callable[[Any], Any]

_WITH_VALUE = ("replace", "add")


def replay(root: Any, operations: list[Operation]) -> None:
    """Apply ``add``, ``remove`` and ``replace`` operations to `root`, in place.

    In a live `ReadOnlyDict` the values become live containers under its guard, which the caller
    holds. A plain dict gets plain copies. Raises `UpdateError` when an operation cannot be applied;
    `root` is then as it was.

    >>> document = {"a": {"n": 1}}
    >>> replay(document, [{"op": "replace", "path": "/a/n", "value": 2}])
    >>> document
    {'a': {'n': 2}}
    """
    convert = to_plain
    if isinstance(root, ReadOnlyDict):
        guard = root._guard
        convert = lambda value: to_live(value, guard)  # noqa: E731  # a def would be longer
    if len(operations) == 1:
        operation = operations[0]
        _write(root, operation, _value(operation, convert))
        return
    trial = Trial(root)
    values = []
    for operation in operations:
        values.append(_value(operation, convert))
        trial.apply(operation)
    for operation, value in zip(operations, values, strict=True):
        _write(root, operation, value)


def _value(operation: Operation, convert: Convert) -> Any:
    """The value to be written, converted; this is also where a malformed operation ends."""
    try:
        kind, path = operation["op"], operation["path"]
        value = operation["value"] if kind in _WITH_VALUE else None
    except (KeyError, TypeError):
        raise _malformed(operation) from None
    if type(path) is not str or (kind != "remove" and kind not in _WITH_VALUE):
        raise _malformed(operation)
    if not path and not isinstance(value, dict):
        raise patch_failure("bad_value", "the document must stay an object", path)
    return convert(value) if isinstance(value, (dict, list)) else value


def _malformed(operation: Any) -> UpdateError:
    return patch_failure("bad_operand", f"no operation that can be replayed: {operation!r:.80}")


@lru_cache(maxsize=4096)
def _split(pointer: str) -> tuple[Parts, str]:
    tokens = parse_pointer(pointer)
    return tokens[:-1], tokens[-1]


def _write(root: Any, operation: Operation, value: Any) -> None:
    """Do one operation, or raise and do nothing."""
    kind, pointer = operation["op"], operation["path"]
    if not pointer:
        install(root, value)
        return
    parents, last = _split(pointer)
    node = root
    try:
        for token in parents:
            node = node[token]
    except (KeyError, TypeError):
        # Not objects all the way: an array wants a number, a wrong path its error.
        node = _descend(root, parents)
    if isinstance(node, dict):
        if kind == "add":
            dict.__setitem__(node, last, value)
        elif last not in node:
            raise _impossible(pointer)
        elif kind == "replace":
            dict.__setitem__(node, last, value)
        else:
            dict.__delitem__(node, last)
    elif isinstance(node, list):
        _write_element(node, kind, last, value, pointer)
    else:
        raise _impossible(pointer)


def _descend(root: Any, tokens: Parts) -> Any:
    node = root
    for token in tokens:
        node = child(node, token)
    return node


def _write_element(array: list[Any], kind: str, token: str, value: Any, pointer: str) -> None:
    index = len(array) if token == "-" and kind == "add" else pointer_index(token)
    if index is None or index > len(array) or (kind != "add" and index == len(array)):
        raise _impossible(pointer)
    if kind == "add":
        list.insert(array, index, value)
    elif kind == "replace":
        list.__setitem__(array, index, value)
    else:
        list.__delitem__(array, index)


def _impossible(pointer: str) -> UpdateError:
    return patch_failure("path_not_viable", f"nothing can be replayed at {pointer!r}", pointer)
